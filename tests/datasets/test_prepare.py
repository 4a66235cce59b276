"""The driver of all readers: atomic output, resuming, reports, memory."""

import json
import multiprocessing
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import Reader, RecordingError, SourceFile, list_files

ROOT = Path(__file__).resolve().parents[2]


class Numbers(Reader):
    """Reader of files with a number n: a sequence of n frames with the value n; 13 is refused."""

    name, pattern, published, options = 'numbers', '*.num', dict(odd=3), ('scale',)

    def __init__(
        self, files, scale: float = 1.0, delay: float = 0.0, log: str | None = None
    ) -> None:
        super().__init__(files)
        self.scale, self.delay, self.log = scale, delay, log
        self.left_out = {'not wanted': ['x']}

    def read(self, recording: SourceFile) -> list[dict]:
        """Return one sequence, two for 20 and none for 0."""
        time.sleep(self.delay)
        if self.log:
            with open(self.log, 'a') as file:
                file.write(f'{recording.stem}\n')
        number = int(recording.read())
        if number == 13:
            raise RecordingError('line 1: 13 is unlucky')
        value = np.full(
            (1, number, 25, 3), np.nan if number == 14 else number * self.scale, np.float32
        )
        names = [recording.stem, f'{recording.stem}b'][: 1 + (number == 20)]
        return [
            dict(frame_dir=name, keypoint=value, total_frames=number, label=number)
            for name in names
            if number
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Return odd or even."""
        return ['odd' if annotation['label'] % 2 else 'even']


def source(folder: Path, numbers) -> list[SourceFile]:
    """Write a file for each number."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f'{number}.num').write_text(str(number))
    return list_files([str(folder)], '*.num')


def test_everything_that_can_be_read_is_read(tmp_path):
    files = source(tmp_path / 'in', (3, 13, 14, 0, 20, 5))
    (tmp_path / 'in' / 'other.txt').write_text('1')
    out = str(tmp_path / 'new' / 'out.pkl')
    summary = prepare(Numbers(files, scale=2), out, workers=2)
    with open(out, 'rb') as file:
        data = pickle.load(file)  # like any program that reads files of mmaction2
    assert sorted(item['frame_dir'] for item in data['annotations']) == ['20', '20b', '3', '5']
    assert {name: set(names) for name, names in data['split'].items()} == dict(
        odd={'3', '5'}, even={'20', '20b'}
    )
    assert all((item['keypoint'] == item['label'] * 2).all() for item in data['annotations'])
    assert data['metainfo'] == dict(dataset='numbers', layout='ntu25', preprocessed=False, scale=2)
    assert read_pickle(out)['split'] == data['split'] and set(data['annotations'][0]) == {
        'frame_dir',
        'keypoint',
        'total_frames',
        'label',
    }
    assert sorted(problem.split('/')[-1] for problem in summary.problems) == [
        '0.num: holds no sequence',
        '13.num: line 1: 13 is unlucky',
        '14.num: holds coordinates that are not finite',
    ]
    assert sorted(os.listdir(tmp_path / 'new')) == ['.out.pkl.lock', 'out.pkl']
    text = str(summary)
    for line in (
        'sequences 4',
        'classes 3',
        'frames 48 (3 to 20, median 12)',
        'split even 2',
        'split odd 2; published: 3',
        'left out (1) not wanted',
        'skipped (3)',
        'people 4 with 1',
    ):
        assert line in ' '.join(text.split()), text


def test_order_does_not_depend_on_the_processes(tmp_path):
    files = source(tmp_path / 'in', range(1, 12))
    for workers in (1, 2):
        prepare(Numbers(files), str(tmp_path / f'{workers}.pkl'), workers=workers)
    assert (tmp_path / '1.pkl').read_bytes() == (tmp_path / '2.pkl').read_bytes()


@pytest.mark.parametrize(
    'numbers, message',
    [((13,), 'none of 1 recordings can be used.*unlucky'), ((), 'holds no recording')],
)
def test_nothing_that_can_be_read(tmp_path, numbers, message):
    with pytest.raises(ValueError, match=message):
        prepare(
            Numbers(source(tmp_path / 'in', numbers)), str(tmp_path / 'out' / 'out.pkl'), workers=1
        )
    left = os.listdir(tmp_path / 'out') if (tmp_path / 'out').exists() else []
    assert not [name for name in left if not name.endswith('.lock')]


def test_strict_stops_at_the_first(tmp_path):
    with pytest.raises(ValueError, match=r'13\.num: line 1: 13 is unlucky'):
        prepare(
            Numbers(source(tmp_path / 'in', (3, 13))),
            str(tmp_path / 'out.pkl'),
            workers=1,
            strict=True,
        )
    assert not (tmp_path / 'out.pkl').exists()


def test_second_sequence_of_a_name(tmp_path):
    source(tmp_path / 'in', (3, 5))
    source(tmp_path / 'in' / 'copy', (3,))
    summary = prepare(
        Numbers(list_files([str(tmp_path / 'in')], '*.num')), str(tmp_path / 'out.pkl'), workers=1
    )
    assert summary.sequences == 2 and summary.problems == ['3: a second sequence of this name']


SLOW = """
import sys
sys.path.insert(0, {tests!r})
from tests.datasets.test_prepare import Numbers, list_files, prepare
prepare(Numbers(list_files([{source!r}], '*.num'), delay=.05, log={log!r}), {out!r}, workers=2)
"""


def test_killed_run_goes_on_where_it_was(tmp_path):
    files = source(tmp_path / 'in', range(21, 101))
    log, out = tmp_path / 'log', tmp_path / 'out.pkl'
    script = SLOW.format(
        tests=str(ROOT / 'tests'), source=str(tmp_path / 'in'), log=str(log), out=str(out)
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob('out.pkl.partial/*/*.pkl'))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    before = log.read_text().split()
    prepare(Numbers(files, log=str(log)), str(out), workers=1)
    again = log.read_text().split()[len(before) :]
    assert 0 < len(again) < 80 and set(before) | set(again) == {
        str(number) for number in range(21, 101)
    }
    prepare(Numbers(files), str(tmp_path / 'whole.pkl'), workers=1)
    assert out.read_bytes() == (tmp_path / 'whole.pkl').read_bytes()
    assert not (tmp_path / 'out.pkl.partial').exists()


@pytest.mark.parametrize('change', ['option', 'file'])
def test_parts_of_another_source_are_not_used(tmp_path, change):
    files = source(tmp_path / 'in', (3, 5, 13))
    with pytest.raises(ValueError, match='unlucky'):
        prepare(Numbers(files), str(tmp_path / 'out.pkl'), workers=1, strict=True)
    assert list(tmp_path.glob('out.pkl.partial/*/*.pkl'))
    (tmp_path / 'in' / '13.num').write_text('7')
    if change == 'file':
        (tmp_path / 'in' / '3.num').write_text('9')
    prepare(
        Numbers(list_files([str(tmp_path / 'in')], '*.num'), scale=3 if change == 'option' else 1),
        str(tmp_path / 'out.pkl'),
        workers=1,
    )
    annotations = read_pickle(str(tmp_path / 'out.pkl'))['annotations']
    values = {item['frame_dir']: item['keypoint'].max() for item in annotations}
    assert values == (
        {'3': 9, '5': 15, '13': 21} if change == 'option' else {'3': 9, '5': 5, '13': 7}
    )


def test_strict_looks_at_parts_that_are_there_already(tmp_path, monkeypatch):
    files = source(tmp_path / 'in', (3, 13))
    with monkeypatch.context() as patch:
        patch.setattr('aimclr_mm.datasets.prepare._merge', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(Numbers(files), str(tmp_path / 'out.pkl'), workers=1)
    with pytest.raises(ValueError, match='unlucky'):
        prepare(Numbers(files), str(tmp_path / 'out.pkl'), workers=1, strict=True)


def test_a_folder_in_the_way(tmp_path):
    files = source(tmp_path / 'in', (3,))
    with pytest.raises(ValueError, match='is a folder'):
        prepare(Numbers(files), str(tmp_path / 'in'), workers=1)


def test_more_workers_than_open_files(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = source(tmp_path / 'in', (3,))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, before[1]))
        with pytest.raises(ValueError, match='16 workers need 56 open files, and 40 are allowed'):
            prepare(Numbers(files), str(tmp_path / 'out.pkl'), workers=16)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_three_at_once(tmp_path):
    """They wait for each other, or name the one that is at it; the result is whole."""
    files, out = source(tmp_path / 'in', (3, 4, 5)), tmp_path / 'out.pkl'
    context = multiprocessing.get_context('fork')
    barrier, said = context.Barrier(3), context.Queue()

    def run() -> None:
        barrier.wait()
        try:
            prepare(Numbers(files, delay=0.2), str(out), workers=1)
            said.put('')
        except ValueError as error:
            said.put(str(error))

    processes = [context.Process(target=run) for _ in range(3)]
    for process in processes:
        process.start()
    messages = [said.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    refused = [message for message in messages if message]
    assert len(refused) < 3
    assert all(
        re.match(r"process \d+ on .*, since .* is working on '.*out.pkl'", m) for m in refused
    )
    assert len(read_pickle(str(out))['annotations']) == 3
    assert not (tmp_path / 'out.pkl.partial').exists()


def test_processes_end_with_their_parent(tmp_path):
    """Workers stop writing when only their parent is killed."""
    source(tmp_path / 'in', range(21, 101))
    log, out = tmp_path / 'log', tmp_path / 'out.pkl'
    script = SLOW.format(
        tests=str(ROOT / 'tests'), source=str(tmp_path / 'in'), log=str(log), out=str(out)
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob('out.pkl.partial/*/*.pkl'))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1.5)
    before = log.read_text()
    time.sleep(1)
    assert log.read_text() == before and len(before.split()) < 80


MEMORY = """
import json, resource, sys
sys.path.insert(0, {tests!r})
from tests.datasets.test_prepare import Numbers, list_files, prepare
files = list_files([{source!r}], '*.num')
prepare(Numbers(files[:4]), {out!r} + '.first', workers=1)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare(Numbers(files), {out!r}, workers=1)
print(json.dumps([start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                  resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def test_neither_the_process_nor_its_workers_hold_the_whole(tmp_path):
    source(tmp_path / 'in', range(5000, 5128))
    script = MEMORY.format(
        tests=str(ROOT / 'tests'), source=str(tmp_path / 'in'), out=str(tmp_path / 'out.pkl')
    )
    result = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    start, parent, worker = json.loads(result.stdout.strip().splitlines()[-1])
    size = (tmp_path / 'out.pkl').stat().st_size / 1024
    assert size > 180_000 and parent - start < size / 3 and worker - start < size / 3


# sources


def test_archives_in_a_folder_and_what_is_no_recording(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.ZIP', 'w') as archive:
        for name in ('deep/er/3.num', '__MACOSX/deep/4.num', 'deep/.5.num', '../../6.num'):
            archive.writestr(name, '3')
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / '7.num').write_text('7')
    (tmp_path / '.hidden.num').write_text('8')
    files = list_files([str(tmp_path)], '*.num')
    assert [file.name for file in files] == ['../../6.num', 'deep/er/3.num', 'b/7.num']
    assert [file.read() for file in files] == [b'3', b'3', b'7']
    assert str(files[1]).endswith('a.ZIP:deep/er/3.num') and str(files[2]).endswith('b/7.num')


def test_archive_that_is_none(tmp_path):
    (tmp_path / 'broken.zip').write_bytes(b'PK\x03\x04 and so on')
    with pytest.raises(ValueError, match='broken.zip.*not a readable zip archive'):
        list_files([str(tmp_path)])


def test_source_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone'):
        list_files([str(tmp_path / 'gone')])


def test_archive_that_lies_about_its_content(tmp_path):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('1.num', '1' * 10_000)
        archive.writestr('2.num', '2' * 1000)
    files = list_files([str(path)])
    with pytest.raises(RecordingError, match='has 10000 bytes; the limit is 5000'):
        files[0].read(5000)
    data = path.read_bytes()
    path.write_bytes(data.replace(data[35:60], b'\xff' * 25, 1))
    for file in list_files([str(path)])[:1]:
        with pytest.raises(RecordingError, match='cannot be read'):
            SourceFile(str(path), file.name, file.size, 0, archived=True).read()
