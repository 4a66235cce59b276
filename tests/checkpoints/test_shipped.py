"""The encoders in the package: their files, names and embeddings."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from aimclr_mm.apis import load_encoder
from aimclr_mm.checkpoints.loading import streams_of
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.checkpoints.shipped import (
    CHECKSUMS,
    FOLDER,
    SHIPPED,
    shipped_config,
    shipped_weights,
)
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.synthetic import synthesize
from aimclr_mm.evaluation.evaluate import evaluate
from aimclr_mm.skeletons import get_layout, map_layout
from aimclr_mm.utils.config_check import check_config
from aimclr_mm.utils.overlays import read_config
from tests.docs_runner import arguments, blocks
from tests.runs import ROOT

# values of the embedding of one generated recording
RECORDED = {
    'generated-joint': [0.0469271, 0.0662758, 0.00159123, 0.123664, -0.00529895],
    'generated-bone': [0.0527856, 0.0293467, 0.066714, 0.08036, -0.00595703],
    'generated-motion': [0.0150129, 0.0150387, 0.105076, 0.0160252, -0.00778518],
    'generated-3s': [0.025703, 0.0363007, 0.000871553, 0.0677335, -0.00348164],
    'generated-coco17': [0.0438459, 0.00186113, 0.015955, 0.00882843, -0.0142989],
}


@pytest.mark.parametrize('name', sorted(CHECKSUMS))
def test_weights_are_plain_tensors_with_the_stated_checksum(name):
    path = os.path.join(FOLDER, name)
    with open(path, 'rb') as file:
        assert hashlib.sha256(file.read()).hexdigest() == CHECKSUMS[name]
    content = torch.load(path, map_location='cpu', weights_only=True)
    assert all(value.isfinite().all() for value in content['state_dict'].values())
    assert os.path.getsize(path) < 5e6


def test_every_file_is_used_and_there():
    files = {file for encoder in SHIPPED.values() for file in encoder}
    assert {encoder.weights for encoder in SHIPPED.values()} == set(CHECKSUMS)
    assert all(os.path.isfile(os.path.join(FOLDER, file)) for file in files)
    assert set(RECORDED) == set(SHIPPED)


@pytest.mark.parametrize('name', sorted(SHIPPED))
def test_recorded_embedding(name):
    encoder = load_encoder(name, device='cpu')
    clip = synthesize('wave', subject=1, camera=2, repetition=1)
    if encoder.layout.dims == 2:
        clip = clip[:, :, :17, :2] * 100
    embedding = encoder.embed([clip])[0]
    found = embedding[[0, 1, 2, 3, -2]]  # of the encoder and of the coordinates
    np.testing.assert_allclose(found, RECORDED[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('name', sorted(SHIPPED))
def test_commands_take_the_config(name):
    check_config(read_config(shipped_config(name)).to_dict(), name)


def test_a_name_is_a_checkpoint_wherever_one_is_read():
    content = load_checkpoint_file('generated-joint')
    assert 'joint' in streams_of(content, 'generated-joint')
    assert shipped_weights('other.pth') == 'other.pth'


@pytest.mark.parametrize('name', sorted(SHIPPED))
def test_fingerprint_is_the_same_in_every_process(name):
    """Heads and memory banks, which are random, are not part of it."""
    first = load_encoder(name, device='cpu')
    torch.manual_seed(1)
    second = load_encoder(name, device='cpu')
    assert first.fingerprint == second.fingerprint
    with torch.no_grad():
        for parameter in second.model.parameters():
            parameter += 1
    del second.fingerprint
    assert first.fingerprint != second.fingerprint


def test_unknown_names_are_told_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match='generated-joint'):
        load_encoder('generated-jiont')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_encoder('generated-joint', str(tmp_path / 'none.pth'))


@pytest.mark.parametrize('name', ['generated-joint', 'generated-3s'])
def test_evaluation_on_data_of_another_layout(name, tmp_path):
    """Joints are mapped from the layout of the config's data to that of the encoder."""
    clips, labels, names = [], [], []
    for label, action in enumerate(('kick', 'clap', 'bow')):
        for subject in range(1, 9):
            clips.append(synthesize(action, subject, camera=2, repetition=1, noise=False))
            labels.append(label)
            names.append(f'{action}{subject}')
    mapped = [map_layout(clip, 'ntu25', 'kinect20') for clip in clips]
    annotations = [
        dict(frame_dir=n, label=y, keypoint=x, total_frames=x.shape[1])
        for n, y, x in zip(names, labels, mapped)
    ]
    split = dict(xsub_train=names[::2], xsub_val=names[1::2])
    write_pickle(dict(annotations=annotations, split=split), str(tmp_path / 'data.pkl'))

    cfg = Config.fromfile(ROOT / 'configs/aimclr_utdmhad_xsub_joint.py')
    cfg.test_dataloader.dataset.ann_file = str(tmp_path / 'data.pkl')
    cfg.work_dir = str(tmp_path / 'work')
    metrics = evaluate(cfg, name, ['knn', 'knn_whitened'])
    prefix = 'fused/' if name.endswith('3s') else ''
    assert metrics[f'{prefix}knn/top1_k1'] == metrics[f'{prefix}knn_whitened/top1_k1'] == 100


def test_projection_of_the_page_and_its_evaluation(tmp_path):
    """A Kinect's recordings become poses: left on the left of the camera, up is a smaller row."""
    made = [synthesize(action, 1, 2, i, noise=False) for action in ('kick', 'clap') for i in (1, 2)]
    clips = [map_layout(clip, 'ntu25', 'kinect20') for clip in made]
    annotations = [
        dict(frame_dir=f'{i}', label=i // 2, keypoint=x, total_frames=x.shape[1])
        for i, x in enumerate(clips)
    ]
    split = dict(xsub_train=['0', '2'], xsub_val=['1', '3'])
    source, target = (str(tmp_path / name) for name in ('3d.pkl', '2d.pkl'))
    write_pickle(dict(annotations=annotations, split=split), source)
    (script,) = (b for b in blocks(ROOT / 'docs/encoders.md') if b.file == 'to_pictures.py')
    with arguments(['to_pictures.py', source, target, 'kinect20']):
        exec(compile(script.text, 'to_pictures.py', 'exec'), {})

    layout, coco = get_layout('kinect20'), get_layout('coco17')
    for before, after in zip(clips, read_pickle(target)['annotations'], strict=True):
        wrist = before[0, 0, layout.index('left_wrist')] - before[0, 0, layout.center_index]
        column, row = after['keypoint'][0, 0, coco.index('left_wrist')]
        depth = wrist[2] + 3
        assert column == pytest.approx(960 - 1080 * wrist[0] / depth, abs=1e-2)
        assert row == pytest.approx(540 - 1080 * wrist[1] / depth, abs=1e-2)

    cfg = Config.fromfile(ROOT / 'configs/skeletonclr_movements_joint_2d.py')
    cfg.test_dataloader.dataset.ann_file = target
    cfg.work_dir = str(tmp_path / 'work')
    assert evaluate(cfg, 'generated-coco17', ['knn'])['knn/top1_k1'] == 100


def test_joints_of_jhmdb_of_the_page(tmp_path):
    """15 joints become the 17 of COCO: the face for nose, eyes and ears, sides kept apart."""
    order = 'neck belly nose right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow'
    order += ' right_knee left_knee right_wrist left_wrist right_ankle left_ankle'
    pose = np.zeros((3, 15, 2))
    pose[..., 0] = np.arange(15) / 100
    files = [str(tmp_path / f'{part}.pkl') for part in ('train', 'test', 'target')]
    write_pickle(dict(pose=[pose, pose + 0.1], label=['golf', 'clap']), files[0])
    write_pickle(dict(pose=[pose], label=['golf']), files[1])
    (script,) = (b for b in blocks(ROOT / 'docs/encoders.md') if b.file == 'from_jhmdb.py')
    with arguments(['from_jhmdb.py', *files]):
        exec(compile(script.text, 'from_jhmdb.py', 'exec'), {})

    data = read_pickle(files[2])
    first, second, test = data['annotations']
    assert (first['label'], second['label'], test['label']) == (1, 0, 1)
    assert data['split'] == dict(
        xsub_train=['xsub_train_0', 'xsub_train_1'], xsub_val=['xsub_val_0']
    )
    columns = first['keypoint'][0, 0, :, 0]
    for joint, column in zip(get_layout('coco17').joints, columns, strict=True):
        source = 'nose' if joint.endswith(('eye', 'ear')) else joint
        assert column == pytest.approx(240 * order.split().index(source) / 100 + 120)


def test_search_with_a_shipped_encoder(tmp_path):
    """Recordings of one action by other people are nearer than other actions."""
    for action in ('kick', 'clap'):
        os.makedirs(tmp_path / action)
        for subject in range(1, 4):
            clip = synthesize(action, subject, camera=2, repetition=1, noise=False)
            np.save(tmp_path / action / f'{subject}.npy', clip)
    command = [sys.executable, str(ROOT / 'tools/embed.py'), 'search', 'generated-joint']
    command += [str(tmp_path / 'kick/1.npy'), '--gallery', str(tmp_path), '-k', '3']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout.count('kick/') == 4  # the query and its three neighbors
