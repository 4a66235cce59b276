"""Training on several ranks: equal weights, memory bank and samples; failure of a rank."""

import json
import signal
import subprocess
from pathlib import Path

import mmengine.dataset.sampler
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from aimclr_mm.datasets import EvenSampler, load_annotations
from tests.runs import (
    ROOT,
    environment,
    finish,
    free_port,
    start,
    start_ranks,
    write_config,
)

QUEUE, BATCH, EPOCHS, BATCHES = 36, 8, 2, 5  # 8 does not divide 36; 5 batches of 8 of 42 sequences
RECORDED = f"""
custom_imports = dict(imports=['aimclr_mm', 'tests.rank_hooks'], allow_failed_imports=False)
custom_hooks = [*(dict(h, epoch=1) if h['type'] == 'StageSwitchHook' else h for h in custom_hooks),
                dict(type='RankRecorder')]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
train_dataloader.update(batch_size={BATCH}, sampler=dict(type='EvenSampler', shuffle=True))
model.update(queue_length={QUEUE})
train_cfg = dict(max_epochs={EPOCHS})
"""
EVALUATED = """
test_dataloader = dict(
    batch_size=16, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        train_dataloader['dataset'], split=['xsub_train', 'xsub_val'], test_mode=True))
test_cfg, test_evaluator = dict(type='TestLoop'), [dict(type='KNNMetric', k=[1, 5])]
"""
FAULTY = """
custom_imports = dict(imports=['aimclr_mm', 'tests.rank_hooks'], allow_failed_imports=False)
custom_hooks = [*custom_hooks, dict(type='RankFault', kind='raise')]
default_hooks = dict(checkpoint=dict(interval=1000))
train_cfg = dict(max_epochs=100000)
env_cfg = dict(dist_cfg=dict(timeout=4))
"""
CROSS = ['--with', str(ROOT / 'configs' / 'methods' / 'crosclr.py')]


def output(work_dir: Path, rank: int) -> str:
    """Return the output of a rank."""
    return Path(f'{work_dir}-{rank}.log').read_text()


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp('ranks'), RECORDED)


@pytest.fixture(scope='module')
def faulty(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp('faulty'), FAULTY)


def train(world: int, config: Path, work_dir: Path, *options: str) -> list[dict]:
    """Return the records of all ranks of a training."""
    ranks = start_ranks(
        world,
        config,
        work_dir,
        '--cfg-options',
        f'train_dataloader.batch_size={BATCH // world}',
        *options,
    )
    codes = [finish(rank) for rank in ranks]
    assert codes == [0] * world, output(work_dir, 0)[-3000:]
    return [torch.load(work_dir / f'rank{rank}.pth') for rank in range(world)]


@pytest.fixture(scope='module', params=[(2, 'single'), (4, 'cross')], ids=['2-single', '4-cross'])
def trained(request, config, tmp_path_factory) -> tuple[Path, list[dict]]:
    """Return work directory and records of a training; four ranks have different seeds."""
    world, kind = request.param
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    return work_dir, train(
        world,
        config,
        work_dir,
        *(CROSS if kind == 'cross' else []),
        *(['--diff-rank-seed'] if world == 4 else []),
    )


@pytest.mark.slow
def test_ranks_agree_after_every_epoch(trained):
    """Query and key encoder, batch-norm statistics, memory bank and pointer."""
    first, *others = trained[1]
    assert len(first['states']) == EPOCHS
    parts = {name.split('.')[2 if name.startswith('streams') else 0] for name in first['first']}
    assert parts == {'encoder', 'key_encoder', 'memory_bank'}
    for name, start_value in first['first'].items():
        values = [start_value, *(state[name] for state in first['states'])]
        for other in others:
            assert torch.equal(start_value, other['first'][name]), name
            for value, state in zip(values[1:], other['states']):
                assert torch.equal(value, state[name]), name
        if name.endswith(('fc.0.weight', 'running_mean', 'memory_bank.keys')):
            assert all(not torch.equal(*pair) for pair in zip(values, values[1:])), (
                f'{name} does not move'
            )


@pytest.mark.slow
def test_memory_bank_holds_the_newest_keys_of_all_ranks(trained):
    """Compare with a list of the keys in the order of iterations and ranks."""
    for name in trained[1][0]['keys']:
        places, written = list(trained[1][0]['first'][f'{name}.keys']), 0
        for iteration in range(EPOCHS * BATCHES):
            for record in trained[1]:
                for key in record['keys'][name][iteration]:
                    places[written % QUEUE], written = key, written + 1
            if iteration % BATCHES == BATCHES - 1:
                state = trained[1][-1]['states'][iteration // BATCHES]
                assert torch.equal(state[f'{name}.keys'], torch.stack(places))
                assert state[f'{name}.pointer'] == written % QUEUE != 0
        assert written == EPOCHS * BATCHES * BATCH


@pytest.mark.slow
def test_ranks_share_the_batches_of_one_rank(trained, config):
    data, expected = load_annotations(str(config.with_name('data.pkl'))), []
    names = [
        a['frame_dir'] for a in data['annotations'] if a['frame_dir'] in data['split']['xsub_train']
    ]
    for epoch in range(EPOCHS):
        order = torch.randperm(
            len(names), generator=torch.Generator().manual_seed(epoch)
        )  # the seed is 0
        expected += [
            sorted(names[i] for i in batch) for batch in order[: BATCHES * BATCH].split(BATCH)
        ]
    found = [
        sorted(name for names in together for name in names)
        for together in zip(*(record['names'] for record in trained[1]))
    ]
    assert found == expected and len(found) == EPOCHS * BATCHES
    assert len(set(map(tuple, found))) == len(found) and len(set(found[0])) == BATCH


@pytest.mark.slow
@pytest.mark.parametrize('trained', [(2, 'single')], indirect=True, ids=['2-single'])
def test_resumed_on_another_number_of_ranks(trained, config, tmp_path):
    """The run resumes with the same total batch size, and refuses another."""
    checkpoint = str(trained[0] / 'epoch_1.pth')
    fine = start(config, tmp_path / 'fine', '--resume', checkpoint)
    other = start(
        config,
        tmp_path / 'other',
        '--resume',
        checkpoint,
        '--cfg-options',
        'train_dataloader.batch_size=4',
    )
    assert [finish(fine), finish(other)] == [0, 1]
    (record,) = [torch.load(tmp_path / 'fine' / 'rank0.pth')]
    expected = [
        sorted(sum(names, [])) for names in zip(*(rank['names'][BATCHES:] for rank in trained[1]))
    ]
    assert list(map(sorted, record['names'])) == expected and len(expected) == BATCHES
    assert record['states'][-1]['memory_bank.pointer'] == EPOCHS * BATCHES * BATCH % QUEUE
    said = Path(f'{tmp_path}/fine.log').read_text()
    assert 'The checkpoint was trained on 2 ranks, this run has 1' in said
    refused = Path(f'{tmp_path}/other.log').read_text()
    (line,) = [line for line in refused.splitlines() if line.startswith('error: ')]
    assert all(
        part in line
        for part in (
            checkpoint,
            'a batch size of 4 on each of 2 ranks, 8 in total',
            '4 on each of 1, 4 in total: set train_dataloader.batch_size=8',
            'load_from=',
        )
    )
    assert 'Traceback' not in refused and not list((tmp_path / 'other').glob('*.pth'))


@pytest.mark.slow
@pytest.mark.parametrize('checkpoint', ['raw', 'random'])
def test_evaluation_on_two_ranks_is_that_on_one(checkpoint, tmp_path):
    """Encoders without a checkpoint must be equal too, although each rank has its own seed."""
    config, group = (
        write_config(tmp_path, EVALUATED),
        dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port()),
    )
    several = ['--launcher', 'pytorch', '--cfg-options', 'randomness.diff_rank_seed=True']
    runs = [
        start(
            config,
            tmp_path / name,
            checkpoint,
            '--eval',
            'knn',
            '--out',
            str(tmp_path / f'{name}.json'),
            *options,
            tool='test.py',
            **variables,
        )
        for name, options, variables in (
            ('one', [], {}),
            ('0', several, dict(group, RANK='0', LOCAL_RANK='0')),
            ('1', several, dict(group, RANK='1', LOCAL_RANK='1')),
        )
    ]
    assert [finish(run) for run in runs] == [0, 0, 0], (tmp_path / '0.log').read_text()[-3000:]
    one, two = (
        json.loads((tmp_path / name).read_text())['metrics'] for name in ('one.json', '0.json')
    )
    assert one == two and 'knn/top1' in one and not (tmp_path / '1.json').exists()


@given(
    st.integers(1, 200),
    st.integers(1, 5),
    st.integers(1, 16),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_batches_of_ranks_are_those_of_one(length, world, batch, epoch, shuffle, drop_last):
    """For any length; without ``drop_last`` up to ``world - 1`` last sequences are left out."""

    def batches(rank: int, ranks: int, size: int) -> list[list[int]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mmengine.dataset.sampler, 'get_dist_info', lambda: (rank, ranks))
            sampler = EvenSampler(range(length), shuffle, seed=7)
            sampler.set_epoch(epoch)
            found = list(BatchSampler(sampler, size, drop_last))
            assert len(found) == len(BatchSampler(sampler, size, drop_last))
            return found

    one = batches(0, 1, world * batch)
    if not drop_last:
        one = [
            order[: len(order) // world * world] for order in one
        ]  # the last one, if it is not whole
    assert [
        sum(zip(*parts), ())
        for parts in zip(*(batches(rank, world, batch) for rank in range(world)))
    ] == [tuple(order) for order in one if order]


FAULTS = {  # of the last rank: its exit code, and the message of the other
    'raise': (1, 'another rank has ended'),
    'exit': (3, 'another rank has ended'),
    'SIGKILL': (-9, 'another rank has ended'),
    'SIGSTOP': (None, 'another rank did not answer in time'),
}


@pytest.mark.slow
@pytest.mark.parametrize('kind', FAULTS)
def test_rank_that_fails_ends_the_others(faulty, tmp_path, kind):
    """The other rank exits within the timeout with one line."""
    code, message = FAULTS[kind]
    waiting, failing = start_ranks(
        2, faulty, tmp_path / 'run', '--cfg-options', f'custom_hooks.5.kind={kind}'
    )
    try:
        assert finish(waiting, 60) == 1
        assert code is None or finish(failing, 10) == code
    finally:
        failing.kill()
    assert finish(failing, 10) == (-9 if code is None else code)
    said = output(tmp_path / 'run', 0)
    (line,) = [line for line in said.splitlines() if line.startswith('error: ')]
    assert line.startswith(f'error: rank 0: {message}') and 'Traceback' not in said
    if kind == 'raise':
        assert 'error: rank 1: this rank has had enough (--debug' in output(tmp_path / 'run', 1)


def processes(mark: Path) -> list[int]:
    """Return the processes that still run with a mark in their environment."""
    found = []
    for path in Path('/proc').glob('[0-9]*'):
        try:
            if (
                f'MARK={mark}\0' in (path / 'environ').read_text()
                and ') Z ' not in (path / 'stat').read_text()
            ):
                found.append(int(path.name))
        except OSError:
            pass
    return found


@pytest.mark.slow
def test_launcher_names_the_rank_that_was_killed(faulty, tmp_path):
    """Run the whole command without PORT; no process is left."""
    variables = environment(MARK=str(tmp_path), CUDA_VISIBLE_DEVICES='')
    variables.pop('PORT', None)
    job = subprocess.run(
        [
            'bash',
            'tools/dist_train.sh',
            str(faulty),
            '2',
            '--work-dir',
            str(tmp_path / 'run'),
            '--cfg-options',
            'custom_hooks.5.kind=SIGKILL',
        ],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert job.returncode == 128 + signal.SIGKILL and 'Traceback' not in job.stdout + job.stderr, (
        job.stderr[-3000:]
    )
    assert job.stderr.splitlines()[-1].startswith('error: rank 1 was ended by SIGKILL')
    assert not processes(tmp_path)
