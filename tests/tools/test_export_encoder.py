"""tools/export.py encoder: the encoders of several trainings in one file."""

import os

import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.apis import load_encoder
from tests.models.test_cross_stream import method
from tests.runs import call_tool


@pytest.fixture
def trainings(tmp_path) -> dict[str, str]:
    """Checkpoints of a joint and a bone stream."""
    paths = {}
    for seed, stream in enumerate(('joint', 'bone')):
        torch.manual_seed(seed)
        state = MODELS.build(method()).state_dict()
        paths[stream] = str(tmp_path / f'{stream}.pth')
        torch.save(dict(state_dict=state, optimizer={}, meta={}), paths[stream])
    return paths


@pytest.mark.parametrize('half', [False, True])
def test_streams_in_one_file(trainings, tmp_path, half):
    out = str(tmp_path / 'streams.pth')
    options = ['--half'] if half else []
    call_tool(
        'export.py', 'encoder', *trainings.values(), '--streams', *trainings, '--out', out, *options
    )

    found = torch.load(out, weights_only=True)['state_dict']
    expected = {}
    for stream, path in trainings.items():
        for name, value in torch.load(path, weights_only=True)['state_dict'].items():
            if name.startswith('encoder.'):
                expected[f'streams.{stream}.{name}'] = value
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        is_half = half and value.is_floating_point()
        assert torch.equal(found[name], value.half() if is_half else value)

    config = tmp_path / 'config.py'
    model = dict(method(), data_preprocessor=dict(type='SkeletonViews', stream='bone'))
    config.write_text(f"default_scope = 'mmaction'\nmodel = {model}\ntest_dataloader = {LOADER}\n")
    clip = torch.randn(1, 12, 25, 3).numpy()
    ours = load_encoder(str(config), out, device='cpu').embed([clip])
    alone = load_encoder(str(config), trainings['bone'], device='cpu').embed([clip])
    torch.testing.assert_close(ours, alone, rtol=1e-2 if half else 0, atol=1e-3 if half else 0)


LOADER = dict(
    dataset=dict(
        type='SkeletonDataset',
        ann_file='',
        layout='ntu25',
        preprocess=[
            dict(type='CenterSkeleton'),
            dict(type='ResizeClip', length=8),
            dict(type='FormatGCNInput', num_person=1),
        ],
        pipeline=[dict(type='PackActionInputs')],
        test_mode=True,
    ),
)


def test_the_number_of_streams_is_that_of_checkpoints(trainings, tmp_path):
    out = str(tmp_path / 'streams.pth')
    with pytest.raises(ValueError, match='2 checkpoints and 1 streams'):
        call_tool('export.py', 'encoder', *trainings.values(), '--streams', 'joint', '--out', out)
    assert not os.path.exists(out)
