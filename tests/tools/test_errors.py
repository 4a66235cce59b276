"""Wrong arguments, files and settings of all tools: one line, a failing exit code, no files left.

The tools run in forks of this process, which has imported what they need.
"""

import errno
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib.backends.backend_agg  # noqa: F401  imported here, once, for all forks
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import runner

import aimclr_mm.visualization.report  # noqa: F401
from aimclr_mm.apis import cli
from aimclr_mm.datasets import load_annotations
from aimclr_mm.evaluation import FeatureSet, ScoreSet
from aimclr_mm.utils.config_check import check_config
from aimclr_mm.utils.files import atomic_folder, atomic_write
from aimclr_mm.utils.overlays import read_config
from tests.runs import ROOT, write_config

EVALUATED = """
num_classes = 14
model.update(data_preprocessor=dict(layout='ntu25'))
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(train_dataloader['dataset'], split=['xsub_train', 'xsub_val'], test_mode=True),
)
test_cfg = dict(type='TestLoop')
test_evaluator = [dict(type='KNNMetric', k=[1, 5]), dict(type='LinearProbeMetric', epochs=2)]
"""


class Ended(NamedTuple):
    """What a process left behind."""

    code: int
    out: str
    err: str


def fork(function, folder: Path, seconds: int = 100) -> Ended:
    """Runs a function in a fork of this process, in a folder."""
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                signal.alarm(seconds)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (
                    os.fdopen(number, 'w', closefd=False) for number in (1, 2)
                )
                runner.collect_env = dict  # takes long
                os.chdir(folder)
                function()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Ended(code, *(os.pread(file.fileno(), 10**6, 0).decode() for file in (out, err)))


def tool(name: str, arguments: list[str], folder: Path, prepare=lambda: None) -> Ended:
    """One of the tools."""

    def run() -> None:
        prepare()
        sys.argv = [name, *arguments]
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    return fork(run, folder)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> Path:
    """A folder with one good file of each kind, and bad ones."""
    folder = tmp_path_factory.mktemp('errors')
    write_config(folder, EVALUATED)
    names = [a['frame_dir'] for a in load_annotations(str(folder / 'data.pkl'))['annotations']]
    rng, gallery = np.random.default_rng(0), np.arange(len(names)) % 2 == 0
    labels = np.arange(len(names)) % 7
    FeatureSet(rng.random((len(names), 6), np.float32), labels, gallery, np.array(names)).save(
        str(folder / 'f.npz')
    )
    ScoreSet(rng.random((len(names), 7), np.float32), labels, np.array(names)).save(
        str(folder / 's.npz')
    )
    model = MODELS.build(Config.fromfile(folder / 'tiny.py').model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'c.pth')
    log = folder / 'run' / '1' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(loss=1.0, chance=2.0, cosine=0.5, epoch=1, step=1)))
    for name, content in dict(empty=b'', text=b'hello\nworld\n', noise=rng.bytes(4096)).items():
        (folder / name).write_bytes(content)
    for name in ('c.pth', 'f.npz', 'data.pkl'):
        (folder / f'cut.{name}').write_bytes((folder / name).read_bytes()[:700])
    (folder / 'folder').mkdir()
    write_recordings(folder)
    write_overlaid(folder)
    for name, text in dict(
        syntax='model = dict(\n',
        failing='x = 1 / 0\n',
        leaving='raise SystemExit(0)\n',
        bare='',
        baseless="_base_ = 'gone.py'\n",
        missing='a = _base_.model.nothing\n',
        module="custom_imports = dict(imports=['no_such_module'])\n",
        half="_base_ = 'tiny.py'\nval_cfg = dict(_delete_=True, type='ValLoop')\n",
        misspelled="_base_ = 'tiny.py'\ntrain_dataloadr = dict(batch_size=2)\n",
    ).items():
        (folder / f'{name}.py').write_text(text)
    return folder


def write_recordings(folder: Path) -> None:
    """Write recordings in folders named by class, and files that are not recordings."""
    rng = np.random.default_rng(0)
    for name in ('wave', 'sit/a', 'sit/b', 'jump/a', 'jump/b', 'jump/c'):
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / f'{name}.npy', rng.normal(size=(12, 25, 3)).astype(np.float32))
    np.save(folder / 'empty.npy', np.zeros((4, 25, 3), np.float32))
    (folder / 'text.npy').write_text('not an array')
    (folder / 'bad.csv').write_text('a,b\n1,2\n')
    (folder / 'broken.zip').write_bytes(b'PK\x03\x04')


def write_overlaid(folder: Path) -> None:
    """Write configs with several streams and of a classifier, and a checkpoint of the streams."""
    (folder / 'validated.py').write_text(
        "_base_ = 'tiny.py'\nval_dataloader = dict(_delete_=True, **_base_.test_dataloader)\n"
        "val_cfg = dict(_delete_=True, type='ValLoop')\n"
        "val_evaluator = [dict(type='KNNMetric', k=[1])]\n"
    )
    for name, overlay in dict(streams='methods/crosclr', tuned='protocols/finetune').items():
        cfg = read_config(str(folder / 'validated.py'), [str(ROOT / f'configs/{overlay}.py')])
        cfg.dump(str(folder / f'{name}.py'))
    model = MODELS.build(Config.fromfile(folder / 'streams.py').model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'streams.pth')


def case(command: str, *fragments: str, code: int = 1) -> tuple:
    """A command, in which {f} is the folder of files, what its message holds, and its exit code."""
    return command, fragments, code


def setting(option: str, *fragments: str) -> tuple:
    """A setting of tools/train.py."""
    return case(f'train.py {{f}}/tiny.py --work-dir w --cfg-options {option}', *fragments)


FILES = ('gone', 'folder', 'empty', 'text', 'noise')
WAVE = 'visualize.py sequence {f}/wave.npy'
VISUALIZE = [
    case('visualize.py sequence gone.npy --out x.png', "'gone.npy' does not exist"),
    case(f'{WAVE} --out x.bmp', "'x.bmp': a picture is a .png, .svg or .pdf file"),
    case(f'{WAVE} --layout coco17 --out x.png', 'wave.npy'),
    case(f'{WAVE} --layout coco --out x.png', "unknown joint layout 'coco'"),
    case(f'{WAVE} --name jump --out x.png', "no sequence 'jump'; the first of its 1 are '"),
    case(f'{WAVE} --frames 13 --out x.png', 'give 1 to 12'),
    case(f'{WAVE} --fps 99 --out x.gif', 'fps=99; a GIF plays'),
    case(f'{WAVE} --elev 100 --out x.gif', 'elev from -90 to 90'),
    case('visualize.py sequence {f}/empty.npy --out x.gif', 'empty.npy'),
    case(
        'visualize.py augmentations {f}/wave.npy --config gone.py --out x.gif', "'x.gif': a picture"
    ),
    case('visualize.py augmentations {f}/wave.npy --config gone.py --out x.png', 'gone.py'),
    case(
        'visualize.py eadm {f}/wave.npy --config {f}/tiny.py --checkpoint gone.pth --out x.png',
        'gone.pth',
    ),
    case(
        'visualize.py neighbors {f}/tiny.py random --queries 9 --out x.png',
        '9 queries; a picture holds at most 8',
    ),
]


def embed(verb: str, arguments: str, *fragments: str, code: int = 1) -> tuple:
    """Return a case of tools/embed.py with an encoder."""
    return case(f'embed.py {verb} {{f}}/tiny.py {{f}}/c.pth {arguments}', *fragments, code=code)


SEARCH = '{f}/sit/a.npy --gallery {f}/jump'
EMBED = [
    embed('embed', 'none.npy', "'none.npy' does not exist"),
    embed('embed', '{f}/text.npy', "text.npy': is not a readable"),
    embed('embed', '{f}/sit {f}/sit', 'two sequences have the name'),
    embed('embed', '{f}/sit --out .', 'is a folder', code=2),
    embed('embed', '{f}/sit --device cuda:99', 'cannot be used here'),
    embed('embed', '{f}/sit --stream bone', 'holds a single stream'),
    embed('search', f'{SEARCH} -k 4', '-k 4: the gallery holds 3 sequences'),
    embed('search', f'{SEARCH} -k 0', 'it must be at least 1', code=2),
    embed('search', f'{SEARCH} --picture x.bmp', 'a picture is a .png'),
    embed('few_shot', '--examples {f}/sit --save c.npz', 'has no label'),
    embed('few_shot', '--examples {f}/sit', 'nothing to do', code=2),
    embed(
        'few_shot',
        '--examples {f}/sit --save c.npz --out p.csv',
        '--out is for predictions',
        code=2,
    ),
    embed('few_shot', '--classifier none.npz --classify {f}/sit', "'none.npz' does not exist"),
    embed('few_shot', '--classifier {f}/text.npy --classify {f}/sit', 'cannot be read'),
]
COMMANDS = [  # of these no network and no data set is built
    *(case(f'train.py {{f}}/{name} --work-dir w', f"/{name}'", 'config ') for name in FILES),
    case('train.py {f}/c.pth', "c.pth' is not a .py, .json or .yaml file"),
    case('train.py {f}/syntax.py', "syntax.py' is not valid Python"),
    case('train.py {f}/failing.py', "failing.py' cannot be read (ZeroDivisionError"),
    case('train.py {f}/leaving.py', "leaving.py' cannot be read (SystemExit"),
    case('train.py {f}/bare.py', "bare.py' has no model"),
    case('train.py {f}/baseless.py', "baseless.py' needs", 'gone.py'),
    case('train.py {f}/module.py', "module.py' cannot be read", 'no_such_module'),
    case(
        'train.py {f}/half.py',
        'val_dataloader, val_cfg, and val_evaluator should be either all None',
    ),
    case(
        'train.py {f}/misspelled.py',
        "there is no setting 'train_dataloadr'; did you mean 'train_dataloader'?",
    ),
    *(
        case(f'train.py {{f}}/tiny.py --with {{f}}/{name} --work-dir w', name)
        for name in ('gone', 'folder', 'noise')
    ),
    case(
        'train.py {f}/tiny.py --with {f}/missing.py',
        "missing.py' cannot be read",
        'the config under it lacks',
    ),
    case('train.py', 'give either CONFIG or --data FILE', code=2),
    case('train.py {f}/tiny.py --work-dir {f}/text', "'{f}/text' is a file, not a folder", code=2),
    case(
        'train.py {f}/tiny.py --work-dir {f}/text/below',
        "'{f}/text' is a file, not a folder",
        code=2,
    ),
    case('train.py {f}/tiny.py --epochs 0', 'at least 1 epoch'),
    case('train.py {f}/tiny.py --epochs many', "--epochs: invalid int value: 'many'", code=2),
    case(
        'train.py {f}/tiny.py --work-dir w --pretrained {f}/streams.pth --pretrained-stream depth',
        'joint, bone, motion',
        "'depth' is not among them",
    ),
    case(
        'train.py {f}/streams.py --pretrained {f}/streams.pth --pretrained-stream bone',
        '--pretrained-stream bone selects one stream',
    ),
    case(
        'train.py {f}/tiny.py --pretrained-stream joint',
        '--pretrained-stream needs --pretrained',
        code=2,
    ),
    case('train.py {f}/tiny.py --launcher pytorch', 'dist_train.sh'),
    case('train.py {f}/tiny.py --cfg-options model.topk', "'model.topk' is not KEY=VALUE", code=2),
    case('train.py {f}/tiny.py --cfg-options model.topk=[1,2', 'brackets', code=2),
    setting('trian_cfg.max_epochs=3', "'trian_cfg'; did you mean 'train_cfg'?"),
    setting('preprocess=1', "'preprocess' is a variable of the config file"),
    setting(
        'model.temprature=0.1', 'model.temprature=0.1: AimCLR has no such setting', "'temperature'"
    ),
    setting('model.temperature=warm', "model.temperature='warm'; AimCLR takes a number"),
    setting('model.temperature=nan', 'model.temperature is nan'),
    setting('model.queue_length=0', 'model.queue_length=0', 'at least 1'),
    setting('model.queue_length.x=1', '--cfg-options model.queue_length.x=1 does not fit'),
    setting('model.head=None', 'model.head=None; AimCLR takes a dict'),
    setting('model.backbone.base_channels=0', 'model.backbone.base_channels=0'),
    setting('model.data_preprocessor.query=1', 'SkeletonViews takes a list'),
    setting(
        'model.data_preprocessor.query.0.padding=1',
        'TemporalCrop has no such setting',
        "'padding_ratio'",
    ),
    setting(
        'model.type=AimCLL', "model.type='AimCLL': there is no such type; did you mean 'AimCLR'?"
    ),
    setting('train_dataloader.batchsize=3', "did you mean 'batch_size'?"),
    *(
        setting(
            f'train_dataloader.batch_size={value}', 'train_dataloader.batch_size=', 'at least 1'
        )
        for value in ('0', '-1', 'abc', '1.5')
    ),
    setting('train_dataloader.num_workers=-1', 'train_dataloader.num_workers=-1', 'at least 0'),
    setting(
        'train_dataloader.dataset=data.pkl',
        "train_dataloader.dataset='data.pkl'; it must be a dict",
    ),
    setting('train_dataloader.dataset.ann_file=5', 'SkeletonDataset takes text'),
    setting('train_cfg.max_epochs=0', 'train_cfg.max_epochs=0', 'at least 1'),
    setting('train_cfg.max_epoch=5', "did you mean 'max_epochs'?"),
    setting('optim_wrapper.optimizer.learning_rate=1', 'SGD has no such setting'),
    setting('optim_wrapper.optimizer.lr=nan', 'optim_wrapper.optimizer.lr is nan'),
    setting('optim_wrapper.optimizer.lr=fast', "lr='fast'; SGD takes a number"),
    setting('param_scheduler.0.gama=1', "did you mean 'gamma'?"),
    setting('custom_hooks.4.epok=3', "StageSwitchHook has no such setting; did you mean 'epoch'?"),
    setting('default_hooks.checkpoint.intervall=3', "did you mean 'interval'?"),
    setting(
        'env_cfg.dist_cfg.timeout=-1', 'env_cfg.dist_cfg.timeout=-1', 'positive number of seconds'
    ),
    setting('randomness.seed=-1', 'Seed must be between 0 and 2**32 - 1'),
    setting('log_level=LOUD', "log_level='LOUD'", 'DEBUG'),
    setting('resume=maybe', "resume='maybe'; it must be True or False"),
    case('test.py {f}/tiny.py', 'required: CHECKPOINT', code=2),
    case('test.py {f}/tiny.py random --eval svm', "evaluator='svm'; choose from 'knn'"),
    case('test.py {f}/tiny.py random --out {f}/folder', "--out: '{f}/folder' is a folder", code=2),
    case('test.py {f}/tiny.py random --dump {f}/text', "--dump: '{f}/text'", code=2),
    *(
        case(f'test.py {{f}}/tiny.py {{f}}/{name} --work-dir w', f"'{{f}}/{name}'")
        for name in (*FILES, 'cut.c.pth', 'data.pkl', 'f.npz', 'tiny.py')
    ),
    *(
        case(f'{name} {{f}}/{file}', f"'{{f}}/{file}'")
        for file in (*FILES, 'cut.f.npz', 'c.pth', 'data.pkl')
        for name in ('analyze.py tsne', 'analyze.py fuse --weights 1 --out o.json')
    ),
    *(
        case(f'{name} {{f}}/{file}', f"'{{f}}/{file}'")
        for file in ('gone', 'folder', 'text')
        for name in ('analyze.py curves', 'analyze.py report', 'analyze.py knn')
    ),
    *(
        case(f'export.py from_released {{f}}/{file} o.pth', f"'{{f}}/{file}'")
        for file in (*FILES, 'cut.c.pth', 'f.npz', 'data.pkl')
    ),
    case('export.py from_released {f}/c.pth {f}/text', 'exists; give another name, or --force'),
    case(
        'export.py from_released {f}/c.pth o.pth',
        'is in the format of this package; use to_released',
    ),
    case(
        'analyze.py fuse {f}/f.npz {f}/s.npz --weights 1 1',
        "'{f}/s.npz' holds scores, labels, names; wanted are",
    ),
    case('analyze.py fuse {f}/f.npz', '1 files: give as many --weights'),
    case('analyze.py fuse {f}/s.npz {f}/s.npz --weights 1 nan', 'must be finite'),
    case('analyze.py fuse {f}/s.npz {f}/s.npz --weights 1 1 --k 3', '--k is for those'),
    case('analyze.py fuse {f}/f.npz --weights 1 --k 0', 'at least 1'),
    case(
        'analyze.py fuse {f}/f.npz --weights 1 --out {f}/text/o.json',
        "'{f}/text' is a file",
        code=2,
    ),
    case('analyze.py tsne {f}/f.npz --weights nan', 'weights [nan]', 'finite'),
    case('analyze.py tsne {f}/f.npz --out o.gif', '.png, .svg or .pdf'),
    case('analyze.py tsne {f}/f.npz --class-ids 99', 'no sequence is of class 99'),
    case('analyze.py tsne {f}/f.npz --ann-file {f}/noise', 'noise'),
    case('analyze.py curves {f}/run --out {f}/text/o.png', "'{f}/text' is a file", code=2),
    case('analyze.py report {f}/run --out {f}/folder', 'is a folder', code=2),
    case('analyze.py knn {f}/run --k 0', '--k: 0: it must be at least 1', code=2),
    case('analyze.py knn {f}/run {f}/run', 'give --names'),
    case('analyze.py knn {f}/run', "'{f}/run' contains no checkpoint epoch_N.pth"),
    case('prepare_data.py ntu61', "invalid choice: 'ntu61'", code=2),
    case('prepare_data.py ntu60', 'required: SOURCE', code=2),
    case('prepare_data.py synthetic {f}/folder', 'unrecognized arguments: {f}/folder', code=2),
    case(
        'prepare_data.py synthetic --bodies first', 'unrecognized arguments: --bodies first', code=2
    ),
    case('prepare_data.py synthetic --subjects 0', 'subjects=0'),
    case('prepare_data.py synthetic --workers 0', '--workers: 0: it must be at least 1', code=2),
    *(
        case(
            f'prepare_data.py ntu60 {{f}}/{name} --out o.pkl',
            'gone' if name == 'gone' else 'no recording of ntu60',
        )
        for name in FILES
    ),
    *(
        case(f'prepare_data.py mmaction2 {{f}}/{name}', f"'{{f}}/{name}'")
        for name in (*FILES, 'cut.data.pkl', 'c.pth')
    ),
    case(
        'prepare_data.py mmaction2 {f}/data.pkl --out {f}/folder',
        "'{f}/folder' is a folder",
        code=2,
    ),
    case('prepare_data.py custom {f}/text --out o.pkl', '{f}/text', 'path'),
    case('prepare_data.py ntu60 {f}/folder --seed 1', 'unrecognized arguments: --seed 1', code=2),
    case('prepare_data.py synthetic --cameras 9', 'cameras=9 is out of range'),
    case('prepare_data.py pku_mmd_v1 {f}/folder', 'skeleton'),
    case('prepare_data.py custom {f}/broken.zip', 'broken.zip'),
    case('prepare_data.py custom {f}/bad.csv', 'bad.csv'),
    case('prepare_data.py folders {f}/folder --layout no.yaml', 'no.yaml'),
    case('prepare_data.py folders {f}/folder --layout ntu26', 'unknown joint layout'),
    case('prepare_data.py mmaction2 {f}/bad.csv', 'bad.csv'),
    case('prepare_data.py mmaction2 a.pkl b.pkl', 'unrecognized arguments: b.pkl', code=2),
    case('prepare_data.py mmaction2 a.pkl --bodies first', 'arguments: --bodies first', code=2),
    case('prepare_data.py official no.pkl', '--out is missing'),
    case('prepare_data.py official {f}/folder', 'train_position.npy'),
    case('prepare_data.py utd_mhad {f}/broken.zip', 'not a readable zip archive'),
    case('prepare_data.py samples out --subjects 0', 'subjects'),
    *VISUALIZE,
    *EMBED,
    case('reproduce.py 9', "invalid choice: '9'", code=2),
    case('reproduce.py 2 --dataset nothing', 'configs/aimclr_nothing_'),
    case('reproduce.py 2 --dataset ntu60 --split xsub', 'ntu60_3d.pkl', 'prepare_data.py ntu60'),
    case('reproduce.py 2 --work-dir {f}/text', "'{f}/text' is a file", code=2),
    case('benchmark.py speed', "invalid choice: 'speed'", code=2),
    case('launch.py train.py two', "the number of processes is 'two'"),
    case('launch.py trane.py 2', "no tool 'trane.py'"),
]
BUILT = [  # these build what they refuse
    setting('model.temperature=0', 'temperature=0; it must be positive'),
    setting('default_hooks.mine=3', 'hook should be an instance of Hook or dict, but got 3'),
    setting('train_dataloader.persistent_workers=True', 'needs num_workers > 0'),
    setting('model.topk=1000', 'topk=1000', 'queue_length=40'),
    setting('model.queue_length=4', 'the memory bank holds 4 keys', 'increase queue_length'),
    setting('model.data_preprocessor.stream=speed', "stream='speed'; choose from 'joint'"),
    setting('model.head.in_channels=9', 'the head takes 9 channels, but the backbone gives 4'),
    setting(
        'train_dataloader.dataset.layout=kinect20',
        '25 joints, but the layout of the config has 20',
    ),
    setting('model.backbone.layout=kinect20', 'the encoder takes 20 joints'),
    case(
        f'train.py {{f}}/validated.py --work-dir w --with {ROOT}/configs/protocols/finetune.py '
        '--epochs 1 --pretrained {f}/streams.pth --pretrained-stream depth',
        'joint, bone, motion',
        "'depth' is not among them",
    ),
    case('test.py {f}/tuned.py raw --work-dir w', 'classifier'),
    case('test.py {f}/streams.py {f}/c.pth --eval knn --work-dir w', 'c.pth', 'stream'),
    setting(
        'train_dataloader.batch_size=64',
        'an epoch has no batch: the 42 training sequences',
        'one batch of 64 on each of 1',
    ),
    setting('train_dataloader.dataset.split=xset', "no split 'xset'; it has"),
    setting('train_dataloader.dataset.ann_file=gone.pkl', "'gone.pkl' does not exist"),
    *(
        setting(f'train_dataloader.dataset.ann_file={{f}}/{name}', name)
        for name in ('noise', 'cut.data.pkl', 'c.pth')
    ),
    setting(
        'load_from={f}/c.pth model.backbone.base_channels=4', 'c.pth', 'does not fit', 'has shape'
    ),
    case(
        'train.py {f}/tiny.py --work-dir w --resume {f}/c.pth',
        "c.pth': it has no message_hub, optimizer",
        'load_from=',
    ),
    case('train.py {f}/tiny.py --work-dir w --resume {f}/cut.c.pth', "cut.c.pth' cannot be read"),
    case(
        'test.py {f}/tiny.py {f}/c.pth --work-dir w --cfg-options model.backbone.out_channels=8 '
        'model.head.in_channels=8',
        'c.pth',
        'does not fit',
    ),
    case(
        'test.py {f}/tiny.py random --eval knn --work-dir w --cfg-options test_evaluator.0.k=1000',
        'k=1000, but the gallery holds only 42',
    ),
    case(
        'test.py {f}/tiny.py random --eval knn --work-dir w '
        '--cfg-options test_evaluator.0.device=gpu',
        "device='gpu' cannot be used here",
    ),
]


def check(files: Path, here: Path, command: str, fragments: tuple[str, ...], code: int) -> None:
    """Runs a command in an empty folder and looks at what it leaves."""
    name, *arguments = command.format(f=files).split(' ')
    before = sorted(files.rglob('*'))
    ended = tool(name, arguments, here)
    lines = [line for line in ended.err.splitlines() if 'error: ' in line]
    assert ended.code == code and len(lines) == 1, ended.err[-3000:] or ended.out[-3000:]
    assert lines[0].startswith('error: ' if code == 1 else name) and 'error: ' in lines[0]
    assert all(part.format(f=files) in lines[0] for part in fragments), lines[0]
    assert 'Traceback' not in ended.err + ended.out and len(lines[0]) < 2500
    logs = {path for path in here.glob('w/**/*') if path.suffix in ('.log', '.py', '.json')}
    left = {path for path in here.rglob('*') if path.is_file() and path.suffix != '.lock'}
    assert not left - logs
    assert sorted(path for path in files.rglob('*') if 'cache' not in path.parts) == [
        path for path in before if 'cache' not in path.parts
    ]


@pytest.mark.parametrize(
    'command, fragments, code', COMMANDS, ids=[command for command, *_ in COMMANDS]
)
def test_one_explanation(files, tmp_path, command, fragments, code):
    check(files, tmp_path, command, fragments, code)


@pytest.mark.slow
@pytest.mark.parametrize('command, fragments, code', BUILT, ids=[command for command, *_ in BUILT])
def test_one_explanation_of_what_is_built(files, tmp_path, command, fragments, code):
    check(files, tmp_path, command, fragments, code)


def test_debug_shows_where(files, tmp_path):
    ended = tool('analyze.py', ['fuse', str(files / 'text'), '--weights', '1', '--debug'], tmp_path)
    assert (
        ended.code == 1
        and 'Traceback' in ended.err
        and ended.err.splitlines()[-1].startswith('error: ')
    )


def raising(error: BaseException):
    """A tool that raises."""

    def main() -> None:
        raise error

    return lambda: cli.run(main)


@pytest.mark.parametrize(
    'error, code, said',
    [
        (KeyboardInterrupt(), 130, 'interrupted'),
        (BrokenPipeError(), 141, ''),
        (MemoryError(), 1, 'error: MemoryError (--debug shows where)'),
        (TypeError('of something'), 1, 'error: TypeError: of something (--debug shows where)'),
        (KeyError('model.x'), 1, 'error: model.x (--debug shows where)'),
        (
            FileNotFoundError(2, 'No such file', 'a.txt'),
            1,
            "error: 'a.txt': No such file (--debug shows where)",
        ),
        (ValueError('two\n  lines'), 1, 'error: two lines (--debug shows where)'),
    ],
)
def test_every_error_is_one_line(tmp_path, error, code, said):
    assert fork(raising(error), tmp_path) == (code, '', f'{said}\n' if said else '')


def test_reader_that_goes_away(files, tmp_path):
    """As `| head` does."""

    def close() -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)

    ended = tool('analyze.py', ['fuse', str(files / 's.npz'), '--weights', '1'], tmp_path, close)
    assert ended.code == 141 and 'Traceback' not in ended.err and 'Broken' not in ended.err


def test_closed_standard_output(files, tmp_path):
    """As `>&-` does; no file gets its number."""

    def close() -> None:
        os.close(1)
        sys.stdout = None

    ended = tool(
        'analyze.py',
        ['fuse', str(files / 's.npz'), '--weights', '1', '--out', 'o'],
        tmp_path,
        close,
    )
    assert ended.code == 0 and not ended.err and os.listdir(tmp_path) == ['o']


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name.partition('.')[0] not in (*sys.stdlib_module_names, 'org'):  # copy imports it
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
runpy.run_path(sys.argv[1], run_name='__main__')
"""


@pytest.mark.parametrize(
    'name', [path.name for path in (ROOT / 'tools').glob('*.py') if path.name != 'launch.py']
)
def test_interrupt_during_the_imports(name):
    words = [sys.executable, '-c', INTERRUPTED_IMPORT, str(ROOT / 'tools' / name)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGINT and not ended.stderr


def test_sigterm_removes_temporary_files(tmp_path):
    def main() -> None:
        with atomic_write('result'), atomic_folder('folder'):
            assert len(os.listdir()) == 2
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    assert fork(lambda: cli.run(main), tmp_path).code == 143 and not os.listdir(tmp_path)


def test_full_disk_names_the_work_directory(tmp_path):
    """The system does not tell which of the logs could not be written."""
    cfg = Config(dict(work_dir=str(tmp_path / 'run'), launcher='none'))
    with pytest.raises(OSError, match="No space left on device: '.*run'"), cli.locked_work_dir(cfg):
        raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize(
    'setting, message',
    [
        (dict(custom_hooks=[]), 'the key encoder of AimCLR would never change'),
        (dict(custom_hooks=None), 'the key encoder of AimCLR would never change'),
    ],
)
def test_key_encoder_without_its_hook(files, setting, message):
    cfg = dict(Config.fromfile(files / 'tiny.py').to_dict())
    check_config(cfg, 'tiny.py')
    with pytest.raises(ValueError, match=message):
        check_config({**cfg, **setting}, 'tiny.py')


def test_full_disk_leaves_no_file(files, tmp_path):
    (tmp_path / 'full').symlink_to('/dev/full')  # a device is written to, and not replaced
    ended = tool(
        'analyze.py', ['fuse', str(files / 's.npz'), '--weights', '1', '--out', 'full'], tmp_path
    )
    assert ended.code == 1 and "error: 'full': No space left on device" in ended.err, ended.err
    assert (tmp_path / 'full').is_symlink() and os.listdir(tmp_path) == ['full']


@pytest.mark.slow
def test_full_disk_while_training_keeps_no_part_of_a_checkpoint(files, tmp_path):
    """Here no file may be larger than 50 kB; the checkpoint is."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))

    assert (files / 'c.pth').stat().st_size > 100000
    ended = tool(
        'train.py',
        [str(files / 'tiny.py'), '--work-dir', 'w', '--cfg-options', 'train_cfg.max_epochs=1'],
        tmp_path,
        limit,
    )
    (line,) = [line for line in ended.err.splitlines() if line.startswith('error: ')]
    assert (
        ended.code == 1
        and 'iter_1.pth' in line
        and 'File too large' in line
        and 'Traceback' not in ended.err
    )
    assert not list(tmp_path.rglob('*.pth')) and not list(tmp_path.rglob('*.tmp'))
