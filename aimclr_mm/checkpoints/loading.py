"""Encoders from checkpoints: every tensor arrives, or none."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def load_weights(module: nn.Module, checkpoint: dict, filename: str, prefix: str = '') -> None:
    """Loads a part of a checkpoint and refuses one that does not fit tensor by tensor.

    Args:
        module: takes the tensors.
        checkpoint: content of the file.
        filename: its name, for the message.
        prefix: what stands before the module's names in the checkpoint.

    Raises:
        ValueError: if a tensor is missing, left over or of another shape; the message names them.
    """
    state = tensors(checkpoint, filename)
    found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    wanted = module.state_dict()
    problems = [f'{prefix}{name} is missing' for name in wanted if name not in found]
    problems += [
        f'{prefix}{name} is not known to the model' for name in found if name not in wanted
    ]
    problems += [
        f'{prefix}{name} has shape {shape_of(found[name])}, the model {tuple(value.shape)}'
        for name, value in wanted.items()
        if name in found and shape_of(found[name]) != tuple(value.shape)
    ]
    if problems:
        shown = '; '.join(problems[:8]) + ('; ...' if len(problems) > 8 else '')
        raise ValueError(
            f'checkpoint {filename!r} does not fit the network of the config in {len(problems)} of '
            f'{len(wanted)} tensors: {shown}. Use the config it was trained with'
        )
    module.load_state_dict(found)


def shape_of(value: Any) -> tuple[int, ...] | str:
    """Shape of a tensor, or what it is if it is none."""
    return (
        tuple(value.shape)
        if isinstance(value, Tensor)
        else f'of no tensor but a {type(value).__name__}'
    )


def tensors(checkpoint: dict, filename: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names.

    Args:
        checkpoint, filename: see :func:`load_weights`.

    Raises:
        ValueError: if it holds anything else in their place.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(
            f'checkpoint {filename!r} holds no tensors by name; it is no checkpoint of a network'
        )
    return state


def stream_prefix(checkpoint: dict, filename: str, stream: str | None) -> str:
    """What stands before the names of one stream's model: nothing, or ``streams.<stream>.``.

    Args:
        checkpoint, filename: see :func:`load_weights`.
        stream: the stream that is wanted; None where the checkpoint holds a single one.

    Raises:
        ValueError: if the checkpoint holds several streams, but not the one that is wanted, or none was named; if one
            was named and the checkpoint holds a single one.
    """
    streams = list(
        dict.fromkeys(
            key.split('.')[1] for key in tensors(checkpoint, filename) if key.startswith('streams.')
        )
    )
    if not streams:
        if stream is not None:
            raise ValueError(
                f'checkpoint {filename!r} holds a single stream, and does not tell which; {stream!r} was '
                'to be taken from one that holds several'
            )
        return ''
    if stream not in streams:
        raise ValueError(
            f'checkpoint {filename!r} holds the streams {", ".join(streams)}; '
            + ('name one of them' if stream is None else f'there is no {stream!r} in it')
        )
    return f'streams.{stream}.'


def load_model(
    model: nn.Module, checkpoint: dict, filename: str, stream: str | None = None
) -> None:
    """Loads what an evaluation needs of a network: the encoder of a pre-training, or all of a classifier.

    Args:
        model: the network.
        checkpoint, filename: see :func:`load_weights`.
        stream: the stream to take from a checkpoint that holds several.

    Raises:
        ValueError: if not every tensor fits.
    """
    prefix = stream_prefix(checkpoint, filename, stream) if stream else ''
    part, name = (model.encoder, 'encoder.') if hasattr(model, 'encoder') else (model, '')
    if name and checkpoint.get('meta', {}).get(
        'backbone_only'
    ):  # converted without head, which features lack
        part, name = part.backbone, 'encoder.backbone.'
    load_weights(part, checkpoint, filename, prefix + name)
