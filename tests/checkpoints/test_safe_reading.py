"""Safe reading of checkpoint files; attacks on it are in tests/utils."""

import io
import random

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file


class Evil:
    """Pickles as a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


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
    """What torch.save writes."""
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


def test_checkpoint_file_with_an_object_does_not_run(tmp_path):
    mark, path = tmp_path / 'mark', tmp_path / 'evil.pth'
    path.write_bytes(saved(dict(state_dict={}, extra=Evil(mark))))
    with pytest.raises(ValueError, match='evil.pth.*not loaded for safety'):
        load_checkpoint_file(str(path))
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the payload is a real one
    assert mark.exists()


def test_checkpoint_file_without_a_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint_file(str(tmp_path / 'list.pth'))


@pytest.mark.parametrize(
    'form', [dict(), dict(_use_new_zipfile_serialization=False)], ids=['zip', 'legacy']
)
def test_mutated_checkpoint_files_raise_value_error_or_load(tmp_path, form):
    path, rng, refused = tmp_path / 'mutated.pth', random.Random(0), 0
    good = saved(
        dict(state_dict=dict(a=torch.ones(2, 3)), meta=dict(x='abc', y=[1, 2.5, None])), **form
    )
    for _ in range(300):
        text = bytearray(good)
        for _ in range(rng.choice((1, 2, 10))):
            text[rng.randrange(len(text))] = rng.randrange(256)
        path.write_bytes(text)
        try:
            load_checkpoint_file(str(path))
        except ValueError as error:
            assert 'mutated.pth' in str(error)
            refused += 1
    assert 30 < refused


def test_mmengine_loads_through_the_safe_loader(tmp_path):
    path = tmp_path / 'evil.pth'
    path.write_bytes(saved(dict(state_dict={}, extra=Evil(tmp_path / 'mark'))))
    with pytest.raises(ValueError, match='not loaded for safety'):
        CheckpointLoader.load_checkpoint(str(path))
    assert not (tmp_path / 'mark').exists()


def test_the_config_text_in_a_checkpoint_is_dropped(tmp_path):
    """mmengine would run it on resume, whatever hooks a config has."""
    path = str(tmp_path / 'config.pth')
    torch.save(dict(state_dict={}, meta=dict(config='raise SystemExit', epoch=1)), path)
    for load in (load_checkpoint_file, CheckpointLoader.load_checkpoint):
        assert load(path)['meta'] == dict(epoch=1)
