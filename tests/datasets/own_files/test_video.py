"""Recordings from videos: a stub that sees bright people, and RTMPose with made-up weights."""

import os
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest

from aimclr_mm.datasets.own_files.estimators import MediaPipe, RTMPose
from aimclr_mm.datasets.own_files.fields import read_fields
from aimclr_mm.datasets.own_files.pose_json import Person
from aimclr_mm.datasets.own_files.video import read_video, write_recordings
from aimclr_mm.datasets.readers import SourceFile
from aimclr_mm.skeletons import COCO17, MEDIAPIPE33, MEDIAPIPE33_2D

HEIGHT, WIDTH, FRAMES = 96, 128, 6


def write_video(path, columns=range(20, 20 + 10 * FRAMES, 10)) -> str:
    """A white square that moves to the right; no square where the column is None."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (WIDTH, HEIGHT))
    for column in columns:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if column is not None:
            image[40:56, column : column + 16] = 255
        video.write(image)
    video.release()
    return str(path)


class BrightestPoint:
    """Sees a person, with all joints in the middle of what is bright."""

    layout = COCO17
    opened = 0

    def __init__(self) -> None:
        BrightestPoint.opened += 1

    def close(self) -> None:
        BrightestPoint.opened -= 1

    def __call__(self, image: np.ndarray, time: int) -> list[Person]:
        rows, columns = np.nonzero(image[..., 0] > 128)
        if not len(rows):
            return []
        middle = np.array([columns.mean(), rows.mean()])
        return [Person(np.tile(middle, (17, 1)), np.full(17, 0.5))]


def test_videos_become_recordings(tmp_path):
    """Folders of classes are kept; a frame without anyone is one without a pose."""
    columns = [20, 30, None, 50, 60, 70]
    write_video(tmp_path / 'clips' / 'wave' / 'a.avi', columns)
    write_video(tmp_path / 'clips' / 'kick' / 'a.avi')
    (tmp_path / 'clips' / 'kick' / 'broken.mp4').write_bytes(b'no video')
    out = str(tmp_path / 'out')
    written, problems = write_recordings([str(tmp_path / 'clips')], out, BrightestPoint)
    assert [os.path.relpath(path, out) for path in written] == ['kick/a.npz', 'wave/a.npz']
    (problem,) = problems
    assert 'broken.mp4: is not a video that OpenCV reads' in problem
    assert BrightestPoint.opened == 0

    fields = read_fields(SourceFile.of(written[1], 'a.npz'), COCO17)
    assert fields['img_shape'] == (HEIGHT, WIDTH) and fields['total_frames'] == FRAMES
    x = fields['keypoint'][0, :, 3]
    assert np.isnan(x[2]).all() and fields['keypoint_score'][0, 2].tolist() == [0] * 17
    expected = [column + 7.5 for column in columns if column is not None]
    np.testing.assert_allclose(x[[0, 1, 3, 4, 5], 0], expected, atol=1)
    np.testing.assert_allclose(x[[0, 1, 3, 4, 5], 1], 47.5, atol=1)


def test_times_of_the_pictures(tmp_path):
    path = write_video(tmp_path / 'a.avi')
    assert [time for _, time in read_video(path)] == [0, 40, 80, 120, 160, 200]


def test_nothing_to_read(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'')
    with pytest.raises(ValueError, match='none of 1 videos can be used; the first: .*a.mp4'):
        write_recordings([str(tmp_path)], str(tmp_path), BrightestPoint)
    write_video(tmp_path / 'a.avi')
    with pytest.raises(ValueError, match="two videos are called 'a'"):
        write_recordings([str(tmp_path)], str(tmp_path), BrightestPoint)
    with pytest.raises(FileNotFoundError, match='gone'):
        write_recordings([str(tmp_path / 'gone')], str(tmp_path), BrightestPoint)


def test_weights_are_files_of_the_user(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.onnx.*name the file'):
        RTMPose([str(tmp_path / 'none.onnx')], COCO17)


def made_up_pose_model(path: str) -> None:
    """An RTMPose that finds joint v at column 4 v and row 128 of its picture of 192 x 256."""
    onnx = pytest.importorskip('onnx')
    x, y = np.zeros((1, 17, 384), np.float32), np.zeros((1, 17, 512), np.float32)
    joints = np.arange(17)
    x[0, joints, 8 * joints], y[0, :, 256] = 0.75, 0.75
    helper = onnx.helper
    nodes = [
        helper.make_node('Constant', [], [name], value=onnx.numpy_helper.from_array(array))
        for name, array in dict(simcc_x=x, simcc_y=y).items()
    ]
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        'pose',
        [helper.make_tensor_value_info('input', number, [1, 3, 256, 192])],
        [
            helper.make_tensor_value_info('simcc_x', number, [1, 17, 384]),
            helper.make_tensor_value_info('simcc_y', number, [1, 17, 512]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, path)


def test_rtmpose_by_rtmlib(tmp_path):
    """The joints are on a line at equal distances, in the middle of the picture."""
    pytest.importorskip('rtmlib')
    pytest.importorskip('onnxruntime')
    weights = str(tmp_path / 'pose.onnx')
    made_up_pose_model(weights)
    (person,) = RTMPose([weights], COCO17)(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0)
    assert person.keypoint.shape == (17, 2) and np.allclose(person.score, 0.75)
    steps = np.diff(person.keypoint[:, 0])
    np.testing.assert_allclose(steps, steps[0], atol=1e-3)
    np.testing.assert_allclose(person.keypoint[:, 1], HEIGHT / 2, atol=1)


@pytest.mark.parametrize(
    'layout, expected', [(MEDIAPIPE33_2D, (WIDTH / 2, HEIGHT / 4)), (MEDIAPIPE33, (0.1, 0.2, 0.3))]
)
def test_mediapipe(tmp_path, monkeypatch, layout, expected):
    """Landmarks in the picture become pixels; world landmarks are taken as they are."""
    point = dict(visibility=0.75)
    image = SimpleNamespace(x=0.5, y=0.25, z=9, **point)
    world = SimpleNamespace(x=0.1, y=0.2, z=0.3, **point)
    result = SimpleNamespace(pose_landmarks=[[image] * 33], pose_world_landmarks=[[world] * 33])
    landmarker = MagicMock(detect_for_video=MagicMock(return_value=result))
    tasks = MagicMock()
    tasks.vision.PoseLandmarker.create_from_options.return_value = landmarker
    monkeypatch.setitem(sys.modules, 'mediapipe', MagicMock())
    monkeypatch.setitem(sys.modules, 'mediapipe.tasks.python', tasks)

    weights = tmp_path / 'pose.task'
    weights.touch()
    estimator = MediaPipe([str(weights)], layout)
    (person,) = estimator(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 40)
    np.testing.assert_allclose(person.keypoint, np.tile(expected, (33, 1)))
    assert (person.score == 0.75).all() and landmarker.detect_for_video.call_args[0][1] == 40
    estimator.close()
    landmarker.close.assert_called_once()
