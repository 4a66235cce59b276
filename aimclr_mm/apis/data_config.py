"""A training config chosen from an annotation file: tools/train.py --data FILE."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config

from aimclr_mm.datasets.annotations import load_annotations, stated_layout
from aimclr_mm.datasets.checks import filter_valid, is_whole, name_of
from aimclr_mm.skeletons import COCO17, NTU25, Layout
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.project import project_folder

MANY = 10_000  # training sequences from which on the paper's network and schedule are used
FRAMES = 24, 64  # limits of the frames that a clip is resized to
SECOND_PERSON = 0.05  # share of sequences with a second person from which on two people are used
BATCH = 64
QUEUE = 16, 32_768  # limits of the memory bank
BASES = 'default_runtime', 'synthetic'  # and the method


@dataclass(frozen=True)
class DataFacts:
    """What a config needs to know of an annotation file.

    Attributes:
        path: absolute path of the file.
        layout: joint layout.
        channels: coordinates, plus one with scores.
        people: people of a sequence that are used.
        frames: frames that a clip is resized to.
        picture: height and width for sequences that do not state theirs; None for 3-D.
        classes: names of the classes, or their indices as text.
        train, validation: names of splits; None for all sequences and for none.
        count: training sequences.
        labeled: whether all sequences of both splits have labels.
    """

    path: str
    layout: Layout
    channels: int
    people: int
    frames: int
    picture: tuple[int, int] | None
    classes: Sequence[str]
    train: str | None
    validation: str | None
    count: int
    labeled: bool

    @property
    def batch(self) -> int:
        """Sequences of a batch: 64, or a quarter of the training data if that is less."""
        return max(1, min(BATCH, self.count // 4))

    @property
    def queue(self) -> int:
        """Keys of the memory bank: the largest power of two up to 3/4 of the training data."""
        largest = 2 ** int(np.log2(max(0.75 * self.count, 1)))
        return max(self.batch, min(max(largest, QUEUE[0]), QUEUE[1]))

    @property
    def validates(self) -> bool:
        """Whether KNN accuracy can be measured."""
        return self.validation is not None and self.labeled

    def lines(self) -> list[str]:
        """Return the choices as lines of text."""
        method = 'aimclr' if self.count >= MANY else 'aimclr_small'
        validation = f'KNN of {self.validation} among {self.train}' if self.validates else 'none'
        if self.validation is None:
            validation += ', as the file has no pair of splits'
        elif not self.labeled:
            validation += ', as not all sequences have labels'
        rows = {
            'joints': f'{self.layout.name}, {self.layout.num_joints} with {self.channels} channels',
            'people': str(self.people),
            'frames': f'clips are resized to {self.frames}',
            'picture': self.picture and f'{self.picture[1]} x {self.picture[0]} where not stated',
            'classes': str(len(self.classes) or 'unknown'),
            'training': f'{self.count} sequences (split {self.train or "all"})',
            'validation': validation,
            'settings': f'_base_/{method}.py, batch {self.batch}, queue {self.queue}',
        }
        return [f'  {name:<12}{text}' for name, text in rows.items() if text]


def read_facts(path: str) -> DataFacts:
    """Read what a config needs to know of an annotation file.

    Raises:
        FileNotFoundError, ValueError: if it cannot be read or does not tell its joints.
    """
    data = load_annotations(path, 'Make it with tools/prepare_data.py (see docs/own_data.md)')
    if not data['annotations']:
        raise ValueError(f'{path!r} holds no sequences')
    layout = _layout(data, path)
    annotations, _ = filter_valid(data['annotations'], path, layout, drop=False)

    train, validation = _splits(data['split'])
    chosen = {name for split in (train, validation) if split for name in data['split'][split]}
    used = [a for a in annotations if not chosen or name_of(a) in chosen]
    names = set(data['split'][train]) if train else None
    training = [a for a in used if names is None or name_of(a) in names]
    if not training:
        raise ValueError(f'{path!r}: split {train!r} holds no sequences')

    labels = [a.get('label') for a in used]
    labeled = all(is_whole(label) and label >= 0 for label in labels)
    known = [label for label in labels if is_whole(label) and label >= 0]
    names = data['metainfo'].get('classes') or ()
    classes = [str(k) for k in (*names, *range(len(names), max(known, default=-1) + 1))]
    median = np.median([a['keypoint'].shape[1] for a in training])
    return DataFacts(
        path=os.path.abspath(path),
        layout=layout,
        channels=layout.dims + _has_scores(used, path),
        people=_people(used),
        frames=int(np.clip(round(median / 2), *FRAMES)),
        picture=_picture(used) if layout.dims == 2 else None,
        classes=classes,
        train=train,
        validation=validation,
        count=len(training),
        labeled=labeled,
    )


def _layout(data: Mapping, path: str) -> Layout:
    """Return the layout that a file states, or the one of mmaction2's files with such joints."""
    if layout := stated_layout(data['metainfo'], path):
        return layout
    shape = np.shape(data['annotations'][0].get('keypoint'))[-2:]
    for layout in (NTU25, COCO17):
        if shape == (layout.num_joints, layout.dims):
            return layout
    raise ValueError(
        f'{path!r} does not state its joint layout, and {shape} joints and coordinates are neither '
        'NTU RGB+D (25, 3) nor COCO (17, 2); make it with tools/prepare_data.py ... --layout LAYOUT'
    )


def _splits(splits: Mapping[str, Sequence[str]]) -> tuple[str | None, str | None]:
    """Return the names of the training and the validation split, cross-subject first.

    A pair of splits has names that end in ``train`` and in ``val`` or ``test``.
    """
    training = sorted((name for name in splits if name.endswith('train')), key=_rank)
    for name in training:
        stem = name.removesuffix('train')
        for other in (f'{stem}val', f'{stem}test'):
            if splits.get(other) and splits[name]:
                return name, other
    return (training[0], None) if training else (None, None)


def _rank(name: str) -> tuple[bool, str]:
    return not name.startswith('xsub'), name


def _has_scores(annotations: Sequence[Mapping], path: str) -> bool:
    """Return whether the sequences have scores, which are one more channel."""
    scored = sum(a.get('keypoint_score') is not None for a in annotations)
    if 0 < scored < len(annotations):
        raise ValueError(
            f'{path!r}: {scored} of {len(annotations)} sequences have keypoint_score; all or none '
            'must have it'
        )
    return scored > 0


def _people(annotations: Sequence[Mapping]) -> int:
    """Return 2 if a second person is in at least 5 % of the sequences, else 1."""
    pairs = sum(a['keypoint'].any(axis=(1, 2, 3)).sum() > 1 for a in annotations)
    return 2 if pairs >= SECOND_PERSON * len(annotations) else 1


def _picture(annotations: Sequence[Mapping]) -> tuple[int, int]:
    """Return height and width of the picture of 2-D poses that do not state it."""
    largest = max(float(np.abs(a['keypoint']).max()) for a in annotations)
    return (1, 1) if largest <= 2 else (1080, 1920)  # fractions of the picture, or pixels


def compose(facts: DataFacts) -> Config:
    """Return the config of a training on an annotation file."""
    method = 'aimclr' if facts.count >= MANY else 'aimclr_small'
    folder = os.path.join(project_folder(), 'configs', '_base_')
    bases = [os.path.join(folder, f'{name}.py') for name in (*BASES, method)]
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, 'base.py')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'_base_ = {bases!r}\n')
        base = Config.fromfile(path).to_dict()

    layout = facts.layout.to_config()
    model = base['model']
    model['data_preprocessor'].update(layout=layout, extreme=_extreme(base, facts))
    model['backbone'].update(layout=layout, in_channels=facts.channels)
    model.update(queue_length=facts.queue)
    loaders = _loaders(base, facts)
    kept = {k: v for k, v in base.items() if k not in ('dataset', 'loader', 'normal', 'extreme')}
    content = {**kept, **loaders, 'num_classes': len(facts.classes) or None, 'layout': layout}
    if not facts.validates:
        content.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    return Config(content)


def _extreme(base: Mapping, facts: DataFacts) -> list[dict]:
    """Return the extreme augmentations; of two coordinates, none is hidden."""
    steps = base['model']['data_preprocessor']['extreme']
    return [step for step in steps if facts.layout.dims == 3 or step['type'] != 'AxisMask']


def _loaders(base: Mapping, facts: DataFacts) -> dict[str, Any]:
    """Return the data loaders of training, validation and test."""
    # the whole clip, however long
    preprocess: list[dict] = [dict(type='ResizeClip', length=facts.frames, max_frames=None)]
    if facts.layout.dims == 2:
        preprocess.append(dict(type='PreNormalize2D', img_shape=facts.picture))
        preprocess.append(dict(type='CenterSkeleton'))
    else:
        preprocess.insert(0, dict(type='CenterSkeleton'))
        if facts.layout.shoulders is not None:
            preprocess.append(dict(type='AlignShoulders'))
    preprocess.append(dict(type='FormatGCNInput', num_person=facts.people))

    settings = dict(ann_file=facts.path, layout=facts.layout.to_config(), preprocess=preprocess)
    settings['hint'] = 'Make it again, or set ann_file of the config to where it is now'
    pair = [facts.train, facts.validation] if facts.validation else facts.train
    loaders = {}
    for name in ('train', 'val', 'test'):
        loader = base[f'{name}_dataloader']
        split = facts.train if name == 'train' else pair
        loaders[f'{name}_dataloader'] = {
            **loader,
            'batch_size': facts.batch if name == 'train' else BATCH,
            'dataset': {**loader['dataset'], **settings, 'split': split},
        }
    return loaders


def write_data_config(path: str, folder: str | None = None) -> tuple[str, DataFacts]:
    """Write the config of a training on an annotation file.

    Args:
        path: annotation file.
        folder: folder to write to; ``work_dirs/<name of the file>`` if not given.

    Returns:
        The path of the config, which can be used from any folder, and what it was chosen from.
    """
    facts = read_facts(path)
    stem = os.path.splitext(os.path.basename(path))[0]
    target = os.path.join(folder or os.path.join('work_dirs', stem), f'{stem}.py')
    with atomic_write(target) as file:
        file.write(compose(facts).pretty_text)
    return target, facts
