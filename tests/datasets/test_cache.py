"""Cached preprocessing: same samples as without, built once, shared, rebuilt after a change."""

import gc
import inspect
import multiprocessing
import os
import pickle
import random
import resource
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from aimclr_mm.datasets import SkeletonDataset, skeleton_dataset, write_pickle
from aimclr_mm.datasets.annotations import load_annotations, read_pickle
from aimclr_mm.models import SkeletonViews
from aimclr_mm.skeletons import NTU25
from aimclr_mm.transforms import CenterSkeleton
from tests.canary import watch
from tests.utils.test_damaged_files import damage

PREPROCESS = [
    dict(type='CenterSkeleton'),
    dict(type='ResizeClip', length=8),
    dict(type='AlignShoulders'),
    dict(type='mmaction.FormatGCNInput', num_person=2),
]
RAGGED = [dict(type='CenterSkeleton')]


@TRANSFORMS.register_module()
class NoteCall(BaseTransform):
    """Log each call to a file, or add noise if there is no file."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path

    def transform(self, results: dict) -> dict:
        """Return the sequence unchanged, or with noise if there is no file."""
        if self.path is None:
            results['keypoint'] = results['keypoint'] + np.random.random()
        else:
            with open(self.path, 'a') as file:
                file.write('x')
        return results


def make(folder, score: bool = False, seed: int = 0, **metainfo) -> str:
    """Write an annotation file of six sequences of different lengths."""
    rng = np.random.default_rng(seed)
    shapes = [(1 + i % 2, 4 + i, 25, 3) for i in range(6)]
    annotations = [
        dict(frame_dir=str(i), label=i, total_frames=shape[1], keypoint=rng.normal(size=shape))
        for i, shape in enumerate(shapes)
    ]
    for annotation in annotations if score else ():
        annotation['keypoint_score'] = rng.random(annotation['keypoint'].shape[:3])
    path = str(folder / 'data.pkl')
    write_pickle(
        dict(
            metainfo=metainfo,
            annotations=annotations,
            split=dict(train=list('0123'), val=list('45')),
        ),
        path,
    )
    return path


def build(path: str, preprocess=PREPROCESS, **kwargs) -> SkeletonDataset:
    """Build the dataset of both splits."""
    return SkeletonDataset(
        path, [], ['train', 'val'], layout='ntu25', preprocess=preprocess, **kwargs
    )


def samples(dataset: SkeletonDataset) -> list[dict]:
    """Return all samples."""
    return [dataset[i] for i in range(len(dataset))]


def caches(folder) -> list[str]:
    """Return the names of the caches in the default folder."""
    return sorted(path.name for path in (folder / 'cache').iterdir() if path.is_dir())


@pytest.mark.parametrize('score', [False, True], ids=['3d', 'score'])
@pytest.mark.parametrize(
    'preprocess', [PREPROCESS, RAGGED, RAGGED * 2], ids=['equal', 'ragged', 'twice']
)
def test_cached_samples_equal_those_that_are_not(tmp_path, preprocess, score):
    path = make(tmp_path, score)
    cached, plain = samples(build(path, preprocess)), samples(build(path, preprocess, cache=False))
    assert len(cached) == len(plain) == 6
    for one, other in zip(cached, plain):
        assert set(one) == set(other)
        assert one['keypoint'].dtype == np.float32 and one['keypoint'].flags.writeable
        for name, value in other.items():
            np.testing.assert_array_equal(
                one[name], np.float32(value) if name == 'keypoint_score' else value
            )


def test_second_data_set_does_not_read_the_annotation_file(tmp_path, monkeypatch):
    path = make(tmp_path)
    first = samples(build(path))
    monkeypatch.setattr(skeleton_dataset, 'load_annotations', None)
    second = SkeletonDataset(path, [], 'val', layout='ntu25', preprocess=PREPROCESS)
    assert [sample['frame_dir'] for sample in samples(second)] == ['4', '5']
    np.testing.assert_array_equal(second[1]['keypoint'], first[5]['keypoint'])
    assert len(caches(tmp_path)) == 1


def test_a_sample_that_is_changed_does_not_change_the_cache(tmp_path):
    dataset = build(make(tmp_path))
    expected = dataset[0]['keypoint'].copy()
    dataset[0]['keypoint'][:] = 7
    np.testing.assert_array_equal(dataset[0]['keypoint'], expected)


@pytest.mark.parametrize('change', ['length', 'order', 'layout', 'file'])
def test_what_goes_in_decides(tmp_path, change):
    path = make(tmp_path)
    build(path)
    if change == 'file':  # of the same size and time
        before = os.stat(path)
        os.utime(make(tmp_path, seed=1), ns=(before.st_atime_ns, before.st_mtime_ns))
        assert os.stat(path).st_size == before.st_size
        dataset = build(path)
        plain = build(path, cache=False)
        np.testing.assert_array_equal(dataset[0]['keypoint'], plain[0]['keypoint'])
    elif change == 'layout':
        SkeletonDataset(path, [], preprocess=RAGGED)
    else:
        build(
            path,
            [dict(PREPROCESS[1], length=9), PREPROCESS[3]]
            if change == 'length'
            else PREPROCESS[1:] + RAGGED,
        )
    assert len(caches(tmp_path)) == 2


def test_files_of_one_name_in_one_folder_of_caches(tmp_path):
    """Also of the same size and time."""
    first, second = (str(tmp_path / name / 'data.pkl') for name in 'ab')
    for seed, path in enumerate((first, second)):
        os.mkdir(os.path.dirname(path))
        os.utime(make(Path(path).parent, seed=seed), ns=(10**18, 10**18))
    for path in (first, second, first):
        dataset = build(path, cache_dir=str(tmp_path / 'cache'))
        expected = build(path, cache=False)
        np.testing.assert_array_equal(dataset[0]['keypoint'], expected[0]['keypoint'])
    assert os.path.getsize(first) == os.path.getsize(second) and len(caches(tmp_path)) == 2


def test_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = make(tmp_path)

    def load(path: str) -> dict:
        data = load_annotations(path)
        make(tmp_path, seed=1)
        return data

    monkeypatch.setattr(skeleton_dataset, 'load_annotations', load)
    with pytest.raises(ValueError, match='data.pkl.* changed while it was read'):
        build(path)
    assert not caches(tmp_path)


# damaged caches


def changed_byte(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one bit flipped."""
    position = rng.integers(len(content))
    flipped = content[position] ^ 1 << int(rng.integers(8))
    return content[:position] + bytes([flipped]) + content[position + 1 :]


def zeros(content: bytes, rng: np.random.Generator) -> bytes:
    """Return as many zeros."""
    return bytes(len(content))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the first bytes of content."""
    return content[: rng.integers(len(content))]


def moved(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the second half before the first one."""
    return content[len(content) // 2 :] + content[: len(content) // 2]


@pytest.mark.parametrize('damage', [changed_byte, zeros, cut, moved])
@pytest.mark.parametrize(
    'name', ['keypoint.f32', 'keypoint_score.f32', 'index.pkl', 'about.json', 'missing']
)
def test_damaged_caches_are_rebuilt_with_a_warning(tmp_path, monkeypatch, name, damage):
    """Before and after they are opened; no sequence ever differs from the right one."""
    said = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text: said.append(text))
    path = make(tmp_path, score=True)
    expected = samples(build(path))
    (folder,) = (entry for entry in (tmp_path / 'cache').iterdir() if entry.is_dir())
    rng = np.random.default_rng(0)
    for _ in range(int(os.environ.get('MUTATIONS', 60)) // 20):
        said.clear()
        if name == 'missing':
            (folder / rng.choice([entry.name for entry in folder.iterdir()])).unlink()
        else:
            (folder / name).write_bytes(damage((folder / name).read_bytes(), rng))
        for sample, other in zip(samples(build(path)), expected, strict=True):
            assert sample['frame_dir'] == other['frame_dir'] and sample['label'] == other['label']
            np.testing.assert_array_equal(sample['keypoint'], other['keypoint'])
            np.testing.assert_array_equal(sample['keypoint_score'], other['keypoint_score'])
        assert len(said) == 1 and f'{folder.name}' in said[0] and 'it is rebuilt' in said[0]
    assert caches(tmp_path) == [folder.name]


def mutated(contents: dict[str, bytes], rng: random.Random) -> dict[str, bytes | str]:
    """Return the files of a cache with damage to one of them, or other names; text is a link."""
    files: dict[str, bytes | str] = dict(contents)
    name, other = rng.sample(sorted(files), 2)
    kind = rng.randrange(10)
    if kind == 0:
        files[name], files[other] = files[other], files[name]
    elif kind == 1:
        del files[name]
    elif kind == 2:
        files[name.upper()] = files.pop(name)
    elif kind == 3:  # a link to something else
        files[name] = rng.choice(['/dev/zero', '/etc', 'nothing', other])
    else:
        files[name] = damage(contents[name], list(contents.values()), rng)
    return files


def test_mutated_caches(tmp_path, monkeypatch):
    """Rebuilt, right as they are, or refused; MUTATIONS=10000 sets the number."""
    said = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text: said.append(text))
    monkeypatch.setattr(gc, 'collect', int)  # takes most of the time
    path = make(tmp_path, score=True)
    expected = samples(build(path))
    (folder,) = (entry for entry in (tmp_path / 'cache').iterdir() if entry.is_dir())
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    rng, results = random.Random(0), Counter()
    for _ in range(int(os.environ.get('MUTATIONS', 40))):
        said.clear()
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in mutated(contents, rng).items():
            if isinstance(content, str):
                (folder / name).symlink_to(content)
            else:
                (folder / name).write_bytes(content)
        with watch(tmp_path) as seen:
            try:
                found = samples(build(path))
            except OSError as error:  # a link to a device or a folder
                assert folder.name in str(error)
                results['refused'] += 1
                continue
        assert not seen, seen
        for sample, other in zip(found, expected, strict=True):
            assert sample['frame_dir'] == other['frame_dir'] and sample['label'] == other['label']
            np.testing.assert_array_equal(sample['keypoint'], other['keypoint'])
            np.testing.assert_array_equal(sample['keypoint_score'], other['keypoint_score'])
        results['rebuilt' if said else 'right'] += 1
    print('caches', dict(results))
    assert results['rebuilt'] > results['right']


def test_batches_of_a_cache_that_is_damaged_during_the_training(tmp_path):
    path = make(tmp_path)
    dataset = SkeletonDataset(path, [], 'train', 'ntu25', PREPROCESS, batched=True)
    other = SkeletonDataset(path, [], 'train', 'ntu25', PREPROCESS, batched=True)
    expected = dataset.__getitems__([0, 1, 2, 3]).inputs
    array = Path(dataset.cached.folder, 'keypoint.f32')
    array.write_bytes(zeros(array.read_bytes(), None))  # in place, so that a map sees it
    assert torch.equal(other.__getitems__([3, 0]).inputs, expected[[3, 0]])
    assert torch.equal(other.__getitems__([0, 1, 2, 3]).inputs, expected)


def test_cache_that_is_damaged_and_cannot_be_rebuilt(tmp_path):
    path = make(tmp_path)
    dataset = build(path)
    array = Path(dataset.cached.folder, 'keypoint.f32')
    array.write_bytes(zeros(array.read_bytes(), None))
    make(tmp_path, seed=1)
    with pytest.raises(ValueError, match='keypoint.f32 has another checksum.*has changed'):
        dataset[0]


def test_disk_that_is_full_while_a_cache_is_written(tmp_path):
    """The message names the folder and the reason."""
    path = make(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        with pytest.raises(OSError, match='File too large') as caught:
            build(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'cache' in caught.value.filename and not caches(tmp_path)


def test_what_is_preprocessed_is_not_preprocessed_again(tmp_path):
    path = make(tmp_path, preprocessed=True)
    for cache in (True, False):
        sample = build(path, cache=cache)[1]
        stored = SkeletonDataset(path, [])[1]['keypoint']
        assert sample['keypoint'].shape == (1, 2, 5, 25, 3)
        np.testing.assert_array_equal(
            sample['keypoint'][0], stored.astype(np.float32) if cache else stored
        )


@pytest.mark.parametrize(
    'step, message',
    [
        (dict(type='SpatialFlip'), 'SpatialFlip is random'),
        (dict(type='NoteCall'), 'another result each time'),
    ],
)
def test_random_transforms_are_refused(tmp_path, step, message):
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        build(path, [*RAGGED, step])
    assert not caches(tmp_path)
    assert len(build(path, [*RAGGED, step], cache=False)) == 6


@TRANSFORMS.register_module()
class DrawIndex(BaseTransform):
    """Draw something other than the arrays."""

    def transform(self, results: dict) -> dict:
        """Add a random number."""
        return dict(results, index=np.random.random())


def test_randomness_beside_the_arrays_is_seen(tmp_path):
    with pytest.raises(ValueError, match='another result each time'):
        build(make(tmp_path), [*RAGGED, dict(type='DrawIndex')])


@pytest.mark.parametrize('change', ['function', 'layout file'])
def test_code_and_layout_files_decide_too(tmp_path, monkeypatch, change):
    layout = tmp_path / 'layout.yaml'
    layout.write_text(
        yaml.safe_dump(dict(joints=list(NTU25.joints), parents=list(NTU25.parents), center='head'))
    )
    path, steps = make(tmp_path), [dict(type='CenterSkeleton', layout=str(layout))]
    first = SkeletonDataset(path, [], preprocess=steps)[0]['keypoint']
    if change == 'function':
        monkeypatch.setattr(inspect, 'getsource', lambda module: 'another text')
    else:
        layout.write_text(layout.read_text().replace('center: head', 'center: neck'))
    second = SkeletonDataset(path, [], preprocess=steps)[0]['keypoint']
    assert len(caches(tmp_path)) == 2 and np.array_equal(first, second) == (change == 'function')


def test_class_as_type_and_transform_as_step(tmp_path):
    path = make(tmp_path)
    expected = samples(build(path, RAGGED))
    for step in (dict(type=CenterSkeleton), CenterSkeleton()):
        np.testing.assert_array_equal(build(path, [step])[3]['keypoint'], expected[3]['keypoint'])


@pytest.mark.parametrize('cache', [True, False])
def test_joints_of_another_layout(tmp_path, cache):
    other = dict(
        joints=[f'j{i}' for i in range(25)],
        parents=['j0'] * 25,
        center='j0',
        shoulders=['j1', 'j2'],
    )
    path = make(tmp_path, layout=other)
    for _ in range(2):  # the second time from the cache
        with pytest.raises(
            ValueError, match="has the joints of layout 'custom', j0, .*set layout of dataset"
        ):
            build(path, cache=cache)
    assert len(build(make(tmp_path, layout='ntu25'), cache=cache)) == 6


def test_failed_build_leaves_nothing_and_a_killed_one_does_no_harm(tmp_path):
    path = make(tmp_path)
    with pytest.raises(ValueError, match='joints'):
        SkeletonDataset(path, [], layout='kinect20', preprocess=PREPROCESS)
    assert not caches(tmp_path)
    build(path)
    (name,) = caches(tmp_path)
    os.rename(tmp_path / 'cache' / name, tmp_path / 'cache' / f'{name}.partial')
    assert len(samples(build(path))) == 6 and caches(tmp_path) == [name]


def test_some_with_score_and_some_without(tmp_path):
    path = make(tmp_path)
    data = read_pickle(path)
    data['annotations'][2]['keypoint_score'] = np.ones((1, 6, 25))
    write_pickle(data, path)
    with pytest.raises(ValueError, match='some sequences have a keypoint_score'):
        build(path, RAGGED)


def _open(path: str, log: str, barrier) -> None:
    barrier.wait()
    samples(build(path, [dict(type='NoteCall', path=log)]))


def test_processes_that_start_together_build_once(tmp_path):
    path, log = make(tmp_path), str(tmp_path / 'log')
    context = multiprocessing.get_context('fork')
    barrier = context.Barrier(3)
    processes = [context.Process(target=_open, args=(path, log, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(Path(log).read_text()) == 6 + 2  # six sequences, and the first one twice, to compare


def test_workers_read_the_map_and_do_not_get_a_copy(tmp_path):
    path = make(tmp_path)
    dataset = build(path)
    expected = np.stack([sample['keypoint'] for sample in samples(dataset)])
    small = len(pickle.dumps(dataset))
    assert small < expected.nbytes / 2
    loader = DataLoader(
        dataset,
        batch_size=3,
        num_workers=2,
        collate_fn=lambda batch: [s['keypoint'] for s in batch],
    )
    np.testing.assert_array_equal(np.concatenate([np.stack(batch) for batch in loader]), expected)
    assert torch.from_numpy(expected).isfinite().all()


def test_folder_that_cannot_be_written(tmp_path):
    path = make(tmp_path)
    (tmp_path / 'cache').write_text('a file in the way')
    with pytest.raises(OSError, match='cache_dir of the dataset'):
        build(path)
    assert len(build(path, cache_dir=str(tmp_path / 'elsewhere'))) == 6


def test_missing_file_has_its_hint(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist. Make it'):
        build(str(tmp_path / 'no.pkl'), hint='Make it.')


def test_empty_file(tmp_path):
    write_pickle(dict(annotations=[], split={}), str(tmp_path / 'none.pkl'))
    with pytest.raises(ValueError, match='holds no sequences'):
        build(str(tmp_path / 'none.pkl'))


def test_a_batch_as_one_array(tmp_path):
    """The rows of a batch are the samples in the requested order; the views get the same inputs."""
    path = make(tmp_path)
    options = dict(split='train', layout='ntu25', preprocess=PREPROCESS)
    batched = SkeletonDataset(
        path, [dict(type='mmaction.PackActionInputs')], batched=True, **options
    )
    single = SkeletonDataset(path, [dict(type='mmaction.PackActionInputs')], **options)
    order = [3, 0, 3, 1]
    batch, rows = batched.__getitems__(order), single.__getitems__(order)
    assert batch.inputs.shape == (4, 1, 2, 8, 25, 3)
    for ours, row in zip(batch.inputs, rows, strict=True):
        assert torch.equal(ours, row['inputs'])
    views = SkeletonViews(layout='ntu25')
    assert torch.equal(views(batch)['inputs'], views(pseudo_collate(rows))['inputs'])


def test_a_share_of_the_second_split_as_one_array(tmp_path):
    dataset = SkeletonDataset(make(tmp_path), [], 'val', 'ntu25', PREPROCESS, batched=True)
    alone = SkeletonDataset(dataset.ann_file, [], 'val', 'ntu25', PREPROCESS)
    expected = torch.from_numpy(alone[1]['keypoint'])
    assert len(dataset) == 2 and torch.equal(dataset.__getitems__([1]).inputs[0], expected)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(cache=False), 'set cache=True and preprocess'),
        (dict(preprocess=[]), 'set cache=True and preprocess'),
        (dict(indices=2), 'use fraction'),
        (
            dict(pipeline=[dict(type='CenterSkeleton')]),
            'leaves out the pipeline, but it has CenterSkeleton',
        ),
    ],
)
def test_what_a_batch_as_one_array_would_leave_out(tmp_path, options, message):
    options = dict(dict(pipeline=[], preprocess=PREPROCESS), **options)
    with pytest.raises(ValueError, match=message):
        SkeletonDataset(make(tmp_path), split='train', layout='ntu25', batched=True, **options)


def test_ragged_sequences_are_no_array(tmp_path):
    dataset = SkeletonDataset(make(tmp_path), [], 'train', 'ntu25', RAGGED, batched=True)
    with pytest.raises(ValueError, match='differ in shape.*batched=False'):
        dataset.__getitems__([0, 1])
