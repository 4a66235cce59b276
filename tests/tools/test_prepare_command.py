"""tools/prepare_data.py: results, summaries and messages of whole commands."""

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle, write_pickle

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / 'docs' / 'datasets.md').read_text(encoding='utf-8')


def run(*command, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs a command with one thread."""
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(ROOT),
    }
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def prepare(*arguments, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """tools/prepare_data.py."""
    return run(ROOT / 'tools' / 'prepare_data.py', *arguments, cwd=cwd)


def test_result_lies_where_the_configs_look_and_what_was_skipped_beside_it(tmp_path):
    with zipfile.ZipFile(tmp_path / 'texts.zip', 'w') as archive:
        for name in ('walk/a_s1.txt', 'walk/b_s2.txt', 'jump/c_s3.txt'):
            archive.writestr(name, '\n'.join([' '.join(['1'] * 75)] * 5))
        archive.writestr('jump/d_s4.txt', '1 2 3\n')
    result = prepare(
        'folders', 'texts.zip', '--subject', '_s([0-9]+)', '--workers', 1, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    data = read_pickle(str(tmp_path / 'data' / 'folders' / 'folders_3d.pkl'))
    assert {item['frame_dir']: item['label'] for item in data['annotations']} == {
        'jump/c_s3': 0,
        'walk/a_s1': 1,
        'walk/b_s2': 1,
    }
    assert data['metainfo']['classes'] == ['jump', 'walk'] and set(data['split']) == {
        'xsub_train',
        'xsub_val',
    }
    assert 'sequences         3' in result.stdout and 'skipped (1)' in result.stdout
    skipped = (tmp_path / 'data' / 'folders' / 'folders_3d.pkl.skipped.txt').read_text()
    assert re.search(r'texts\.zip:jump/d_s4\.txt: .*3', skipped)


@pytest.mark.slow
def test_look_at_a_pickle_and_copy_of_it(tmp_path):
    annotation = dict(
        frame_dir='a', label=0, total_frames=3, keypoint=np.ones((1, 3, 25, 3), np.float16)
    )
    write_pickle(dict(split=dict(train=['a']), annotations=[annotation]), str(tmp_path / 'in.pkl'))
    result = prepare('mmaction2', 'in.pkl', '--out', 'new/out.pkl', cwd=tmp_path)
    assert result.returncode == 0 and '1 x 25 joints, 3 coordinates' in result.stdout
    assert (tmp_path / 'new' / 'out.pkl').read_bytes() == (tmp_path / 'in.pkl').read_bytes()
    write_pickle(
        dict(split=dict(train=['a', 'b']), annotations=[annotation]), str(tmp_path / 'in.pkl')
    )
    result = prepare('mmaction2', 'in.pkl', '--out', 'other.pkl', cwd=tmp_path)
    assert (
        result.returncode == 1
        and 'defects (1)' in result.stdout
        and 'b: is in split train' in result.stdout
    )
    assert not (tmp_path / 'other.pkl').exists()


@pytest.mark.slow
def test_authors_folders_there_and_back(tmp_path):
    assert (
        prepare(
            'synthetic',
            '--subjects',
            2,
            '--cameras',
            1,
            '--repetitions',
            1,
            '--workers',
            1,
            '--out',
            'a.pkl',
            cwd=tmp_path,
        ).returncode
        == 0
    )
    for source, out in (('a.pkl', 'one'), ('one', 'b.pkl'), ('b.pkl', 'two')):
        result = prepare('official', source, '--out', out, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    files = sorted(path.relative_to(tmp_path / 'one') for path in (tmp_path / 'one').rglob('*.*'))
    assert len(files) == 6  # camera 1 is validation: there is no xview_train
    assert all(
        (tmp_path / 'one' / file).read_bytes() == (tmp_path / 'two' / file).read_bytes()
        for file in files
        if file.suffix == '.npy'
    )


@pytest.mark.slow
def test_interrupt_is_one_line_and_the_second_run_goes_on(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'prepare_data.py'),
        'synthetic',
        '--subjects',
        '40',
        '--workers',
        '2',
        '--out',
        str(tmp_path / 'a.pkl'),
    ]
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a job in the background ignores SIGINT, and so would this process
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while (
        len(parts := list(tmp_path.glob('a.pkl.partial/*/*.pkl'))) < 3
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and said.strip() == 'interrupted'
        and not (tmp_path / 'a.pkl').exists()
    )
    assert len(parts) >= 3 and all(part.exists() for part in parts)
    assert subprocess.run(command, env=env, capture_output=True, timeout=120).returncode == 0
    assert len(read_pickle(str(tmp_path / 'a.pkl'))['annotations']) == 40 * 3 * 2 * 14
    assert not (tmp_path / 'a.pkl.partial').exists()


def block(language: str, first_line: str) -> str:
    """A block of code of docs/datasets.md that begins with that line."""
    return next(
        text
        for text in re.findall(rf'```{language}\n(.*?)```', DOCS, re.DOTALL)
        if text.startswith(first_line)
    )


@pytest.mark.slow
@pytest.mark.parametrize('labeled', [True, False], ids=['labels', 'no labels'])
def test_own_recordings_as_the_documentation_shows(tmp_path, labeled):
    """Commands, layout and config of "Your own recordings" with recordings of every format."""
    rng = np.random.default_rng(0)
    (tmp_path / 'recordings').mkdir()
    rows = ['path,label,split,subject']
    for index in range(48):
        sequence = rng.normal(size=(20 + index % 7, 10, 3))
        name = f'{index}.{"npy" if index % 2 else "csv"}'
        if index % 2:
            np.save(tmp_path / 'recordings' / name, sequence)
        else:
            np.savetxt(
                tmp_path / 'recordings' / name, sequence.reshape(len(sequence), -1), delimiter=','
            )
        label = ('walk', 'jump', 'sit')[index % 3] if labeled else ''
        rows.append(f'{name},{label},{"val" if index > 35 else "train"},1')
    (tmp_path / 'recordings' / 'manifest.csv').write_text('\n'.join(rows))
    (tmp_path / 'my_layout.yaml').write_text(block('yaml', '# my_layout.yaml'))
    config = block('python', '# my_config.py').replace("'configs/", f"'{ROOT}/configs/")
    (tmp_path / 'my_config.py').write_text(config)
    first, second = block('bash', 'python tools/prepare_data.py custom').strip().splitlines()
    short = [
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
        'model.queue_length=32',
    ]
    for command, options in (
        (first, []),
        (second, short if labeled else ['--no-validate', *short]),
    ):
        _, tool, *arguments = [*command.split(), *options]
        result = run(ROOT / tool, *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert (tmp_path / 'work_dirs' / 'my_config' / 'epoch_1.pth').exists()
    data = read_pickle(str(tmp_path / 'data' / 'custom' / 'custom.pkl'))
    assert data['metainfo']['classes'] == (['jump', 'sit', 'walk'] if labeled else [])
