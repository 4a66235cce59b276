"""tools/benchmark.py: each part as a whole at a tiny size, and what it refuses.

AIMCLR_OFFICIAL names a checkout of the released code, for the tests that run it.
"""

import hashlib
import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import gpu, released, workload

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / 'tools' / 'benchmark.py')
SIZES = '--batch 2 --workers 0 --rounds 2'.split()
SMALL = [
    '--cfg-options',
    'model.backbone.base_channels=4',
    'model.backbone.out_channels=8',
    'model.head.in_channels=8',
]
TRAINING = [*SIZES, *SMALL, '--queue', '16']


@pytest.fixture
def tool(monkeypatch, capfd):
    """Return a function that runs the command in this process and returns its JSON."""
    monkeypatch.setattr(workload, 'FRAMES', 8)

    def run(*arguments: str) -> dict:
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        capfd.readouterr()
        runpy.run_path(TOOL)['main']()
        return json.loads(capfd.readouterr().out)

    return run


@pytest.fixture(scope='module')
def checkout() -> str:
    """A user's checkout of the released code."""
    if not os.environ.get('AIMCLR_OFFICIAL'):
        pytest.skip('AIMCLR_OFFICIAL names no checkout of the released code')
    return os.environ['AIMCLR_OFFICIAL']


def check_ratios(figures: dict, ours: str, peers: set[str]) -> None:
    """Assert that the ratios are those of the times of each round."""
    assert set(figures['ratio'][ours]) == peers
    mine = figures['measured'][ours]['seconds']['rounds']
    assert len(mine) == 2
    for peer in peers:
        theirs = figures['measured'][peer]['seconds']['rounds']
        ratio = figures['ratio'][ours][peer]
        assert ratio['rounds'] == pytest.approx([b / a for a, b in zip(mine, theirs)])
        assert (ratio['min'], ratio['max']) == (min(ratio['rounds']), max(ratio['rounds']))


def test_gpu(tool):
    figures = tool('gpu', *TRAINING, '--dtype', 'float32', 'bfloat16')
    assert figures['repeats'] == dict(float32=True, bfloat16=True)
    assert all(0 < error < 1e-2 for error in figures['gradient_error'].values())
    measured = figures['steps']['measured']
    assert {'float32 eager', 'bfloat16 eager'} <= set(measured)
    if torch.cuda.is_available():
        assert max(figures['graph_difference'].values()) < 1e-3
        assert figures['profile float32 CUDA graph']['kernels'] > 100


def test_gpu_reports_a_part_that_fails(tool, monkeypatch):
    def fail(*args):
        raise RuntimeError('no such kernel')

    monkeypatch.setattr(gpu, 'check_exactness', fail)
    figures = tool('gpu', *TRAINING, '--dtype', 'float32')
    assert figures['gradient_error'] == dict(error='RuntimeError: no such kernel')
    assert figures['repeats'] == dict(float32=True)


def test_views(tool):
    figures = tool('views', *SIZES, '--variant', 'model.data_preprocessor.stream=bone')
    check_ratios(figures, 'ours float32', {'ours with model.data_preprocessor.stream=bone'})
    assert figures['part'] == 'views' and figures['settings']['batch'] == 2
    assert figures['measured']['ours float32']['samples'] == 2
    assert set(figures['machine']) == {'torch', 'processor', 'gpu', 'threads'}


def test_step_in_two_precisions(tool):
    variant = 'model.backbone.type=AimCLRSTGCN'
    dtypes = ['--dtype', 'float32', 'bfloat16']
    figures = tool('step', *TRAINING, *dtypes, '--mining', '--variant', variant)
    for name in ('ours float32', 'ours bfloat16'):
        check_ratios(figures, name, {f'ours with {variant}'})
    assert set(figures['loss']) == set(figures['measured'])
    assert all(0 < loss < 10 * math.log(17) for loss in figures['loss'].values())


def test_profile_of_a_step(tool):
    profile = tool('step', *TRAINING, '--profile')['profile']['ours float32']
    assert {'convolution', 'matrix product', 'batch norm'} <= set(profile)
    assert sum(row['share'] for row in profile.values()) == pytest.approx(1)


def test_epoch_has_whole_batches_only(tool):
    figures = tool('epoch', *TRAINING, '--samples', '5')
    ours = figures['measured']['ours float32']
    assert ours['samples'] == 4 and len(ours['seconds']['rounds']) == 2
    assert ours['samples_per_second'] == pytest.approx(4 / ours['seconds']['median'])


def test_features_equal_those_of_mmaction2(tool):
    figures = tool('features', *SIZES, '--samples', '4')
    check_ratios(figures, 'ours float32', {'mmaction2'})
    assert figures['largest_relative_difference']['ours float32'] < 1e-4
    assert figures['measured']['mmaction2']['samples'] == 4


def test_prepare_with_a_peer(tool, tmp_path):
    path = tmp_path / 'tools' / 'data' / 'skeleton' / 'gen_ntu_rgbd_raw.py'
    path.parent.mkdir(parents=True)
    path.write_text(
        'from aimclr_mm.datasets.readers import NTU120, list_files\n'
        'def read_xyz(path):\n'
        '    reader = NTU120(list_files([path], NTU120.pattern), bodies="motion")\n'
        '    return reader.read(reader.recordings()[0])[0]["keypoint"] + SHIFT\n'
        'SHIFT = 0\n'
    )
    arguments = ['prepare', '--files', '2', '--rounds', '2', '--peer', str(tmp_path)]
    figures = tool(*arguments)
    check_ratios(figures, 'ours', {'mmaction2'})
    assert figures['files'] == 2

    path.write_text(path.read_text().replace('SHIFT = 0', 'SHIFT = 1e-3'))
    with pytest.raises(RuntimeError, match=r'the readers do not agree about .*\.skeleton'):
        tool(*arguments)


@pytest.mark.slow
def test_prepare_a_data_set(tmp_path):
    out = tmp_path / 'new' / 'figures.json'
    command = [sys.executable, TOOL, 'prepare', '--files', '2', '--recordings', '5']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([*command, '--out', str(out)], env=environment, check=True, timeout=300)
    figures = json.loads(out.read_text())
    assert figures['recordings'] == 5 and figures['result_gigabytes'] > 0


def digest(folder: str) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    files = [path for path in Path(folder).rglob('*') if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    'arguments',
    [
        ['views', *SIZES],
        ['step', *TRAINING],
        ['step', *TRAINING, '--mining'],
        ['epoch', *TRAINING, '--samples', '5'],
    ],
)
def test_released_code_takes_turns_and_stays_as_it_is(tool, checkout, arguments):
    before = digest(checkout)
    cuda = torch.Tensor.cuda
    cudnn = torch.backends.cudnn.deterministic
    figures = tool(*arguments, '--official', checkout)
    assert digest(checkout) == before
    assert torch.Tensor.cuda is cuda and torch.backends.cudnn.deterministic == cudnn
    check_ratios(figures, 'ours float32', {'released'})


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['step', '--official', 'nowhere'], 'nowhere.*Levigty/AimCLR'),
        (['step', '--config', 'no.py'], "'no.py'"),
        (['step', '--variant', 'modl.temperature=1'], "no setting 'modl'"),
        (['epoch', '--samples', '3', '--batch', '4'], '--samples 3 is less than one batch of 4'),
        (['features', '--samples', '1'], 'a gallery and queries need at least 2'),
        (['prepare', '--peer', 'nowhere'], 'nowhere.*--peer is a checkout of mmaction2'),
    ],
)
def test_refused(tool, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool(*arguments)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['features', '--dtype', 'bfloat16'], 'unrecognized arguments: --dtype bfloat16'),
        (['step', '--peer', 'x'], 'unrecognized arguments: --peer x'),
        (['step', '--threads', '0'], '--threads: 0: it must be at least 1'),
        (['step', '--workers', '-1'], '--workers: -1: it must be at least 0'),
        (['step', '--variant', 'x'], "'x' is not KEY=VALUE"),
    ],
)
def test_refused_by_the_parser(tool, capfd, arguments, message):
    with pytest.raises(SystemExit):
        tool(*arguments)
    assert message in capfd.readouterr().err


def test_device_must_be_available(tool):
    other = 'cpu' if torch.cuda.is_available() else 'cuda'
    with pytest.raises(ValueError, match=f'--device {other}'):
        tool('views', *SIZES, '--device', other)


def test_a_module_of_the_same_name_is_not_taken_for_the_released_one(tmp_path, monkeypatch):
    sources = [f'{module.replace(".", "/")}.py' for module in released.MODULES]
    for name in ('torchlight/torchlight/__init__.py', released.CONFIG, *sources):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in released.MODULES:
        monkeypatch.setitem(sys.modules, name, json)
    with pytest.raises(RuntimeError, match='hides net.aimclr'):
        released.Released(workload.Settings(str(tmp_path), official=str(tmp_path)))
