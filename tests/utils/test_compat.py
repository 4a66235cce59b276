"""Patches of the OpenMMLab libraries, and checks of their versions."""

import importlib
import os
import subprocess
import sys

import pytest

from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file, load_checkpoint_url
from aimclr_mm.utils import compat
from tests.runs import ROOT, environment


def test_stub_of_drn_is_made_once():
    name = 'mmaction.models.localizers.drn'
    before = sys.modules.get(name)
    compat.stub_missing_drn()
    compat.apply(load_checkpoint_file, load_checkpoint_url)
    assert sys.modules.get(name) is before
    from mmaction.models.localizers import DRN

    assert isinstance(DRN, type)


SLOW = ('matplotlib', 'pandas', 'scipy.io', 'scipy.stats', 'sklearn')


def test_commands_start_without_slow_libraries():
    """Help texts, embed and analyze take 3 seconds then; each of these libraries adds to it."""
    code = (
        'import runpy, sys\n'
        'for tool in ("embed", "analyze", "test", "train"):\n'
        '    sys.path.insert(0, "tools")\n'
        '    runpy.run_path(f"tools/{tool}.py", run_name="tool")\n'
        f'print(*[name for name in {SLOW} if name in sys.modules])\n'
        'from mmaction.datasets.transforms.pose_transforms import get_mode\n'
        'print(get_mode([3, 5, 5])[0][0], "scipy.stats" in sys.modules)\n'
        'import scipy.stats\n'
        'print(scipy.stats.norm.cdf(0))'
    )
    call = [sys.executable, '-c', code]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert done.stdout.splitlines() == ['', '5 True', '0.5'], done.stderr


def test_mmaction_models_import():
    models = importlib.import_module('mmaction.models')
    assert hasattr(models, 'STGCN') and hasattr(models, 'RecognizerGCN')


@pytest.mark.parametrize(
    'version, fits',
    [
        ('1.7.1', False),
        ('2.0.0', True),
        ('2.0.1', True),
        ('2.1.0', True),
        ('2.2.0', False),
        ('2.3.1', False),
    ],
)
def test_version_of_mmcv(monkeypatch, version, fits):
    import mmcv

    monkeypatch.setattr(mmcv, '__version__', version)
    if fits:
        compat.check_mmcv()
    else:
        with pytest.raises(ImportError, match=f'mmcv {version} is installed.*pip install'):
            compat.check_mmcv()


@pytest.mark.parametrize(
    'check, package', [(compat.check_mmcv, 'mmcv'), (compat.stub_missing_drn, 'mmaction2')]
)
def test_missing_library_is_named(monkeypatch, check, package):
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=f'{package} is missing.*pip install'):
        check()


def test_import_beside_transformers_5(tmp_path):
    package = tmp_path / 'transformers'
    package.mkdir()
    package.joinpath('__init__.py').write_text('raise ImportError("not what mmaction2 imports")')
    metadata = tmp_path / 'transformers-5.1.0.dist-info' / 'METADATA'
    metadata.parent.mkdir()
    metadata.write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.1.0\n')

    command = [sys.executable, '-c', 'import aimclr_mm']
    result = subprocess.run(command, env=environment(PYTHONPATH=f'{ROOT}{os.pathsep}{tmp_path}'))
    assert result.returncode == 0
