"""Nearest neighbors that mining would choose (Eq. 9), among the whole training split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track
from torch import Tensor

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets import SkeletonDataset
from aimclr_mm.models.methods.skeletonclr import SkeletonCLR

from .inputs import as_sequence
from .strips import Strip

BATCH_SIZE = 64
PROGRESS_SEQUENCES = 512  # longer splits show a progress bar
SAME, DIFFERENT, QUERY = '#2e8b57', '#bd1f01', '#404040'
BORDERS = {SAME: 'border: same label as the query', DIFFERENT: 'border: different label'}


def training_data(cfg: Config, ann_file: str | None = None) -> SkeletonDataset:
    """Build the training split of a config.

    Args:
        cfg: config of a pre-training.
        ann_file: annotation file to take it from; None for that of the config.

    Raises:
        ValueError: if the config has no training data.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if not cfg.get('train_dataloader'):
        raise ValueError(
            f'config {cfg.filename!r} has no train_dataloader, whose data the neighbors are from'
        )
    settings = dict(cfg.train_dataloader.dataset, batched=False)
    if ann_file:
        settings['ann_file'] = ann_file
    return DATASETS.build(settings)


def choose_queries(
    names: Sequence[str], wanted: Sequence[str] | None, count: int, seed: int
) -> list[int]:
    """Return the indices of the query sequences.

    Args:
        names: names of all sequences.
        wanted: names of the queries; None draws them.
        count: how many to draw.
        seed: seed of the draw.

    Raises:
        ValueError: for an unknown name, or more queries than sequences.
    """
    if wanted is not None:
        return [find_name(names, name, 'the training split') for name in wanted]
    if not 1 <= count <= len(names):
        raise ValueError(
            f'{count} queries requested; the training split has {len(names)} sequences'
        )
    return np.random.default_rng(seed).choice(len(names), count, replace=False).tolist()


def find_name(names: Sequence[str], name: str, where: str) -> int:
    """Return the index of a name; the ValueError for an unknown one lists some that exist."""
    if name not in names:
        raise ValueError(
            f'{where} has no sequence {name!r}; the first of its {len(names)} are '
            f'{", ".join(map(repr, names[:5]))}'
        )
    return list(names).index(name)


def load_keys(model: torch.nn.Module, checkpoint: str, stream: str | None = None) -> SkeletonCLR:
    """Load the key encoder too, which evaluations do without.

    Args:
        model: the model, as :func:`aimclr_mm.apis.load_encoder` returns it.
        checkpoint, stream: checkpoint and stream that it was loaded from.

    Raises:
        ValueError: if the model has no key encoder or several streams, or the checkpoint does not
            contain a matching one.
    """
    if not isinstance(model, SkeletonCLR):
        hint = ''
        if hasattr(model, 'streams'):
            hint = f'; choose one with --stream: {", ".join(model.streams)}'
        raise ValueError(f'the {type(model).__name__} of the config has no key encoder{hint}')

    if checkpoint != 'random':
        content = load_checkpoint_file(checkpoint)
        prefix = stream_prefix(content, checkpoint, stream) if stream else ''
        load_weights(model.key_encoder, content, checkpoint, f'{prefix}key_encoder.')
    return model


def neighbor_strips(
    model: SkeletonCLR, data: SkeletonDataset, queries: Sequence[int], k: int
) -> list[Strip]:
    """Return each query and its k neighbors; borders tell whether labels agree.

    Args:
        model: a pre-trained model.
        data: the training split, see :func:`training_data`.
        queries: indices of the queries in it.
        k: neighbors per query.
    """
    query, key = embed(model, data)
    similarities, indices = nearest_keys(query[queries], key, queries, k)

    strips = []
    for own, values, found in zip(queries, similarities.tolist(), indices.tolist()):
        strips.append(_strip(data, own, 'query', QUERY))
        for value, index in zip(values, found):
            border = _border(_label(data, own), _label(data, index))
            strips.append(_strip(data, index, f'cosine {value:.3f}', border))
    return strips


@torch.no_grad()
def embed(model: SkeletonCLR, data: SkeletonDataset) -> tuple[Tensor, Tensor]:
    """Return query and key embeddings of a split without augmentation, (N, D) unit vectors each."""
    query, key = [], []
    starts = track(
        range(0, len(data), BATCH_SIZE),
        'Embedding',
        console=Console(stderr=True),
        disable=len(data) < PROGRESS_SEQUENCES,
    )
    for start in starts:
        indices = range(start, min(start + BATCH_SIZE, len(data)))
        inputs = [data[index]['inputs'][:1] for index in indices]  # the first clip
        x = model.data_preprocessor(dict(inputs=inputs), False)['inputs']
        query.append(model.encoder(x))
        key.append(model.key_encoder(x))
    return torch.cat(query), torch.cat(key)


def nearest_keys(query: Tensor, key: Tensor, own: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """Find the most similar keys of other sequences.

    Args:
        query: (Q, D) embeddings of the queries.
        key: (N, D) embeddings to search.
        own: indices of the Q queries among the N, which are excluded.
        k: neighbors per query, at most N - 1.

    Returns:
        Cosine similarities (Q, k), largest first, and indices (Q, k).

    Raises:
        ValueError: if there are not enough sequences.
    """
    if not 1 <= k < len(key):
        raise ValueError(
            f'k={k}; there are {len(key) - 1} sequences besides the query: give 1 to {len(key) - 1}'
        )
    similarity = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T
    similarity[torch.arange(len(own)), torch.as_tensor(own)] = -torch.inf
    return similarity.topk(k, dim=1)


def _label(data: SkeletonDataset, index: int) -> int | None:
    return data.get_data_info(index).get('label')


def _border(wanted: int | None, label: int | None) -> str | None:
    """Return the color that tells whether two labels agree; None if one is unknown."""
    if wanted is None or label is None:
        return None
    return SAME if label == wanted else DIFFERENT


def _strip(data: SkeletonDataset, index: int, note: str, border: str | None) -> Strip:
    """Return a strip with note, class and name as its title."""
    info = data.get_data_info(index)
    name, label = str(info['frame_dir']), info.get('label')
    if label is not None:
        classes = (data.cached.metainfo if data.cached else {}).get('classes') or []
        note += f', {classes[label]}' if label < len(classes) else f', class {label}'
    return Strip(as_sequence(data[index]['inputs'][0], name), f'{note}\n{name}', border)
