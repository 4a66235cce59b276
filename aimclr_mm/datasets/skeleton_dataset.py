"""mmaction2's pose dataset with checked annotations, cached preprocessing and pairs of splits."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmaction.datasets import PoseDataset
from mmaction.datasets.transforms import PackActionInputs
from mmaction.registry import DATASETS, TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import get_worker_info

from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.transforms import ResizeClip, SkeletonTransform

from .annotations import load_annotations, require_file, stated_layout
from .batch import SkeletonBatch
from .cache import DamagedCacheError, SequenceCache, active_transforms, open_cache
from .checks import abbreviate, filter_valid, is_whole, name_of, split_warnings
from .subset import balanced_draw

ROLES = ('gallery', 'query')  # of the first and the second split
META = ('frame_dir', 'split', 'role')  # what evaluators need of a sequence besides its label
GPU_SHARE = 0.25  # of the free memory of a GPU, up to which the sequences are kept there


def build_transform(step: Mapping | BaseTransform, layout: Layout | None = None) -> BaseTransform:
    """Build a transform of a dataset; skeleton transforms without a layout get the given one."""
    if not isinstance(step, Mapping):
        return step

    kind = step.get('type')
    if isinstance(kind, str):
        kind = TRANSFORMS.get(kind)
    if layout is not None and isinstance(kind, type) and issubclass(kind, SkeletonTransform):
        return TRANSFORMS.build({'layout': layout, **step})
    return TRANSFORMS.build(dict(step))


def data_sample(annotation: Mapping) -> dict:
    """Return the data sample of an annotation for evaluation: its label, if any, and its origin."""
    sample = {key: annotation[key] for key in META}
    if is_whole(annotation.get('label')):
        sample['gt_label'] = annotation['label']
    return sample


def training_gpu(size: int | None = None) -> torch.device | None:
    """Return the GPU of this process, None without one and in a worker of a data loader.

    Args:
        size: bytes; None is returned too if they exceed :data:`GPU_SHARE` of the free memory.
    """
    if get_worker_info() is not None or not torch.cuda.is_available():
        return None
    if size is not None and size > GPU_SHARE * torch.cuda.mem_get_info()[0]:
        return None
    return torch.device('cuda', torch.cuda.current_device())


def _in_split(annotations: Sequence, names: Sequence[str]) -> list:
    """Return the annotations with one of the given names."""
    wanted = set(names)
    return [a for a in annotations if isinstance(name_of(a), str) and name_of(a) in wanted]


@DATASETS.register_module()
class SkeletonDataset(PoseDataset):
    """Sequences of one split for pre-training, or of two for evaluation.

    Every sample gets ``split`` and ``role``: ``gallery`` for the first split, ``query`` for the
    second. Evaluators find neighbors and train classifiers on the gallery and are scored on the
    queries, so that one pass over one dataset yields all features they need.

    A sequence passes through ``preprocess`` once, before training, and through ``pipeline``
    whenever it is used.

    Args:
        ann_file: annotation file in mmaction2's pose format (see
            :mod:`aimclr_mm.datasets.annotations`); or two files for evaluation, of the gallery and
            of the queries. The classes of both must be the same.
        pipeline: transforms of one sample.
        split: a split of the file; a pair (gallery, queries) for evaluation; None for all
            sequences. For two files, None or one split for each.
        layout: joint layout that the recordings must have; None accepts any. Transforms of
            ``preprocess`` without a layout get it too.
        preprocess: deterministic transforms, whose result is cached. Where the annotation file says
            that its sequences are preprocessed, the paper's preprocessing among them is left out.
        cache: whether to keep the result of ``preprocess`` in a memory-mapped file (see
            :mod:`aimclr_mm.datasets.cache`); if not, it runs before ``pipeline`` each time.
        cache_dir: folder of the cache; ``cache`` next to the annotation file if not given.
        fraction: class-balanced share of the first split to use (see
            :func:`~aimclr_mm.datasets.subset.balanced_draw`).
        fraction_seed: seed of that draw.
        batched: whether a data loader reads each batch from the cache as one array, without
            ``pipeline``. Pre-training and the evaluation of encoders need no more, and no worker
            processes then. With ``test_mode`` the data samples are dicts with the label and
            :data:`META`; without it there are none.
        keep_on_gpu: with ``batched`` in training, whether the sequences are copied to the GPU once,
            where batches are then put together. None: where there is a GPU and they take at most
            :data:`GPU_SHARE` of its free memory.
        hint: how to make the annotation file, for the message when it is missing.
        invalid: ``refuse`` a file with sequences that cannot be used (see
            :mod:`aimclr_mm.datasets.checks`), or ``drop`` them and log their number.
        **kwargs: as for mmaction2's ``PoseDataset``; with ``num_classes`` every sequence must have
            a label below it.
    """

    def __init__(
        self,
        ann_file: str | Sequence[str],
        pipeline: list,
        split: str | Sequence[str] | None = None,
        layout=None,
        preprocess: Sequence[dict] = (),
        cache: bool = True,
        cache_dir: str | None = None,
        fraction: float = 1.0,
        fraction_seed: int = 0,
        batched: bool = False,
        keep_on_gpu: bool | None = None,
        hint: str = '',
        invalid: str = 'refuse',
        **kwargs,
    ) -> None:
        if invalid not in ('refuse', 'drop'):
            raise ValueError(f"invalid={invalid!r}; known are 'refuse' and 'drop'")
        self.splits = [split] if split is None or isinstance(split, str) else list(split)
        if not 1 <= len(self.splits) <= 2:
            raise ValueError(f'split={split!r}; give one split, or a pair (gallery, queries)')
        self.files = [ann_file] if isinstance(ann_file, (str, os.PathLike)) else list(ann_file)
        self.parts: list[SkeletonDataset] = []  # of two files, one each

        self.layout = None if layout is None else get_layout(layout)
        self.settings = list(preprocess)
        self.preprocess = [build_transform(step, self.layout) for step in preprocess]
        self.use_cache = cache and bool(preprocess)
        self.cache_dir = cache_dir
        self.cached: SequenceCache | None = None
        self.fraction = fraction
        self.fraction_seed = fraction_seed
        self.hint = hint
        self.invalid = invalid

        # built here, where mmaction2's registry is known: a notebook has no default scope
        pipeline = [build_transform(step) for step in pipeline]
        self.batched = batched
        self.keep_on_gpu = keep_on_gpu
        self.rows = np.empty(0, dtype=np.int64)  # index of each sequence in the cache
        self.places = np.empty(0, dtype=np.int64)  # index of its file
        self.unlabeled = 0  # sequences without a label: None or negative
        self.samples: list[dict] = []  # data samples of batched evaluation
        self._resident: Tensor | None = None  # the sequences (N, clips, M, T, V, C) on the GPU
        if batched:
            self._check_batched(pipeline, kwargs.get('indices'))
        elif keep_on_gpu:
            raise ValueError('keep_on_gpu=True needs batched=True')
        if len(self.files) > 1:
            self._check_files(split, batched and not kwargs.get('test_mode', False))
        if not self.use_cache:
            pipeline = [self._preprocess, *pipeline]
        super().__init__(self.files[0], pipeline, split=None, **kwargs)

    def _check_files(self, split: str | Sequence[str] | None, training: bool) -> None:
        """Raise ValueError unless there are two files, for evaluation."""
        if len(self.files) != 2 or training:
            raise ValueError(
                f'ann_file={self.files} has {len(self.files)} files; give one, or two (gallery, '
                'queries) for evaluation'
            )
        if split is not None and len(self.splits) != 2:
            raise ValueError(
                f'split={split!r} for two annotation files; give None, or one split for each file'
            )
        self.splits = self.splits if split is not None else [None, None]

    def _check_batched(self, pipeline: list, indices) -> None:
        """Raise ValueError if reading batches as one array would leave something out."""
        if not self.use_cache:
            raise ValueError(
                'batched=True reads batches from the cache: set cache=True and preprocess, or '
                'batched=False'
            )
        if indices is not None:
            raise ValueError(
                f'indices={indices!r} cannot be combined with batched=True; use fraction, or '
                'batched=False'
            )
        more = [type(step).__name__ for step in pipeline if not isinstance(step, PackActionInputs)]
        if more:
            raise ValueError(
                f'batched=True leaves out the pipeline, but it has {", ".join(more)}; set '
                'batched=False of the dataset'
            )

    def _preprocess(self, results: dict) -> dict:
        """Apply all of ``preprocess`` to a sample, for datasets without a cache."""
        source = self.parts[results['part']] if self.parts else self
        for step in source.preprocess:
            results = step(results)
        return results

    def load_data_list(self) -> list[dict]:
        """Load the annotations of the requested splits and log warnings about them."""
        if len(self.files) > 1:
            return self._load_parts()
        content = self._load_cached() if self.use_cache else self._load_uncached()
        annotations = content['annotations']
        if classes := content['metainfo'].get('classes'):
            self._metainfo['classes'] = [str(name) for name in classes]  # kept in checkpoints
        parts = [self._select(content['split'], annotations, name) for name in self.splits]

        found = list(content['warnings'])
        if None not in self.splits:
            found += split_warnings(content['split'], self.splits, annotations)
        for text in found:
            MMLogger.get_current_instance().warning(f'{self.ann_file}: {text}')

        samples = []
        for name, role, part in zip(self.splits, ROLES, parts):
            if role == 'gallery':
                part = self._draw(part)
            self._check_labels(part)
            samples += [{**annotation, 'split': name or 'all', 'role': role} for annotation in part]
        self.unlabeled = sum(not is_whole(sample.get('label')) for sample in samples)
        return samples

    def _load_parts(self) -> list[dict]:
        """Load the gallery from the first file and the queries from the second."""
        self.parts = [
            SkeletonDataset(
                file,
                [],
                split,
                self.layout,
                self.settings,
                self.use_cache,
                self.cache_dir,
                self.fraction if role == 'gallery' else 1.0,
                self.fraction_seed,
                hint=self.hint,
                invalid=self.invalid,
                num_classes=self.num_classes,
                serialize_data=False,
            )
            for file, split, role in zip(self.files, self.splits, ROLES)
        ]
        gallery, queries = (part.metainfo.get('classes') for part in self.parts)
        if gallery != queries:
            raise ValueError(
                f'{self.files[0]!r} has the classes {gallery} and {self.files[1]!r} {queries}, so '
                'that their labels differ; prepare both from the same classes, for example by one '
                'manifest with a column split'
            )
        if gallery:
            self._metainfo['classes'] = gallery
        self.unlabeled = sum(part.unlabeled for part in self.parts)
        return [
            {
                **sample,
                'split': split or os.path.splitext(os.path.basename(file))[0],
                'role': role,
                'part': place,
            }
            for place, (file, split, role) in enumerate(zip(self.files, self.splits, ROLES))
            for sample in self.parts[place].data_list
        ]

    def _load_cached(self) -> dict:
        """Return splits, annotations and warnings of the cache, which is built if need be."""
        require_file(self.ann_file, self.hint)
        self.cached = self._open_cache()
        self._check_layout(self.cached.metainfo)

        annotations = [
            {**annotation, 'cached': i} for i, annotation in enumerate(self.cached.annotations)
        ]
        return dict(
            split=self.cached.split,
            annotations=annotations,
            metainfo=self.cached.metainfo,
            warnings=self.cached.warnings,
        )

    def _open_cache(self, verify: bool = False) -> SequenceCache:
        """Return the cache; see :func:`~aimclr_mm.datasets.cache.open_cache`."""
        settings = [self.settings, self.layout, self.invalid]
        return open_cache(
            self.ann_file, self.preprocess, settings, self._load_file, self.cache_dir, verify
        )

    def _read_cache(self, read: Callable[[SequenceCache], Any]) -> Any:
        """Return what ``read`` takes from the cache, which is rebuilt if it is damaged.

        Raises:
            ValueError: if the annotation file has changed, so that it cannot be rebuilt.
        """
        try:
            return read(self.cached)
        except DamagedCacheError as error:
            cached = self._open_cache(verify=True)
            if cached.about != self.cached.about:
                raise ValueError(
                    f'{error}, and {self.ann_file!r} or the code has changed since it was built; '
                    'start again'
                ) from error
            self.cached = cached
            return read(self.cached)

    def _load_file(self) -> dict:
        """Read the annotation file and check all of its sequences, to build the cache."""
        data = load_annotations(self.ann_file)
        if not data['annotations']:
            raise ValueError(f'{self.ann_file!r} holds no sequences')
        return self._filter(data)

    def _load_uncached(self) -> dict:
        """Read the annotation file and check the sequences of the requested splits."""
        data = load_annotations(self.ann_file, self.hint)
        self._check_layout(data['metainfo'])
        self.preprocess = active_transforms(self.preprocess, data)

        if None not in self.splits:
            names = [name for split in self.splits for name in data['split'].get(split, ())]
            data['annotations'] = _in_split(data['annotations'], names)
        return self._filter(data)

    def _filter(self, data: dict) -> dict:
        """Return the content of a file with valid annotations only, and ``warnings``."""
        annotations, found = filter_valid(
            data['annotations'], self.ann_file, self.layout, self.invalid == 'drop'
        )
        if not data['metainfo'].get('preprocessed'):
            found += self._cut_warnings(annotations)
        return dict(data, annotations=annotations, warnings=found)

    def _cut_warnings(self, annotations: Sequence[Mapping]) -> list[str]:
        """Return a warning for each ``ResizeClip`` that leaves out frames of long sequences."""
        found = []
        for step in self.preprocess:
            limit = getattr(step, 'max_frames', None) if isinstance(step, ResizeClip) else None
            names = [name_of(a) for a in annotations if limit and a['total_frames'] > limit]
            if names:
                part = 'middle' if step.surplus == 'both' else 'first'
                found.append(
                    f'{len(names)} of {len(annotations)} sequences have more than {limit} frames; '
                    f'the {part} {limit} are used, all with max_frames=None of ResizeClip: '
                    f'{abbreviate(names)}'
                )
        return found

    def _check_layout(self, metainfo: Mapping) -> None:
        """Raise ValueError if the annotation file states other joints than the config."""
        layout = None if self.layout is None else stated_layout(metainfo, self.ann_file)
        if layout is not None and layout.joints != self.layout.joints:
            raise ValueError(
                f'{self.ann_file!r} has the joints of layout {layout.name!r}, '
                f'{", ".join(layout.joints)}; the config has those of {self.layout.name!r}; set '
                'layout of dataset, data preprocessor and backbone to that of the data, or map the '
                'file (tools/prepare_data.py mmaction2 FILE --map-to LAYOUT --out MAPPED)'
            )

    def _select(self, splits: Mapping, annotations: list[dict], split: str | None) -> list[dict]:
        """Return the annotations of a split, of all splits if it is None."""
        if split is not None:
            if split not in splits:
                raise ValueError(
                    f'{self.ann_file!r} has no split {split!r}; it has {sorted(splits)}'
                )
            annotations = _in_split(annotations, splits[split])
        if not annotations:
            raise ValueError(f'{self.ann_file!r}: split {split!r} holds no sequences')
        return annotations

    def _check_labels(self, annotations: list[dict]) -> None:
        """Raise ValueError if ``num_classes`` is given and a label is missing or too large."""
        if self.num_classes is None:
            return

        wrong = [
            a for a in annotations if not is_whole(a.get('label')) or a['label'] >= self.num_classes
        ]
        if wrong:
            raise ValueError(
                f'{self.ann_file!r}: sequence {name_of(wrong[0])!r} has the label '
                f'{wrong[0].get("label")}, but the config has {self.num_classes} classes (0 to '
                f'{self.num_classes - 1}); set its num_classes to that of the data '
                f'({len(wrong)} of {len(annotations)} sequences have such a label)'
            )

    def _draw(self, annotations: list[dict]) -> list[dict]:
        """Return a class-balanced share of the annotations."""
        if self.fraction == 1:
            return annotations

        if not all(is_whole(annotation.get('label')) for annotation in annotations):
            raise ValueError(
                f'{self.ann_file!r} has sequences without a label, so fraction={self.fraction} '
                'cannot be drawn class by class; use fraction=1'
            )
        drawn = balanced_draw([a['label'] for a in annotations], self.fraction, self.fraction_seed)
        return [annotations[i] for i in drawn]

    def filter_data(self) -> list[dict]:
        """Keep every sequence and log their number."""
        if self.batched:
            self._index()
        MMLogger.get_current_instance().info(
            f'{len(self.data_list)} sequences of {" and ".join(map(str, self.files))} '
            f'(split {" and ".join(str(s or "all") for s in self.splits)})'
        )
        return self.data_list

    def _index(self) -> None:
        """Note where each sequence lies in the cache, for batches that are read as one array."""
        shapes = {part.cached.shape for part in self.parts}
        if len(shapes) > 1:
            raise ValueError(
                f'the sequences of {self.files} differ in shape, {shapes}, and cannot be read as '
                'one array; set batched=False'
            )

        self.rows = np.array([annotation['cached'] for annotation in self.data_list])
        self.places = np.array([annotation.get('part', 0) for annotation in self.data_list])
        if self.test_mode:
            self.samples = [data_sample(annotation) for annotation in self.data_list]

    def get_data_info(self, idx: int) -> dict:
        """Return one sequence with its arrays."""
        info = super().get_data_info(idx)
        source = self.parts[info['part']] if self.parts else self
        if source.cached is not None:
            index = info.pop('cached')
            info.update(source._read_cache(lambda cache: cache.arrays(index)))
        return info

    def __getitems__(self, indices: Sequence[int]) -> list[dict] | SkeletonBatch:
        """Return the samples of a batch, which data loaders ask for; one batch if ``batched``."""
        if not self.batched:
            return [self[index] for index in indices]

        indices = list(indices)
        if self.test_mode:
            samples = [dict(self.samples[index]) for index in indices]  # models add to them
            return SkeletonBatch(self._read(indices), samples)

        if self._resident is None:
            self._move_to_gpu()
        if self._resident is None:
            return SkeletonBatch(self._read(indices))
        index = torch.tensor(indices).to(self._resident.device, non_blocking=True)
        return SkeletonBatch(self._resident.index_select(0, index))

    def _read(self, indices: Sequence[int]) -> Tensor:
        """Return sequences of the cache, in pinned memory if there is a GPU to copy them to."""
        rows, places = self.rows[indices], self.places[indices]
        sources = self.parts or [self]

        pin = get_worker_info() is None and torch.cuda.is_available()
        batch = torch.empty((len(rows), *sources[0].cached.shape), pin_memory=pin)
        for place, source in enumerate(sources):
            here = places == place
            batch.numpy()[here] = source._keypoints(rows[here])
        return batch

    def _keypoints(self, rows: np.ndarray) -> np.ndarray:
        """Return the keypoints (N, ...) of several rows of the cache."""
        return self._read_cache(lambda cache: cache.keypoints(rows))

    def _move_to_gpu(self) -> None:
        """Copy the sequences to the GPU where that is wanted and possible."""
        if self.keep_on_gpu is False:
            return
        size = 4 * len(self.rows) * math.prod(self.cached.shape)  # bytes
        device = training_gpu(None if self.keep_on_gpu else size)
        if device is None:
            if self.keep_on_gpu:
                raise ValueError(
                    'keep_on_gpu=True needs a GPU and a data loader with num_workers=0; leave it '
                    'out, or set num_workers=0'
                )
            self.keep_on_gpu = False
            return

        self._resident = torch.from_numpy(self._keypoints(self.rows)).to(device)
        MMLogger.get_current_instance().info(
            f'{len(self.rows)} sequences are kept on {device} ({size / 1e9:.2f} GB); '
            'train_dataloader.dataset.keep_on_gpu=False changes that'
        )
