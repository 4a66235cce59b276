"""Inference: embed recordings with a trained encoder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmaction.registry import MODELS
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from rich.progress import track

from aimclr_mm.checkpoints.loading import find_encoders, load_encoders
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.checkpoints.shipped import SHIPPED, shipped_config
from aimclr_mm.datasets.batch import SkeletonBatch, collate_skeletons
from aimclr_mm.datasets.checks import name_of
from aimclr_mm.datasets.own_files.cleaning import MISSING, Report
from aimclr_mm.datasets.own_files.recordings import (
    PathLike,
    as_annotations,
    check_names,
    finish,
    read_sources,
)
from aimclr_mm.datasets.skeleton_dataset import build_transform
from aimclr_mm.evaluation.evaluate import CLASSIFIER, find_readout, readout_config, stream_config
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.models.encoder import attach_features
from aimclr_mm.models.readouts import READOUTS, represent
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.transforms import ResizeClip
from aimclr_mm.utils.arguments import check_choice
from aimclr_mm.utils.config_check import check_config
from aimclr_mm.utils.device import resolve_device
from aimclr_mm.utils.overlays import read_config

from .windows import Windows, split_name

BATCH = 64  # sequences per batch
MAX_FRAMES = 300  # of a sequence that is likely to hold one movement, as in NTU RGB+D
LONG = 256  # sequences from which on a progress bar is shown


def build_random(cfg: Config) -> BaseModel:
    """Build the config's model with untrained weights, the same ones for the same seed.

    The seed is ``randomness.seed`` of the config. mmengine's log message for every parameter is
    left out, and the state of torch's generator is kept.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.get('randomness', {}).get('seed') or 0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    logger.setLevel(level)
    return model


class EmbeddingInferencer(BaseInferencer):
    """mmengine inferencer for the encoder of a pre-training or of a classifier.

    Sequences go through the preprocessing of the config's test data set and through the encoder in
    evaluation mode, so that the representations are those that ``tools/test.py`` evaluates. Two
    things differ, which matter for own recordings only: frames without a body and missing joints
    are interpolated or left out (``missing``), and the whole clip is used, however long.

    Args:
        model: config file, or mmengine's ``Config``.
        weights: checkpoint file that holds the encoder, see
            :func:`~aimclr_mm.checkpoints.loading.find_encoder`; ``random`` for an untrained
            encoder, as a baseline.
        device: such as ``cuda:0``; a GPU where there is one if not given.
        stream: stream to take from a checkpoint of several streams; all of them, concatenated, if
            not given.
        readout: how the last feature map becomes a vector, see
            :func:`~aimclr_mm.models.readouts.represent`; that of the config's model if not given,
            ``mean`` in the paper's.
        missing: what to do with frames without a body and with missing joints: ``interpolate``,
            ``drop`` or ``keep``, see :mod:`aimclr_mm.datasets.own_files.cleaning`.
        unit: unit of 3-D coordinates that the encoder is given, ``cm`` or ``mm``, which become
            meters; ``m`` uses them as they are; None too, but people of an impossible size are
            refused. Files that tell their layout are in meters.
        show_progress: show a progress bar for many sequences.

    Attributes:
        cfg: the config.
        layout: joint layout of the sequences.
        model: the network.
        readout: the readout.
        missing: what is done with frames without a body.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the config or an argument is invalid, or the checkpoint lacks tensors of the
            encoder.
    """

    def __init__(
        self,
        model: str | os.PathLike | Config,
        weights: str | os.PathLike,
        device: str | None = None,
        stream: str | None = None,
        readout: str | None = None,
        missing: str = MISSING[0],
        unit: str | None = None,
        show_progress: bool = True,
    ) -> None:
        check_choice('missing', missing, MISSING)
        if not isinstance(model, (str, os.PathLike, Config)):
            raise ValueError(
                f'model={model!r}; give the config as a file or as a Config. The config in a '
                'checkpoint is a program, and is not run'
            )
        cfg = model if isinstance(model, Config) else read_config(shipped_config(os.fspath(model)))
        check_config(cfg.to_dict(), str(cfg.filename))
        init_default_scope(cfg.get('default_scope', 'mmaction'))

        self.stream = stream
        self.missing = missing
        self.unit = unit
        self._announced: set[str] = set()  # what has been logged: layouts that are mapped, scores
        if stream is not None:
            cfg = stream_config(cfg, stream)
        self.readout = readout or find_readout(cfg.model)
        check_choice('readout', self.readout, READOUTS)
        if cfg.model.type != CLASSIFIER:
            cfg = readout_config(cfg, self.readout)
        super().__init__(cfg, os.fspath(weights), device, 'mmaction', show_progress)

    def _init_model(
        self, cfg: Config, weights: str, device: str | torch.device = 'cpu'
    ) -> BaseModel:
        """Build the network, load its weights and move it to the device."""
        device = resolve_device(device)
        if weights == 'random':
            model = build_random(cfg)
        else:
            model = MODELS.build(cfg.model)
            load_encoders(model, load_checkpoint_file(weights), weights, self.stream)
        return model.to(device).eval()

    def _init_pipeline(self, cfg: Config) -> Callable[[dict], dict]:
        """Build the preprocessing of the test data set."""
        if not cfg.get('test_dataloader'):
            raise ValueError(
                f'config {cfg.filename!r} has no test_dataloader, which defines the preprocessing'
            )
        data = cfg.test_dataloader.dataset
        layout = data.get('layout') or cfg.model.data_preprocessor.get('layout', 'ntu25')
        self.layout: Layout = get_layout(layout)

        steps = [*data.get('preprocess', []), *data.pipeline]
        transforms = [build_transform(step, self.layout) for step in steps]
        for transform in transforms:
            if isinstance(transform, ResizeClip):
                transform.max_frames = None  # the whole clip
        return Compose(transforms)

    def _init_collate(self, cfg: Config) -> Callable:
        """Return the collate function of skeletons."""
        return collate_skeletons

    def _init_visualizer(self, cfg: Config) -> None:
        """Build no visualizer; ``tools/visualize.py`` and ``tools/embed.py search`` draw."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for encoders that give the same representations.

        A hash of layout, preprocessing (in any order of its settings), stream, ``missing`` and the
        weights of the backbone. Readouts other than ``mean`` follow after a colon:
        ``0123456789abcdef:segments``.
        """
        data = self.cfg.test_dataloader.dataset
        stream = self.cfg.model.data_preprocessor.stream
        steps = [*data.get('preprocess', []), *data.pipeline]
        settings = [asdict(self.layout), steps, stream, self.missing]
        text = json.dumps(settings, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode())

        # memory banks and heads are not part of the encoder, and may be random
        for encoder in find_encoders(self.model).values():
            for name, value in encoder.backbone.state_dict().items():
                digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        readout = '' if self.readout == 'mean' else f':{self.readout}'
        return digest.hexdigest()[:16] + readout

    def check_fingerprint(self, fingerprint: str, path: str) -> None:
        """Raise ValueError if a file comes from another encoder.

        Args:
            fingerprint: fingerprint in the file.
            path: the file, for the message.
        """
        encoder, _, readout = fingerprint.partition(':')
        if encoder == self.fingerprint.partition(':')[0] and (readout or 'mean') != self.readout:
            raise ValueError(
                f'{path!r} was made with the readout {readout or "mean"!r}, this encoder has '
                f'{self.readout!r}; set the same readout (--readout), or create it again'
            )
        if fingerprint != self.fingerprint:
            raise ValueError(
                f'{path!r} comes from another checkpoint, stream or preprocessing than this '
                f'encoder ({fingerprint or "unknown"}, not {self.fingerprint}); create it again '
                'with this one'
            )

    def _inputs_to_list(self, inputs: Any) -> list[dict]:
        """Return the sequences as checked annotations."""
        return as_annotations(inputs, self.layout, missing=self.missing, unit=self.unit)

    def _announce(self, annotations: Sequence[dict]) -> None:
        """Log from which layouts sequences were mapped, once for each layout."""
        found = {annotation.get('mapped_from') for annotation in annotations} - {None}
        for name in sorted(found - self._announced):
            self._announced.add(name)
            MMLogger.get_current_instance().info(
                f'Sequences of layout {name} are mapped to {self.layout.name}, the layout of the '
                'encoder'
            )

    def preprocess(
        self, inputs: Sequence[dict], batch_size: int = BATCH, **kwargs: Any
    ) -> Iterator[dict]:
        """Yield batches for the network.

        Args:
            inputs: annotations.
            batch_size: sequences per batch.
        """
        # fields that mmaction2's data sets add
        fields = dict(start_index=0, modality='Pose')
        samples = ({**self._fit_scores(annotation), **fields} for annotation in inputs)
        return super().preprocess(samples, batch_size, **kwargs)

    def _fit_scores(self, annotation: dict) -> dict:
        """Return an annotation without scores if the encoder has no channel for them."""
        single = self.cfg.model.get('model', self.cfg.model)  # of several streams
        channels = single.get('backbone', {}).get('in_channels', 3)
        if annotation.get('keypoint_score') is None or channels > self.layout.dims:
            return annotation

        if 'scores' not in self._announced:
            self._announced.add('scores')
            MMLogger.get_current_instance().info(
                f'Scores of the joints are left out: the encoder has {channels} channels, the '
                'coordinates'
            )
        return {name: value for name, value in annotation.items() if name != 'keypoint_score'}

    def _announce_long(self, annotations: Sequence[dict]) -> None:
        """Log once that long sequences get one embedding each."""
        frames = [
            annotation['keypoint'].shape[1]
            for annotation in annotations
            if split_name(name_of(annotation))[1] is None
        ]
        found = [count for count in frames if count > MAX_FRAMES]
        if not found or 'frames' in self._announced:
            return

        self._announced.add('frames')
        MMLogger.get_current_instance().info(
            f'{len(found)} of {len(frames)} sequences have more than {MAX_FRAMES} frames (up to '
            f'{max(found)}); the whole of each becomes one embedding. If they hold several '
            'movements, cut them into windows: --window SECONDS of embed, search and predict, in '
            'Python Windows'
        )

    @torch.no_grad()
    def forward(self, inputs: SkeletonBatch, **kwargs: Any) -> list:
        """Return data samples of mmaction2 with ``feature`` (D,) set."""
        data = self.model.data_preprocessor(inputs, False)
        if not hasattr(self.model, 'cls_head'):
            return self.model(**data, mode='predict')

        x = data['inputs'].flatten(0, 1)  # (N * clips, M, T, V, C)
        stream = self.model.data_preprocessor.stream
        features = represent(self.model.backbone, x, self.readout, stream)
        return attach_features(features, data['data_samples'])

    def visualize(self, inputs: list, preds: Any, show: bool = False, **kwargs: Any) -> list:
        """Return nothing; see ``tools/visualize.py``."""
        return []

    def postprocess(
        self, preds: list, visualization: list, return_datasample: bool = False, **kwargs: Any
    ) -> dict:
        """Return ``predictions``: data samples, or dicts of ``name`` and ``embedding`` (a list)."""
        if not return_datasample:
            preds = [
                dict(name=sample.get('frame_dir', ''), embedding=sample.feature.tolist())
                for sample in preds
            ]
        return dict(predictions=preds, visualization=visualization)

    def embed(
        self,
        sequences: Any,
        batch_size: int = BATCH,
        layout: str | Mapping | Layout | None = None,
        report: Report | None = None,
    ) -> np.ndarray:
        """Return the representations h of sequences.

        Args:
            sequences: one sequence, or a list of sequences of any lengths, each of them

                - an array (T, V, C) or (M, T, V, C): T frames at any rate, V joints in the order
                  of the layout, C coordinates in the unit of the training data (meters for
                  NTU RGB+D, pixels of a 1920 x 1080 image for 2D poses), or one more for a score;
                  M people, of whom the config's ``num_person`` are used; those who change rows
                  are put in order by distance, as in files;
                - the path of a recording or folder, see
                  :func:`~aimclr_mm.apis.read_recordings`;
                - an annotation in mmaction2's pose format.
            batch_size: sequences per batch.
            layout: joint layout of the sequences, from which they are mapped to that of the
                encoder, see :func:`aimclr_mm.skeletons.map_layout`; that of the encoder if not
                given. Files that tell their layout are mapped from it.
            report: counts frames without a body and missing joints, which are logged if it is not
                given.

        Returns:
            (N, D) float32, one row per sequence, not normalized; compare rows by their cosine.

        Raises:
            FileNotFoundError, ValueError: if a sequence is invalid; the message names it.
        """
        counts = Report(self.missing) if report is None else report
        rules = self.missing, self.unit, counts
        annotations = as_annotations(sequences, self.layout, layout, *rules)
        if report is None:
            counts.log()
        return self._embed_annotations(annotations, batch_size)

    def _embed_annotations(
        self, annotations: Sequence[dict], batch_size: int = BATCH
    ) -> np.ndarray:
        """Return the representations (N, D) of clean annotations in the encoder's layout."""
        self._announce(annotations)
        self._announce_long(annotations)
        batches = track(
            self.preprocess(annotations, batch_size),
            'Embedding',
            -(-len(annotations) // batch_size),
            disable=not self.show_progress or len(annotations) < LONG,
        )
        features = [sample.feature for batch in batches for sample in self.forward(batch)]
        return torch.stack(features).numpy()

    def embed_recordings(
        self,
        sources: PathLike | Sequence[PathLike],
        layout: str | Mapping | Layout | None = None,
        windows: Windows | None = None,
    ) -> EmbeddingSet:
        """Return the representations of recordings with their names and labels.

        Args:
            sources: see :func:`~aimclr_mm.apis.read_recordings`; or files of ``tools/embed.py``
                from this encoder.
            layout: joint layout of recordings that do not tell theirs, see :meth:`embed`.
            windows: windows to cut the recordings into, each with a representation of its own and
                named by :func:`~aimclr_mm.apis.windows.window_name`.

        Raises:
            FileNotFoundError, ValueError: as there, or if a file comes from another encoder.
        """
        if isinstance(sources, (str, os.PathLike)):
            sources = [sources]
        report = Report(self.missing, 'recordings' if windows is None else 'windows')
        parts = [
            self._embed_source(os.fspath(source), layout, windows, report) for source in sources
        ]
        report.log()
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in EmbeddingSet.array_names()
        }
        check_names(columns['names'])
        return EmbeddingSet(**columns, encoder=self.fingerprint)

    def read(
        self,
        sources: PathLike | Sequence[PathLike],
        layout: str | Mapping | Layout | None = None,
        windows: Windows | None = None,
        report: Report | None = None,
    ) -> list[dict]:
        """Read recordings, cut them into windows, clean them and map them to the encoder's layout.

        Windows are cut first, so that their times are those of the recording.

        Args:
            sources, layout, windows: see :meth:`embed_recordings`.
            report: counts what was missing.
        """
        recordings = read_sources(sources, get_layout(layout or self.layout))
        if windows is not None:
            recordings = windows.cut(recordings)
        return finish(recordings, self.layout, self.missing, self.unit, report)

    def _embed_source(
        self,
        path: str,
        layout: str | Mapping | Layout | None,
        windows: Windows | None,
        report: Report,
    ) -> EmbeddingSet:
        """Return the embeddings in a file of ``tools/embed.py``, or embed the recordings."""
        if EmbeddingSet.is_file(path):
            embedded = EmbeddingSet.load(path)
            self.check_fingerprint(embedded.encoder, path)
            return embedded

        recordings = self.read(path, layout, windows, report)
        return EmbeddingSet(
            self._embed_annotations(as_annotations(recordings, self.layout)),
            names=np.array([recording['frame_dir'] for recording in recordings]),
            labels=np.array([recording['label'] or '' for recording in recordings]),
            sources=np.array([recording['source'] for recording in recordings]),
        )


def load_encoder(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    device: str | None = None,
    stream: str | None = None,
    readout: str | None = None,
    missing: str = MISSING[0],
    unit: str | None = None,
) -> EmbeddingInferencer:
    """Load a trained encoder.

    Args:
        config: config of the encoder; or the name of a shipped encoder, see
            :data:`aimclr_mm.checkpoints.shipped.SHIPPED`, such as ``generated-3s``.
        checkpoint: its checkpoint; that of the shipped encoder if not given.
        device, stream, readout, missing, unit: see :class:`EmbeddingInferencer`.

    Raises:
        ValueError: if the checkpoint of a config is not given; and as there.
    """
    if checkpoint is None:
        if not isinstance(config, str) or config not in SHIPPED:
            raise ValueError(
                f'load_encoder({config!r}): give the checkpoint too; encoders that need none are '
                f'{", ".join(SHIPPED)}'
            )
        checkpoint = config
    return EmbeddingInferencer(config, checkpoint, device, stream, readout, missing, unit)
