"""Features and scores of a data set: order, padding of samplers, several ranks."""

import multiprocessing
import os

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.model import BaseModel
from torch.utils.data import DataLoader, Dataset

from aimclr_mm.evaluation import FeatureSet, classify, extract
from tests.runs import environment

SIZE = 7  # odd: on two ranks the sampler pads


class Sequences(Dataset):
    """Sequences with names, labels and roles, whose input is their number."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> dict:
        role = 'gallery' if index < 4 else 'query'
        sample = ActionDataSample(metainfo=dict(frame_dir=f's{index}', role=role))
        return dict(
            inputs=torch.tensor([float(index)]), data_samples=sample.set_gt_label(index % 3)
        )


class Toy(BaseModel):
    """Sets the feature (x, 2 x) and the scores (0, x) of a sequence x."""

    def forward(self, inputs, data_samples, mode):
        assert mode == 'predict' and not self.training and not torch.is_grad_enabled()
        for x, sample in zip(inputs, data_samples):
            sample.set_field(torch.cat([x, 2 * x]), 'feature')
            sample.set_pred_score(torch.cat([0 * x, x]).bfloat16())
        return data_samples


def loader() -> DataLoader:
    data = Sequences()
    return DataLoader(data, 2, sampler=DefaultSampler(data, False), collate_fn=pseudo_collate)


def check_features(features: FeatureSet) -> None:
    expected = np.array([[i, 2 * i] for i in range(SIZE)], dtype=np.float32)
    np.testing.assert_array_equal(features.features, expected)
    assert features.features.dtype == np.float32 and features.labels.dtype == np.int64
    assert features.labels.tolist() == [i % 3 for i in range(SIZE)]
    assert features.gallery.tolist() == [i < 4 for i in range(SIZE)]
    assert features.names.tolist() == [f's{i}' for i in range(SIZE)]


def test_features_of_a_data_set():
    check_features(extract(Toy().train(), loader()))


def test_scores_of_a_data_set():
    scores = classify(Toy(), loader())
    expected = np.array([[0, i] for i in range(SIZE)], dtype=np.float32)
    np.testing.assert_array_equal(scores.scores, expected)
    assert scores.labels.tolist() == [i % 3 for i in range(SIZE)]
    assert scores.names.tolist() == [f's{i}' for i in range(SIZE)]


def run_rank(rank: int, folder: str) -> None:
    """Extract on one of two ranks; the first one saves the features."""
    os.chdir(folder)
    os.environ.update(environment())
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    features = extract(Toy(), loader())
    assert (features is None) == (rank == 1)
    if rank == 0:
        features.save('features.npz')


@pytest.mark.slow
def test_ranks_are_gathered_and_padding_is_dropped(tmp_path):
    context = multiprocessing.get_context('forkserver')
    ranks = [context.Process(target=run_rank, args=(rank, str(tmp_path))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    check_features(FeatureSet.load(str(tmp_path / 'features.npz')))
