"""What a Kinect and a pose estimator make of a performance."""

import pytest
import torch

from aimclr_mm.datasets.movements import PICTURE, random_programs, record, sensor
from aimclr_mm.skeletons import COCO17, NTU25


def test_projection_of_hand_computed_points(monkeypatch):
    monkeypatch.setattr(sensor, 'FOCAL_LENGTH', (1.0, 1.0))
    points = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.5, 2.0], [0.0, 0.0, 0.1]])
    pixels = sensor.project(points[None, None])[0, 0]
    # f = 1080: column 960 - 1080 / 2, row 540 - 1080 / 4; the camera's x is to its left
    torch.testing.assert_close(pixels[0], torch.tensor([960.0, 540.0]))
    torch.testing.assert_close(pixels[1], torch.tensor([420.0, 270.0]))
    assert pixels[2].isfinite().all()


def standing() -> torch.Tensor:
    """Return a person (1, 1, 25, 3) who stands upright and looks along z."""
    x = torch.zeros(1, 1, 25, 3)
    places = dict(neck=(0, 1.4, 0), head=(0, 1.6, 0))
    places |= dict(left_shoulder=(0.2, 1.35, 0), right_shoulder=(-0.2, 1.35, 0))
    places |= dict(left_ankle=(0.1, 0, 0), right_ankle=(-0.1, 0, 0))
    for joint, place in places.items():
        x[:, :, NTU25.index(joint)] = torch.tensor(place, dtype=torch.float32)
    return x


def test_face_of_a_person_who_looks_ahead():
    x = sensor.to_coco(standing())[0, 0]
    at = {joint: x[COCO17.index(joint)] for joint in COCO17.joints}
    assert x.shape == (17, 3)
    torch.testing.assert_close(at['left_shoulder'], torch.tensor([0.2, 1.35, 0]))
    torch.testing.assert_close(at['right_ankle'], torch.tensor([-0.1, 0, 0]))
    assert at['nose'][2] > at['left_eye'][2] > at['left_ear'][2] == 0
    for part in ('eye', 'ear'):
        left, right = at[f'left_{part}'], at[f'right_{part}']
        assert left[0] > 0 > right[0]
        torch.testing.assert_close(left * torch.tensor([-1.0, 1, 1]), right)


@pytest.mark.parametrize('layout, joints', [('ntu25', 25), ('coco17', 17)])
def test_recordings(layout, joints):
    torch.manual_seed(0)
    program = random_programs(40)
    x = record(program, 16, layout)
    assert x.shape == (40, 16, joints, 3)
    assert x.isfinite().all()
    assert not torch.equal(record(program, 16, layout), x)

    torch.manual_seed(0)
    assert torch.equal(record(random_programs(40), 16, layout), x)


def test_people_are_in_front_of_the_camera():
    torch.manual_seed(0)
    x = record(random_programs(100), 16)
    pelvis = x[:, :, 0]
    assert pelvis[..., 2].min() > 1
    facing = x[:, :, NTU25.index('left_shoulder'), 0] < x[:, :, NTU25.index('right_shoulder'), 0]
    assert facing.float().mean() > 0.8  # the left shoulder is on the right of the camera's frame

    pose = record(random_programs(100), 16, 'coco17')
    width, height = PICTURE
    inside = (pose[..., 0] > 0) & (pose[..., 0] < width) & (pose[..., 1] > 0)
    assert inside.float().mean() > 0.95
    head, foot = (pose[:, :, COCO17.index(j), 1] for j in ('nose', 'left_ankle'))
    assert (head < foot).float().mean() > 0.95  # y points down
    score = pose[..., 2]
    assert 0 < score.min() and score.max() <= 1
    assert 0.005 < (score < 0.3).float().mean() < 0.1
