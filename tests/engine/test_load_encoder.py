"""Trainings that start from a pre-trained encoder: LoadEncoderHook and ``--pretrained``."""

import copy
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
from aimclr_mm.skeletons import NTU25
from aimclr_mm.transforms.functional import select_stream
from tests import runs
from tests.datasets.helpers import annotation
from tests.models.test_cross_stream import THREE, K, build, method
from tests.models.test_model import states_equal
from tests.runs import assert_same, finish, write_config

T = 8  # frames
VIEWS = dict(type='LabeledViews', layout='ntu25', query=[dict(type='Shear', amplitude=0.5)])


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


def test_finetuning_from_a_classifier_of_other_classes(pretrained, tmp_path):
    source, model = classifier(), classifier()
    source.cls_head, model.cls_head = (nn.Linear(8, classes) for classes in (7, 3))
    source.backbone.load_state_dict(pretrained.single.encoder.backbone.state_dict())
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'finetuned.pth')
    before = model.cls_head.weight.clone()
    start(model, tmp_path / 'finetuned.pth')
    assert states_equal(model.backbone, source.backbone)
    assert torch.equal(model.cls_head.weight, before)  # the new classes start fresh


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
    several = Config(dict(model=dict(type='CrossStream', streams=['joint', 'bone'])))
    with pytest.raises(ValueError, match='--pretrained-stream bone .* trains joint, bone, each'):
        cli.use_pretrained(several, path, 'bone')
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        cli.use_pretrained(cfg, 'gone.pth', None)


# pre-trainings

PLAIN = dict(type='SkeletonViews', layout='ntu25', query=[], key=[], extreme=[])
BATCHES = [dict(inputs=torch.randn(4, 1, 2, T, 25, 3)) for _ in range(3)]  # of one pass


def pretraining(queue_length: int = K, streams: tuple[str, ...] = ()) -> nn.Module:
    """Return an AimCLR without dropout and augmentation, of one stream or of several."""
    single = dict(method('AimCLR'), queue_length=queue_length)
    if not streams:
        return MODELS.build(dict(single, data_preprocessor=PLAIN))
    views = dict(PLAIN, stream=list(streams))
    return MODELS.build(
        dict(type='CrossStream', model=single, streams=streams, data_preprocessor=views)
    )


def expected_bank(single: nn.Module, inputs: list[torch.Tensor], length: int) -> torch.Tensor:
    """Return the bank after passes over inputs (N, M, T, V, C), by a loop over keys."""
    bank, position = torch.zeros(length, single.memory_bank.keys.shape[1]), 0
    network = copy.deepcopy(single.key_encoder).train()
    while position < length:
        for x in inputs:
            for key in network(x).detach():
                bank[position % length] = key
                position += 1
            if position >= length:
                break
    return bank


@pytest.mark.parametrize('length', [5, 10, 12, 24, 30])
def test_the_memory_bank_is_filled_with_keys_of_the_training_data(pretrained, length):
    model = pretraining(length)
    log = start(model, pretrained.folder / 'single.pth', train_dataloader=BATCHES)

    assert states_equal(model.encoder, pretrained.single.encoder)
    assert states_equal(model.key_encoder, pretrained.single.encoder)
    expected = expected_bank(model, [batch['inputs'][:, 0] for batch in BATCHES], length)
    torch.testing.assert_close(model.memory_bank.keys, expected, rtol=0, atol=1e-6)
    filled = 4 * -(-length // 4)
    assert model.memory_bank.pointer == filled % length
    assert log[1] == 'Projection head: loaded too' and f'memory bank: {filled} of its' in log[2]
    assert not any(p.requires_grad or p.grad is not None for p in model.key_encoder.parameters())


def test_only_the_key_view_is_drawn_for_the_memory_bank(pretrained, monkeypatch):
    model, drawn = pretraining(), []
    monkeypatch.setattr(
        model.data_preprocessor,
        'make_views',
        lambda x, names=None: drawn.append(names) or dict.fromkeys(names, x),
    )
    start(model, pretrained.folder / 'single.pth', train_dataloader=BATCHES)
    assert drawn and all(names == ['key'] for names in drawn)


def test_a_head_that_is_missing_stays_fresh_in_both_encoders(pretrained, tmp_path):
    backbone = pretrained.single.encoder.backbone
    state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    torch.save(dict(state, **{'cls_head.fc.bias': torch.zeros(3)}), tmp_path / 'classifier.pth')
    model = pretraining()
    model.key_encoder.head.fc[0].weight.data.add_(1)
    head = copy.deepcopy(model.encoder.head)

    log = start(model, tmp_path / 'classifier.pth', train_dataloader=BATCHES)
    assert states_equal(model.encoder.backbone, backbone)
    assert states_equal(model.encoder.head, head)
    assert states_equal(model.key_encoder, model.encoder)
    assert log[1] == 'Projection head: not in the checkpoint: it starts fresh'


def test_every_stream_starts_from_its_own(pretrained):
    model = pretraining(8, THREE)
    log = start(model, pretrained.folder / 'several.pth', train_dataloader=BATCHES)
    for stream, single in model.streams.items():
        assert states_equal(single.encoder, pretrained.several.streams[stream].encoder)
        assert states_equal(single.key_encoder, single.encoder)
        inputs = [select_stream(b['inputs'][:, 0], stream, NTU25) for b in BATCHES]
        expected = expected_bank(single, inputs, 8)
        torch.testing.assert_close(single.memory_bank.keys, expected, rtol=0, atol=1e-6)
    assert sum('stream ' in line for line in log) == 3
    with pytest.raises(ValueError, match="holds a single stream .* no stream 'joint' to select"):
        start(pretraining(8, THREE), pretrained.folder / 'single.pth', train_dataloader=BATCHES)


def test_a_resumed_pre_training_keeps_its_memory_bank(pretrained):
    model = pretraining()
    before = copy.deepcopy(model)
    assert start(model, pretrained.folder / 'single.pth', iter=1, train_dataloader=BATCHES) == []
    assert states_equal(model, before)


@pytest.mark.slow
def test_a_resumed_command_ends_like_one_that_never_stopped(tmp_path):
    """From a classifier, so that the head is fresh."""
    config = write_config(tmp_path)
    cfg = Config.fromfile(config)
    torch.manual_seed(1)
    backbone = MODELS.build(dict(cfg.model.backbone, type='AimCLRSTGCN'))
    state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'classifier.pth')
    keep = ('--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1', 'train_cfg.max_epochs=2')
    options = ('--pretrained', str(tmp_path / 'classifier.pth'), *keep)
    assert finish(runs.start(config, tmp_path / 'whole', *options)) == 0
    resume = ('--resume', str(tmp_path / 'whole' / 'iter_3.pth'), *options)
    assert finish(runs.start(config, tmp_path / 'resumed', *resume)) == 0

    last = assert_same(tmp_path / 'whole' / 'iter_10.pth', tmp_path / 'resumed' / 'iter_10.pth')
    assert last['meta']['iter'] == 10
    first = torch.load(tmp_path / 'whole' / 'iter_1.pth', weights_only=True)['state_dict']
    for name, _ in backbone.named_parameters():  # the key encoder has not moved yet
        assert torch.equal(first[f'key_encoder.backbone.{name}'], state[f'backbone.{name}']), name


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
