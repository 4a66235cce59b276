"""UTD-MHAD: known values, and the original archive against the same recordings in JSON."""

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.utd_mhad import UTDMHAD
from aimclr_mm.skeletons import KINECT20
from tests.datasets.readers.on_disk import put

SHARED = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'utdmhad'
# order of the joints in the files, from Skeleton_joint_order.txt
UTD_JOINTS = """
    head shoulder_center spine hip_center left_shoulder left_elbow left_wrist left_hand
    right_shoulder right_elbow right_wrist right_hand left_hip left_knee left_ankle left_foot
    right_hip right_knee right_ankle right_foot
""".split()


def mat(value: np.ndarray, name: str = 'd_skel') -> bytes:
    """Return a .mat file."""
    file = io.BytesIO()
    savemat(file, {name: value})
    return file.getvalue()


def skeleton(action: int, frames: int = 5) -> np.ndarray:
    """Return d_skel (20, 3, T): joint + coordinate / 10 + frame / 100 + 100 * action."""
    joint, coordinate, frame = np.ogrid[:20, :3, :frames]
    return joint + coordinate / 10 + frame / 100 + 100.0 * action


def generated_files() -> dict[str, bytes]:
    """Return three recordings and other files."""
    return {
        'Skeleton/a10_s2_t4_skeleton.mat': mat(skeleton(10, 7)),
        'Skeleton/a2_s1_t1_skeleton.mat': mat(skeleton(2)),
        'Skeleton/a27_s3_t2_skeleton.mat': mat(skeleton(27)),
        'Skeleton_joint_order.txt': b'1. head',
        'Skeleton/a1_s1_t1_depth.mat': b'no skeleton',
    }


def convert(source: str, folder: Path) -> tuple[dict, list[str]]:
    """Return the content of the annotation file and the problems."""
    out = str(folder / 'out' / 'utd.pkl')
    summary = prepare(UTDMHAD(list_files([source], UTDMHAD.pattern)), out, workers=1)
    return read_pickle(out), summary.problems


@pytest.mark.parametrize('form', ['zip', 'folder'])
def test_files(tmp_path, form):
    data, problems = convert(put(tmp_path, generated_files(), form), tmp_path)
    read = {item['frame_dir']: item for item in data['annotations']}
    assert set(read) == {'a02_s01_t01', 'a10_s02_t04', 'a27_s03_t02'} and not problems
    assert {name: sorted(split) for name, split in data['split'].items()} == dict(
        xsub_train=['a02_s01_t01', 'a27_s03_t02'], xsub_val=['a10_s02_t04']
    )
    assert {name: (item['label'], item['total_frames']) for name, item in read.items()} == {
        'a02_s01_t01': (1, 5),
        'a10_s02_t04': (9, 7),
        'a27_s03_t02': (26, 5),
    }
    keypoint = read['a10_s02_t04']['keypoint']
    assert keypoint.shape == (1, 7, 20, 3) and keypoint.dtype == np.float32
    for index, joint in enumerate(UTD_JOINTS):
        np.testing.assert_allclose(
            keypoint[0, :, KINECT20.index(joint)], skeleton(10, 7)[index].T, rtol=1e-6
        )


@pytest.mark.parametrize(
    'text, message',
    [
        (mat(skeleton(1))[:300], 'not a readable .mat file'),
        (b'', 'not a readable'),
        (b'x' * 500, 'not a readable'),
        (mat(skeleton(1), 'd_iner'), 'not a readable .mat file with d_skel'),
        (mat(np.zeros((25, 3, 4))), 'shape (25, 3, 4)'),
        (mat(np.zeros((20, 3))), 'shape (20, 3)'),
        (mat(np.array([['text']])), 'd_skel'),
        (mat(np.zeros((20, 3, 0))), 'shape (20, 3, 0)'),
        (mat(skeleton(1) * np.nan), 'not finite'),
    ],
)
def test_broken_file_is_named_and_left_out(tmp_path, text, message):
    data, problems = convert(
        put(tmp_path, {**generated_files(), 'Skeleton/a3_s1_t1_skeleton.mat': text}, 'folder'),
        tmp_path,
    )
    assert len(data['annotations']) == 3 and len(problems) == 1
    assert 'a3_s1_t1_skeleton.mat: ' in problems[0] and message in problems[0]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f'the recordings of UTD-MHAD are not in {SHARED}')
def test_recordings_equal_the_reference(tmp_path):
    data, problems = convert(str(SHARED / 'utdmhad_raw_skeletons.zip'), tmp_path)
    reference = read_pickle(str(SHARED / 'utdmhad_3d.pkl'))
    expected = {item['frame_dir']: item for item in reference['annotations']}
    assert len(data['annotations']) == len(expected) == 861 and not problems
    for item in data['annotations']:
        other = expected[item['frame_dir']]
        assert (item['label'], item['total_frames']) == (other['label'], other['total_frames'])
        assert item['keypoint'].dtype == other['keypoint'].dtype
        assert np.array_equal(item['keypoint'], other['keypoint'])
    assert {name: set(names) for name, names in data['split'].items()} == {
        name: set(names) for name, names in reference['split'].items()
    }
