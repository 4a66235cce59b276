"""SkeletonBatch: collated from samples, read from the cache, passed through workers."""

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch import Tensor

from aimclr_mm.datasets import (
    SkeletonBatch,
    SkeletonDataset,
    collate_skeletons,
    write_pickle,
)
from aimclr_mm.datasets.batch import as_batch
from aimclr_mm.models import SkeletonViews

PREPROCESS = [
    dict(type='ResizeClip', length=8),
    dict(type='mmaction.FormatGCNInput', num_person=2),
]
PACK = [dict(type='mmaction.PackActionInputs', meta_keys=('frame_dir', 'role'))]


@pytest.fixture
def ann_file(tmp_path) -> str:
    """An annotation file of seven sequences of different lengths."""
    rng = np.random.default_rng(0)
    shapes = [(1 + i % 2, 4 + i, 25, 3) for i in range(7)]
    annotations = [
        dict(frame_dir=str(i), label=i, total_frames=shape[1], keypoint=rng.normal(size=shape))
        for i, shape in enumerate(shapes)
    ]
    path = str(tmp_path / 'data.pkl')
    write_pickle(dict(annotations=annotations, split={}), path)
    return path


def loader(ann_file: str, batched: bool, workers: int = 0, **options):
    """A data loader as mmengine builds it of a config."""
    dataset = dict(
        type='mmaction.SkeletonDataset',
        ann_file=ann_file,
        layout='ntu25',
        preprocess=PREPROCESS,
        pipeline=PACK,
        batched=batched,
    )
    options = dict(dict(collate_fn=dict(type='collate_skeletons')), **options)
    sampler = dict(type='DefaultSampler', shuffle=False)
    return Runner.build_dataloader(
        dict(batch_size=3, num_workers=workers, sampler=sampler, dataset=dataset, **options), seed=0
    )


def inputs(batches) -> Tensor:
    """The inputs of all batches in one tensor."""
    return torch.cat([batch.inputs for batch in batches])


def test_samples_and_their_data_samples(ann_file):
    batches = list(loader(ann_file, batched=False))
    assert [type(batch) for batch in batches] == [SkeletonBatch] * 3
    assert batches[0].inputs.shape == (3, 1, 2, 8, 25, 3)
    names = [sample.frame_dir for batch in batches for sample in batch.data_samples]
    assert names == list('0123456')
    assert isinstance(batches[0].data_samples[0], ActionDataSample)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_batched_read_equals_collated_samples(ann_file, workers):
    batches = list(loader(ann_file, batched=True, workers=workers))
    assert [type(batch) for batch in batches] == [SkeletonBatch] * 3
    assert all(batch.data_samples is None for batch in batches)
    torch.testing.assert_close(inputs(batches), inputs(loader(ann_file, False, workers)))


def test_a_batched_read_passes_the_default_collate_function(ann_file):
    """mmengine's pseudo_collate, in a config that does not name another."""
    batches = list(loader(ann_file, batched=True, collate_fn=dict(type='pseudo_collate')))
    assert torch.equal(inputs(batches), inputs(loader(ann_file, batched=True)))


def test_the_preprocessor_takes_every_form(ann_file):
    """A batch, a mapping of lists (mmaction2's form) and a mapping with one tensor."""
    samples = SkeletonDataset(ann_file, PACK, layout='ntu25', preprocess=PREPROCESS)
    samples = [samples[i] for i in range(7)]
    batch = collate_skeletons(samples)
    views = SkeletonViews()
    expected = views(batch)
    assert expected['inputs'].shape == (7, 2, 8, 25, 3)
    assert expected['data_samples'] == batch.data_samples

    mapping = pseudo_collate(samples)
    assert isinstance(mapping['inputs'], list)
    for data in (mapping, batch._asdict()):
        found = views(data)
        assert torch.equal(found['inputs'], expected['inputs'])
        assert found['data_samples'] == batch.data_samples


def test_a_batch_is_returned_as_it_is():
    batch = SkeletonBatch(torch.zeros(2, 1, 2, 4, 25, 3))
    assert as_batch(batch) is batch and collate_skeletons(batch) is batch
    assert as_batch(dict(inputs=batch.inputs)) == batch


def test_clips_of_a_sample_become_samples():
    x = torch.randn(2, 3, 2, 4, 25, 3)
    assert torch.equal(SkeletonViews()(SkeletonBatch(x))['inputs'], x.flatten(0, 1))
