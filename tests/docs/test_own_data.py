"""docs/own_data.md from its first block to its last; sample recordings and their readers."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.apis import read_recordings
from aimclr_mm.datasets.own_files.fields import read_fields
from aimclr_mm.datasets.own_files.samples import FOCAL, as_coco, write_samples
from aimclr_mm.datasets.readers import RecordingError, SourceFile
from aimclr_mm.datasets.synthetic import ACTIONS, synthesize
from aimclr_mm.skeletons import COCO17, NTU25
from tests.datasets.own_files.test_video import made_up_pose_model, write_video
from tests.docs_runner import ROOT, Folder, blocks, make_project

# what is appended to commands to make them short
REDUCTIONS = {
    'python tools/prepare_data.py video': '',
    'python tools/prepare_data.py samples poses': '--subjects 2 --repetitions 1',
    'python tools/prepare_data.py samples': '--subjects 4',
    'python tools/prepare_data.py': '--workers 1',
    'python tools/train.py --data': '--epochs 1',
    'python tools/train.py work_dirs/auto': '--epochs 1',
    'python tools/train.py': '--epochs 1 --no-validate '
    '--cfg-options train_dataloader.batch_size=14',
}


def full_length(folder: Path) -> None:
    """The checkpoint of the shortened training under the name of the one of full length."""
    for path in folder.glob('work_dirs/*/epoch_1.pth'):
        shutil.copy(path, path.with_name('epoch_60.pth'))


def make_videos(folder: Path) -> None:
    """Two clips of each of two classes, and weights that find a pose in every picture."""
    made_up_pose_model(str(folder / 'rtmpose-m.onnx'))
    for clip in ('wave/a', 'wave/b', 'kick/a', 'kick/b'):
        write_video(folder / 'clips' / f'{clip}.avi')


@pytest.mark.slow
def test_page_runs_as_printed(tmp_path):
    pytest.importorskip('rtmlib')
    make_videos(tmp_path)
    project = Folder(make_project(tmp_path), REDUCTIONS, full_length)
    page = [
        block
        for block in blocks(ROOT / 'docs/own_data.md')
        if 'configs/aimclr_utdmhad' not in block.text
    ]
    printed = ''.join(map(project.run, page))  # without the search for settings, on UTD-MHAD
    for line in (
        'kinect: 56 recordings',
        'mediapipe: 56 recordings',
        'openpose: 56 recordings',
        'from_videos: 4 recordings of layout coco17',
        '0.0 1.0 (',
        'settings    _base_/aimclr_small.py',
        'generated-3s fused ',
        'recordings: 112 recordings',
        'poses: 28 recordings',
        'split xsub_train  56',
        'split xsub_train  14',
        'linear/top1: ',
        'gallery.npz: 112 sequences, 64 channels, 14 labels',
        '   5  ',
        'examples: bow 4, clap',
        'leave-one-out accuracy on the examples',
        'accuracy on the 20 labeled recordings',
    ):
        assert line in printed, line
    for name in (
        'wave.png',
        'neighbors.png',
        'gestures.npz',
        'predictions.csv',
        'kinect_classes.csv',
        'mediapipe_classes.csv',
        'openpose_classes.csv',
        'video_classes.csv',
        'segments.csv',
        'timeline.png',
        'similarity.csv',
        'classes.json',
        'work_dirs/auto/mine.py',
        'work_dirs/poses/epoch_1.pth',
    ):
        assert (tmp_path / name).stat().st_size > 0, name


def test_samples_are_the_synthetic_actions(tmp_path):
    assert write_samples(str(tmp_path), 'kinect', 2, 1, 1, seed=3) == 2 * len(ACTIONS)
    recordings = {r['frame_dir']: r for r in read_recordings(tmp_path)}
    assert {r['label'] for r in recordings.values()} == {name.replace(' ', '_') for name in ACTIONS}
    found = recordings[str(tmp_path / 'wave/C001P002R001.npy')]['keypoint']
    np.testing.assert_array_equal(found, synthesize('wave', 2, 1, 1, 3))
    with pytest.raises(ValueError, match="form='bvh'"):
        write_samples(str(tmp_path), 'bvh')


def test_samples_of_other_forms_hold_the_same_movement(tmp_path):
    for form in ('csv', 'openpose', 'mediapipe'):
        write_samples(str(tmp_path / form), form, 1, 1, 1)
    keypoint = synthesize('wave', 1, 1, 1)
    name = 'wave/C001P001R001'

    (table,) = read_recordings(tmp_path / 'csv' / f'{name}.csv')
    np.testing.assert_allclose(table['keypoint'][0], keypoint[0], atol=6e-5)

    files = sorted((tmp_path / 'openpose' / name).iterdir())
    assert len(files) == keypoint.shape[1] and files[7].name.endswith(
        '_000000000007_keypoints.json'
    )
    (person,) = json.loads(files[7].read_text())['people']
    values = np.reshape(person['pose_keypoints_2d'], (25, 3))
    wrist = as_coco(keypoint)[0, 7, COCO17.index('left_wrist')]
    np.testing.assert_allclose(values[7], wrist, atol=1e-3)  # left wrist of BODY_25

    frames = json.loads((tmp_path / 'mediapipe' / f'{name}.json').read_text())
    (pose,) = frames[7]['pose_world_landmarks']
    points = np.array([[point[axis] for axis in 'xyz'] for point in pose])
    np.testing.assert_allclose(points[[23, 24]].mean(axis=0), 0, atol=1e-4)  # the hips
    bone = np.linalg.norm(points[15] - points[13])  # left elbow to left wrist
    joints = [NTU25.index(joint) for joint in ('left_elbow', 'left_wrist')]
    expected = np.linalg.norm(np.diff(keypoint[0, 7, joints], axis=0))
    assert bone == pytest.approx(expected, abs=1e-3) and points[0, 1] < points[27, 1]  # y is down


def test_poses_are_what_a_pinhole_camera_sees(tmp_path):
    write_samples(str(tmp_path), 'mmpose', 1, 1, 1)
    (found,) = read_recordings(tmp_path / 'wave/C001P001R001.json', 'coco17')
    keypoint = synthesize('wave', 1, 1, 1)
    left, frame = COCO17.index('left_wrist'), 7
    x, y, z = keypoint[0, frame, NTU25.index('left_wrist')]
    np.testing.assert_allclose(
        found['keypoint'][0, frame, left], [960 + FOCAL * x / z, 540 - FOCAL * y / z], atol=0.01
    )
    present = keypoint.any(axis=(2, 3))
    assert (found['keypoint_score'][present] > 0).all() and not found['keypoint'][~present].any()
    poses = as_coco(keypoint)
    height = dict(zip(COCO17.joints, poses[0, frame, :, 1]))
    assert max(height['left_eye'], height['right_eye']) < height['nose']  # above it: y goes down


def pose_file(folder: Path, **fields) -> SourceFile:
    """A pickle as mmaction2's pose extraction writes it."""
    content = dict(
        keypoint=np.ones((2, 6, 17, 2), np.float16),
        keypoint_score=np.full((2, 6, 17), 0.5, np.float16),
        frame_dir='clip',
        img_shape=(720, 1280),
        original_shape=(720, 1280),
        total_frames=6,
        label=0,
    )
    (folder / 'clip.pkl').write_bytes(pickle.dumps({**content, **fields}))
    return SourceFile.of(str(folder / 'clip.pkl'), 'clip.pkl')


def test_extracted_poses_keep_the_size_of_their_picture(tmp_path):
    fields = read_fields(pose_file(tmp_path), COCO17)
    assert fields['img_shape'] == (720, 1280) and fields['total_frames'] == 6
    assert (
        fields['keypoint'].shape == (2, 6, 17, 2) and fields['keypoint_score'].dtype == np.float32
    )
    (recording,) = read_recordings(tmp_path / 'clip.pkl', 'coco17')
    assert recording['frame_dir'] == 'clip' and recording['img_shape'] == (720, 1280)


@pytest.mark.parametrize(
    'fields, message',
    [
        (dict(keypoint=[1.0]), "arrays 'keypoint'"),
        (dict(keypoint=np.ones((2, 6, 13, 2))), 'has 13 joints'),
        (dict(keypoint_score=np.ones((2, 5, 17))), 'keypoint_score has shape'),
        (dict(img_shape=(0, 5)), 'img_shape is'),
        (dict(keypoint=np.full((2, 6, 17, 2), np.inf)), 'is not finite'),
        (dict(frame_dir=Path('x')), 'readable'),
    ],
)
def test_extracted_poses_that_cannot_be_used(tmp_path, fields, message):
    with pytest.raises(RecordingError, match=message):
        read_fields(pose_file(tmp_path, **fields), COCO17)


def test_mmpose_without_people_is_refused(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(dict(instance_info=[dict(instances=[])])))
    with pytest.raises(ValueError, match='has no person in any frame'):
        read_recordings(tmp_path / 'a.json', 'coco17')
