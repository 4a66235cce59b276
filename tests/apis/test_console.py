"""The command aimclr, and configs and tools in an installed package."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from mmengine.config import Config

from aimclr_mm.apis import console
from aimclr_mm.utils import project
from aimclr_mm.utils.overlays import read_config
from tests.docs_runner import arguments, blocks
from tests.runs import ROOT, environment

SOURCES = 'aimclr_mm configs tools setup.py pyproject.toml MANIFEST.in README.md model-index.yml'


@pytest.mark.parametrize(
    'words, tool, rest',
    [
        ('prepare folders a --out b', 'prepare_data.py', ['aimclr prepare', 'folders', 'a']),
        ('few-shot C K --save x', 'embed.py', ['aimclr', 'few_shot', 'C']),
        ('few_shot C K --save x', 'embed.py', ['aimclr', 'few_shot', 'C']),
        ('visualize sequence a', 'visualize.py', ['aimclr visualize', 'sequence', 'a']),
    ],
)
def test_verbs_run_the_tools(monkeypatch, words, tool, rest):
    called = []
    monkeypatch.setattr(
        console.runpy, 'run_path', lambda path, run_name: called.append((path, sys.argv, run_name))
    )
    with arguments(['aimclr', *words.split()]):
        console.main()
    ((path, argv, run_name),) = called
    assert path == str(ROOT / 'tools' / tool) and run_name == '__main__'
    assert argv[:3] == rest


def test_every_verb_has_its_tool_and_is_listed(capsys):
    with arguments(['aimclr']):
        console.main()
    printed = capsys.readouterr().out
    for verb, (call, text) in console.VERBS.items():
        assert (ROOT / 'tools' / call.split()[0]).is_file()
        assert f'  {verb} ' in printed and text in printed
    with arguments(['aimclr', 'embedd']), pytest.raises(SystemExit, match="no verb 'embedd'; kno"):
        console.main()


def test_configs_are_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name, overlay = 'configs/aimclr_utdmhad_xsub_joint.py', 'configs/protocols/finetune.py'
    found = read_config(name, [overlay])
    assert found.model == read_config(str(ROOT / name), [str(ROOT / overlay)]).model
    with pytest.raises(FileNotFoundError, match="'configs/none.py' does not exist"):
        read_config('configs/none.py')
    with pytest.raises(FileNotFoundError, match="'other/aimclr"):
        read_config('other/aimclr_utdmhad_xsub_joint.py')

    (tmp_path / 'configs').mkdir()
    (tmp_path / name).write_text('a = 1')  # one's own comes first
    assert read_config(name).a == 1


def test_installed_configs_come_before_those_beside_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(project, 'INSTALLED', str(tmp_path))
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'own.py').write_text('a = 1')
    assert project.project_folder() == str(tmp_path)
    assert project.find_config('configs/own.py') == str(tmp_path / 'configs' / 'own.py')


def installed(folder: Path) -> Path:
    """Build the wheel and install it, without dependencies, into a new environment.

    The environment sees the libraries of this one, but not its editable installation.
    """
    source, env = folder / 'source', folder / 'env'
    source.mkdir()
    for name in SOURCES.split():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    venv.create(env)
    (libraries,) = env.glob('lib/python*/site-packages')
    (libraries / 'here.pth').write_text(sysconfig.get_path('purelib'))

    pip = [sys.executable, '-m', 'pip', '--quiet', '--python', str(env / 'bin' / 'python')]
    build = ['wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', str(folder), str(source)]
    subprocess.run([sys.executable, '-m', 'pip', '--quiet', *build], check=True, timeout=300)
    (wheel,) = folder.glob('*.whl')
    install = [*pip, 'install', '--no-deps', '--no-index', '--no-compile', str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    return env


@pytest.mark.slow
def test_wheel_works_outside_of_the_checkout(tmp_path):
    env, work = installed(tmp_path), tmp_path / 'work'
    work.mkdir()

    def call(name: str, *words: str) -> str:
        command = [str(env / 'bin' / name), *words]
        options = dict(cwd=work, env=environment(PYTHONPATH=''), capture_output=True, text=True)
        result = subprocess.run(command, timeout=300, **options)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    (package,) = env.glob('lib/python*/site-packages/aimclr_mm')
    assert call('python', '-c', 'import aimclr_mm; print(aimclr_mm.__path__[0])') == f'{package}\n'
    shipped = package / '.mim'
    for name in ('configs/metafile.yml', 'configs/_base_/aimclr.py', 'tools/train.py'):
        assert (shipped / name).read_bytes() == (ROOT / name).read_bytes()  # where mim looks
    assert not list(shipped.rglob('__pycache__'))

    # the example of the README
    prepare, example = (b for b in blocks(ROOT / 'README.md') if 'actions' in b.text)
    ((_, tool, *words),) = prepare.words()
    assert tool == 'tools/prepare_data.py'
    assert '280 recordings' in call('aimclr', 'prepare', *words)
    found = re.findall(r'\d+', call('python', '-c', example.text).splitlines()[-1])
    names = sorted(str(path.relative_to(work)) for path in work.glob('actions/*/*'))
    assert [names[int(i)] for i in found][0] == 'actions/wave/C001P003R001.npy'
    assert len(found) == 3

    config = ['configs/aimclr_synthetic_xsub_joint.py', 'random']
    embedded = call('aimclr', 'embed', *config, 'actions/wave')
    assert '20 sequences, 64 channels, no labels' in embedded
    assert Config.fromfile(shipped / 'configs/aimclr_ntu60_xsub_joint.py').num_classes == 60
