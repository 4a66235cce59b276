"""Classifiers initialized from a pre-trained encoder: LoadEncoderHook and ``--pretrained``."""

from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from aimclr_mm.apis import cli
from aimclr_mm.datasets import write_pickle
from aimclr_mm.engine import LoadEncoderHook
from tests.datasets.helpers import annotation
from tests.models.test_cross_stream import THREE, build, method
from tests.models.test_model import states_equal

T = 8  # frames
VIEWS = dict(type='LabelledViews', layout='ntu25', query=[dict(type='Shear', amplitude=0.5)])


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
        and f'{len(model.backbone.state_dict())} encoder tensors' in log[0]
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
        (8, 'several.pth', 'speed', "'speed' is not among"),
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
    """With a learning rate of 0 the parameters stay those of the checkpoint, also on resume."""
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
