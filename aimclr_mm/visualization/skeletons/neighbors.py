"""The nearest neighbours that mining chooses (Eq. 9), with the training split in the place of the memory queue."""

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

BATCH = 64
LONG = 512  # sequences from which on a progress bar is shown
AGREE, DISAGREE, QUERY = '#2e8b57', '#bd1f01', '#404040'
BORDERS = {AGREE: 'frame: same label', DISAGREE: 'frame: another label'}


def training_data(cfg: Config, ann_file: str | None = None) -> SkeletonDataset:
    """The training split of a config.

    Args:
        cfg: config of a pre-training.
        ann_file: another annotation file to take it from.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if not cfg.get('train_dataloader'):
        raise ValueError(
            f'config {cfg.filename!r} has no train_dataloader, whose data are the gallery'
        )
    settings = dict(cfg.train_dataloader.dataset, batched=False)
    return DATASETS.build({**settings, 'ann_file': ann_file} if ann_file else settings)


def choose_queries(
    names: Sequence[str], wanted: Sequence[str] | None, count: int, seed: int
) -> list[int]:
    """Places of the query sequences.

    Args:
        names: of all sequences.
        wanted: names of the queries; None draws them.
        count: how many are drawn.
        seed: of the draw.

    Raises:
        ValueError: for a name that does not exist, or more queries than sequences.
    """
    if wanted is None:
        if not 1 <= count <= len(names):
            raise ValueError(
                f'{count} queries are asked for; the training split has {len(names)} sequences'
            )
        return np.random.default_rng(seed).choice(len(names), count, replace=False).tolist()
    return [find_name(names, name, 'the training split') for name in wanted]


def find_name(names: Sequence[str], name: str, where: str) -> int:
    """Place of a name; raises ValueError with the first names there are if it is not one of them."""
    if name not in names:
        raise ValueError(
            f'{where} has no sequence {name!r}; the first of its {len(names)} are '
            f'{", ".join(map(repr, names[:5]))}'
        )
    return list(names).index(name)


def load_keys(model: torch.nn.Module, checkpoint: str, stream: str | None = None) -> SkeletonCLR:
    """Loads the key encoder too, which evaluations do without.

    Args:
        model: as :func:`aimclr_mm.apis.load_encoder` gives it.
        checkpoint, stream: what it was loaded from.

    Raises:
        ValueError: if the model has no key encoder, or several streams, or the checkpoint has none that fits.
    """
    if not isinstance(model, SkeletonCLR):
        hint = (
            f'; choose one with --stream: {", ".join(model.streams)}'
            if hasattr(model, 'streams')
            else ''
        )
        raise ValueError(
            f'the {type(model).__name__} of the config has no keys to mine among{hint}'
        )
    if checkpoint != 'random':
        content = load_checkpoint_file(checkpoint)
        prefix = stream_prefix(content, checkpoint, stream) if stream else ''
        load_weights(model.key_encoder, content, checkpoint, f'{prefix}key_encoder.')
    return model


@torch.no_grad()
def project(model: SkeletonCLR, data: SkeletonDataset) -> tuple[Tensor, Tensor]:
    """Query embeddings z_hat and key embeddings z, (N, D) unit vectors each, without augmentation."""
    views, query, key = model.data_preprocessor, [], []
    places = range(0, len(data), BATCH)
    for first in track(places, 'Embedding', console=Console(stderr=True), disable=len(data) < LONG):
        batch = [data[i]['inputs'][:1] for i in range(first, min(first + BATCH, len(data)))]
        x = views(dict(inputs=batch), False)['inputs']
        query.append(model.encoder(x))
        key.append(model.key_encoder(x))
    return torch.cat(query), torch.cat(key)


def mine(query: Tensor, key: Tensor, own: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """Most similar keys of other sequences.

    Args:
        query: (Q, D) embeddings of the queries.
        key: (N, D) embeddings of the gallery.
        own: places of the Q queries in the gallery, which are left out.
        k: neighbours of each, at most N - 1.

    Returns:
        Similarities (Q, k), cosines, the largest first, and places (Q, k).

    Raises:
        ValueError: if there are not enough sequences.
    """
    if not 1 <= k < len(key):
        raise ValueError(
            f'k={k}; beside the query there are {len(key) - 1} sequences: give 1 to {len(key) - 1}'
        )
    similarity = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T
    similarity[torch.arange(len(own)), torch.as_tensor(own)] = -torch.inf
    return similarity.topk(k, dim=1)


def neighbor_strips(
    model: SkeletonCLR, data: SkeletonDataset, queries: Sequence[int], k: int
) -> list[Strip]:
    """Each query and its k neighbours; a green or red frame where labels agree or not.

    Args:
        model: a pre-trained model.
        data: the gallery, see :func:`training_data`.
        queries: places of the queries in it.
        k: neighbours.
    """
    query, key = project(model, data)
    similarities, places = mine(query[queries], key, queries, k)
    classes = (data.cached.metainfo if data.cached else {}).get('classes') or []

    def strip(place: int, note: str, border: str | None) -> Strip:
        info = data.get_data_info(place)
        name, label = str(info['frame_dir']), info.get('label')
        text = (
            ''
            if label is None
            else f', {classes[label]}'
            if label < len(classes)
            else f', class {label}'
        )
        return Strip(as_sequence(data[place]['inputs'][0], name), f'{note}{text}\n{name}', border)

    strips = []
    for own, values, found in zip(queries, similarities.tolist(), places.tolist()):
        strips.append(strip(own, 'query', QUERY))
        wanted = data.get_data_info(own).get('label')
        for value, place in zip(values, found):
            label = data.get_data_info(place).get('label')
            border = (
                None if wanted is None or label is None else AGREE if label == wanted else DISAGREE
            )
            strips.append(strip(place, f'{value:.3f}', border))
    return strips
