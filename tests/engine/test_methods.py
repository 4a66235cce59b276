"""Each method by the whole command: its stages, its losses and its resume."""

import json

import pytest
import torch

from tests.runs import (
    ROOT,
    assert_same,
    finish,
    saved_iterations,
    start,
    start_ranks,
    write_config,
)

pytestmark = pytest.mark.slow
# overlays, iterations (an epoch has five; the config six epochs), and losses of each stage
METHODS = {
    'hiclr': (30, [{'loss_info', 'loss_d3m'}, {'loss_nnm', 'loss_d3m'}]),
    'pstl': (15, [{'loss_frames', 'loss_joints'}]),
    'skelemix': (30, [{'loss_info', 'loss_d3m', 'loss_mix'}, {'loss_nnm', 'loss_d3m', 'loss_mix'}]),
    'skeletonclr skelemix': (30, [{'loss_info', 'loss_mix'}]),
    'actclr': (30, [{'loss_strong', 'loss_spared', 'loss_mixed'}]),
    'aimclr_pp': (
        40,
        [
            {f'{stream}.{name}' for stream in ('joint', 'bone', 'motion') for name in names}
            for names in (
                ('loss_info', 'loss_d3m'),
                ('loss_nnm', 'loss_d3m'),
                ('loss_vote', 'loss_d3m'),
            )
        ],
    ),
}


def overlays(names: str) -> list[str]:
    """Return the options that apply the overlays of methods."""
    return ['--with', *(str(ROOT / 'configs' / 'methods' / f'{name}.py') for name in names.split())]


@pytest.fixture(scope='module', params=METHODS)
def trained(request, tmp_path_factory):
    """Return the method, its folder, its config, and the work directory of a whole run."""
    folder = tmp_path_factory.mktemp(request.param.replace(' ', '_'))
    config = write_config(folder)
    process = start(config, folder / 'whole', *overlays(request.param))
    assert finish(process, 400) == 0, (folder / 'whole.log').read_text()[-3000:]
    return request.param, folder, config, folder / 'whole'


def test_it_learns_in_its_stages(trained):
    method, _, _, work_dir = trained
    iterations, stages = METHODS[method]
    saved = saved_iterations(work_dir)
    assert saved[-1] == iterations
    first, last = (
        torch.load(work_dir / f'iter_{i}.pth', weights_only=True)['state_dict'] for i in saved
    )
    assert all(value.isfinite().all() for value in last.values())
    moved = [name for name in last if name.endswith('weight') and 'encoder.' in name]
    assert moved and not any(torch.equal(first[name], last[name]) for name in moved)

    (path,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    logged = [{name for name in line if 'loss_' in name} for line in lines if 'loss' in line]
    assert len(logged) == iterations and logged[0] == stages[0]
    assert all(any(stage <= names for names in logged) for stage in stages)
    assert set().union(*logged) == set().union(*stages)


def test_a_resumed_run_equals_one_that_never_stopped(trained):
    method, folder, config, work_dir = trained
    first, last = saved_iterations(work_dir)
    resume = ('--resume', str(work_dir / f'iter_{first}.pth'))
    process = start(config, folder / 'resumed', *overlays(method), *resume)
    assert finish(process, 400) == 0, (folder / 'resumed.log').read_text()[-3000:]
    assert_same(*(path / f'iter_{last}.pth' for path in (work_dir, folder / 'resumed')))


def test_two_ranks(trained):
    """In bfloat16: the state has the shapes of one rank in float32, and all of it is finite."""
    method, folder, config, work_dir = trained
    ranks = start_ranks(2, config, folder / 'ranks', *overlays(method), '--epochs', '2', '--amp')
    codes = [finish(process, 400) for process in ranks]
    assert codes == [0, 0], (folder / 'ranks-0.log').read_text()[-3000:]
    one, two = (
        torch.load(path / f'iter_{saved_iterations(path)[-1]}.pth', weights_only=True)['state_dict']
        for path in (work_dir, folder / 'ranks')
    )
    assert {name: v.shape for name, v in one.items()} == {name: v.shape for name, v in two.items()}
    assert all(value.isfinite().all() for value in two.values())
