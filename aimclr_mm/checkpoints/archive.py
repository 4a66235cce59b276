"""The zip archives that ``torch.save`` writes, read strictly.

Programs disagree about unusual archives: which of two directories or of two equal names counts, or
whether upper case matters. Here there is one reader, and it accepts only archives without anything
unusual, so that nothing can hide in them from this reader or from another.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

_LOCAL_HEADER = struct.Struct('<4s5H3I2H')  # signature ... length of the name, length of the extra
_DESCRIPTORS = (0, 12, 16, 20, 24)  # bytes after a record that may repeat its checksum and sizes
_END, _END_ZIP64 = 22, 98  # bytes after the directory
_DIRECTORY_ENTRY = 46  # bytes without names


class Archive:
    """The records of an archive, each stored once, one after the other, with nothing in between.

    Args:
        file: the open file.
        size: its size in bytes.

    Raises:
        BadZipFile: if it is anything else.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            directory = archive.start_dir
            comment = archive.comment
        _check_names(members)
        self._places = self._check_layout(members, directory)

        entries = sum(
            _DIRECTORY_ENTRY + len(_name(member)) + len(member.extra) + len(member.comment)
            for member in members
        )
        if comment or size - directory - entries not in (_END, _END_ZIP64):
            raise zipfile.BadZipFile('there is something after its directory')
        self._members = {member.filename.partition('/')[2]: member for member in members}

    def _check_layout(self, members: list[zipfile.ZipInfo], directory: int) -> dict[str, int]:
        """Return where the content of each record begins, by its full name."""
        places, end = {}, 0
        for member in sorted(members, key=lambda member: member.header_offset):
            if member.header_offset - end not in (_DESCRIPTORS if places else (0,)):
                raise zipfile.BadZipFile(f'there is something before its record {member.filename}')

            begin = member.header_offset + self._header_length(member)
            places[member.filename] = begin
            end = begin + member.file_size
        if directory - end not in _DESCRIPTORS:
            raise zipfile.BadZipFile('there is something between its records and its directory')
        return places

    def _header_length(self, member: zipfile.ZipInfo) -> int:
        """Return the length of a record's header, which must name it as the directory does."""
        self._file.seek(member.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b'PK\x03\x04'):
            raise zipfile.BadZipFile(f'its record {member.filename} does not begin')

        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if self._file.read(name_length) != _name(member):
            raise zipfile.BadZipFile(f'its record {member.filename} has another name itself')
        return _LOCAL_HEADER.size + name_length + extra_length

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytearray:
        """Return a record, whose checksum is verified.

        Args:
            name: its name without the folder that all records are in.

        Raises:
            BadZipFile: if it is missing or damaged.
        """
        if name not in self._members:
            raise zipfile.BadZipFile(f'it has no record {name}')

        member = self._members[name]
        content = bytearray(member.file_size)
        self._file.seek(self._places[member.filename])
        if self._file.readinto(content) < len(content) or zlib.crc32(content) != member.CRC:
            raise zipfile.BadZipFile(f'the checksum of its record {member.filename} is wrong')
        return content

    def size(self, name: str) -> int:
        """Return the size of a record in bytes; 0 if it is missing."""
        return self._members[name].file_size if name in self._members else 0


def _name(member: zipfile.ZipInfo) -> bytes:
    """Return the name of a record as it stands in the file."""
    return member.orig_filename.encode('utf-8' if member.flag_bits & 0x800 else 'cp437')


def _check_names(members: list[zipfile.ZipInfo]) -> None:
    """Raise BadZipFile for records that are compressed, not in one folder, or of one name."""
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise zipfile.BadZipFile('its records are compressed; those of torch never are')

    if len({member.filename.partition('/')[0] for member in members}) != 1:
        raise zipfile.BadZipFile('its records are not in one folder')
    if len({member.filename.casefold() for member in members}) < len(members):
        raise zipfile.BadZipFile('two of its records have the same name')
