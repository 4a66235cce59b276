"""A user's own project, mmaction2's own commands, registries, other styles of configs."""

import json
import subprocess
import sys
from pathlib import Path

import mmaction
import pytest
from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.utils.config_check import check_config
from tests.docs_runner import Block, Folder, blocks
from tests.runs import ROOT, assert_same, environment, finish, start, write_config

MMACTION = Path(mmaction.__file__).parent / '.mim' / 'tools'
EVALUATION = """
test_dataloader = dict(
    batch_size=64, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
    train_dataloader['dataset'], split=['xsub_train', 'xsub_val'], test_mode=True))
test_cfg = dict(type='TestLoop')
test_evaluator = [
    dict(type='KNNMetric', k=[1]),
    dict(type='LinearProbeMetric', epochs=2, milestones=(1,)),
]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(by_epoch=True, interval=1))
"""
NOTEBOOK = """
from mmaction.registry import MODELS
from mmengine.config import Config
assert 'AimCLR' not in MODELS.module_dict
import aimclr_mm
assert type(MODELS.build(Config.fromfile({!r}).model)).__name__ == 'AimCLR'
"""


def page() -> dict[str, Block]:
    """Blocks of docs/training.md by their first line."""
    return {block.text.splitlines()[0]: block for block in blocks(ROOT / 'docs' / 'training.md')}


def own_tree(folder: Path) -> Path:
    """The user's folder of docs/training.md next to the repository, with a small data set."""
    (folder / 'aimclr_mm').symlink_to(ROOT)
    work = folder / 'my_work'
    work.mkdir()
    for name in ('my_project.py', 'mine.py'):
        (work / name).write_text(page()[f'# {name}'].text)
    return work


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """That folder, as the current one."""
    work = own_tree(tmp_path)
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(str(work))
    return work


@pytest.fixture
def user(tree):
    """The user's config, with its module registered; taken out again afterwards."""
    from mmaction.registry import HOOKS, MODELS, TRANSFORMS

    cfg = Config.fromfile('mine.py')
    yield cfg
    for registry, name in (
        (TRANSFORMS, 'Scale'),
        (MODELS, 'DecorrelatedAimCLR'),
        (HOOKS, 'TemperatureHook'),
    ):
        registry.module_dict.pop(name, None)
    sys.modules.pop('my_project', None)


def test_settings_of_own_classes_are_checked(user):
    check_config(user.to_dict(), 'mine.py')
    user.model.wieght = 0.5
    with pytest.raises(
        ValueError, match="model.wieght=0.5: DecorrelatedAimCLR has no such setting.*'weight'"
    ):
        check_config(user.to_dict(), 'mine.py')


def test_own_augmentation_and_method_work(user):
    import torch
    from mmaction.registry import MODELS

    model = MODELS.build(user.model)
    views = model.data_preprocessor(
        dict(inputs=list(torch.randn(4, 1, 2, 24, 25, 3))), training=True
    )['inputs']
    losses = model(views, mode='loss')
    assert {'loss_info', 'loss_d3m', 'loss_decorrelation'} <= losses.keys()
    assert losses['loss_decorrelation'].item() > 0 and losses['loss_decorrelation'].requires_grad


@pytest.mark.parametrize('scope', ['mmengine', 'my_scope', None])
def test_another_scope_is_refused_with_the_remedy(user, scope):
    user.default_scope = scope
    with pytest.raises(
        ValueError,
        match="it must be 'mmaction'.*Register your own in mmaction.registry or mmengine",
    ):
        check_config(user.to_dict(), 'mine.py')


def test_a_module_that_python_does_not_find(tree):
    (tree / 'mine.py').write_text((tree / 'mine.py').read_text().replace('my_project', 'nowhere'))
    from aimclr_mm.utils.overlays import read_config

    with pytest.raises(
        ValueError,
        match="(?s)Failed to import custom modules.*'nowhere'.*You should set `PYTHONPATH`",
    ):
        read_config('mine.py')


def test_new_style_configs_cannot_inherit_ours(tmp_path):
    (tmp_path / 'base.py').write_text(
        (ROOT / 'configs' / 'aimclr_synthetic_xsub_joint.py').read_text()
    )
    text = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    (tmp_path / 'new.py').write_text(text)
    with pytest.raises(ConfigParsingError, match='must match the current configuration file type'):
        Config.fromfile(tmp_path / 'new.py')


@pytest.mark.slow
def test_registries_of_mmaction2_may_be_imported_first(tmp_path):
    (tmp_path / 'a.py').write_text(
        NOTEBOOK.format(str(ROOT / 'configs' / 'aimclr_ntu60_xsub_joint.py'))
    )
    done = subprocess.run(
        [sys.executable, 'a.py'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_own_project_as_printed(tmp_path):
    work = own_tree(tmp_path)
    (work / 'data' / 'synthetic').mkdir(parents=True)
    write_pickle(
        Synthetic((), 4, 3, 1).dataset(), str(work / 'data' / 'synthetic' / 'synthetic_3d.pkl')
    )
    export, prepare, *commands = page()['export PYTHONPATH=.'].commands()
    assert export == 'export PYTHONPATH=.' and prepare.endswith(
        'prepare_data.py synthetic'
    )  # made above, smaller
    log, shown = tmp_path / 'log', []
    for line, more in zip(commands, (['--epochs', '2'], [])):
        line = line.replace('$(cat work_dirs/mine/last_checkpoint)', 'work_dirs/mine/epoch_2.pth')
        _, tool, *words = line.split()
        assert tool.startswith('../aimclr_mm/tools/')
        code = Folder(work, {}).tool(Path(tool).name, [*words, *more], log)
        shown.append(log.read_text())
        assert code == 0, shown[-1][-3000:]
    assert 'Training finished after epoch 2: KNN top-1' in shown[0] and '\nknn/top1: ' in shown[1]
    lines = next(work.glob('work_dirs/mine/*/vis_data/scalars.json')).read_text().splitlines()
    assert 'loss_decorrelation' in json.loads(lines[0])
    assert (
        (work / 'work_dirs' / 'mine' / 'last_checkpoint')
        .read_text()
        .endswith('work_dirs/mine/epoch_2.pth')
    )


@pytest.mark.slow
def test_mmaction2s_own_tools(tmp_path):
    """Trained, gone on with and evaluated by them; the weights are those of our tool."""
    config, work = write_config(tmp_path, EVALUATION), tmp_path / 'work'
    train, options = str(MMACTION / 'train.py'), ('--cfg-options', 'train_cfg.max_epochs=2')
    ours = start(config, tmp_path / 'ours', *options)
    assert finish(start(config, work, '--cfg-options', 'train_cfg.max_epochs=1', tool=train)) == 0
    assert finish(start(config, work, '--resume', *options, tool=train)) == 0
    assert finish(ours) == 0
    assert_same(work / 'epoch_2.pth', tmp_path / 'ours' / 'epoch_2.pth')
    test = start(
        config, tmp_path / 'test', str(work / 'epoch_2.pth'), tool=str(MMACTION / 'test.py')
    )
    assert finish(test) == 0, (tmp_path / 'test.log').read_text()[-3000:]
    metrics = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    assert {'knn/top1', 'linear/top1'} <= metrics.keys()
