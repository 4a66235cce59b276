"""Poses in a picture: origin, unit, scores."""

import numpy as np
import pytest
import torch

from aimclr_mm.skeletons import COCO17
from aimclr_mm.transforms import NormalizePose


def poses() -> torch.Tensor:
    """Three clips of two people, (3, 2, 5, 17, 3)."""
    torch.manual_seed(0)
    return torch.cat([100 * torch.randn(3, 2, 5, 17, 2) + 400, torch.rand(3, 2, 5, 17, 1)], dim=-1)


def test_equals_loops():
    x = poses()
    result = NormalizePose().apply(x).numpy()
    left_hip, right_hip = COCO17.index('left_hip'), COCO17.index('right_hip')
    left, right = COCO17.index('left_shoulder'), COCO17.index('right_shoulder')
    for clip in range(3):
        for person in range(2):
            p = x[clip, person, :, :, :2].double().numpy()
            hips = (p[:, left_hip] + p[:, right_hip]) / 2
            trunk = np.linalg.norm((p[:, left] + p[:, right]) / 2 - hips, axis=1)
            expected = (p - hips[:, None]) / sorted(trunk)[2]  # the median of 5 frames
            np.testing.assert_allclose(
                result[clip, person, ..., :2], expected, rtol=1e-4, atol=1e-4
            )
    assert torch.equal(torch.from_numpy(result[..., 2]), x[..., 2])


def test_place_and_size_do_not_matter():
    x = poses()
    moved = x.clone()
    moved[..., :2] = 3 * x[..., :2] + torch.tensor([50.0, -20.0])
    torch.testing.assert_close(NormalizePose().apply(moved), NormalizePose().apply(x))


def test_missing_scores_are_one_and_zero_for_absent_people():
    x = poses()[..., :2]
    x[1, 1] = 0
    scored = NormalizePose(scores=True).apply(x)
    assert scored.shape[-1] == 3
    assert torch.equal(scored[..., :2], NormalizePose().apply(x))
    expected = torch.ones(3, 2, 5, 17)
    expected[1, 1] = 0
    assert torch.equal(scored[..., 2], expected)
    assert torch.equal(NormalizePose(scores=True).apply(poses()), NormalizePose().apply(poses()))


def test_layout_without_hips():
    layout = dict(name='rod', joints=['a', 'b'], parents=['a', 'a'], center='a', dims=2)
    with pytest.raises(ValueError, match='left_shoulder'):
        NormalizePose(layout=layout)
