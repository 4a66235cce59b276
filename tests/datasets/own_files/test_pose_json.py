"""JSON of pose estimators in the shape that each project writes, against known coordinates."""

import json

import numpy as np
import pytest

from aimclr_mm.datasets.own_files.fields import frame_folder, group_frames, read_fields
from aimclr_mm.datasets.readers import RecordingError, SourceFile, list_files
from aimclr_mm.skeletons import get_layout

FRAMES = 4


def pose(layout: str, people: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (M, T, V, C) and scores (M, T, V), exact in float32."""
    layout = get_layout(layout)
    shape = people, FRAMES, layout.num_joints, layout.dims
    rng = np.random.default_rng(seed)
    return rng.integers(1, 900, shape) / 4, rng.integers(1, 9, shape[:3]) / 8


def flat(x: np.ndarray, score: np.ndarray) -> list[float]:
    return np.concatenate([x, score[:, None]], axis=1).ravel().tolist()


@pytest.fixture
def read(tmp_path):
    """A function that reads an object as a JSON file."""

    def reader(data, layout: str) -> dict:
        path = tmp_path / 'clip.json'
        path.write_text(json.dumps(data))
        return read_fields(SourceFile.of(str(path), 'clip.json'), get_layout(layout))

    return reader


def check(fields: dict, x: np.ndarray, score: np.ndarray | None = None) -> None:
    np.testing.assert_array_equal(fields['keypoint'], x)
    assert fields['total_frames'] == x.shape[1]
    if score is None:
        assert 'keypoint_score' not in fields
    else:
        np.testing.assert_array_equal(fields['keypoint_score'], score)


def openpose_frame(x, score, frame: int, people=(0, 1)) -> dict:
    """One file of OpenPose 1.7 --write_json."""
    empty = dict.fromkeys(('face_keypoints_2d', 'hand_left_keypoints_2d', 'pose_keypoints_3d'), [])
    return dict(
        version=1.3,
        people=[
            dict(person_id=[-1], pose_keypoints_2d=flat(x[m, frame], score[m, frame]), **empty)
            for m in people
        ],
    )


@pytest.mark.parametrize('layout', ['openpose18', 'openpose25'])
def test_openpose_folder(tmp_path, layout):
    x, score = pose(layout)
    folder = tmp_path / 'wave' / 'clip1'
    folder.mkdir(parents=True)
    for frame, people in enumerate([(0, 1), (0,), (), (0, 1)]):
        name = f'clip1_{frame + 7:012}_keypoints.json'
        (folder / name).write_text(json.dumps(openpose_frame(x, score, frame, people)))
    (recording,) = group_frames(list_files([str(tmp_path)]))
    assert (recording.name, recording.folder, recording.stem) == ('wave/clip1', 'wave', 'clip1')

    x[:, 2], x[1, 1] = np.nan, np.nan
    score[:, 2], score[1, 1] = 0, 0
    check(read_fields(recording, get_layout(layout)), x, score)
    check(read_fields(frame_folder(str(folder), 'clip1'), get_layout(layout)), x, score)


@pytest.mark.parametrize(
    'content, message',
    [(dict(people=3), "no list 'people'"), (dict(people=[{}]), "no 'pose_keypoints_2d'")],
)
def test_frames_of_openpose_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / 'a_000000000000_keypoints.json').write_text(json.dumps(content))
    with pytest.raises(RecordingError, match=f'a_0+_keypoints.json: .*{message}'):
        read_fields(frame_folder(str(tmp_path), 'a'), get_layout('openpose25'))


@pytest.mark.parametrize(
    'names, videos',
    [
        (('a_0', 'a_1', 'a_10'), 1),
        (('000', '001'), 1),
        (('a_1_000', 'a_2_000'), 2),
        (('cam1_0001_rgb', 'cam1_0002_rgb'), 1),
        (('a_000', '001'), 2),
        (('left', 'right'), 1),
    ],
)
def test_a_folder_of_openpose_holds_one_video(tmp_path, names, videos):
    x, score = pose('openpose25')
    for name in names:
        path = tmp_path / f'{name}_keypoints.json'
        path.write_text(json.dumps(openpose_frame(x, score, 0)))
    folder = frame_folder(str(tmp_path), 'clip')
    if videos == 1:
        assert read_fields(folder, get_layout('openpose25'))['total_frames'] >= len(names)
        return
    with pytest.raises(RecordingError, match=f'the frames of {videos} videos .*folder of its own'):
        read_fields(folder, get_layout('openpose25'))


def test_a_folder_of_frames_has_one_path_however_it_is_given(tmp_path, monkeypatch):
    x, score = pose('openpose25')
    folder = tmp_path / 'all' / 'wave' / 'a'
    folder.mkdir(parents=True)
    (folder / 'a_0_keypoints.json').write_text(json.dumps(openpose_frame(x, score, 0)))
    monkeypatch.chdir(tmp_path)
    (listed,) = group_frames(list_files(['all']))
    paths = {
        listed.path,
        frame_folder('all/wave/a', 'a').path,
        frame_folder('all/wave/a/', 'a').path,
    }
    assert paths == {'all/wave/a'}

    monkeypatch.chdir(folder)
    (listed,) = group_frames(list_files(['.']))
    assert (listed.path, listed.name, frame_folder('.', 'a').path) == ('.', 'a', '.')


def test_frames_of_openpose_that_are_not_there_hold_nobody(tmp_path):
    x, score = pose('openpose25', people=1)
    for frame in (0, 1, 3):
        name = tmp_path / f'a_{frame:012}_keypoints.json'
        name.write_text(json.dumps(openpose_frame(x, score, frame, (0,))))
    fields = read_fields(frame_folder(str(tmp_path), 'a'), get_layout('openpose25'))
    x[:, 2], score[:, 2] = np.nan, 0
    check(fields, x, score)


def test_openpose_of_another_model_names_the_layout(tmp_path):
    x, score = pose('openpose25')
    (tmp_path / 'a_0_keypoints.json').write_text(json.dumps(openpose_frame(x, score, 0)))
    recording = frame_folder(str(tmp_path), 'a')
    with pytest.raises(
        RecordingError,
        match='a_0_keypoints.json: person 0 has 75 values; .*openpose18 has 18 joints.*openpose25',
    ):
        read_fields(recording, get_layout('openpose18'))


@pytest.mark.parametrize('layout', ['coco17', 'halpe26'])
@pytest.mark.parametrize('image', ['{}.jpg', 'frame_{:04}.png', '{}'])
def test_alphapose(read, layout, image):
    """alphapose-results.json: one list; frames without anyone are not in it; idx tracks people."""
    x, score = pose(layout)
    people = [
        dict(
            image_id=image.format(frame),
            category_id=1,
            keypoints=flat(x[m, frame], score[m, frame]),
            score=2.5,
            box=[1.0, 2.0, 3.0, 4.0],
            idx=idx,
        )
        for frame, m, idx in [(0, 0, 1), (0, 1, [2.0]), (1, 1, 2), (3, 0, 1.0)]
    ]
    fields = read(people, layout)
    expected, scores = np.full_like(x, np.nan), np.zeros_like(score)
    for row, frame, m in [(0, 0, 0), (1, 0, 1), (1, 1, 1), (0, 3, 0)]:
        expected[row, frame], scores[row, frame] = x[m, frame], score[m, frame]
    check(fields, expected, scores)
    assert fields['track_ids'].tolist() == [[1, -1, -1, 1], [2, 2, -1, -1]]


def test_alphapose_in_the_format_of_openpose(read):
    x, score = pose('openpose18', people=1)
    data = {
        f'{frame}.jpg': dict(
            version='AlphaPose v0.3',
            people=[dict(pose_keypoints_2d=flat(x[0, frame], score[0, frame]))],
        )
        for frame in range(FRAMES)
    }
    check(read(data, 'openpose18'), x, score)
    for frame in data.values():
        frame['bodies'] = [dict(joints=p['pose_keypoints_2d']) for p in frame.pop('people')]
    check(read(data, 'openpose18'), x, score)


def test_kinetics_skeleton(read):
    """Fractions of the picture, so that its size is 1 x 1; frame_index counts from 1."""
    x, score = pose('openpose18')
    data = dict(
        label='abseiling',
        label_index=0,
        data=[
            dict(
                frame_index=frame + 1,
                skeleton=[
                    dict(pose=x[m, frame].ravel().tolist(), score=score[m, frame].tolist())
                    for m in range(2)
                ],
            )
            for frame in (0, 1, 3)
        ],
    )
    x[:, 2], score[:, 2] = np.nan, 0
    fields = read(data, 'openpose18')
    check(fields, x, score)
    assert fields['img_shape'] == (1, 1)


def landmark(values, visibility) -> dict:
    return dict(zip('xyz', values.tolist()), visibility=visibility, presence=0.5)


@pytest.mark.parametrize('wrap', ['list', 'frames', 'legacy'])
def test_mediapipe_pose(read, wrap):
    """World landmarks for three coordinates, those in the picture for two."""
    world, score = pose('mediapipe33', people=1)
    image, _ = pose('mediapipe33', people=1, seed=1)
    frames = []
    for frame in range(FRAMES):
        lists = [
            [landmark(*pair) for pair in zip(points[0, frame], score[0, frame].tolist())]
            for points in (image, world)
        ]
        if wrap == 'legacy':  # MessageToDict of the results of mp.solutions
            lists = [dict(landmark=points) for points in lists]
            frames.append(dict(poseLandmarks=lists[0], poseWorldLandmarks=lists[1]))
        else:
            frames.append(dict(pose_landmarks=lists[:1], pose_world_landmarks=lists[1:]))
    frames.append({key: [] for key in frames[0]})  # nobody
    data = dict(frames=frames, fps=30) if wrap == 'frames' else frames

    nobody = np.full((1, 1, 33, 3), np.nan)
    score = np.concatenate([score, np.zeros((1, 1, 33))], axis=1)
    check(read(data, 'mediapipe33'), np.concatenate([world, nobody], axis=1), score)
    fields = read(data, 'mediapipe33_2d')
    check(fields, np.concatenate([image, nobody], axis=1)[..., :2], score)
    assert fields['img_shape'] == (1, 1)

    for frame in frames:
        frame.pop('poseWorldLandmarks', frame.pop('pose_world_landmarks', None))
    with pytest.raises(RecordingError, match='but no world landmarks, which layout mediapipe33'):
        read(data, 'mediapipe33')


def test_mediapipe_hands_and_plain_landmarks(read):
    x, _ = pose('hands21', people=2)
    frames = [
        dict(hand_world_landmarks=[[dict(zip('xyz', p)) for p in x[m, t].tolist()] for m in (0, 1)])
        for t in range(FRAMES)
    ]
    check(read(frames, 'hands21'), x)
    one = [[dict(zip('xyz', p)) for p in x[0, t].tolist()] for t in range(FRAMES)]
    check(read(one, 'hands21'), x[:1])
    check(read([dict(landmark=frame) for frame in one], 'hands21_2d'), x[:1, ..., :2])
    with pytest.raises(RecordingError, match='frame 0 .* person 0 has 21 landmarks; .* has 33'):
        read(one, 'mediapipe33')


def test_rtmlib(read):
    """Keypoints (M, V, 2) and scores (M, V) of each frame."""
    x, score = pose('coco17')
    frames = [dict(keypoints=x[:, t].tolist(), scores=score[:, t].tolist()) for t in range(FRAMES)]
    check(read(frames, 'coco17'), x, score)
    frames[1] = dict(keypoints=[], scores=[])
    x[:, 1], score[:, 1] = np.nan, 0
    check(read(frames, 'coco17'), x, score)


def test_mmpose_with_tracks(read):
    x, score = pose('coco17')
    frames = [
        dict(
            frame_id=t + 1,
            instances=[
                dict(
                    keypoints=x[m, t].tolist(),
                    keypoint_scores=score[m, t].tolist(),
                    track_id=m + 5,
                )
                for m in range(2)
            ],
        )
        for t in range(FRAMES)
    ]
    fields = read(dict(meta_info={}, instance_info=frames), 'coco17')
    check(fields, x, score)
    assert fields['track_ids'].tolist() == [[5] * FRAMES, [6] * FRAMES]


def test_size_of_the_picture_and_missing_values(read):
    x, score = pose('coco17', people=1)
    data = dict(keypoint=x.tolist(), keypoint_score=score.tolist(), img_shape=[720, 1280])
    data['keypoint'][0][1][3] = [None, None]
    x[0, 1, 3] = np.nan
    fields = read(data, 'coco17')
    check(fields, x, score)
    assert fields['img_shape'] == (720, 1280)


@pytest.mark.parametrize(
    'data, message',
    [
        (dict(a=1), "'people' .OpenPose., .*it has 'a'"),
        (dict(people=[]), 'a single frame of OpenPose; .* a folder'),
        (dict(data=[dict(frame_index=1)]), "frame 0 .counted from 0.: has no list 'skeleton'"),
        ([dict(image_id='a')], "entry 0 .* needs 'image_id' and 'keypoints'"),
        ([dict(image_id='a', keypoints=[1.0] * 78)], '78 values; .* coco17 .* may be halpe26'),
        ([dict(keypoints=[[[1, 2]]], scores=[[1]])], 'frame 0 .* keypoints have shape'),
        (
            [
                dict(image_id=f'{10**17 * i}.jpg', keypoints=[1.0] * 51, idx=i, score=1.0)
                for i in (0, 3, 7)
            ]
            + [dict(image_id='1.jpg', keypoints=[1.0] * 51)],
            'frames and .* values; the limits',
        ),
        (dict(data=[]), 'no person in any frame'),
    ],
)
def test_bad_json(read, data, message):
    with pytest.raises(RecordingError, match=message):
        read(data, 'coco17')


def azure_file(x: np.ndarray, frames: list[int], ids: list[int]) -> dict:
    """The output of offline_processor for positions (M, T, 32, 3)."""
    names = [joint.upper() for joint in get_layout('azure32').joints]
    people = [
        [
            dict(
                body_id=track,
                joint_orientations=[[1.0, 0.0, 0.0, 0.0]] * 32,
                joint_positions=x[m, t].tolist(),
            )
            for m, track in enumerate(ids)
            if not np.isnan(x[m, t]).any()
        ]
        for t in range(x.shape[1])
    ]
    return dict(
        k4abt_sdk_version='1.1.2',
        source_file='output.mkv',
        joint_names=names,
        bone_list=[names[:2]],
        frames=[
            dict(bodies=bodies, frame_id=number, num_bodies=len(bodies), timestamp_usec=33 * number)
            for number, bodies in zip(frames, people)
        ],
    )


def test_azure_kinect(read):
    """Bodies with their ids; a capture without a picture of depths is a frame without anyone."""
    x, _ = pose('azure32')
    x[1, 2] = np.nan
    fields = read(azure_file(x, [0, 1, 3, 4], [7, 2]), 'azure32')
    expected = np.insert(x, 2, np.nan, axis=1)
    check(fields, expected)
    assert fields['track_ids'].tolist() == [[7, 7, -1, 7, 7], [2, 2, -1, -1, 2]]


def test_azure_kinect_with_other_joints_or_without_positions(read):
    data = azure_file(pose('azure32')[0], range(FRAMES), [1, 2])
    with pytest.raises(RecordingError, match=r'shape \(32, 3\).*needs \(25, 3\).*azure32'):
        read(data, 'ntu25')
    del data['frames'][2]['bodies'][1]['joint_positions']
    with pytest.raises(RecordingError, match="frame 2 .*body 1 has no 'joint_positions'"):
        read(data, 'azure32')
    data['frames'][1] = dict(frame_id=1)
    with pytest.raises(RecordingError, match="frame 1 .*no list 'bodies'"):
        read(data, 'azure32')
