"""mmaction2's pose dataset with a check of what it reads, cached preprocessing, pairs of splits and optional labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmaction.datasets import PoseDataset
from mmaction.datasets.transforms import PackActionInputs
from mmaction.registry import DATASETS, TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger

from aimclr_mm.skeletons import LAYOUTS, Layout, get_layout
from aimclr_mm.transforms import SkeletonTransform

from .annotations import load_annotations, require_file
from .cache import SequenceCache, needed, open_cache
from .checks import is_whole, name_of, sound, split_notes
from .subset import balanced_draw


def build_transform(step: Mapping | BaseTransform, layout: Layout | None = None) -> BaseTransform:
    """A transform of a data set; the project's own get its layout where they name none."""
    if not isinstance(step, Mapping):
        return step
    kind = step.get('type')
    kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    takes_layout = (
        layout is not None and isinstance(kind, type) and issubclass(kind, SkeletonTransform)
    )
    return TRANSFORMS.build({'layout': layout, **step} if takes_layout else dict(step))


@DATASETS.register_module()
class SkeletonDataset(PoseDataset):
    """Sequences of one split for pre-training, or of two for evaluation.

    Every sample gets ``split`` and ``role``: ``gallery`` for the first split, ``query`` for the second. Evaluators find
    neighbours and train classifiers on the gallery and are scored on the queries, so that one pass over one data set
    yields all features they need.

    A sequence passes ``preprocess`` once, before training, and ``pipeline`` whenever it is used.

    Args:
        ann_file: annotation file in mmaction2's pose format (see :mod:`aimclr_mm.datasets.annotations`).
        pipeline: transforms of one sample.
        split: a split of the file; a pair (gallery, queries) for evaluation; None for all sequences.
        layout: joint layout that the recordings must have; None accepts any. Transforms of ``preprocess`` that do not
            name one get it too.
        preprocess: deterministic transforms, whose result is cached. Where the annotation file says that its sequences
            are preprocessed, the project's own transforms among them are left out.
        cache: whether the result of ``preprocess`` is kept in a memory-mapped file (see
            :mod:`aimclr_mm.datasets.cache`); if not, ``preprocess`` runs before ``pipeline`` each time.
        cache_dir: where; a folder ``cache`` beside the annotation file if not given.
        fraction: class-balanced share of the first split to use (see :func:`~aimclr_mm.datasets.subset.balanced_draw`).
        fraction_seed: of that draw.
        batched: a batch is fetched from the cache as one array, without ``pipeline`` and data samples. That
            is all that pre-training needs, and it needs no worker processes then.
        hint: how to make the annotation file, printed when it is missing.
        invalid: ``refuse`` a file with sequences that cannot be used (see :mod:`aimclr_mm.datasets.checks`), or
            ``drop`` them and say how many there are.
        **kwargs: as for mmaction2's ``PoseDataset``; with ``num_classes`` every sequence must have a label below it.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        split: str | Sequence[str] | None = None,
        layout=None,
        preprocess: Sequence[dict] = (),
        cache: bool = True,
        cache_dir: str | None = None,
        fraction: float = 1.0,
        fraction_seed: int = 0,
        batched: bool = False,
        hint: str = '',
        invalid: str = 'refuse',
        **kwargs,
    ) -> None:
        if invalid not in ('refuse', 'drop'):
            raise ValueError(f"invalid={invalid!r}; known are 'refuse' and 'drop'")
        self.splits = [split] if split is None or isinstance(split, str) else list(split)
        if not 1 <= len(self.splits) <= 2:
            raise ValueError(f'split={split!r}; give one split, or a pair (gallery, queries)')
        self.layout = None if layout is None else get_layout(layout)
        self.preprocess = [build_transform(step, self.layout) for step in preprocess]
        self.fraction, self.fraction_seed = fraction, fraction_seed
        self.settings, self.cache_dir, self.hint, self.invalid = (
            list(preprocess),
            cache_dir,
            hint,
            invalid,
        )
        self.cached: SequenceCache | None = None
        self.use_cache = cache and bool(preprocess)
        self.batched, self.rows = (
            batched,
            np.empty(0, dtype=np.int64),
        )  # rows: place of each sequence in the cache
        # built here, where mmaction2's registry is known: a notebook has no default scope
        pipeline = [build_transform(step) for step in pipeline]
        if batched:
            self._check_batched(pipeline, kwargs.get('indices'))
        super().__init__(
            ann_file,
            pipeline if self.use_cache else [self._preprocess, *pipeline],
            split=None,
            **kwargs,
        )

    def _check_batched(self, pipeline: list, indices) -> None:
        """Raises ValueError if something would be left out when a batch is fetched as one array."""
        if not self.use_cache:
            raise ValueError(
                'batched=True takes batches from the cache: set cache=True and preprocess, or '
                'batched=False'
            )
        if indices is not None:
            raise ValueError(
                f'indices={indices!r} does not go with batched=True; use fraction, or batched=False'
            )
        more = [type(step).__name__ for step in pipeline if not isinstance(step, PackActionInputs)]
        if more:
            raise ValueError(
                f'batched=True leaves out the pipeline, but it has {", ".join(more)}; set '
                'batched=False of the data set'
            )

    def _preprocess(self, results: dict) -> dict:
        """All of ``preprocess``, for data sets without a cache."""
        for step in self.preprocess:
            results = step(results)
        return results

    def load_data_list(self) -> list[dict]:
        """Reads and checks the annotations of the wanted splits, and says what is odd about them."""
        if self.use_cache:
            require_file(self.ann_file, self.hint)
            settings = [self.settings, self.layout, self.invalid]
            self.cached = open_cache(
                self.ann_file, self.preprocess, settings, self._load, self.cache_dir
            )
            self._check_layout(self.cached.metainfo)
            split, annotations, notes = (
                self.cached.split,
                self.cached.annotations,
                self.cached.notes,
            )
            annotations = [{**annotation, 'cached': i} for i, annotation in enumerate(annotations)]
        else:
            data = load_annotations(self.ann_file, self.hint)
            self._check_layout(data['metainfo'])
            self.preprocess = needed(self.preprocess, data)
            split, annotations, notes = data['split'], data['annotations'], []
        chosen = [self._select(split, annotations, name) for name in self.splits]
        if not self.use_cache:
            chosen, found = zip(
                *(
                    sound(part, self.ann_file, self.layout, self.invalid == 'drop')
                    for part in chosen
                )
            )
            notes = dict.fromkeys(note for part in found for note in part)
        if None not in self.splits:
            notes = [*notes, *split_notes(split, self.splits, annotations)]
        for note in notes:
            MMLogger.get_current_instance().warning(f'{self.ann_file}: {note}')
        samples = []
        for name, role, part in zip(self.splits, ('gallery', 'query'), chosen):
            part = self._draw(part) if role == 'gallery' else part
            self._check_labels(part)
            samples += [{**annotation, 'split': name or 'all', 'role': role} for annotation in part]
        return samples

    def _load(self) -> dict:
        """The content of the annotation file, all of it checked, to be cached."""
        data = load_annotations(self.ann_file)
        if not data['annotations']:
            raise ValueError(f'{self.ann_file!r} holds no sequences')
        annotations, notes = sound(
            data['annotations'], self.ann_file, self.layout, self.invalid == 'drop'
        )
        return dict(data, annotations=annotations, notes=notes)

    def _check_layout(self, metainfo: Mapping) -> None:
        """Raises ValueError if the annotation file says that it has other joints than the config."""
        stated = metainfo.get('layout')
        if self.layout is None or stated is None:
            return
        if not isinstance(stated, Mapping) and (
            not isinstance(stated, str) or stated not in LAYOUTS
        ):  # nor a path
            raise ValueError(
                f'{self.ann_file!r} has an unknown layout {stated!r}; known are {list(LAYOUTS)} and '
                "mappings with a layout's fields"
            )
        layout = get_layout(stated)
        if layout.joints != self.layout.joints:
            raise ValueError(
                f'{self.ann_file!r} has the joints of layout {layout.name!r}, {", ".join(layout.joints)}; '
                f'the config has those of {self.layout.name!r}; set layout of data set, data preprocessor '
                'and backbone to that of the data'
            )

    def _select(self, splits: Mapping, annotations: list[dict], split: str | None) -> list[dict]:
        """The annotations of a split."""
        if split is not None:
            if split not in splits:
                raise ValueError(
                    f'{self.ann_file!r} has no split {split!r}; it has {sorted(splits)}'
                )
            names = set(splits[split])
            annotations = [
                a for a in annotations if isinstance(name_of(a), str) and name_of(a) in names
            ]
        if not annotations:
            raise ValueError(f'{self.ann_file!r}: split {split!r} holds no sequences')
        return annotations

    def _check_labels(self, annotations: list[dict]) -> None:
        """Raises ValueError if a label is missing or too large for the number of classes, where that is given."""
        if self.num_classes is None:
            return
        wrong = [
            a for a in annotations if not is_whole(a.get('label')) or a['label'] >= self.num_classes
        ]
        if wrong:
            raise ValueError(
                f'{self.ann_file!r}: sequence {name_of(wrong[0])!r} has the label '
                f'{wrong[0].get("label")}, but the config has {self.num_classes} classes (0 to '
                f'{self.num_classes - 1}); set its num_classes to that of the data ({len(wrong)} of '
                f'{len(annotations)} sequences have such a label)'
            )

    def _draw(self, annotations: list[dict]) -> list[dict]:
        """A class-balanced share of the annotations."""
        if self.fraction == 1:
            return annotations
        if any('label' not in annotation for annotation in annotations):
            raise ValueError(
                f'{self.ann_file!r} has sequences without a label, so that fraction={self.fraction} '
                'cannot be drawn class by class; use fraction=1'
            )
        drawn = balanced_draw([a['label'] for a in annotations], self.fraction, self.fraction_seed)
        return [annotations[i] for i in drawn]

    def filter_data(self) -> list[dict]:
        """Keeps every sequence and says how many there are."""
        if self.batched:
            self.rows = np.array([annotation['cached'] for annotation in self.data_list])
        MMLogger.get_current_instance().info(
            f'{len(self.data_list)} sequences of {self.ann_file} '
            f'(split {" and ".join(str(s or "all") for s in self.splits)})'
        )
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """One sequence with its arrays."""
        info = super().get_data_info(idx)
        if self.cached is not None:
            info.update(self.cached.arrays(info.pop('cached')))
        return info

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """The samples of a batch; with ``batched`` one entry for all of them, ``inputs`` (N, clips, M, T, V, C)."""
        if not self.batched:
            return [self[index] for index in indices]
        return [dict(inputs=torch.from_numpy(self.cached.keypoints(self.rows[list(indices)])))]
