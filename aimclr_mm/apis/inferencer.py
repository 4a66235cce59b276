"""A trained encoder that takes recordings as they are and gives representations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmaction.registry import MODELS
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.progress import track
from torch import Tensor

from aimclr_mm.checkpoints.loading import load_model
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets.batch import collate_skeletons
from aimclr_mm.datasets.own_files.recordings import (
    PathLike,
    as_annotations,
    check_names,
    read_recordings,
)
from aimclr_mm.datasets.skeleton_dataset import build_transform
from aimclr_mm.evaluation.evaluate import stream_config
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.models.encoder import attach_features, pool
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.config_check import check_config
from aimclr_mm.utils.overlays import read_config

BATCH = 64  # sequences that the encoder gets at once
LONG = 256  # sequences from which on a progress bar is shown


class EmbeddingInferencer(BaseInferencer):
    """mmengine's inferencer for the encoder of a pre-training or of a classifier.

    A sequence passes the preprocessing of the config's test data set and the encoder in evaluation mode, so that its
    representation is the one that ``tools/test.py`` evaluates.

    Args:
        model: config: a file, or mmengine's ``Config``.
        weights: checkpoint of it; ``random`` for an encoder that was never trained, to compare with.
        device: such as ``cuda:0``; a GPU where there is one if not given.
        stream: the stream to take from a checkpoint of several; None takes all of them, side by side.
        show_progress: whether a bar is shown for many sequences.

    Attributes:
        cfg: the config.
        layout: joint layout of the sequences.
        model: the network.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the config cannot be right, or not every tensor of the encoder is in the checkpoint.
    """

    def __init__(
        self,
        model: str | os.PathLike | Config,
        weights: str | os.PathLike,
        device: str | None = None,
        stream: str | None = None,
        show_progress: bool = True,
    ) -> None:
        if not isinstance(model, (str, os.PathLike, Config)):
            raise ValueError(
                f'model={model!r}; give the config as a file or as a Config. The one that a checkpoint '
                'holds is a program, and is not run'
            )
        cfg = model if isinstance(model, Config) else read_config(os.fspath(model))
        check_config(cfg.to_dict(), str(cfg.filename))
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        self.stream = stream
        if stream is not None and cfg.model.type == 'CrossStream':
            if stream not in cfg.model.streams:
                raise ValueError(
                    f'stream={stream!r}; the config has {", ".join(cfg.model.streams)}'
                )
            cfg = stream_config(cfg, stream)
        super().__init__(cfg, os.fspath(weights), device, 'mmaction', show_progress)

    def _init_model(
        self, cfg: Config, weights: str, device: str | torch.device = 'cpu'
    ) -> torch.nn.Module:
        model = MODELS.build(cfg.model)
        if weights == 'random':
            logger = MMLogger.get_current_instance()
            level = logger.level
            logger.setLevel('WARNING')  # mmengine would name every parameter
            model.init_weights()
            logger.setLevel(level)
        else:
            load_model(model, load_checkpoint_file(weights), weights, self.stream)
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device={str(device)!r} cannot be used here ({str(error).splitlines()[0]}); take 'cpu', "
                'or None for a GPU where there is one'
            ) from error

    def _init_pipeline(self, cfg: Config) -> Callable[[dict], dict]:
        if not cfg.get('test_dataloader'):
            raise ValueError(
                f'config {cfg.filename!r} has no test_dataloader, which tells the preprocessing'
            )
        data = cfg.test_dataloader.dataset
        self.layout: Layout = get_layout(
            data.get('layout') or cfg.model.data_preprocessor.get('layout', 'ntu25')
        )
        steps = [
            build_transform(step, self.layout)
            for step in [*data.get('preprocess', []), *data.pipeline]
        ]
        return Compose(steps)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell whether two encoders give the same representations."""
        data, stream = self.cfg.test_dataloader.dataset, self.cfg.model.data_preprocessor.stream
        digest = hashlib.sha256(
            repr([self.layout, data.get('preprocess'), data.pipeline, stream]).encode()
        )
        part = getattr(self.model, 'encoder', self.model)
        for name, value in getattr(part, 'backbone', part).state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _init_collate(self, cfg: Config) -> Callable:
        """Return the collate function; mmengine's inferencer does not read the config's dict."""
        return collate_skeletons

    def _init_visualizer(self, cfg: Config) -> None:
        """Pictures are made by ``tools/visualize.py`` and ``tools/embed.py search``."""

    def _inputs_to_list(self, inputs: Any) -> list[dict]:
        return as_annotations(inputs, self.layout)

    def preprocess(
        self, inputs: Sequence[dict], batch_size: int = BATCH, **kwargs: Any
    ) -> Iterator[dict]:
        """Batches for the network.

        Args:
            inputs: annotations.
            batch_size: sequences of a batch.
        """
        samples = (
            {**annotation, 'start_index': 0, 'modality': 'Pose'} for annotation in inputs
        )  # as data sets do
        return super().preprocess(samples, batch_size, **kwargs)

    @torch.no_grad()
    def forward(self, inputs: dict, **kwargs: Any) -> list:
        """Data samples of mmaction2 with ``feature`` (C,) set."""
        data = self.model.data_preprocessor(inputs, False)
        if not hasattr(self.model, 'cls_head'):
            return self.model(**data, mode='predict')
        views: Tensor = data['inputs'].flatten(0, 1)  # (N * clips, M, T, V, C)
        return attach_features(pool(self.model.backbone(views)), data['data_samples'])

    def visualize(self, inputs: list, preds: Any, show: bool = False, **kwargs: Any) -> list:
        """Nothing; see ``tools/visualize.py``."""
        return []

    def postprocess(
        self, preds: list, visualization: list, return_datasample: bool = False, **kwargs: Any
    ) -> dict:
        """``predictions``: the data samples, or for each a dict of ``name`` and ``embedding``, a list of C numbers."""
        if not return_datasample:
            preds = [
                dict(name=sample.get('frame_dir', ''), embedding=sample.feature.tolist())
                for sample in preds
            ]
        return dict(predictions=preds, visualization=visualization)

    def embed(self, sequences: Any, batch_size: int = BATCH) -> np.ndarray:
        """Representations h of sequences.

        Args:
            sequences: one of, or a list of any of these, of different lengths if need be:

                - an array (T, V, C) or (M, T, V, C): T frames at whatever rate, V joints in the order of the layout, C
                  coordinates in the unit of the training data (metres for NTU RGB+D, pixels of a 1920 x 1080 picture
                  for 2-D poses) or one more for a score; M people, of whom the config's ``num_person`` are used;
                - the path of a recording, or of a folder, see :func:`~aimclr_mm.apis.read_recordings`;
                - an annotation of mmaction2's pose format.
            batch_size: sequences that the encoder gets at once.

        Returns:
            (N, C) float32, one row a sequence, not normalised; compare rows by their cosine.

        Raises:
            FileNotFoundError, ValueError: if a sequence cannot be used; the message names it.
        """
        annotations, found = self._inputs_to_list(sequences), []
        batches = self.preprocess(annotations, batch_size)
        total = -(-len(annotations) // batch_size)
        for batch in track(
            batches, 'Embedding', total, disable=not self.show_progress or len(annotations) < LONG
        ):
            found += [sample.feature for sample in self.forward(batch)]
        return torch.stack(found).numpy()

    def embed_recordings(self, sources: PathLike | Sequence[PathLike]) -> EmbeddingSet:
        """Representations of recordings with their names and labels.

        Args:
            sources: see :func:`~aimclr_mm.apis.read_recordings`; or files of ``tools/embed.py``, of this encoder.

        Raises:
            FileNotFoundError, ValueError: as there; also if embeddings in a file come from another encoder.
        """
        sources = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
        parts = [self._embed_source(os.fspath(source)) for source in sources]
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(EmbeddingSet)
            if field.name not in EmbeddingSet.texts
        }
        check_names(columns['names'])
        return EmbeddingSet(**columns, encoder=self.fingerprint)

    def _embed_source(self, path: str) -> EmbeddingSet:
        if EmbeddingSet.is_file(path):
            embedded = EmbeddingSet.load(path)
            self.check_fingerprint(embedded.encoder, path)
            return embedded
        recordings = read_recordings(path, self.layout)
        texts = {
            key: np.array([str(r[name] or '') for r in recordings])
            for key, name in dict(names='frame_dir', labels='label', sources='source').items()
        }
        return EmbeddingSet(self.embed(recordings), **texts)

    def check_fingerprint(self, fingerprint: str, path: str) -> None:
        """Raises ValueError if a file is of another encoder."""
        if fingerprint != self.fingerprint:
            raise ValueError(
                f'{path!r} comes from another checkpoint, stream or preprocessing than this encoder '
                f'({fingerprint or "unknown"}, not {self.fingerprint}); make it anew with this one'
            )


def load_encoder(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike,
    device: str | None = None,
    stream: str | None = None,
) -> EmbeddingInferencer:
    """A trained encoder, ready to embed sequences.

    Args:
        config, checkpoint, device, stream: ``model``, ``weights``, ``device`` and ``stream`` of
            :class:`EmbeddingInferencer`.
    """
    return EmbeddingInferencer(config, checkpoint, device, stream)
