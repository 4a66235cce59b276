"""The config that tools/train.py --data chooses from an annotation file."""

import os
from argparse import Namespace

import numpy as np
import pytest
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config

from aimclr_mm.apis import cli, load_encoder
from aimclr_mm.apis.data_config import compose, read_facts, write_data_config
from aimclr_mm.datasets import write_pickle
from aimclr_mm.skeletons import COCO17, NTU25, Layout
from aimclr_mm.utils.config_check import check_config
from aimclr_mm.utils.overlays import read_config
from tests.runs import ROOT, call_tool, environment

HANDS = Layout(
    'hands',
    ('wrist', 'thumb', 'tip'),
    ('wrist', 'wrist', 'thumb'),
    'wrist',
    shoulders=('thumb', 'tip'),
)
RNG = np.random.default_rng(0)


def write(folder, layout=NTU25, count=40, frames=60, people=1, score=False, labels=True, **content):
    """Write an annotation file and return its path."""
    annotations = []
    for i in range(count):
        keypoint = RNG.normal(size=(people, frames, layout.num_joints, layout.dims))
        scale = 500 if layout.dims == 2 else 1
        annotation = dict(frame_dir=f's{i}', keypoint=np.float32(keypoint * scale))
        annotation.update(total_frames=frames, label=i % 4 if labels else None)
        if score:
            annotation['keypoint_score'] = np.ones(keypoint.shape[:3], np.float32)
        annotations.append(annotation)
    metainfo = dict(layout=layout.to_config(), classes=list('abcd'))
    names = [a['frame_dir'] for a in annotations]
    split = dict(xsub_train=names[::2], xsub_val=names[1::2], all_train=names)
    data = {**dict(annotations=annotations, split=split, metainfo=metainfo), **content}
    write_pickle(data, str(folder / 'mine.pkl'))
    return str(folder / 'mine.pkl')


def test_choices_by_hand(tmp_path):
    facts = read_facts(write(tmp_path))
    assert (facts.layout, facts.channels, facts.people, facts.frames) == (NTU25, 3, 1, 30)
    assert (facts.train, facts.validation, facts.count) == ('xsub_train', 'xsub_val', 20)
    assert (facts.batch, facts.queue, facts.validates) == (5, 16, True)  # 20 / 4, 2^4 > 3/4 of 20
    assert facts.classes == list('abcd')
    text = '\n'.join(facts.lines())
    assert 'ntu25, 25 with 3 channels' in text and 'KNN of xsub_val among xsub_train' in text


@pytest.mark.parametrize(
    'changes, expected',
    [
        (dict(people=2), dict(people=2)),
        (dict(frames=300), dict(frames=64)),
        (dict(frames=9), dict(frames=24)),
        (dict(split={}), dict(train=None, validation=None, count=40, validates=False)),
        (dict(split=dict(train=['s1', 's2'], test=['s3'])), dict(train='train', validation='test')),
        (dict(labels=False), dict(labeled=False, validates=False, count=20)),
        (dict(layout=COCO17), dict(channels=2, picture=(1080, 1920))),
        (dict(layout=COCO17, score=True), dict(channels=3)),
        (dict(score=True), dict(channels=4, picture=None)),
        (dict(metainfo={}), dict(layout=NTU25, classes=list('0123'))),
    ],
)
def test_choices(tmp_path, changes, expected):
    facts = read_facts(write(tmp_path, **changes))
    assert {name: getattr(facts, name) for name in expected} == expected


def test_a_second_person_in_a_few_sequences_is_left_out(tmp_path):
    from aimclr_mm.datasets.annotations import load_annotations

    content = load_annotations(write(tmp_path, people=2, count=60))
    for annotation in content['annotations'][2:]:
        annotation['keypoint'][1] = 0  # padding
    write_pickle(content, str(tmp_path / 'few.pkl'))
    assert read_facts(str(tmp_path / 'few.pkl')).people == 1


@pytest.mark.parametrize(
    'count, batch, queue', [(4, 1, 16), (100, 25, 64), (431, 64, 256), (60_000, 64, 32_768)]
)
def test_batch_and_memory_bank(tmp_path, count, batch, queue):
    facts = read_facts(write(tmp_path, split={}))
    changed = type(facts)(**{**vars(facts), 'count': count})
    assert (changed.batch, changed.queue) == (batch, queue)


@pytest.mark.parametrize(
    'changes', [{}, dict(score=True), dict(layout=COCO17, score=True), dict(labels=False)]
)
def test_config_works_from_any_folder(tmp_path, monkeypatch, changes):
    path = write(tmp_path, **changes)
    monkeypatch.chdir(tmp_path)
    target, facts = write_data_config('mine.pkl')
    assert target == 'work_dirs/mine/mine.py' and facts.path == path

    target = os.path.abspath(target)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    cfg = read_config(target)
    check_config(cfg.to_dict(), target)
    data = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(data) == 20 and data[0]['inputs'].shape[-1] == facts.channels
    assert (cfg.val_dataloader is None) == (not facts.validates)
    MODELS.build(cfg.model)
    shape = (30, facts.layout.num_joints, facts.channels)
    assert load_encoder(target, 'random').embed(RNG.random(shape)).shape[0] == 1
    if facts.validates:
        finetune = read_config(target, [str(ROOT / 'configs/protocols/finetune.py')])
        assert finetune.model.cls_head.num_classes == 4


def test_classifiers_of_data_without_a_validation_split(tmp_path, monkeypatch):
    write(tmp_path, split={})
    monkeypatch.chdir(tmp_path)
    target, _ = write_data_config('mine.pkl')
    cfg = read_config(target, [str(ROOT / 'configs/protocols/finetune.py')])
    check_config(cfg.to_dict(), target)
    assert cfg.val_dataloader is cfg.val_evaluator is cfg.val_cfg is None
    assert (
        cfg.train_dataloader.dataset.num_classes == 4 and cfg.test_dataloader.dataset.split is None
    )
    assert load_encoder(cfg, 'random').embed(RNG.random((9, 25, 3))).shape[0] == 1


def test_frames_of_the_whole_clip_are_used(tmp_path):
    cfg = compose(read_facts(write(tmp_path)))
    (resize,) = [s for s in cfg.train_dataloader.dataset.preprocess if s['type'] == 'ResizeClip']
    assert resize['max_frames'] is None


def test_the_config_of_a_run_does_not_overwrite_its_source(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    target, _ = write_data_config('mine.pkl', 'work')
    shared = dict(overlays=[], cfg_options={}, launcher='none', local_rank=0)
    for folder, name in dict(work='work/mine_run.py', other='mine.py').items():
        args = Namespace(config=target, work_dir=folder, **shared)
        assert str(cli.load_config(args).filename).endswith(name)


def test_joints_of_an_own_layout_are_in_the_config(tmp_path, monkeypatch):
    facts = read_facts(write(tmp_path, layout=HANDS))
    cfg = compose(facts)
    assert cfg.model.backbone.layout.joints == HANDS.joints
    assert load_encoder(Config(cfg.to_dict()), 'random').layout == HANDS


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(annotations=[]), 'holds no sequences'),
        (dict(layout=HANDS, metainfo={}), 'does not state its joint layout.*--layout LAYOUT'),
        (dict(split=dict(a_train=[], a_val=['s1'])), "split 'a_train' holds no sequences"),
    ],
)
def test_files_without_an_answer(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_facts(write(tmp_path, **changes))


@pytest.mark.slow
def test_training_from_the_data_alone(tmp_path, monkeypatch, capsys):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    call_tool('train.py', '--data', 'mine.pkl', '--epochs', '2', '--no-validate')
    printed = capsys.readouterr().out
    assert (tmp_path / 'work_dirs/mine/mine_run.py').is_file()
    assert read_config('work_dirs/mine/mine.py').val_dataloader is not None
    assert 'work_dirs/mine/mine.py:' in printed and 'settings    _base_/aimclr_small.py' in printed
    monkeypatch.chdir('/')
    work = tmp_path / 'work_dirs/mine'
    call_tool(
        'test.py', work / 'mine.py', work / 'epoch_2.pth', '--work-dir', work, '--eval', 'knn'
    )
    assert 'knn/top1:' in capsys.readouterr().out
