"""Atomic writes, and paths that cannot be written."""

import os

import pytest

from aimclr_mm.utils.files import atomic_write, check_target, is_own_file, open_text


def test_error_leaves_the_old_file(tmp_path):
    (tmp_path / 'file').write_text('old')
    with pytest.raises(RuntimeError), atomic_write(str(tmp_path / 'file')) as file:
        file.write('new')
        raise RuntimeError
    assert (tmp_path / 'file').read_text() == 'old' and os.listdir(tmp_path) == ['file']


def test_full_disk_names_the_file(tmp_path):
    """A link, so that a device that were replaced would not be missed."""
    (tmp_path / 'full').symlink_to('/dev/full')
    with (
        pytest.raises(OSError, match=f'No space left on device: .{tmp_path}/full'),
        atomic_write(str(tmp_path / 'full')) as file,
    ):
        file.write('text')
    assert (tmp_path / 'full').is_symlink() and os.listdir(tmp_path) == ['full']


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(str(tmp_path / 'pipe')) as file:
        file.write('text')
    assert os.read(reader, 10) == b'text' and (tmp_path / 'pipe').is_fifo()
    os.close(reader)


def test_only_regular_files_are_read(tmp_path):
    """A pipe that nobody writes to would block for ever."""
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to(tmp_path / 'pipe')
    for name in ('pipe', 'link'):
        with pytest.raises(OSError, match='is a pipe or a device, not a regular file'):
            open_text(tmp_path / name)
    (tmp_path / 'text').write_bytes(b'caf\xc3\xa9 \xff')
    with open_text(tmp_path / 'text') as file:
        assert file.read() == 'caf\u00e9 \ufffd'


def test_own_files_are_regular_and_below_the_folder(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    os.mkfifo(work / 'pipe')
    (work / 'own').touch()
    (tmp_path / 'workshop').touch()
    (work / 'inside').symlink_to(work / 'own')
    (work / 'outside').symlink_to(tmp_path / 'workshop')
    (tmp_path / 'linked').symlink_to(work)
    for folder in (work, tmp_path / 'linked'):
        own = [name for name in os.listdir(folder) if is_own_file(folder / name, folder)]
        assert sorted(own) == ['inside', 'own']


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    for path in ('file', 'new', 'new/below/file'):
        check_target(str(tmp_path / path))
    for path in ('', '.', 'new', 'new/below'):
        check_target(str(tmp_path / path), folder=True)
    for path, folder, error in (
        ('.', False, IsADirectoryError),
        ('file', True, NotADirectoryError),
        ('file/below', False, NotADirectoryError),
        ('file/a/b', True, NotADirectoryError),
    ):
        with pytest.raises(error, match=str(tmp_path)):
            check_target(str(tmp_path / path), folder)
    assert os.listdir(tmp_path) == ['file']


def test_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError, match='no permission to write in'):
        check_target(str(tmp_path / 'file'))


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    """The result of a long run must not be lost because of a name in it."""
    with atomic_write(str(tmp_path / 'list.txt')) as file:
        file.write(os.fsdecode(b'caf\xe9.npy') + ' é')
    assert (tmp_path / 'list.txt').read_text(encoding='utf-8') == 'caf\\udce9.npy é'
