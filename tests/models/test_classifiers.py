"""Classifiers: labeled view, loss and scores of the head, bfloat16, graphs of other networks."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.registry import DefaultScope
from sklearn.metrics import log_loss
from torch import nn

from aimclr_mm.evaluation import ClassifierMetric
from aimclr_mm.skeletons import NTU25, get_layout
from tests.models.test_cross_stream import THREE
from tests.models.test_model import softmax

N, T, CLASSES = 6, 8, 5
LABELS = [0, 4, 2, 2, 1, 3]
VIEWS = dict(type='LabeledViews', layout='ntu25', query=[dict(type='Shear', amplitude=0.5)])
STAGES = dict(base_channels=8, num_stages=2, inflate_stages=[2], down_stages=[2])
BACKBONES = {
    'AimCLRSTGCN': dict(base_channels=4, out_channels=16, tcn_dropout=0.0),
    'SkeletonSTGCN': STAGES,
    'SkeletonAAGCN': dict(STAGES, data_bn_type='VC'),
}


def recognizer(backbone: str = 'AimCLRSTGCN', width: int = 16, **views):
    """Build mmaction2's recognizer with the project's head and data preprocessor."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(
            dict(
                type='RecognizerGCN',
                data_preprocessor=dict(VIEWS, **views),
                backbone=dict(type=backbone, layout='ntu25', **BACKBONES[backbone]),
                cls_head=dict(
                    type='SkeletonHead',
                    num_classes=CLASSES,
                    in_channels=width,
                    average_clips='score',
                ),
            )
        )


def batch(clips: int = 1) -> dict:
    """Return labeled sequences as from a data loader."""
    samples = [
        ActionDataSample(metainfo=dict(frame_dir=f's{i}')).set_gt_label(label)
        for i, label in enumerate(LABELS)
    ]
    return dict(inputs=[torch.randn(clips, 2, T, 25, 3) for _ in LABELS], data_samples=samples)


# --- the view ---


@pytest.mark.parametrize('clips', [1, 3])
def test_view_has_the_shape_of_mmaction2(clips):
    pre, data = MODELS.build(VIEWS), batch(clips)
    for training in (True, False):
        out = pre(data, training)
        assert (
            out['inputs'].shape == (N, clips, 2, T, 25, 3)
            and out['data_samples'] is data['data_samples']
        )
        moved = [not torch.equal(out['inputs'][i], data['inputs'][i]) for i in range(N)]
        assert all(moved) if training else not any(moved)


@pytest.mark.parametrize('training', [True, False])
def test_streams_are_formed_after_augmentation(training):
    data, made = batch(), {}
    for stream in THREE:
        torch.manual_seed(3)
        made[stream] = MODELS.build(dict(VIEWS, stream=stream))(data, training)['inputs']
    joint = made['joint']
    for v, parent in enumerate(NTU25.bones):
        assert torch.equal(made['bone'][..., v, :], joint[..., v, :] - joint[..., parent, :])
    assert torch.equal(made['motion'][:, :, :, :-1], joint[:, :, :, 1:] - joint[:, :, :, :-1])
    assert not made['motion'][:, :, :, -1].any()


def test_view_refuses_another_layout():
    with pytest.raises(
        ValueError, match='25 joints and 3 coordinates, but the data have 20 joints'
    ):
        MODELS.build(VIEWS)(dict(inputs=[torch.zeros(1, 2, T, 20, 3)] * 2), True)


# --- the network ---


@torch.no_grad()
def logits(model, x: torch.Tensor) -> np.ndarray:
    """Return the scores (N, clips, classes) of each clip, computed in float64."""
    maps = model.backbone(x.flatten(0, 1)).double().numpy()  # (N * clips, M, C, T, V)
    h = maps.mean(axis=(3, 4)).mean(axis=1)
    result = (
        h @ model.cls_head.fc.weight.double().numpy().T + model.cls_head.fc.bias.double().numpy()
    )
    return result.reshape(*x.shape[:2], CLASSES)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_loss_is_the_cross_entropy_of_a_linear_layer(backbone):
    model, data = recognizer(backbone).train(), batch()
    nn.init.normal_(model.cls_head.fc.weight, std=1.0)
    inputs = model.data_preprocessor(data, training=True)
    expected = log_loss(
        LABELS, softmax(logits(model, inputs['inputs'])[:, 0]), labels=range(CLASSES)
    )
    result = model(**inputs, mode='loss')
    assert result['loss_cls'].item() == pytest.approx(expected, rel=1e-4)
    result['loss_cls'].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
    assert model.backbone.data_bn.weight.grad.any() and model.cls_head.fc.weight.grad.any()


def test_a_head_of_another_width_is_named():
    model, data = recognizer(width=12), batch()
    with pytest.raises(ValueError, match='takes 12 channels, but the backbone gives 16; set in_ch'):
        model(**model.data_preprocessor(data, False), mode='predict')


@pytest.mark.parametrize('clips', [1, 3])
def test_scores_of_a_test_are_logits_averaged_over_clips(clips):
    model, data = recognizer().eval(), batch(clips)
    expected = logits(model, torch.stack(data['inputs'])).mean(axis=1)
    with torch.no_grad():
        samples = model.test_step(data)
    for sample, row in zip(samples, expected, strict=True):
        np.testing.assert_allclose(sample.pred_score.numpy(), row, atol=1e-5)
        assert sample.pred_label.tolist() == [int(row.argmax())]


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_bfloat16(mode):
    model, data = recognizer().train(mode == 'loss'), batch()
    nn.init.normal_(model.cls_head.fc.weight, std=0.3)
    inputs = model.data_preprocessor(data, training=False)
    with torch.set_grad_enabled(mode == 'loss'):
        full = model(**inputs, mode=mode)
    full = (
        [full['loss_cls'].detach()]
        if mode == 'loss'
        else [sample.pred_score.clone() for sample in full]
    )
    with torch.set_grad_enabled(mode == 'loss'), torch.autocast('cpu', dtype=torch.bfloat16):
        half = model(**inputs, mode=mode)
    half = [half['loss_cls']] if mode == 'loss' else [sample.pred_score for sample in half]
    for a, b in zip(full, half, strict=True):
        assert b.dtype == torch.float32 and torch.isfinite(b).all()
        torch.testing.assert_close(b.detach(), a, rtol=0.1, atol=0.05)
    if mode == 'loss':
        half[0].backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    else:
        metric = ClassifierMetric()
        metric.process(None, [sample.to_dict() for sample in data['data_samples']])
        assert metric.evaluate(N)['acc/top5'] == 100


@pytest.mark.parametrize('layout', ['ntu25', 'kinect20'])
@pytest.mark.parametrize('backbone', ['SkeletonSTGCN', 'SkeletonAAGCN'])
def test_graph_of_the_other_networks_is_that_of_the_layout(backbone, layout):
    network, joints = (
        MODELS.build(dict(type=backbone, layout=layout, **BACKBONES[backbone])),
        get_layout(layout),
    )
    adjacency = np.asarray(network.graph.A).sum(axis=0) != 0
    expected = np.eye(joints.num_joints, dtype=bool)
    for joint, other in joints.edges:
        expected[joint, other] = expected[other, joint] = True
    assert np.array_equal(adjacency, expected)
    assert network(torch.randn(2, 1, T, joints.num_joints, 3)).shape == (
        2,
        1,
        16,
        T // 2,
        joints.num_joints,
    )
