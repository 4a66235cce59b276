"""Strict loading of weights: all tensors must fit, or none is loaded."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

SHOWN = 8  # problems that a message names


def load_weights(module: nn.Module, checkpoint: dict, filename: str, prefix: str = '') -> None:
    """Load a part of a checkpoint strictly.

    Args:
        module: module to load into.
        checkpoint: content of the file.
        filename: name of the file, for the message.
        prefix: prefix of the module's names in the checkpoint.

    Raises:
        ValueError: if a tensor is missing, unknown or of another shape; the message names it.
    """
    state = state_dict_of(checkpoint, filename)
    found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    wanted = module.state_dict()

    problems = [f'{prefix}{name} is missing' for name in wanted if name not in found]
    problems += [f'{prefix}{name} is unknown to the model' for name in found if name not in wanted]
    problems += [
        f'{prefix}{name} has shape {_shape(found[name])}, the model {tuple(value.shape)}'
        for name, value in wanted.items()
        if name in found and _shape(found[name]) != tuple(value.shape)
    ]
    if problems:
        rest = '; ...' if len(problems) > SHOWN else ''
        raise ValueError(
            f'checkpoint {filename!r} does not fit the network of the config in {len(problems)} of '
            f'{len(wanted)} tensors: {"; ".join(problems[:SHOWN])}{rest}. Use the config it was '
            'trained with'
        )
    module.load_state_dict(found)


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


def stream_prefix(checkpoint: dict, filename: str, stream: str | None) -> str:
    """Return the prefix of a stream's names: ``streams.<stream>.``, or nothing for a single stream.

    Args:
        checkpoint, filename: see :func:`load_weights`.
        stream: the stream, or None for a checkpoint of a single one.

    Raises:
        ValueError: if the checkpoint holds several streams and ``stream`` is not among them, or it
            holds a single stream and one was named.
    """
    state = state_dict_of(checkpoint, filename)
    streams = list(dict.fromkeys(n.split('.')[1] for n in state if n.startswith('streams.')))

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


def load_model(
    model: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> None:
    """Load the weights that an evaluation needs: a pre-trained encoder, or a whole classifier.

    Args:
        model: the network.
        checkpoint, filename: see :func:`load_weights`.
        stream: stream to load from a checkpoint of several.

    Raises:
        ValueError: if not every tensor fits.
    """
    prefix = stream_prefix(checkpoint, filename, stream) if stream else ''
    if not hasattr(model, 'encoder'):
        load_weights(model, checkpoint, filename, prefix)
    elif checkpoint.get('meta', {}).get('backbone_only'):
        # converted without its head; features come from the backbone
        load_weights(model.encoder.backbone, checkpoint, filename, f'{prefix}encoder.backbone.')
    else:
        load_weights(model.encoder, checkpoint, filename, f'{prefix}encoder.')
