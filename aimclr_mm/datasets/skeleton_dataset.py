"""mmaction2's pose dataset with a check of what it reads, pairs of splits for evaluation, and optional labels."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmaction.datasets import PoseDataset
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.logging import MMLogger

from aimclr_mm.skeletons import get_layout

from .annotations import check_annotation, load_annotations


@DATASETS.register_module()
class SkeletonDataset(PoseDataset):
    """Sequences of one split for pre-training, or of two for evaluation.

    Every sample gets ``split`` and ``role``: ``bank`` for the first split, ``query`` for the second. Evaluators find
    neighbours and train classifiers on the bank and are scored on the queries, so that one pass over one data set
    yields all features they need.

    Args:
        ann_file: annotation file in mmaction2's pose format (see :mod:`aimclr_mm.datasets.annotations`).
        pipeline: transforms of one sample.
        split: a split of the file; a pair (bank, queries) for evaluation; None for all sequences.
        layout: joint layout that the recordings must have; None accepts any.
        hint: how to make the annotation file, printed when it is missing.
        **kwargs: as for mmaction2's ``PoseDataset``.
    """

    def __init__(self, ann_file: str, pipeline: list, split: str | Sequence[str] | None = None, layout=None,
                 hint: str = '', **kwargs) -> None:
        self.splits = [split] if split is None or isinstance(split, str) else list(split)
        if not 1 <= len(self.splits) <= 2:
            raise ValueError(f'split={split!r}; give one split, or a pair (bank, queries)')
        self.layout = None if layout is None else get_layout(layout)
        self.hint = hint
        # built here, where mmaction2's registry is known: a notebook has no default scope
        pipeline = [TRANSFORMS.build(step) if isinstance(step, Mapping) else step for step in pipeline]
        super().__init__(ann_file, pipeline, split=None, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Reads and checks the annotations of the wanted splits."""
        data = load_annotations(self.ann_file, self.hint)
        samples = []
        for split, role in zip(self.splits, ('bank', 'query')):
            chosen = self._select(data, split)
            samples += [{**annotation, 'split': split or 'all', 'role': role} for annotation in chosen]
        return samples

    def _select(self, data: dict, split: str | None) -> list[dict]:
        """The checked annotations of a split."""
        annotations = data['annotations']
        if split is not None:
            if split not in data['split']:
                raise ValueError(f'{self.ann_file!r} has no split {split!r}; it has {sorted(data["split"])}')
            names = set(data['split'][split])
            annotations = [a for a in annotations if a.get('frame_dir', a.get('filename')) in names]
        if not annotations:
            raise ValueError(f'{self.ann_file!r}: split {split!r} holds no sequences')
        joints = None if self.layout is None else self.layout.num_joints
        for annotation in annotations:
            check_annotation(annotation, self.ann_file, joints)
        return annotations

    def filter_data(self) -> list[dict]:
        """Keeps every sequence and says how many there are."""
        MMLogger.get_current_instance().info(f'{len(self.data_list)} sequences of {self.ann_file} '
                                             f'(split {" and ".join(str(s or "all") for s in self.splits)})')
        return self.data_list
