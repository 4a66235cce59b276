"""Classifiers: one labelled view, the head in float32, accuracy against scikit-learn, and the encoder to start from."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import nn

from aimclr_mm.apis import cli
from aimclr_mm.datasets import write_pickle
from aimclr_mm.engine import LoadEncoderHook
from aimclr_mm.evaluation import ClassifierMetric
from aimclr_mm.skeletons import NTU25, get_layout
from tests.datasets.test_datasets import annotation
from tests.models.test_cross_stream import THREE, build, method
from tests.models.test_model import softmax, states_equal

N, T, CLASSES = 6, 8, 5
LABELS = [0, 4, 2, 2, 1, 3]
VIEWS = dict(type='LabelledViews', layout='ntu25', query=[dict(type='Shear', amplitude=0.5)])
STAGES = dict(base_channels=8, num_stages=2, inflate_stages=[2], down_stages=[2])
BACKBONES = {
    'AimCLRSTGCN': dict(base_channels=4, out_channels=16, tcn_dropout=0.0),
    'SkeletonSTGCN': STAGES,
    'SkeletonAAGCN': dict(STAGES, data_bn_type='VC'),
}


def recognizer(backbone: str = 'AimCLRSTGCN', width: int = 16, **views):
    """mmaction2's recognizer with the project's head and data preprocessor."""
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
    """Sequences with labels, as a data loader gives them."""
    samples = [
        ActionDataSample(metainfo=dict(frame_dir=f's{i}')).set_gt_label(label)
        for i, label in enumerate(LABELS)
    ]
    return dict(inputs=[torch.randn(clips, 2, T, 25, 3) for _ in LABELS], data_samples=samples)


# the view


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


# the network


@torch.no_grad()
def logits(model, x: torch.Tensor) -> np.ndarray:
    """Scores of each clip (N, clips, classes) by hand, float64."""
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


# accuracy


@pytest.mark.parametrize('classes', [3, 5, 12])
def test_metric_equals_scikit_learn(classes):
    rng, metric = np.random.default_rng(0), ClassifierMetric()
    labels, scores = (
        rng.integers(classes, size=50),
        rng.normal(size=(50, classes)).astype(np.float32),
    )
    samples = [
        dict(pred_score=torch.tensor(row), gt_label=torch.tensor([label]), frame_dir=f's{i}')
        for i, (row, label) in enumerate(zip(scores, labels))
    ]
    for start in range(0, 50, 16):
        metric.process(None, samples[start : start + 16])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # k at least as large as the number of classes
        expected = {
            k: 100 * top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
            for k in (1, 5)
        }
    assert metric.evaluate(50) == {
        f'acc/top{k}': pytest.approx(value) for k, value in expected.items()
    }
    collected = metric.collected
    assert np.array_equal(collected.scores, scores) and np.array_equal(collected.labels, labels)
    assert (
        collected.names.tolist() == [f's{i}' for i in range(50)]
        and collected.labels.dtype == np.int64
    )


def test_metric_takes_bfloat16_and_samples_without_a_name():
    metric = ClassifierMetric()
    metric.process(
        None,
        [
            dict(
                pred_score=torch.tensor([0.1, 0.9], dtype=torch.bfloat16),
                gt_label=torch.tensor([1]),
            )
        ],
    )
    assert metric.evaluate(1) == {
        'acc/top1': 100.0,
        'acc/top5': 100.0,
    } and metric.collected.names.tolist() == ['']


# the encoder that it starts from


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory) -> SimpleNamespace:
    """Checkpoints of one stream and of three, and their models."""
    folder = tmp_path_factory.mktemp('pretrained')
    single, several = MODELS.build(method('AimCLR')), build('AimCLR')
    for name, model in (('single', single), ('several', several)):
        for value in model.state_dict().values():
            value.copy_(
                torch.randint(1, 99, value.shape)
                if value.dtype == torch.long
                else torch.rand(value.shape)
            )
        torch.save(dict(state_dict=model.state_dict(), meta={}), folder / f'{name}.pth')
    return SimpleNamespace(folder=folder, single=single, several=several)


def start(model, checkpoint, stream=None, **state) -> list:
    """Runs the hook before a training; returns what it logs."""
    log = []
    runner = SimpleNamespace(
        **dict(dict(iter=0, model=model, logger=SimpleNamespace(info=log.append)), **state)
    )
    LoadEncoderHook(str(checkpoint), stream).before_train(runner)
    return log


def classifier(width: int = 8) -> nn.Module:
    """Something with a backbone, as a recognizer has it."""
    result = nn.Module()
    result.backbone = MODELS.build(dict(method()['backbone'], out_channels=width))
    return result


@pytest.mark.parametrize('wrap', [nn.Identity, nn.DataParallel])
def test_encoder_arrives_in_a_fresh_run(pretrained, wrap):
    model = classifier()
    log = start(model if wrap is nn.Identity else wrap(model), pretrained.folder / 'single.pth')
    assert states_equal(model.backbone, pretrained.single.encoder.backbone)
    assert not states_equal(model.backbone, pretrained.single.key_encoder.backbone)
    assert (
        len(log) == 1
        and f'{len(model.backbone.state_dict())} tensors' in log[0]
        and 'single.pth' in log[0]
    )


@pytest.mark.parametrize('stream', THREE)
def test_one_stream_of_several(pretrained, stream):
    model = classifier()
    start(model, pretrained.folder / 'several.pth', stream)
    assert states_equal(model.backbone, pretrained.several.streams[stream].encoder.backbone)


def test_resumed_run_keeps_its_weights(pretrained):
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert start(model, pretrained.folder / 'single.pth', iter=1) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    'width, file, stream, message',
    [
        (8, 'several.pth', None, 'joint, bone, motion; name one of them'),
        (8, 'several.pth', 'speed', "no 'speed'"),
        (
            16,
            'single.pth',
            None,
            r'does not fit the network.*encoder.backbone.gcn.9.*Use the config it was',
        ),
    ],
)
def test_encoder_that_does_not_fit(pretrained, width, file, stream, message):
    with pytest.raises(ValueError, match=f'{file}.*{message}'):
        start(classifier(width), pretrained.folder / file, stream)


def test_missing_encoder(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        start(classifier(), tmp_path / 'gone.pth')


def test_pretrained_of_the_command_line(pretrained):
    cfg = Config(dict(model=dict(type='RecognizerGCN'), custom_hooks=[dict(type='EpochSeedHook')]))
    path = str(pretrained.folder / 'single.pth')
    cli.use_pretrained(cfg, path, 'bone')
    assert cfg.custom_hooks == [
        dict(type='EpochSeedHook'),
        dict(type='LoadEncoderHook', checkpoint=path, stream='bone'),
    ]
    with pytest.raises(
        ValueError, match='--pretrained is for classifiers; the config has a AimCLR'
    ):
        cli.use_pretrained(Config(dict(model=dict(type='AimCLR'))), path, None)
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        cli.use_pretrained(cfg, 'gone.pth', None)


@pytest.mark.slow
def test_runner_loads_the_encoder_once(pretrained, tmp_path):
    """At a rate of zero the parameters stay: those of the checkpoint, after a resume with another one too."""
    write_pickle(
        [annotation(f's{i}', i % 3, people=2, frames=T) for i in range(8)],
        str(tmp_path / 'data.pkl'),
    )
    pipeline = [dict(type='FormatGCNInput', num_person=2), dict(type='PackActionInputs')]
    cfg = dict(
        default_scope='mmaction',
        work_dir=str(tmp_path / 'work'),
        log_level='WARNING',
        launcher='none',
        model=dict(
            type='RecognizerGCN',
            data_preprocessor=VIEWS,
            backbone=method()['backbone'],
            cls_head=dict(type='SkeletonHead', num_classes=3, in_channels=8),
        ),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(
                type='SkeletonDataset',
                ann_file=str(tmp_path / 'data.pkl'),
                pipeline=pipeline,
                num_classes=3,
            ),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        custom_hooks=[
            dict(type='PlainCheckpointHook'),
            dict(type='LoadEncoderHook', checkpoint=str(pretrained.folder / 'single.pth')),
        ],
    )
    wanted = dict(pretrained.single.encoder.backbone.named_parameters())
    first = Runner.from_cfg(Config(cfg))
    first.train()
    assert all(torch.equal(p, wanted[name]) for name, p in first.model.backbone.named_parameters())
    cfg.update(
        resume=True,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        custom_hooks=[
            dict(type='PlainCheckpointHook'),
            dict(
                type='LoadEncoderHook',
                checkpoint=str(pretrained.folder / 'several.pth'),
                stream='bone',
            ),
        ],
    )
    second = Runner.from_cfg(Config(cfg))
    second.train()
    assert (first.epoch, second.epoch, second.iter) == (1, 2, 4)
    assert all(torch.equal(p, wanted[name]) for name, p in second.model.backbone.named_parameters())
    assert torch.equal(first.model.cls_head.fc.weight, second.model.cls_head.fc.weight)
