"""Zip archives with damaged structure: names, directories, offsets, gaps, further archives."""

import random
import struct

LOCAL, ENTRY, END = b'PK\x03\x04', b'PK\x01\x02', b'PK\x05\x06'
# places in an entry of the directory: method, checksum, sizes, attributes, offset; all of 4 bytes
FIELDS = {'flags': 6, 'crc': 16, 'packed': 20, 'size': 24, 'attributes': 38, 'offset': 42}


def parts(archive: bytes) -> tuple[list[bytes], list[bytearray], bytearray]:
    """Return the records, the entries of the directory, and the end of an archive."""
    end = archive.rindex(END)
    count, _, start = struct.unpack_from('<HII', archive, end + 10)
    entries, offsets, place = [], [], start
    for _ in range(count):
        lengths = struct.unpack_from('<3H', archive, place + 28)
        stop = place + 46 + sum(lengths)
        entries.append(bytearray(archive[place:stop]))
        offsets.append(struct.unpack_from('<I', archive, place + 42)[0])
        place = stop
    borders = [*offsets, start]
    records = [archive[a:b] for a, b in zip(borders, borders[1:])]
    return records, entries, bytearray(archive[place:])


def joined(records: list[bytes], entries: list[bytearray], end: bytearray) -> bytes:
    """Return an archive of these parts, with the place of its directory in the end."""
    body, directory = b''.join(records), b''.join(entries)
    end = bytearray(end)
    tail = end.rindex(END) if END in end else None
    if tail is not None and len(end) >= tail + 22:
        struct.pack_into('<II', end, tail + 12, len(directory), len(body))
    return body + directory + bytes(end)


def restructured(archive: bytes, rng: random.Random) -> bytes:
    """Return an archive whose records are the same bytes, in another structure."""
    records, entries, end = parts(archive)
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind, place = rng.randrange(13), rng.randrange(len(entries))
        entry = entries[place]
        if kind == 0:  # two entries of one name
            entries.insert(rng.randrange(len(entries)), bytearray(rng.choice(entries)))
        elif kind == 1:  # a name in other letters, in one place or both
            name = slice(46, 46 + struct.unpack_from('<H', entry, 28)[0])
            other = bytes(entry[name]).swapcase()
            if rng.random() < 0.5:
                records[place % len(records)] = records[place % len(records)].replace(
                    bytes(entry[name]), other, 1
                )
            entry[name] = other
        elif kind == 2:  # a character of a name
            entry[46 + rng.randrange(max(1, entry[28]))] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del entries[place]
            if not entries:
                entries.append(entry)
        elif kind == 4:  # each with the other's record
            other = rng.choice(entries)
            entry[42:46], other[42:46] = other[42:46], entry[42:46]
        elif kind == 5:  # another checksum, size or offset
            field = FIELDS[rng.choice(list(FIELDS))]
            value = struct.unpack_from('<I', entry, field)[0]
            value += rng.choice((-1, 1, 30, -30, 2**16, 2**31, rng.randrange(2**32)))
            struct.pack_into('<I', entry, field, value % 2**32)
        elif kind == 6:  # something before, between or after the records
            records.insert(rng.randrange(len(records) + 1), rng.randbytes(rng.choice((1, 16, 100))))
        elif kind == 7:
            rng.shuffle(entries)
        elif kind == 8:
            rng.shuffle(records)
        elif kind == 9:  # a second directory after the first, or before it
            more = b''.join(entries[rng.randrange(len(entries)) :]) + bytes(end)
            if rng.random() < 0.5:
                end += more
            else:
                records.append(more)
        elif kind == 10:  # an archive after the archive, or before it
            if rng.random() < 0.5:
                end += archive
            else:
                records.insert(0, archive)
        elif kind == 11:  # a comment
            end += rng.randbytes(8)
            end[-10:-8] = b'\x08\0'
        elif end:  # other numbers in the end
            end[rng.randrange(len(end))] = rng.randrange(256)
    return joined(records, entries, end)
