"""Classifiers that are 1x1 convolutions: conversion, embeddings, and training further."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from aimclr_mm.apis import load_encoder
from aimclr_mm.checkpoints.released import convert
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from tests.checkpoints.released_network import released_features
from tests.checkpoints.test_convert_weights import assert_same, released_state, shapes
from tests.docs_runner import Folder, blocks, make_project
from tests.runs import ROOT, call_tool

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'ntu60_encoders'
CONFIG = ROOT / 'configs' / 'aimclr_ntu60_xview_joint.py'
UTD = ROOT / 'data' / 'utdmhad' / 'utdmhad_3d.pkl'


def convolution(case: str) -> dict[str, torch.Tensor]:
    """Return a released classifier whose layer is a 1x1 convolution."""
    state = released_state(shapes(case))
    return {
        name: value[..., None, None] if name.endswith('fc.weight') else value
        for name, value in state.items()
    }


def small_config() -> Config:
    """Return the config with the sizes of the generated file."""
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.update(base_channels=4, out_channels=8)
    cfg.model.head.update(in_channels=8, hidden_channels=8, out_channels=6)
    return cfg


def recordings() -> list[np.ndarray]:
    """Return raw sequences (M, T, 25, 3) of one and of two people that walk and turn."""
    m, t, v, c = np.ogrid[:2, :80, :25, :3]
    pose = np.sin(0.05 * t + 0.7 * v + 1.9 * c + 2.3 * m) + (c == 2) * 3.0
    return [pose[:1, :61], pose]


def check_embeddings(config: Path | Config, checkpoint: Path, released: dict) -> None:
    """Assert that the embeddings of a checkpoint are those of the released tensors."""
    encoder = load_encoder(config, checkpoint, device='cpu')
    (batch,) = encoder.preprocess(encoder._inputs_to_list(recordings()))
    state = {name.removeprefix('encoder_q.'): value for name, value in released.items()}
    expected = released_features(state, batch.inputs.flatten(0, 1)).numpy()

    found = encoder.embed(recordings())
    assert np.ptp(expected, axis=0).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', ['linear', 'linear_streams'])
def test_a_convolution_converts_as_the_linear_layer_that_it_is(case):
    there = convert(convolution(case))
    linear = released_state(shapes(case))
    assert there.content.classifier and there.sizes.classes == 5
    assert_same(there.state, convert(linear).state)
    assert_same(convert(there.state).state, linear)


@pytest.mark.parametrize('shape', [(5, 8, 3, 1), (5, 8, 1), (5, 4, 1, 1), (5, 8, 1, 1, 1)])
def test_other_shapes_of_the_classifier_are_refused(shape):
    state = dict(convolution('linear'), **{'encoder_q.fc.weight': torch.zeros(shape)})
    with pytest.raises(ValueError, match=r'encoder_q.fc.weight has shape \(5, '):
        convert(state)


def test_embeddings_of_a_generated_file(tmp_path):
    source, target = tmp_path / 'in.pt', tmp_path / 'out.pth'
    state = convolution('linear')
    torch.save(state, source)
    call_tool('export.py', 'from_released', source, target)
    for checkpoint in (source, target):
        check_embeddings(small_config(), checkpoint, state)


@pytest.mark.skipif(not SHARED.is_dir(), reason='no checkpoints of NTU RGB+D 60')
@pytest.mark.parametrize(
    'name', ['aimclr_ntu60_xview_joint_linear_77.76', 'actclr_ntu60_xview_joint_linear_87.14']
)
def test_embeddings_of_published_files(tmp_path, name):
    source, target = SHARED / f'{name}.pt', tmp_path / 'out.pth'
    call_tool('export.py', 'from_released', source, target)
    released = load_checkpoint_file(str(source))
    weight = load_checkpoint_file(str(target))['state_dict']['cls_head.fc.weight']
    assert torch.equal(weight, released['encoder_q.fc.weight'][:, :, 0, 0])
    check_embeddings(CONFIG, target, released)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason='no checkpoints of NTU RGB+D 60')
@pytest.mark.skipif(not UTD.is_file(), reason='no UTD-MHAD')
def test_actclr_continues_from_its_published_encoder(tmp_path):
    """docs/methods.md as printed, with one epoch: the accuracy stays."""
    shorter = '--epochs 1 --cfg-options model.queue_length=128 model.neighbors=16'
    reductions = {'python tools/train.py continued.py': shorter}
    folder = Folder(make_project(tmp_path), reductions, seconds=600)
    (tmp_path / 'data' / 'utdmhad').mkdir(parents=True)
    (tmp_path / 'data' / 'utdmhad' / UTD.name).symlink_to(UTD)
    (tmp_path / 'actclr_ntu60_xview_joint.pt').symlink_to(
        SHARED / 'actclr_ntu60_xview_joint_linear_87.14.pt'
    )
    page = [block for block in blocks(ROOT / 'docs' / 'methods.md') if 'continued' in block.text]
    printed = ''.join(map(folder.run, page))
    assert len(page) == 2

    start = re.search(r'^actclr +(\d+\.\d+)', printed, re.MULTILINE)[1]
    after = re.search(r'Epoch 1/1 validation +KNN top-1 (\d+\.\d) %', printed)[1]
    assert float(start) > 84 and float(after) > float(start) - 2
