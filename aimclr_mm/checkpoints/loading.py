"""Strict loading of weights: all tensors must fit, or none is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .released import any_starts_with, convert, is_released, recognize

SHOWN = 8  # problems that a message names
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def load_weights(module: nn.Module, checkpoint: dict, filename: str, prefix: str = '') -> None:
    """Load a part of a checkpoint strictly.

    Args:
        module: module to load into.
        checkpoint: content of the file.
        filename: name of the file, for the message.
        prefix: prefix of the module's names in the checkpoint.

    Raises:
        ValueError: if a tensor is missing, unknown, of another shape or kind of numbers, or not
            finite, or if a part of the module refuses it (``value_defect``); the message names it.
    """
    state = state_dict_of(checkpoint, filename)
    found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    wanted = module.state_dict()

    problems = [f'{prefix}{name} is missing' for name in wanted if name not in found]
    problems += [f'{prefix}{name} is unknown to the model' for name in found if name not in wanted]
    problems += [
        f'{prefix}{name} {defect}'
        for name, value in wanted.items()
        if name in found and (defect := _defect(found[name], value))
    ]
    problems = problems or _defects_of_parts(module, found, prefix)
    if problems:
        rest = '; ...' if len(problems) > SHOWN else ''
        raise ValueError(
            f'checkpoint {filename!r} does not fit the network of the config in {len(problems)} of '
            f'{len(wanted.keys() | found.keys())} tensors: {"; ".join(problems[:SHOWN])}{rest}. '
            f'{_remedy(found, wanted)}'
        )
    module.load_state_dict(found)


def _remedy(found: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> str:
    """Return what helps when the weights of a checkpoint do not fit those of a network."""
    if is_released(found):
        return (
            'It is in the format of the released code; convert it with tools/export.py '
            'from_released, or take its encoder with --pretrained'
        )
    has_head, needs_head = (any_starts_with(state, 'cls_head.') for state in (found, wanted))
    if has_head and not needs_head:
        return (
            'It is a classifier, and the config is not; add --with configs/protocols/finetune.py, '
            'or take its encoder with --pretrained'
        )
    if needs_head and not has_head:
        return 'It holds no classifier; start from its encoder with --pretrained'

    weight, ours = (state.get('cls_head.fc.weight') for state in (found, wanted))
    if needs_head and isinstance(weight, Tensor) and weight.shape[:1] != ours.shape[:1]:
        return (
            f'It has {len(weight)} classes, the config {len(ours)}; set num_classes to those of '
            'the checkpoint, or train another classifier on its encoder with --pretrained'
        )
    return 'Use the config it was trained with'


def _defect(value: Any, wanted: Tensor) -> str:
    """Return why a value cannot be loaded into a tensor; empty if it can.

    torch would cast any numbers to those of the model, and drop the imaginary part of complex ones.
    """
    if _shape(value) != tuple(wanted.shape):
        return f'has shape {_shape(value)}, the model {tuple(wanted.shape)}'
    same = any(value.dtype in kind and wanted.dtype in kind for kind in (_FLOATS, _INTEGERS))
    if value.dtype != wanted.dtype and not same:
        return f'is of {value.dtype}, the model of {wanted.dtype}'
    if wanted.is_floating_point() and not torch.isfinite(value.to(wanted.dtype)).all():
        return 'holds NaN or infinity'
    return ''


def _defects_of_parts(module: nn.Module, found: dict[str, Tensor], prefix: str) -> list[str]:
    """Return the defects that parts of a module find in values that fit otherwise."""
    defects = []
    for name, part in module.named_modules():
        if hasattr(part, 'value_defect'):
            inner = f'{name}.' if name else ''
            values = {key: found[f'{inner}{key}'] for key in part.state_dict()}
            if defect := part.value_defect(**values):
                defects.append(f'{prefix}{inner}{defect}')
    return defects


def _shape(value: Any) -> tuple[int, ...] | str:
    """Return the shape of a tensor, or the type of another value."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return f'of a {type(value).__name__}, not a tensor'


def state_dict_of(checkpoint: dict, filename: str) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint.

    Args:
        checkpoint, filename: see :func:`load_weights`.

    Raises:
        ValueError: if it holds anything but named tensors.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(
            f'checkpoint {filename!r} holds no tensors by name; it is not a checkpoint of a network'
        )
    return state


def streams_of(checkpoint: dict, filename: str) -> list[str]:
    """Return the names of the streams of a checkpoint; none for that of a single stream.

    Args:
        checkpoint, filename: see :func:`load_weights`.
    """
    state = state_dict_of(checkpoint, filename)
    return list(dict.fromkeys(n.split('.')[1] for n in state if n.startswith('streams.')))


def choose_stream(
    model: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> str | None:
    """Return the stream to load: the named one, or that of the config if the checkpoint has it.

    Args:
        model: a pre-training of one stream or of several, or a classifier.
        checkpoint, filename: see :func:`load_weights`.
        stream: name of the stream; None if none was named.
    """
    own = getattr(getattr(model, 'data_preprocessor', None), 'stream', None)
    if stream is None and own in streams_of(checkpoint, filename):
        return own
    return stream


def stream_prefix(checkpoint: dict, filename: str, stream: str | None) -> str:
    """Return the prefix of a stream's names: ``streams.<stream>.``, or nothing for a single stream.

    Args:
        checkpoint, filename: see :func:`load_weights`.
        stream: the stream, or None for a checkpoint of a single one.

    Raises:
        ValueError: if the checkpoint holds several streams and ``stream`` is not among them, or it
            holds a single stream and one was named.
    """
    streams = streams_of(checkpoint, filename)
    if not streams and stream is not None:
        raise ValueError(
            f'checkpoint {filename!r} holds a single stream and does not say which; it has no '
            f'stream {stream!r} to select'
        )
    if streams and stream not in streams:
        remedy = 'name one of them' if stream is None else f'{stream!r} is not among them'
        raise ValueError(
            f'checkpoint {filename!r} holds the streams {", ".join(streams)}; {remedy}'
        )
    return f'streams.{stream}.' if streams else ''


def find_encoder(
    checkpoint: dict, filename: str, stream: str | None = None
) -> tuple[dict[str, Tensor], str, bool]:
    """Find the query encoder in a checkpoint.

    The checkpoint is a pre-training (``encoder.backbone.*``, with or without ``encoder.head.*``), a
    classifier (``backbone.*``), an encoder alone (``backbone.*``, ``head.*``) or a backbone alone
    (``data_bn.*``, ``gcn.*``), of one stream or of several; or one in the released format, which is
    converted.

    Args:
        checkpoint, filename: see :func:`load_weights`.
        stream: see :func:`stream_prefix`.

    Returns:
        The state dict in our format, the prefix of the backbone in it, and whether there is a
        projection head.

    Raises:
        ValueError: if there is no encoder, or the stream does not fit.
    """
    state = state_dict_of(checkpoint, filename)
    if is_released(state):
        state = _from_released(state, filename)
    prefix = stream_prefix(state, filename, stream)

    for part in ('encoder.', ''):
        if any_starts_with(state, f'{prefix}{part}backbone.'):
            return state, f'{prefix}{part}backbone.', any_starts_with(state, f'{prefix}{part}head.')
    if any_starts_with(state, (f'{prefix}data_bn.', f'{prefix}gcn.')):
        return state, prefix, False
    raise ValueError(
        f'checkpoint {filename!r} holds no encoder: {prefix}encoder.backbone.*, '
        f'{prefix}backbone.* or {prefix}gcn.* is missing, its names begin with '
        f'{", ".join(list(state)[:3]) or "nothing"}. Give a pre-training, a classifier or a '
        'backbone of this package, or a released checkpoint of AimCLR, SkeletonCLR or CrosSCLR'
    )


def encoder_state(checkpoint: dict, filename: str, stream: str | None = None) -> dict[str, Tensor]:
    """Return backbone and, where there is one, head of a checkpoint as ``encoder.*``.

    Args:
        checkpoint, filename, stream: see :func:`find_encoder`.
    """
    state, prefix, has_head = find_encoder(checkpoint, filename, stream)
    parts = {'encoder.backbone.': prefix}
    if has_head:
        parts['encoder.head.'] = f'{prefix.removesuffix("backbone.")}head.'
    return {
        new + name.removeprefix(old): value
        for new, old in parts.items()
        for name, value in state.items()
        if name.startswith(old)
    }


def _from_released(state: dict[str, Tensor], filename: str) -> dict[str, Tensor]:
    """Convert a released state dict; heads that ours cannot represent are left out."""
    try:
        plain = {name.replace('module.', ''): value for name, value in state.items()}
        return convert(plain, backbone_only=bool(recognize(plain).tied)).state
    except ValueError as error:
        raise ValueError(f'checkpoint {filename!r}: {error}') from error


def load_encoder_weights(
    encoder: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> bool:
    """Load the encoder of a checkpoint strictly.

    Every tensor of the backbone must be there. The head is loaded if the checkpoint has one, and
    keeps its weights otherwise.

    Args:
        encoder: module with a ``backbone``, and possibly a ``head``.
        checkpoint, filename, stream: see :func:`find_encoder`.

    Returns:
        Whether a head was loaded.

    Raises:
        ValueError: if there is no encoder, or not every tensor fits.
    """
    state, prefix, has_head = find_encoder(checkpoint, filename, stream)
    if has_head and hasattr(encoder, 'head'):
        load_weights(encoder, state, filename, prefix.removesuffix('backbone.'))
        return True
    load_weights(encoder.backbone, state, filename, prefix)
    return False


def find_encoders(model: nn.Module) -> dict[str | None, nn.Module]:
    """Return the modules of a network that have a ``backbone``, by stream.

    The stream is None for a network of a single one: a pre-training or a classifier.

    Raises:
        ValueError: if the network has no backbone.
    """
    streams = getattr(model, 'streams', {None: model})
    encoders = {stream: getattr(single, 'encoder', single) for stream, single in streams.items()}
    if not all(hasattr(encoder, 'backbone') for encoder in encoders.values()):
        raise ValueError(
            f'the {type(model).__name__} of the config has no backbone to load an encoder into'
        )
    return encoders


def load_encoders(
    model: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> None:
    """Load all that representations need: the encoder of each stream.

    Args:
        model: a pre-training of one stream or of several, or a classifier.
        checkpoint, filename: see :func:`find_encoder`.
        stream: stream to load into a model of a single one from a checkpoint of several; that of
            the config if not given.

    Raises:
        ValueError: if there is no encoder, or not every tensor fits.
    """
    stream = choose_stream(model, checkpoint, filename, stream)
    for name, encoder in find_encoders(model).items():
        load_encoder_weights(encoder, checkpoint, filename, name or stream)


def load_classifier(
    model: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> None:
    """Load a whole classifier strictly, backbone and classification head.

    Args:
        model: mmaction2's recognizer.
        checkpoint, filename, stream: see :func:`find_encoder`.

    Raises:
        ValueError: if there is no classification head, or not every tensor fits.
    """
    state, prefix, _ = find_encoder(checkpoint, filename, stream)
    prefix = prefix.removesuffix('backbone.')
    if not any_starts_with(state, f'{prefix}cls_head.'):
        raise ValueError(
            f'checkpoint {filename!r} holds an encoder, but no classifier (cls_head.*), and '
            'the config is of a classifier; evaluate the encoder without '
            '--with configs/protocols/finetune.py'
        )
    load_weights(model, state, filename, prefix)


def find_head(checkpoint: dict, filename: str, stream: str | None = None) -> tuple[Tensor, Tensor]:
    """Return weight (K, C) and bias (K,) of the linear classification head of a checkpoint.

    Args:
        checkpoint, filename, stream: see :func:`find_encoder`.

    Raises:
        ValueError: if the checkpoint has no linear head.
    """
    state, prefix, _ = find_encoder(checkpoint, filename, stream)
    prefix = prefix.removesuffix('backbone.') + 'cls_head.fc.'
    weight, bias = (state.get(f'{prefix}{name}') for name in ('weight', 'bias'))
    shapes = [_shape(value) for value in (weight, bias)]
    if not isinstance(weight, Tensor) or weight.ndim != 2 or shapes[1] != shapes[0][:1]:
        raise ValueError(
            f'checkpoint {filename!r} holds no classifier ({prefix}weight); finetune it with '
            '--with configs/protocols/finetune.py, or fit a classifier to a few examples with '
            'tools/embed.py few_shot --save and give it as --classifier'
        )
    return weight, bias
