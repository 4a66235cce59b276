"""Encoders from checkpoints: every tensor arrives, or none."""
from __future__ import annotations

from torch import nn


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
    state = checkpoint.get('state_dict', checkpoint)
    found = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    wanted = module.state_dict()
    problems = [f'{prefix}{name} is missing' for name in wanted if name not in found]
    problems += [f'{prefix}{name} is not known to the model' for name in found if name not in wanted]
    problems += [f'{prefix}{name} has shape {tuple(found[name].shape)}, the model {tuple(value.shape)}'
                 for name, value in wanted.items() if name in found and found[name].shape != value.shape]
    if problems:
        shown = '; '.join(problems[:8]) + ('; ...' if len(problems) > 8 else '')
        raise ValueError(f'checkpoint {filename!r} does not fit the network of the config in {len(problems)} of '
                         f'{len(wanted)} tensors: {shown}. Use the config it was trained with')
    module.load_state_dict(found)


def stream_prefix(checkpoint: dict, filename: str, stream: str | None) -> str:
    """What stands before the names of one stream's model: nothing, or ``streams.<stream>.``.

    Args:
        checkpoint, filename: see :func:`load_weights`.
        stream: the stream that is wanted; only needed where the checkpoint holds several.

    Raises:
        ValueError: if the checkpoint holds several streams, but not the one that is wanted, or none was named.
    """
    names = checkpoint.get('state_dict', checkpoint)
    streams = list(dict.fromkeys(key.split('.')[1] for key in names if key.startswith('streams.')))
    if not streams:
        return ''
    if stream not in streams:
        raise ValueError(f'checkpoint {filename!r} holds the streams {", ".join(streams)}; '
                         + ('name one of them' if stream is None else f'there is no {stream!r} in it'))
    return f'streams.{stream}.'
