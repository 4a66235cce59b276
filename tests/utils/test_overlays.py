"""Composition of configs and overlays: order, names, errors."""

import os
import traceback

import pytest

from aimclr_mm.apis import cli
from aimclr_mm.utils.overlays import read_config

BASE = 'a = 1\nb = dict(c=2, d=[3])\nmodel = dict(x=1)\n'


@pytest.fixture
def write(tmp_path):
    """A function that writes a config and returns its path."""

    def writer(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding='utf-8')
        return str(tmp_path / name)

    return writer


@pytest.mark.parametrize(
    'text',
    [
        "_base_ = 'gone.py'\nb = dict(c=_base_.a + 5)\n",
        "b = dict(c=_base_.a + 5)\n_base_ = 'gone.py'",
        "'''Doc.'''\n_base_ = [\n  'gone.py',\n  'too.py',\n]\nb = dict(\n  c=_base_.a + 5)\n",
        'b = dict(c=_base_.a + 5)\n',
        "x = '_base_ = 1'\n_base_ = ('gone.py')  # a comment\nb = dict(c=_base_.a + 5)\n",
        "# -*- coding: utf-8 -*-\n# \u00e9\n_base_ = '\u00e9.py'\nb = dict(c=_base_.a + 5)\n",
        "_base_ = 'gone.py'\r\nb = dict(c=_base_.a + 5)\r\n",
        "_base_ = 'gone.py'; b = dict(c=_base_.a + 5)\n",
        "'''Form\x0cfeed, line\u2028separator.'''\n_base_ = 'gone.py'\nb = dict(c=_base_.a + 5)\n",
    ],
)
def test_base_is_replaced_wherever_it_stands(write, text):
    cfg = read_config(write('base.py', BASE), [write('over.py', text)])
    assert (cfg.a, cfg.b, cfg.model) == (1, dict(c=6, d=[3]), dict(x=1))


def test_overlays_are_applied_in_their_order(write):
    base, one = (
        write('base.py', BASE),
        write('one.py', 'a = _base_.a + 1\nb = dict(_delete_=True, e=_base_.b.c)\n'),
    )
    two = write('two.py', "_base_ = 'one.py'\na = _base_.a * 10\n")
    assert read_config(base, [one, two]).a == 20 and read_config(base, [two, one]).a == 11
    assert read_config(base, [one]).b == dict(e=2)


@pytest.mark.parametrize(
    'overlays, name', [([], 'base'), (['one'], 'base_one'), (['one', 'two'], 'base_one_two')]
)
def test_names_of_file_and_work_dir(write, monkeypatch, overlays, name):
    monkeypatch.setenv('LOCAL_RANK', '0')
    for check in ('check_config', 'check_options'):  # nothing can be built from this config
        monkeypatch.setattr(cli, check, lambda *_: None)
    base = write('base.py', BASE + 'env_cfg = dict()\nrandomness = dict(seed=0)\n')
    paths = [write(f'{overlay}.py', f'{overlay} = 1\na = _base_.a + 1\n') for overlay in overlays]
    assert os.path.basename(read_config(base, paths).filename) == f'{name}.py'
    parser = cli.Parser()
    parser.add_shared('config')
    parser.add_run_options()
    given = [base, *(['--with', *paths] if paths else []), '--cfg-options', 'b.c=9']
    cfg = cli.load_config(parser.parse_args(given))
    assert cfg.work_dir == os.path.join('work_dirs', name) and cfg.a == 1 + len(overlays)
    assert cfg.b == dict(c=9, d=[3])  # the command line has the last word
    assert cli.load_config(parser.parse_args([*given, '--work-dir', 'here'])).work_dir == 'here'


def test_lines_of_errors_are_those_of_the_overlay(write):
    text = "'Doc.'\n_base_ = [\n  'gone.py',\n]\n\nb = dict(\n  c=1)\nmodel = dict(x=_base_.no.x)\n"
    with pytest.raises(ValueError) as caught:
        read_config(write('base.py', BASE), [write('over.py', text)])
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert [frame.lineno for frame in frames if frame.filename.endswith('base_over.py')] == [8]
    with pytest.raises(ValueError, match='over.py.*line 9'):
        read_config(write('base.py', BASE), [write('over.py', text + 'y = (\n')])


@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(\n', "over.py' is not valid Python"),
        ('a = _base_.lr', "over.py' cannot be read.*lr"),
        ("a = _base_['lr']", "over.py' cannot be read.*lr"),
        ('a = _base_.a.b', "over.py' cannot be read"),
        ('a = undefined', "over.py' cannot be read.*undefined"),
        ('a = 1\n  b = 2', "over.py' is not valid Python"),
        ('model = dict(x=dict(_delete_=True, y=1))\na = dict(b=1)', 'over.py'),
        ('a = _base_.b.d[3]', 'over.py'),
        ('a = 1 / 0', 'over.py'),
        ('import gone_module', 'over.py'),
        ('a, b = 1, 2, 3', 'over.py'),
        ('a = 1\0', 'over.py'),
    ],
)
def test_errors_name_the_overlay(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_config(write('base.py', BASE), [write('fine.py', 'y = 1\n'), write('over.py', text)])


def test_overlay_that_is_not_text(tmp_path, write):
    (tmp_path / 'over.py').write_bytes(b'\xff\xfe\x00a = 1')
    with pytest.raises(ValueError, match='over.py'):
        read_config(write('base.py', BASE), [str(tmp_path / 'over.py')])


@pytest.mark.parametrize('missing', ['base', 'one', 'two'])
def test_missing_files_are_named(write, missing):
    paths = {name: write(f'{name}.py', 'a = 1\n') for name in ('base', 'one', 'two')}
    os.remove(paths[missing])
    with pytest.raises(FileNotFoundError, match=f'{missing}.py'):
        read_config(paths['base'], [paths['one'], paths['two']])


def test_config_with_a_syntax_error_is_named(write):
    with pytest.raises(ValueError, match="base.py' is not valid Python"):
        read_config(write('base.py', 'a = (\n'), [write('over.py', 'b = 1\n')])
