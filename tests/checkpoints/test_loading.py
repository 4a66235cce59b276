"""Encoders from checkpoints: every tensor arrives or none, and what does not fit is named."""

import copy

import pytest
import torch
from torch import nn

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
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
