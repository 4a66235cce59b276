"""SkeletonBatch: collated from samples, read from the cache, passed through workers."""

from pathlib import Path

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
    skeleton_dataset,
    write_pickle,
)
from aimclr_mm.datasets.batch import as_batch
from aimclr_mm.evaluation.extraction import feature_row
from aimclr_mm.models import SkeletonViews
from aimclr_mm.models.encoder import attach_features

PREPROCESS = [
    dict(type='ResizeClip', length=8),
    dict(type='mmaction.FormatGCNInput', num_person=2),
]
PACK = [dict(type='mmaction.PackActionInputs', meta_keys=('frame_dir', 'role'))]


def write(path: Path, shapes: list[tuple[int, ...]]) -> str:
    """Write an annotation file of random sequences (M, T, V, C); return its path."""
    rng = np.random.default_rng([len(shapes), *str(path).encode()])
    annotations = [
        dict(frame_dir=str(i), label=i, total_frames=shape[1], keypoint=rng.normal(size=shape))
        for i, shape in enumerate(shapes)
    ]
    write_pickle(dict(annotations=annotations, split={}), str(path))
    return str(path)


@pytest.fixture
def ann_file(tmp_path) -> str:
    """An annotation file of seven sequences of different lengths."""
    return write(tmp_path / 'data.pkl', [(1 + i % 2, 4 + i, 25, 3) for i in range(7)])


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


def test_a_batched_evaluation_has_the_fields_of_the_data_samples(ann_file):
    """Label, name and role as in mmaction2's data samples, in fresh dicts."""
    options = dict(layout='ntu25', preprocess=PREPROCESS, test_mode=True)
    single = SkeletonDataset(ann_file, PACK, **options)
    batched = SkeletonDataset(ann_file, PACK, batched=True, **options)
    order = [5, 0, 5]
    batch = batched.__getitems__(order)
    for row, index in enumerate(order):
        sample = single[index]
        assert torch.equal(batch.inputs[row], sample['inputs'])
        assert feature_row({**batch.data_samples[row], 'feature': 0}) == feature_row(
            {**sample['data_samples'].to_dict(), 'feature': 0}
        )
    batch.data_samples[0]['feature'] = 1
    assert 'feature' not in batched.__getitems__([5]).data_samples[0]


def test_a_batched_evaluation_of_two_files(tmp_path):
    """Batches hold sequences of both files, in any order."""
    files = [
        write(tmp_path / f'{name}.pkl', [(1, 5 + i, 25, 3) for i in range(7)]) for name in 'ab'
    ]
    options = dict(layout='ntu25', preprocess=PREPROCESS, test_mode=True)
    single = SkeletonDataset(files, PACK, **options)
    batched = SkeletonDataset(files, PACK, batched=True, **options)
    order = [9, 0, 13, 6]
    batch = batched.__getitems__(order)
    assert torch.equal(batch.inputs, torch.stack([single[index]['inputs'] for index in order]))
    roles = [sample['role'] for sample in batch.data_samples]
    assert roles == ['query', 'gallery', 'query', 'gallery']


def test_two_files_that_cannot_be_batched(tmp_path):
    files = [write(tmp_path / f'{people}.pkl', [(people, 5, 25, 3)]) for people in (1, 2)]
    options = dict(layout='ntu25', batched=True)
    with pytest.raises(ValueError, match='differ in shape, .*; set batched=False'):
        SkeletonDataset(files, PACK, preprocess=PREPROCESS[:1], test_mode=True, **options)
    with pytest.raises(ValueError, match='has 2 files; give one, or two .* for evaluation'):
        SkeletonDataset(files, PACK, preprocess=PREPROCESS, **options)


def test_features_are_attached_to_dicts_and_to_data_samples():
    features = torch.tensor([[1.0, 3.0], [3.0, 5.0], [0.0, 0.0], [2.0, 2.0]])  # two clips each
    ours = attach_features(features, [{}, {}])
    theirs = attach_features(features, [ActionDataSample(), ActionDataSample()])
    assert [sample['feature'].tolist() for sample in ours] == [[2, 4], [1, 1]]
    assert [sample.feature.tolist() for sample in theirs] == [[2, 4], [1, 1]]


def test_sequences_on_the_gpu_give_the_same_batches(ann_file, monkeypatch):
    options = dict(layout='ntu25', preprocess=PREPROCESS, batched=True)
    expected = SkeletonDataset(ann_file, PACK, keep_on_gpu=False, **options)
    monkeypatch.setattr(skeleton_dataset, 'training_gpu', lambda size: torch.device('cpu'))
    dataset = SkeletonDataset(ann_file, PACK, **options)
    for order in ([3, 0, 6], [1], [2, 2]):
        batch = dataset.__getitems__(order)
        assert torch.equal(batch.inputs, expected.__getitems__(order).inputs)
    assert dataset._resident.shape == (7, 1, 2, 8, 25, 3) and expected._resident is None
    batch.inputs.zero_()  # batches are copies
    assert dataset.__getitems__([2]).inputs.any()


@pytest.mark.parametrize('free, kept', [(400, True), (399, False)])
def test_a_quarter_of_the_free_memory_is_the_limit(monkeypatch, free, kept):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (free, 1000))
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 1)
    device = torch.device('cuda', 1)
    assert skeleton_dataset.training_gpu(100) == (device if kept else None)
    assert skeleton_dataset.training_gpu() == device


def test_sequences_cannot_be_kept_on_a_missing_gpu(ann_file, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    options = dict(layout='ntu25', preprocess=PREPROCESS, keep_on_gpu=True)
    with pytest.raises(ValueError, match='keep_on_gpu=True needs a GPU'):
        SkeletonDataset(ann_file, PACK, batched=True, **options).__getitems__([0])
    with pytest.raises(ValueError, match='needs batched=True'):
        SkeletonDataset(ann_file, PACK, **options)
