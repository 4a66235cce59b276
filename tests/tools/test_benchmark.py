"""tools/benchmark.py: every part as a whole at a tiny size, and what it refuses.

AIMCLR_OFFICIAL names a checkout of the released code, for the tests that run it.
"""

import hashlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import linear, official, profile

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / 'tools' / 'benchmark.py')
SIZES = [
    '--batch',
    '2',
    '--frames',
    '8',
    '--queue',
    '16',
    '--workers',
    '0',
    '--rounds',
    '2',
    '--samples',
    '4',
]
SMALL = [
    '--cfg-options',
    'model.backbone.base_channels=4',
    'model.backbone.out_channels=8',
    'model.head.in_channels=8',
]


@pytest.fixture
def tool(monkeypatch, capfd):
    """Runs the command in this process and returns what it prints."""

    def run(*arguments: str) -> dict:
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        capfd.readouterr()
        runpy.run_path(TOOL)['main']()
        return json.loads(capfd.readouterr().out)

    return run


@pytest.fixture(scope='module')
def released() -> str:
    """A user's checkout of the released code."""
    if not os.environ.get('AIMCLR_OFFICIAL'):
        pytest.skip('AIMCLR_OFFICIAL names no checkout of the released code')
    return os.environ['AIMCLR_OFFICIAL']


def check(figures: dict, ours: str, peers: set) -> None:
    """The ratio is that of the times of each round."""
    assert set(figures['ratio'][ours]) == peers
    for peer in peers:
        rounds = [
            theirs / mine
            for mine, theirs in zip(
                figures['measured'][ours]['seconds']['rounds'],
                figures['measured'][peer]['seconds']['rounds'],
            )
        ]
        ratio = figures['ratio'][ours][peer]
        assert ratio['rounds'] == pytest.approx(rounds) and len(rounds) == 2
        assert ratio['median'] == pytest.approx(sum(rounds) / 2)
        assert (ratio['min'], ratio['max']) == (min(rounds), max(rounds))


def test_views(tool):
    figures = tool('views', *SIZES, '--variant', 'model.data_preprocessor.stream=bone')
    other = 'ours with model.data_preprocessor.stream=bone'
    check(figures, 'ours float32', {other})
    assert figures['part'] == 'views' and figures['measured'][other]['peer']
    assert figures['settings']['batch'] == 2 and figures['measured']['ours float32']['samples'] == 2


def test_step_in_two_precisions(tool):
    figures = tool(
        'step',
        *SIZES,
        *SMALL,
        '--dtype',
        'float32',
        'bfloat16',
        '--mining',
        '--variant',
        'model.backbone.type=AimCLRSTGCN',
    )
    for name in ('ours float32', 'ours bfloat16'):
        check(figures, name, {'ours with model.backbone.type=AimCLRSTGCN'})
    assert set(figures['loss_after_warmup']) == set(figures['measured'])
    assert all(0 < loss < 10 * np.log(17) for loss in figures['loss_after_warmup'].values())


@pytest.mark.slow
def test_profile_of_a_step(tool, monkeypatch):
    ceilings = dict(matmul_float32_gflops=2.0, matmul_bfloat16_gflops=4.0, memory_gbs=8.0)
    monkeypatch.setattr(profile, 'ceilings', lambda _: ceilings)
    result = tool('step', *SIZES, *SMALL, '--profile')['profile']['ours float32']
    assert {'convolution', 'batch norm', 'comparison with the queue'} <= set(result['kinds'])
    assert sum(kind['share'] for kind in result['kinds'].values()) == pytest.approx(1)
    assert result['gflop'] > 0 and result['traffic_gb'] > 0 and result['operators_run'] > 100
    assert result['ceilings'] == ceilings


def test_sweep_measures_every_value(tool):
    figures = tool('step', *SIZES, *SMALL, '--sweep', 'queue', '16', '32')
    assert figures['sweep'] == 'queue' and [
        run['settings']['queue'] for run in figures['runs']
    ] == [16, 32]
    assert all('ours float32' in run['measured'] for run in figures['runs'])


def test_epoch(tool):
    figures = tool('epoch', *SIZES, *SMALL, '--samples', '5')
    ours = figures['measured']['ours float32']
    assert ours['samples'] == 4 and len(ours['seconds']['rounds']) == 2  # whole batches only
    assert ours['samples_per_second']['rounds'] == pytest.approx(
        [4 / value for value in ours['seconds']['rounds']]
    )


def test_features(tool):
    figures = tool('features', *SIZES, '--share', '0.5')
    check(figures, 'ours float32', {'mmaction2'})
    assert figures['largest_relative_difference']['ours float32'] < 1e-4
    assert figures['measured']['mmaction2']['samples'] == 4


def test_linear_evaluation_scales_the_epochs_of_the_peer(tool, monkeypatch):
    measured = {}
    alternate = linear.alternate
    monkeypatch.setattr(
        linear, 'alternate', lambda cases, *rest: measured.update(cases) or alternate(cases, *rest)
    )
    figures = tool('linear', *SIZES, *SMALL, '--epochs', '2')
    check(figures, 'ours float32', {'frozen encoder of mmaction2'})
    assert [(case.peer, case.scale) for case in measured.values()] == [(False, 1), (True, 50)]
    assert (
        figures['epochs'],
        figures['peer_extrapolated_from_epochs'],
        figures['test_sequences'],
    ) == (100, 2, 5)


def test_readers_alone(tool):
    figures = tool('prepare', '--files', '2', '--rounds', '2')
    assert figures['files'] == 2 and len(figures['measured']['ours']['seconds']['rounds']) == 2


@pytest.mark.slow
def test_ranks_and_the_file_of_figures(tmp_path):
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHONPATH': str(ROOT),
    }
    result = subprocess.run(
        [
            sys.executable,
            TOOL,
            'step',
            *SIZES,
            *SMALL,
            '--ranks',
            '2',
            '--threads',
            '1',
            '--out',
            str(tmp_path / 'new' / 'figures.json'),
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / 'new' / 'figures.json').read_text())
    assert figures == json.loads(result.stdout)
    assert (
        figures['threads_of_each_rank'] == 1 and figures['measured']['ours float32']['samples'] == 4
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.exists('/proc/self/smaps_rollup'), reason='memory of several processes needs Linux'
)
def test_start_of_a_rank_with_a_worker(tool):
    figures = tool(
        'start', *SIZES, '--samples', '8', '--rounds', '1', '--ranks', '1', '--workers', '1'
    )
    assert figures['arrays_gigabytes'] == 8 * 2 * 8 * 25 * 3 * 4 / 1e9
    assert figures['ranks'] == 1 and figures['workers']['mmaction2'] == 1
    for name in ('ours', 'mmaction2'):
        assert figures['measured'][name]['memory_relative_to_arrays']['min'] > 0
    assert set(figures['ratio']['ours']) == {'mmaction2'}


def digest(folder: str) -> dict:
    """Content of every file."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob('*')
        if path.is_file()
    }


@pytest.mark.parametrize(
    'part, more',
    [('views', []), ('step', []), ('step', ['--mining']), ('epoch', []), ('linear', [])],
)
def test_released_code_takes_turns_and_stays_as_it_is(tool, released, part, more):
    before, cuda, cudnn = digest(released), torch.Tensor.cuda, torch.backends.cudnn.deterministic
    figures = tool(part, *SIZES, *SMALL, *more, '--official', released)
    assert digest(released) == before
    assert torch.Tensor.cuda is cuda and torch.backends.cudnn.deterministic == cudnn
    peers = {
        'epoch': {'released beside ours float32'},
        'linear': {'released', 'frozen encoder of mmaction2'},
    }
    check(figures, 'ours float32', peers.get(part, {'released'}))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['step', '--official', 'nowhere'], 'nowhere.*Levigty/AimCLR'),
        (['step', '--config', 'no.py'], "'no.py'"),
        (['step', '--sweep', 'height'], '--sweep height: known are batch'),
        (['step', '--sweep', 'batch', 'x'], "'x'"),
        (['epoch', '--samples', '3', '--batch', '4'], '--samples 3 is less than one batch of 4'),
        (['step', '--ranks', '2', '--profile'], '--ranks 2 measures ours alone'),
        (['features', '--samples', '1'], 'a gallery and queries need at least 2'),
    ],
)
def test_refused(tool, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool(*arguments)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['features', '--dtype', 'bfloat16'], 'unrecognized arguments: --dtype bfloat16'),
        (['step', '--threads', '0'], '--threads: 0: it must be at least 1'),
        (['step', '--rounds', '0'], '--rounds: 0: it must be at least 1'),
        (['step', '--workers', '-1'], '--workers: -1: it must be at least 0'),
        (['views', '--share', '2'], '--share: 2.0: it must lie between 0 and 1'),
        (['step', '--peer', 'x'], 'unrecognized arguments: --peer x'),
    ],
)
def test_options_of_other_parts(tool, capfd, arguments, message):
    with pytest.raises(SystemExit):
        tool(*arguments)
    assert message in capfd.readouterr().err


def test_device_must_be_there(tool):
    other = 'cpu' if torch.cuda.is_available() else 'cuda'
    with pytest.raises(ValueError, match=f'--device {other}'):
        tool('views', *SIZES, '--device', other)


def test_a_module_of_the_same_name_is_not_taken_for_the_released_one(tmp_path, monkeypatch):
    for name in (
        'torchlight/torchlight/__init__.py',
        *official.CONFIGS.values(),
        *(f'{module.replace(".", "/")}.py' for module in official.MODULES),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in official.MODULES:
        monkeypatch.setitem(sys.modules, name, json)
    with pytest.raises(RuntimeError, match='has the name of a module'):
        official.Official(str(tmp_path), 'cpu')
