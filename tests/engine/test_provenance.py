"""Provenance: what a run records, and what it compares on resume."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import ConcatDataset, Subset

from aimclr_mm import __version__
from aimclr_mm.datasets import SkeletonDataset, write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.engine import ProvenanceHook
from aimclr_mm.engine.hooks import provenance
from aimclr_mm.engine.hooks.provenance import differences, environment, fingerprint, source
from tests.runs import ToyData, toy_runner

pytestmark = pytest.mark.usefixtures('quick_runner')


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Return the annotation file of the toy data."""
    path = tmp_path / 'data.pkl'
    path.write_bytes(b'first version of the data')
    monkeypatch.setattr(ToyData, 'ann_file', str(path))
    return path


def stop_after_one(work_dir: Path) -> None:
    """Train the first of two epochs."""
    toy_runner(work_dir, train_cfg=dict(type='ResumableTrainLoop', max_epochs=1)).train()


def resume(work_dir: Path, **provenance_options) -> None:
    """Train the second epoch."""
    hooks = dict(
        checkpoint=dict(type='SafeCheckpointHook', interval=1),
        provenance=dict(type='ProvenanceHook', **provenance_options),
    )
    toy_runner(work_dir, resume=True, default_hooks=hooks).train()


# record


def test_work_directory_and_checkpoint_hold_the_same(tmp_path, data):
    stop_after_one(tmp_path / 'run')
    stored = json.loads((tmp_path / 'run' / 'provenance.json').read_text())
    meta = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['meta']
    assert meta['provenance'] == stored
    assert stored['data'] == dict(
        sequences=11,
        split=None,
        file=str(data),
        bytes=25,
        sha256=hashlib.sha256(b'first version of the data').hexdigest(),
    )
    versions = stored['environment']
    assert versions['torch'] == torch.__version__ and versions['numpy'] == np.__version__
    assert versions['aimclr_mm'] == __version__ and versions['python'] == '{}.{}.{}'.format(
        *sys.version_info
    )
    assert (
        versions['device'] and versions['mmengine'] and versions['mmaction2'] and 'mmcv' in versions
    )
    assert stored['ranks'] == 1 and stored['settings']['model'] == dict(type='ToyModel')
    assert 'ResumableTrainLoop' in meta['cfg'] and meta['seed'] == 3


def test_the_checksum_is_that_of_the_data_in_the_cache(tmp_path):
    """Not that of a file which has taken the place of the one that was read."""
    path = tmp_path / 'data.pkl'
    write_pickle(Synthetic((), 1, 1, 1).dataset(), str(path))
    dataset = SkeletonDataset(str(path), [], layout='ntu25', preprocess=[dict(type='ResizeClip')])
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b'other data')
    assert fingerprint(dataset)['sha256'] == expected


def test_fingerprint_of_data_within_data_and_of_data_without_a_file(data, monkeypatch):
    assert fingerprint(Subset(ToyData(), [0, 1]))['bytes'] == 25
    assert fingerprint(ConcatDataset([ToyData()])) == dict(sequences=11, split=None)
    monkeypatch.setattr(ToyData, 'ann_file', None)
    assert fingerprint(ToyData()) == dict(sequences=11, split=None)


def test_commit_and_changes_of_the_source(tmp_path, monkeypatch):
    """In a repository: clean, changed, and without version control."""
    package = tmp_path / 'aimclr_mm'
    package.mkdir()
    for name in ('__init__.py', 'engine.py'):
        (package / name).write_text('')

    def git(*command: str) -> str:
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'commit.gpgsign=false')
        return subprocess.run(
            ['git', '-C', package, *identity, *command], check=True, capture_output=True, text=True
        ).stdout.strip()

    monkeypatch.setattr(provenance, '__file__', str(package / 'engine' / 'hooks' / 'provenance.py'))
    git('init', '-q')
    git('add', 'engine.py')
    git('commit', '-q', '-m', 'some')
    assert source() is None  # installed inside another repository
    git('add', '.')
    git('commit', '-q', '-m', 'all')
    commit = git('rev-parse', 'HEAD')
    assert source() == dict(commit=commit, changed=False)
    (package / 'engine.py').write_text('changed = True')
    assert source() == dict(commit=commit, changed=True)
    shutil.rmtree(package / '.git')
    assert source() is None
    monkeypatch.setenv('PATH', '')
    assert source() is None


def test_the_environment_without_a_package(monkeypatch):
    monkeypatch.setattr(provenance, 'PACKAGES', ('torch', 'no-such-package'))
    assert environment()['no-such-package'] is None and environment()['torch'] == torch.__version__


def test_differences_are_named():
    before = dict(a=1, b=dict(c=[1, 2], d=None), e=5)
    assert differences(before, before) == []
    assert differences(before, dict(a=1, b=dict(c=[1, 3], d=None), f=6)) == [
        'b.c: [1, 2] -> [1, 3]',
        'e: 5 -> None',
        'f: None -> 6',
    ]


# comparison on resume


def test_other_data_are_refused_by_name(tmp_path, data):
    stop_after_one(tmp_path / 'run')
    before = data.read_bytes()
    data.write_bytes(b'other version of the data')
    hashes = [hashlib.sha256(content).hexdigest() for content in (before, data.read_bytes())]
    with pytest.raises(ValueError, match=f'sha256: {hashes[0]} -> {hashes[1]}.*other_data=warn'):
        resume(tmp_path / 'run')
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()
    assert (
        json.loads((tmp_path / 'run' / 'provenance.json').read_text())['data']['sha256']
        == hashes[0]
    )
    resume(tmp_path / 'run', other_data='warn')
    meta = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)['meta']
    assert meta['provenance']['data']['sha256'] == hashes[1]


def test_another_selection_of_the_data_is_refused(tmp_path, data, monkeypatch):
    stop_after_one(tmp_path / 'run')
    monkeypatch.setattr(ToyData, 'splits', ['xview_train'], raising=False)
    with pytest.raises(ValueError, match="split: None -> .'xview_train'"):
        resume(tmp_path / 'run')


def test_the_same_data_elsewhere_are_accepted(tmp_path, data, monkeypatch):
    stop_after_one(tmp_path / 'run')
    shutil.copy(data, tmp_path / 'moved.pkl')
    monkeypatch.setattr(ToyData, 'ann_file', str(tmp_path / 'moved.pkl'))
    resume(tmp_path / 'run')
    assert (tmp_path / 'run' / 'epoch_2.pth').exists()


def test_checkpoints_from_before_resume_and_settings_may_change_with_a_warning(tmp_path, data):
    stop_after_one(tmp_path / 'run')
    content = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    del content['meta']['provenance']
    torch.save(content, tmp_path / 'run' / 'epoch_1.pth')
    resume(tmp_path / 'run')
    hook, warnings = ProvenanceHook(), []
    hook.resumed = dict(data={}, settings=dict(model=dict(momentum=0.9)))
    hook.record = dict(data={}, settings=dict(model=dict(momentum=0.99)))
    hook._compare_settings(SimpleNamespace(logger=SimpleNamespace(warning=warnings.append)))
    assert len(warnings) == 1 and 'model.momentum: 0.9 -> 0.99' in warnings[0]


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="other_data='ask'; choose from 'refuse', 'warn'"):
        ProvenanceHook('ask')


def test_another_number_of_threads_is_warned_about(tmp_path, data, monkeypatch):
    stop_after_one(tmp_path / 'run')
    said = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text: said.append(text))
    monkeypatch.setattr(provenance.torch, 'get_num_threads', lambda: 7)
    resume(tmp_path / 'run')
    (line,) = [text for text in said if 'threads' in text]
    assert 'trained with 1 threads, and now there are 7' in line
    runs = json.loads((tmp_path / 'run' / 'provenance.json').read_text())['runs']
    assert len(runs) == 2
