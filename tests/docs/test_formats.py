"""docs/formats.md: each command runs as printed, on files in the shape of the formats."""

import json
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.own_files.fields import EXTENSIONS
from aimclr_mm.skeletons import get_layout
from tests.datasets.own_files.test_bvh import PARTS, body
from tests.datasets.own_files.test_pose_json import (
    azure_file,
    flat,
    landmark,
    openpose_frame,
    pose,
)
from tests.datasets.own_files.test_sequences import ntu_body
from tests.docs_runner import ROOT, Folder, blocks, make_project

PAGE = ROOT / 'docs/formats.md'
FRAMES = 4


def person(layout: str, scale: float = 1.0) -> np.ndarray:
    """(T, V, 3) of somebody who is 1.7 high, in meters times a scale."""
    joints = get_layout(layout).num_joints
    x = np.random.default_rng(0).uniform(0.05, 0.5, (FRAMES, joints, 3))
    x[:, :, 1] = np.linspace(0.1, 1.8, joints)
    return (x * scale).round(4)


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_recordings(folder: Path) -> None:
    """One recording in each format, in a folder of its class."""
    rows = [';'.join(f'{v:.4f}'.replace('.', ',') for v in row.ravel()) for row in person('ntu25')]
    lines = [f'{n};{row}' for n, row in enumerate(rows)]
    write(folder / 'kinect/wave/p1.csv', '\n'.join(lines))

    x, score = pose('openpose25')
    for t in range(FRAMES):
        name = f'openpose/wave/clip1/clip1_{t:012}_keypoints.json'
        write(folder / name, openpose_frame(x, score, t))

    x, score = pose('halpe26', people=1)
    people = [
        dict(image_id=f'{t}.jpg', keypoints=flat(x[0, t], score[0, t]), score=1.0, idx=1)
        for t in range(FRAMES)
    ]
    write(folder / 'alphapose/wave/a.json', people)

    x, score = pose('openpose18', people=1)
    frames = [
        dict(
            frame_index=t + 1,
            skeleton=[dict(pose=(x[0, t] / 1000).ravel().tolist(), score=score[0, t].tolist())],
        )
        for t in range(FRAMES)
    ]
    write(folder / 'kinetics/wave/a.json', dict(data=frames, label='wave', label_index=0))

    world = person('mediapipe33')
    frames = [dict(pose_world_landmarks=[[landmark(p, 0.9) for p in frame]]) for frame in world]
    write(folder / 'mediapipe/wave/a.json', frames)
    hands = person('hands21')
    write(
        folder / 'hands/wave/a.json',
        [dict(hand_landmarks=[[dict(zip('xyz', p)) for p in t]]) for t in hands.tolist()],
    )

    x, score = pose('coco17', people=1)
    instances = [
        [dict(keypoints=x[0, t].tolist(), keypoint_scores=score[0, t].tolist())]
        for t in range(FRAMES)
    ]
    write(
        folder / 'mmpose/wave/a.json',
        dict(instance_info=[dict(frame_id=t, instances=i) for t, i in enumerate(instances)]),
    )

    text = body(PARTS, ['Spine', 'Spine1']).replace(' 1 0\n', ' 30 0\n')
    write(folder / 'mocap/wave/a.bvh', text)
    bodies = [[' '.join(map(str, row)) for row in frame.tolist()] for frame in person('ntu25')]
    lines = [str(FRAMES)]
    for frame in bodies:
        lines += ['1', *ntu_body(0)[:2], *(f'{joint} {" ".join("0" * 9)}' for joint in frame)]
    write(folder / 'own_ntu/wave/a.skeleton', '\n'.join(lines))
    write(
        folder / 'azure/wave/a.json', azure_file(person('azure32', 1000)[None], range(FRAMES), [1])
    )


@pytest.mark.slow
def test_commands_run_as_printed(tmp_path):
    pytest.importorskip('bvhio')
    write_recordings(tmp_path)
    project = Folder(make_project(tmp_path), {'python tools/prepare_data.py': '--workers 1'})
    for block in blocks(PAGE):
        project.run(block)

    written = {path.stem: read_pickle(str(path)) for path in (tmp_path / 'data').glob('*.pkl')}
    assert set(written) == {path.parent.parent.name for path in tmp_path.glob('*/wave/*')}
    for name, data in written.items():
        (annotation,) = data['annotations']
        assert data['metainfo']['classes'] == ['wave'] and annotation['label'] == 0, name
        layout = get_layout(data['metainfo']['layout'])
        assert annotation['keypoint'].shape[2:] == (layout.num_joints, layout.dims), name
    assert written['mocap']['metainfo']['layout'] == 'ntu25'
    assert written['kinetics']['annotations'][0]['img_shape'] == (1, 1)


def test_table_names_every_extension():
    text = PAGE.read_text(encoding='utf-8')
    assert [name for name in EXTENSIONS if f'`{name}`' not in text and '.gz' not in name] == []
