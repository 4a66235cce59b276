"""Safe reading of checkpoint files; attacks, objects and mutations are in tests/utils."""

import io

import pytest
import torch

from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file


def test_checkpoint_file_is_read(tmp_path):
    path = tmp_path / 'good.pth'
    torch.save(dict(state_dict=dict(w=torch.arange(3)), meta=dict(epoch=2)), path)
    checkpoint = load_checkpoint_file(str(path))
    assert checkpoint['state_dict']['w'].tolist() == [0, 1, 2] and checkpoint['meta'] == dict(
        epoch=2
    )


def test_checkpoint_file_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        load_checkpoint_file(str(tmp_path / 'gone.pth'))


def saved(content, **kwargs) -> bytes:
    """Return a checkpoint file."""
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


WEIGHTS = saved(dict(state_dict=dict(w=torch.randn(20, 30))))


@pytest.mark.parametrize(
    'text',
    [
        b'',
        b'this is a text\n',
        WEIGHTS[: len(WEIGHTS) // 2],
        WEIGHTS[:30],
        bytes(500),
        b'PK\x03\x04' + bytes(100),
    ],
)
def test_checkpoint_file_damaged(tmp_path, text):
    (tmp_path / 'bad.pth').write_bytes(text)
    with pytest.raises(ValueError, match='bad.pth'):
        load_checkpoint_file(str(tmp_path / 'bad.pth'))


def test_checkpoint_file_without_a_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint_file(str(tmp_path / 'list.pth'))
