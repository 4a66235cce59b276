"""`make demo`: its lines call the documented tools, and run at a small size."""

import glob
import json
import re
import shlex
import shutil
import subprocess

import pytest

from tests.docs_runner import Folder, make_project, parse
from tests.runs import ROOT

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
# options that make the commands short
REDUCTIONS = {
    'prepare_data.py': ['--workers', '1', '--subjects', '4', '--cameras', '2'],
    'train.py configs/skeletonclr': [
        *['--epochs', '1', '--no-validate', '--cfg-options'],
        *['train_dataloader.dataset.length=128', 'model.queue_length=64'],
    ],
    'train.py configs/aimclr': ['--epochs', '1', '--no-validate'],
    'test.py': ['--cfg-options', 'test_evaluator.2.epochs=2'],
}


def demo_commands(seeds: str) -> list[list[str]]:
    """Return the words of the commands of ``make demo``."""
    printed = subprocess.run(
        ['make', '-n', 'demo', f'SEEDS={seeds}', 'READY=', 'BIN=bin', 'AMP='],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = re.sub(r'\\\n\s*', '', printed).splitlines()
    commands = [line.replace('bin/python', 'python') for line in lines if 'tools/' in line]
    return [shlex.split(line.replace('$(cat ', '').replace(')', '')) for line in commands]


def test_lines_are_commands_of_the_tools():
    commands = demo_commands('0 1')
    for words in commands:
        parse(words)
    tools = ' '.join(words[1].removeprefix('tools/') for words in commands)
    per_seed = 'train.py train.py analyze.py test.py analyze.py'
    assert tools == f'prepare_data.py {per_seed} {per_seed}'
    assert sum('work_dirs/demo/seed1/movements' in words for words in commands) == 2


@pytest.mark.slow
def test_lines_run(tmp_path):
    project = Folder(make_project(tmp_path), {})
    printed = ''
    for words in demo_commands('0'):
        words = [word for pattern in words for word in expand(tmp_path, pattern)]
        line = shlex.join(words)
        more = [add for begin, add in REDUCTIONS.items() if f'tools/{begin}' in line]
        printed += project.command(shlex.join(words + sum(more, [])), 'make demo')

    run = tmp_path / 'work_dirs' / 'demo' / 'seed0'
    assert (run / 'movements' / 'training.png').is_file() and (run / 'embedding.png').is_file()
    results = json.loads((run / 'result.json').read_text())['results']
    names = [result['checkpoint'] for result in results]
    assert names[:2] == ['raw', 'random'] and names[4:] == ['generated-joint', 'generated-3s']
    for result, part in zip(results[2:4], ('movements', 'aimclr'), strict=True):
        assert result['checkpoint'].endswith(f'{part}/epoch_1.pth')
        for metric in ('knn', 'knn_whitened', 'linear'):
            assert f'{result["metrics"][f"{metric}/top1"]:.2f}' in printed
    assert 'dtw/top1' in results[0]['metrics']
    assert re.search(
        r'^raw .*^random .*^movements/epoch_1 .*^aimclr/epoch_1 ', printed, re.M | re.S
    )
    assert re.search(r'^generated-joint .*^generated-3s fused ', printed, re.M | re.S)


def expand(folder, word: str) -> list[str]:
    """Return what a shell would make of a word: content of last_checkpoint, or matching files."""
    if word.endswith('last_checkpoint'):
        return [(folder / word).read_text().strip()]
    if '*' in word:
        return [str(path) for path in sorted(glob.glob(str(folder / word)))]
    return [word]
