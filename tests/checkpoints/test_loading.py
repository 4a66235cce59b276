"""Encoders from checkpoints: every tensor arrives or none, and what does not fit is named."""

import copy

import pytest
import torch
from torch import nn

from aimclr_mm.checkpoints.loading import (
    load_encoder_weights,
    load_encoders,
    load_weights,
    stream_prefix,
)
from aimclr_mm.checkpoints.released import convert
from aimclr_mm.models.encoder import Encoder
from tests.models.test_cross_stream import THREE, TWO, build, method
from tests.models.test_model import states_equal


def encoder(width: int = 8) -> Encoder:
    """An encoder whose every tensor, buffers included, holds numbers of its own."""
    cfg = method()
    result = Encoder(
        dict(cfg['backbone'], out_channels=width), dict(cfg['head'], in_channels=width)
    )
    for value in result.state_dict().values():
        value.copy_(
            torch.randint(1, 99, value.shape)
            if value.dtype == torch.long
            else torch.rand(value.shape)
        )
    return result


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all tensors."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    """Whether all tensors of two states are equal."""
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize('wrap', [True, False], ids=['state_dict', 'bare'])
@pytest.mark.parametrize('prefix', ['', 'encoder.', 'streams.bone.encoder.'])
def test_every_tensor_arrives(wrap, prefix):
    ours, theirs = encoder(), encoder()
    assert not any(
        torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values())
    )
    state = {f'{prefix}{name}': value for name, value in theirs.state_dict().items()}
    if prefix:  # what belongs to others is left alone
        state.update(
            {'memory_bank.keys': torch.zeros(2), 'key_encoder.head.fc.0.weight': torch.zeros(3)}
        )
    load_weights(ours, dict(state_dict=state) if wrap else state, 'x.pth', prefix)
    assert states_equal(ours, theirs)
    names = set(ours.state_dict())
    assert any(name.endswith('running_mean') for name in names) and 'backbone.gcn.0.gcn.A' in names


def test_numbers_of_half_precision_are_converted():
    ours, theirs = encoder(), encoder()
    load_weights(
        ours,
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in theirs.state_dict().items()
        },
        'x.pth',
    )
    assert all(value.dtype != torch.float16 for value in ours.state_dict().values())
    torch.testing.assert_close(ours.head.fc[0].weight, theirs.head.fc[0].weight.half().float())


WRONG = {  # what is done to a checkpoint, and what the message says
    'missing': (
        lambda s: s.pop('e.head.fc.2.bias'),
        r'in 1 of \d+ tensors: e.head.fc.2.bias is missing',
    ),
    'missing_buffer': (
        lambda s: s.pop('e.backbone.data_bn.running_var'),
        'e.backbone.data_bn.running_var is missing',
    ),
    'extra': (
        lambda s: s.update({'e.head.fc.4.weight': torch.zeros(1)}),
        'e.head.fc.4.weight is unknown',
    ),
    'shape': (
        lambda s: s.update({'e.head.fc.2.bias': torch.zeros(7)}),
        r'e.head.fc.2.bias has shape \(7,\), the model \(6,\)',
    ),
    'scalar': (
        lambda s: s.update({'e.head.fc.2.bias': torch.tensor(1.0)}),
        r'has shape \(\), the model \(6,\)',
    ),
    'two': (
        lambda s: (s.pop('e.head.fc.2.bias'), s.update({'e.head.fc.0.bias': torch.zeros(2)})),
        r'in 2 of .*e.head.fc.2.bias is missing; e.head.fc.0.bias has shape',
    ),
    'number': (lambda s: s.update({'e.head.fc.2.bias': 3}), 'e.head.fc.2.bias'),
    'text': (lambda s: s.update({'e.head.fc.2.bias': 'abc'}), 'e.head.fc.2.bias'),
    'list': (lambda s: s.update({'e.head.fc.2.bias': [0.0] * 6}), 'e.head.fc.2.bias'),
}


@pytest.mark.parametrize('name', WRONG)
def test_what_does_not_fit_is_named_and_nothing_changes(name):
    change, message = WRONG[name]
    ours, theirs = encoder(), encoder()
    state, before = (
        {f'e.{key}': value for key, value in theirs.state_dict().items()},
        snapshot(ours),
    )
    change(state)
    with pytest.raises(ValueError, match=f"'x.pth' does not fit.*{message}.*Use the config"):
        load_weights(ours, dict(state_dict=state), 'x.pth', 'e.')
    assert same(before, snapshot(ours))


def test_long_lists_are_cut():
    ours = encoder()
    with pytest.raises(ValueError) as caught:
        load_weights(ours, dict(state_dict={}), 'x.pth')
    count = len(ours.state_dict())
    assert f'in {count} of {count} tensors' in str(caught.value)
    assert str(caught.value).count('is missing') == 8 and '; ...' in str(caught.value)


CLASSIFIER = {'backbone.w': torch.zeros(2), 'cls_head.fc.weight': torch.zeros(3, 2)}
PRETRAINING = {'encoder.backbone.w': torch.zeros(2), 'key_encoder.w': torch.zeros(2)}


@pytest.mark.parametrize(
    'found, wanted, message',
    [
        (CLASSIFIER, PRETRAINING, r'in 4 of 4 tensors.*is a classifier.*--with configs/protocols'),
        (PRETRAINING, CLASSIFIER, r'in 4 of 4 tensors.*no classifier; start .* --pretrained'),
        (
            {'encoder_q.gcn': torch.zeros(1), 'encoder_k.gcn': torch.zeros(1)},
            CLASSIFIER,
            'in 4 of 4 tensors.*tools/export.py from_released',
        ),
        (
            {**CLASSIFIER, 'cls_head.fc.weight': torch.zeros(7, 2)},
            CLASSIFIER,
            'in 1 of 2 tensors.*It has 7 classes, the config 3; set num_classes.*--pretrained',
        ),
        ({**CLASSIFIER, 'x': torch.zeros(1)}, CLASSIFIER, 'in 1 of 3 tensors.*Use the config it'),
    ],
)
def test_message_counts_right_and_names_the_remedy(found, wanted, message):
    class Network(torch.nn.Module):
        def state_dict(self):
            return wanted

    with pytest.raises(ValueError, match=f"'x.pth' does not fit.*{message}"):
        load_weights(Network(), dict(state_dict=found), 'x.pth')


def test_another_width_is_refused():
    with pytest.raises(
        ValueError, match=r'head.fc.0.weight has shape \(8, 16\), the model \(8, 8\)|; \.\.\.'
    ):
        load_weights(encoder(), encoder(16).state_dict(), 'x.pth')


@pytest.mark.parametrize(
    'content',
    [
        dict(state_dict=3),
        dict(state_dict=[torch.zeros(1)]),
        dict(state_dict=None),
        dict(state_dict={1: torch.zeros(1)}),
        {2: 'x'},
    ],
)
def test_contents_that_are_no_weights(content):
    with pytest.raises(ValueError, match='x.pth'):
        load_weights(encoder(), content, 'x.pth')
    with pytest.raises(ValueError, match='x.pth'):
        load_weights(
            encoder(), content, 'x.pth', stream_prefix(content, 'x.pth', None) + 'encoder.'
        )


# several streams


@pytest.mark.parametrize('streams', [TWO, THREE])
def test_prefix_of_a_stream(streams):
    model = build(streams=streams)
    content = dict(state_dict=model.state_dict())
    for stream in streams:
        prefix = stream_prefix(content, 'x.pth', stream)
        assert prefix == f'streams.{stream}.'
        single = encoder()
        load_weights(single, content, 'x.pth', f'{prefix}encoder.')
        assert states_equal(single, model.streams[stream].encoder)
        assert not states_equal(
            single, model.streams[next(s for s in streams if s != stream)].encoder
        )


@pytest.mark.parametrize(
    'stream, message',
    [
        (None, 'holds the streams bone, motion; name one of them'),
        ('joint', "holds the streams bone, motion; 'joint' is not among them"),
        ('', "'' is not among them"),
    ],
)
def test_stream_that_is_not_there(stream, message):
    with pytest.raises(ValueError, match=f"'x.pth' {message}" if stream != '' else message):
        stream_prefix(dict(state_dict=build(streams=TWO).state_dict()), 'x.pth', stream)


@pytest.mark.parametrize('wrap', [True, False])
def test_checkpoint_of_one_stream_has_no_prefix(wrap):
    state = copy.deepcopy(encoder().state_dict())
    assert stream_prefix(dict(state_dict=state) if wrap else state, 'x.pth', None) == ''


# encoders in checkpoints of every kind


def classifier_state(model: nn.Module, head: str) -> dict[str, torch.Tensor]:
    """Return the state of a classifier with the backbone of an encoder."""
    state = {f'backbone.{name}': value for name, value in model.backbone.state_dict().items()}
    return {**state, f'{head}.fc.weight': torch.zeros(3, 8), f'{head}.fc.bias': torch.zeros(3)}


KINDS = {  # state dict of an encoder, and whether it has a head
    'pre-training': (
        lambda e: (
            {f'encoder.{n}': v for n, v in e.state_dict().items()}
            | {f'key_encoder.{n}': v + 1 for n, v in e.state_dict().items()}
            | {'memory_bank.keys': torch.zeros(4, 6)}
        ),
        True,
    ),
    'no head': (
        lambda e: {f'encoder.backbone.{n}': v for n, v in e.backbone.state_dict().items()},
        False,
    ),
    'encoder': (lambda e: e.state_dict(), True),
    'backbone': (lambda e: e.backbone.state_dict(), False),
    'classifier': (lambda e: classifier_state(e, 'cls_head'), False),
}


@pytest.mark.parametrize('stream', [None, 'bone'])
@pytest.mark.parametrize('kind', KINDS)
def test_encoders_are_found_in_checkpoints_of_every_kind(kind, stream):
    make, has_head = KINDS[kind]
    ours, theirs = encoder(), encoder()
    fresh = snapshot(ours.head)
    state = make(theirs)
    if stream:
        others = {f'streams.joint.{name}': value + 1 for name, value in state.items()}
        state = others | {f'streams.bone.{name}': value for name, value in state.items()}

    assert load_encoder_weights(ours, dict(state_dict=state), 'x.pth', stream) == has_head
    assert states_equal(ours.backbone, theirs.backbone)
    assert same(snapshot(ours.head), snapshot(theirs.head) if has_head else fresh)


@pytest.mark.parametrize('kind', KINDS)
def test_every_tensor_of_a_found_encoder_is_needed(kind):
    ours = encoder()
    before, state = snapshot(ours), dict(KINDS[kind][0](encoder()))
    (name,) = (n for n in state if n.endswith('gcn.9.tcn.conv.bias') and 'key_' not in n)
    del state[name]
    with pytest.raises(ValueError, match=f"'x.pth' does not fit .* {name} is missing"):
        load_encoder_weights(ours, state, 'x.pth')
    assert same(before, snapshot(ours))


def test_a_head_with_a_missing_tensor_is_refused():
    state = dict(encoder().state_dict())
    del state['head.fc.0.bias']
    with pytest.raises(ValueError, match=r'in 1 of \d+ tensors: head.fc.0.bias is missing'):
        load_encoder_weights(encoder(), state, 'x.pth')


@pytest.mark.parametrize('names', [[], ['conv1.weight', 'fc.bias'], ['cls_head.fc.weight']])
def test_checkpoints_without_an_encoder_are_refused(names):
    state = {name: torch.zeros(1) for name in names}
    shown = ', '.join(names) or 'nothing'
    with pytest.raises(ValueError, match=f"'x.pth' holds no encoder.*begin with {shown}. Give a"):
        load_encoder_weights(encoder(), state, 'x.pth')


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_released_files_are_converted(prefix):
    theirs = encoder()
    ours = {
        f'{part}.{n}': v
        for part in ('encoder', 'key_encoder')
        for n, v in theirs.state_dict().items()
    }
    for name in ours:
        if name.endswith('.A'):
            ours[name] = ours['encoder.backbone.gcn.0.gcn.A']
    ours |= {'memory_bank.keys': torch.zeros(4, 6), 'memory_bank.pointer': torch.tensor(0)}
    released = {prefix + name: value for name, value in convert(ours).state.items()}

    loaded = encoder()
    assert load_encoder_weights(loaded, released, 'x.pt') is True
    assert same(snapshot(loaded), {n: ours[f'encoder.{n}'] for n in theirs.state_dict()})
    del released[f'{prefix}queue']
    with pytest.raises(ValueError, match="checkpoint 'x.pt': 1 of its .* queue is missing"):
        load_encoder_weights(loaded, released, 'x.pt')


def test_models_of_several_streams_take_theirs():
    ours, theirs = build(streams=TWO), build(streams=TWO)
    load_encoders(ours, theirs.state_dict(), 'x.pth')
    for stream in TWO:
        assert states_equal(ours.streams[stream].encoder, theirs.streams[stream].encoder)
    with pytest.raises(ValueError, match="holds a single stream .* no stream 'bone' to select"):
        load_encoders(ours, encoder().state_dict(), 'x.pth')
