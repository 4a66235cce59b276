"""Malicious files are refused wherever a file is read, and their payload does not run."""

import http.server
import io
import json
import pickle
import threading
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader

from aimclr_mm.apis import cli
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets import SkeletonDataset, load_annotations, write_pickle
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import READERS, prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.ntu import read_bodies
from aimclr_mm.datasets.readers.pose_pickle import verify
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.skeletons import get_layout
from aimclr_mm.visualization.embedding import read_class_names
from tests.canary import archive_of, payload, refused, saved, watch
from tests.runs import call_tool

ROOT = Path(__file__).resolve().parents[2]
PREPROCESS = [dict(type='CenterSkeleton'), dict(type='ResizeClip', length=8)]
WHOLE = dict(
    split=dict(xsub_train=['a']),
    annotations=[
        dict(frame_dir='a', label=0, total_frames=2, keypoint=np.ones((1, 2, 25, 3), np.float32))
    ],
)
READ = dict(
    load=load_annotations,
    verify=verify,
    names=read_class_names,
    plain=lambda path: SkeletonDataset(path, []),
    cached=lambda path: SkeletonDataset(path, [], layout='ntu25', preprocess=PREPROCESS),
)


@pytest.fixture
def mark(tmp_path) -> Path:
    """A file that a payload makes if it runs, in a folder that nothing else writes."""
    (tmp_path / 'outside').mkdir()
    return tmp_path / 'outside' / 'mark'


@pytest.mark.parametrize('way', READ)
@pytest.mark.parametrize('place', ['annotation', 'keypoint', 'split', 'metainfo', 'key'])
def test_annotation_file(tmp_path, mark, place, way):
    path, evil = str(tmp_path / 'evil.pkl'), payload(mark)
    data = {
        **WHOLE,
        **dict(
            annotation=dict(annotations=[evil]),
            split=dict(split=evil),
            metainfo=dict(metainfo=evil),
            keypoint=dict(annotations=[dict(WHOLE['annotations'][0], keypoint=evil)]),
            key={evil: 1},
        )[place],
    }
    Path(path).write_bytes(pickle.dumps(data, 4))
    refused(READ[way], path, match='evil.pkl.*it refers to posix.system')
    assert not mark.exists()
    with open(path, 'rb') as file:
        pickle.load(file)
    assert mark.exists()  # the payload is a real one


def test_index_of_a_cache(tmp_path, mark):
    """Also of one whose checksum is right: it is not run, and the cache is rebuilt."""
    path = str(tmp_path / 'data.pkl')
    write_pickle(WHOLE, path)
    READ['cached'](path)
    (folder,) = (entry for entry in (tmp_path / 'cache').iterdir() if entry.is_dir())
    index = read_pickle(str(folder / 'index.pkl'))
    evil = pickle.dumps(dict(index, metainfo=payload(mark)))
    (folder / 'index.pkl').write_bytes(evil)
    about = json.loads((folder / 'about.json').read_text())
    (folder / 'about.json').write_text(json.dumps(dict(about, index_crc32=zlib.crc32(evil))))
    assert len(READ['cached'](path)) == len(WHOLE['annotations'])
    assert (folder / 'index.pkl').read_bytes() != evil and not mark.exists()


def test_part_of_an_interrupted_preparation(tmp_path, mark):
    """An existing part is untrusted: somebody else may have written it."""
    reader, out = (
        Synthetic(subjects=1, cameras=1, repetitions=1, actions=['wave']),
        tmp_path / 'out.pkl',
    )
    part = tmp_path / 'seen'

    class Stop(Exception):
        pass

    def stop(*_):
        part.write_text(next(str(path) for path in (tmp_path / 'out.pkl.partial').rglob('*.pkl')))
        raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr('aimclr_mm.datasets.prepare._merge', stop)
        prepare(reader, str(out), workers=1)
    Path(part.read_text()).write_bytes(pickle.dumps(dict(annotations=[payload(mark)], problems=[])))
    with pytest.raises(ValueError, match='it refers to posix.system'):
        prepare(reader, str(out), workers=1)
    assert not mark.exists() and not out.exists()


@pytest.mark.parametrize(
    'label', [b'cposix\nsystem\n(V%s\ntR.', b'(cposix\nsystem\nV%s\no.', b'(V%s\niposix\nsystem\n.']
)
def test_labels_of_prepared_folders(tmp_path, mark, label):
    (tmp_path / 'xsub').mkdir()
    np.save(tmp_path / 'xsub' / 'train_position.npy', np.ones((1, 3, 2, 25, 2), np.float32))
    content = label % f'touch {mark}'.encode()
    (tmp_path / 'xsub' / 'train_label.pkl').write_bytes(content)
    refused(READERS['official'](list_files([str(tmp_path)])).recordings, match='train_label.pkl')
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()


def test_pickle_in_a_pickle_stays_bytes(tmp_path, mark):
    inner = pickle.dumps(payload(mark))
    (tmp_path / 'a.pkl').write_bytes(
        pickle.dumps(dict(inner=inner, array=np.frombuffer(inner, np.uint8)))
    )
    assert read_pickle(str(tmp_path / 'a.pkl'))['inner'] == inner and not mark.exists()


STATE = OrderedDict({'encoder.weight': torch.ones(2, 3)})


def evil_checkpoint(form: str, mark: Path) -> bytes:
    """A checkpoint that makes the mark when it is read in the usual way."""
    content = dict(state_dict=STATE, meta=payload(mark))
    if form == 'pickle':
        return pickle.dumps(content)
    return saved(content, _use_new_zipfile_serialization=form == 'archive')


@pytest.mark.parametrize('form', ['archive', 'legacy', 'pickle'])
def test_checkpoint(tmp_path, mark, form):
    path = str(tmp_path / 'evil.pth')
    Path(path).write_bytes(evil_checkpoint(form, mark))
    for load in (load_checkpoint_file, CheckpointLoader.load_checkpoint):
        refused(load, path, match='evil.pth')
    assert not mark.exists()
    (
        pickle.loads(Path(path).read_bytes())
        if form == 'pickle'
        else torch.load(path, weights_only=False)
    )
    assert mark.exists()


def test_checkpoint_from_an_address(tmp_path, mark, monkeypatch):
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'evil.pth').write_bytes(evil_checkpoint('archive', mark))
    (tmp_path / 'site' / 'good.pth').write_bytes(saved(dict(STATE)))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=str(tmp_path / 'site'), **kwargs)

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_address[1]}'
        for _ in range(2):  # the second time from the folder of downloads
            assert CheckpointLoader.load_checkpoint(f'{address}/good.pth').keys() == STATE.keys()
            with pytest.raises(ValueError, match='evil.pth'):
                CheckpointLoader.load_checkpoint(f'{address}/evil.pth')
        server.shutdown()
    assert not mark.exists()


def npy(array: np.ndarray) -> bytes:
    """A .npy file, with pickled objects if need be."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def evil_array(mark: Path, length: int = 2) -> np.ndarray:
    """An array that makes the mark when its pickled objects are read."""
    array = np.empty(length, dtype=object)
    array[:] = [payload(mark)] * length
    return array


@pytest.mark.parametrize('kind', [FeatureSet, ScoreSet])
def test_dumped_arrays(tmp_path, mark, kind):
    names = list(kind.__dataclass_fields__)
    path, good = tmp_path / 'evil.npz', npy(np.zeros((2, 3), np.float32))
    for victim in names:
        path.write_bytes(
            archive_of(
                **{name: npy(evil_array(mark)) if name == victim else good for name in names}
            )
        )
        refused(kind.load, str(path), match='evil.npz')
    for content in (pickle.dumps(payload(mark)), npy(evil_array(mark))):
        path.write_bytes(content)
        refused(kind.load, str(path), match='evil.npz')
    assert not mark.exists()


@pytest.mark.parametrize('form', ['npy', 'npz'])
def test_own_recordings(tmp_path, mark, form):
    evil = npy(evil_array(mark, 4).reshape(2, 2))
    (tmp_path / f'a.{form}').write_bytes(evil if form == 'npy' else archive_of(keypoint=evil))
    (tmp_path / 'm.csv').write_text(f'path\na.{form}\n')
    reader = READERS['custom'](list_files([str(tmp_path / 'm.csv')]))
    refused(reader.read, reader.recordings()[0], match='Object arrays cannot be loaded')
    np.load(io.BytesIO(evil), allow_pickle=True)
    assert mark.exists()


def test_positions_of_prepared_folders(tmp_path, mark):
    (tmp_path / 'xsub').mkdir()
    (tmp_path / 'xsub' / 'train_position.npy').write_bytes(
        npy(evil_array(mark, 150).reshape(1, 3, 1, 25, 2))
    )
    write_pickle((['a'], [0]), str(tmp_path / 'xsub' / 'train_label.pkl'))
    refused(READERS['official'](list_files([str(tmp_path)])).recordings, match='train_position.npy')
    assert not mark.exists()


@pytest.mark.parametrize(
    'line',
    [
        '!!python/object/apply:os.system ["touch {mark}"]',
        '!!python/name:os.system',
        '!!python/object/new:os.system ["touch {mark}"]',
    ],
)
def test_layout_in_yaml(tmp_path, mark, line):
    path = tmp_path / 'layout.yaml'
    path.write_text(f'center: {line.format(mark=mark)}\n')
    refused(get_layout, str(path), match='layout.yaml')
    assert not mark.exists()


@pytest.mark.parametrize(
    'path', ['../evil.csv', 'a/../../evil.csv', '..\\evil.csv', './../evil.csv']
)
def test_manifest_does_not_lead_out_of_its_folder(tmp_path, path):
    (tmp_path / 'm.csv').write_text(f'path\n{path}\n')
    refused(
        READERS['custom'](list_files([str(tmp_path / 'm.csv')])).recordings,
        match='leads out of the folder',
    )


SKELETON = b'1\n1\n1 1 1 1 1 1 1 1 1 1\n25\n' + (b'1.5 ' * 12 + b'\n') * 25

NAME = 'S001C001P001R001A001.skeleton'


@pytest.mark.parametrize(
    'folder',
    ['../../', '/etc/', 'C:\\evil\\', 'a/../../../', '..\\..\\', '~/', '//host/share/', 'con/'],
)
def test_archives_write_nothing(tmp_path, folder):
    """Archives are read in place: only the annotation file is written, whatever their names."""
    (tmp_path / 'in').mkdir()
    with zipfile.ZipFile(tmp_path / 'in' / 'a.zip', 'w') as archive:
        archive.writestr(folder + NAME, SKELETON)
        archive.writestr(f'good/{NAME}', SKELETON)
        link = zipfile.ZipInfo('link.skeleton')
        link.external_attr = 0o120777 << 16  # a symbolic link to a folder, and a file in it
        archive.writestr(link, '/tmp')
        archive.writestr('link.skeleton/evil.skeleton', SKELETON)
    reader = READERS['ntu60'](list_files([str(tmp_path / 'in')], '*.skeleton'))
    read_bodies(SKELETON)  # what is imported late is there
    with watch(tmp_path / 'work') as seen:
        for recording in reader.recordings():
            try:
                assert reader.read(recording)[0]['frame_dir'] == Path(NAME).stem
            except ValueError:
                assert recording.name.startswith('link') or '\\' in folder
    assert not seen
    prepare(reader, str(tmp_path / 'work' / 'out.pkl'), workers=1)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*')) == [
        'in',
        'in/a.zip',
        'work',
        'work/.out.pkl.lock',
        'work/out.pkl',
    ]


CONFIG = """
_base_ = ['{root}/configs/_base_/default_runtime.py', '{root}/configs/_base_/aimclr_small.py',
          '{root}/configs/_base_/synthetic.py']
data = dict(ann_file='{folder}/data.pkl')
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
work_dir = '{folder}/run'
"""


@pytest.fixture
def run(tmp_path, monkeypatch, mark, capsys):
    """Return a function that runs a tool, with a malicious file of each kind at hand."""
    data = Synthetic(subjects=2, cameras=1, repetitions=1, actions=['wave', 'clap']).dataset()
    write_pickle(data, str(tmp_path / 'data.pkl'))
    (tmp_path / 'tiny.py').write_text(CONFIG.format(root=ROOT, folder=tmp_path))
    (tmp_path / 'evil.pth').write_bytes(evil_checkpoint('archive', mark))
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(dict(annotations=[payload(mark)], split={})))
    evil = npy(evil_array(mark))
    (tmp_path / 'evil.npz').write_bytes(
        archive_of(features=evil, labels=evil, gallery=evil, names=evil)
    )
    (tmp_path / 'folder' / '1' / 'vis_data').mkdir(parents=True)
    (tmp_path / 'folder' / 'features.npz').write_bytes((tmp_path / 'evil.npz').read_bytes())
    (tmp_path / 'folder' / 'epoch_1.pth').write_bytes((tmp_path / 'evil.pth').read_bytes())
    (tmp_path / 'folder' / '1' / 'vis_data' / 'config.py').write_text(
        CONFIG.format(root=ROOT, folder=tmp_path)
    )
    (tmp_path / 'folder' / '1' / 'vis_data' / 'scalars.json').write_text(
        '{"epoch": 1, "loss": 2.0}\n'
    )
    monkeypatch.chdir(tmp_path)

    def runner(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.run(lambda: call_tool(f'{name}.py', *arguments))
        return str(end.value.code)

    return runner


COMMANDS = {
    'resume': ('train', 'tiny.py', '--resume', 'evil.pth'),
    'load_from': ('train', 'tiny.py', '--cfg-options', 'load_from=evil.pth'),
    'pretrained': (
        'train',
        'tiny.py',
        '--with',
        f'{ROOT}/configs/protocols/finetune.py',
        '--pretrained',
        'evil.pth',
    ),
    'train data': (
        'train',
        'tiny.py',
        '--cfg-options',
        'train_dataloader.dataset.ann_file=evil.pkl',
    ),
    'test': ('test', 'tiny.py', 'evil.pth'),
    'test data': (
        'test',
        'tiny.py',
        'raw',
        '--cfg-options',
        'test_dataloader.dataset.ann_file=evil.pkl',
    ),
    'convert': ('export', 'from_released', 'evil.pth', 'out.pth'),
    'report': ('analyze', 'report', 'folder'),
    'report names': ('analyze', 'report', 'folder', '--ann-file', 'evil.pkl'),
    'knn curve': ('analyze', 'knn', 'folder'),
    'fuse': ('analyze', 'fuse', *['evil.npz'] * 3),
    'embedding': ('analyze', 'tsne', 'evil.npz'),
    'look': ('prepare_data', 'mmaction2', 'evil.pkl'),
    'export': ('prepare_data', 'official', 'evil.pkl', '--out', 'exported'),
}


@pytest.mark.slow
@pytest.mark.parametrize('kind', COMMANDS)
def test_commands(run, mark, kind):
    message = run(*COMMANDS[kind])
    assert (
        message.startswith('error: ')
        and ('folder' if kind in ('report', 'knn curve') else 'evil.') in message
    )
    assert not mark.exists() and not Path('out.pth').exists() and not Path('exported').exists()
