"""The report's HTML: what it shows, that content is escaped, and errors about bad files."""

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.apis import cli
from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.visualization.report import build_page
from aimclr_mm.visualization.report.collect import read_results, read_run
from aimclr_mm.visualization.report.sections import MAX_CLASSES
from tests.runs import call_tool

from .runs import make_features, make_scores, train_record, write_log

HOSTILE = (
    '"\'</script><script>alert(1)</script>'
    '<img src=http://example.org onerror=alert(1)>{{ 7 * 7 }}&amp;\ud800'
)
VOID = ('meta', 'link', 'br', 'img')


class Page(HTMLParser):
    """Elements, text and embedded data of a page; unbalanced tags are an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        shown = ' '.join(text for tag, text in self.texts if tag not in ('script', 'style'))
        self.text = ' '.join(shown.split())
        self.data = json.loads(next(text for tag, text in self.texts if tag == 'script'))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open:
            self.texts.append((self.open[-1], data))

    def curve(self, label: str) -> dict:
        """Return epoch -> value of the first curve with this label."""
        for chart in self.data['charts']:
            for series in chart['series']:
                if series['label'] == label:
                    pairs = zip(chart['epochs'], series['values'])
                    return {epoch: value for epoch, value in pairs if value is not None}
        raise KeyError(label)


def page(work: Path, **options) -> Page:
    return Page(build_page(str(work), **options)[0])


def test_curves_contain_what_was_logged(tmp_path):
    """The last record of an epoch counts, in the page's data and, by its ticks, in the drawing."""
    repeated = train_record(1, loss_a=9.0)
    epochs = [train_record(e, lr=0.1 / e) for e in range(1, 60)]
    write_log(tmp_path, [repeated, *epochs, {'step': 5, 'knn/top1': 61.5}])
    html = build_page(str(tmp_path))[0]
    shown = Page(html)
    assert shown.curve('loss') == {e: 10.0 / e for e in range(1, 60)}
    assert shown.curve('chance') == dict.fromkeys(range(1, 60), 12.0)
    assert shown.curve('knn/top1') == {5: 61.5} and shown.curve('lr')[3] == 0.1 / 3

    drawing = html[html.index('<svg class="chart"') :]
    drawing = drawing[: drawing.index('</svg>')]
    ticks = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', drawing)
    (low, bottom), *_, (high, top) = [(float(text), float(y) - 3.5) for y, text in ticks]
    curve = re.search(r'color0" d="M([^"]+)"', drawing)[1]
    drawn = [float(point.split()[1]) for point in curve.split('L')]
    values = [low + (y - bottom) * (high - low) / (top - bottom) for y in drawn]
    assert bottom > top and values == pytest.approx([10.0 / e for e in range(1, 60)], abs=0.01)


def test_runs_and_damaged_lines_are_named(tmp_path):
    write_log(tmp_path, [train_record(1), [1], train_record(2)], end='{"loss": 3.0, "epo')
    write_log(tmp_path, [train_record(2)], '20260102_000000')
    html, notes = build_page(str(tmp_path))
    shown = Page(html)
    assert list(shown.curve('loss')) == [1, 2]
    assert re.search('scalars.json.* lines 2, 4$', notes[0]) and notes[0] in shown.text
    assert 'Epochs 2 to 2: run 20260102_000000.' in shown.text


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    write_log(tmp_path, [train_record(e) for e in range(1, 6)])
    path = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    content = path.read_bytes().replace(b'"cosine": 0.5', b'"cosine": NaN')
    path.write_bytes(content.replace(b'0.25', b'1e999') + b'\xff')
    shown = page(tmp_path)
    assert list(shown.curve('cosine')) == [1, 3, 5] and '2 values are not finite' in shown.text
    curves = [found['d'] for _, found in shown.tags if found.get('class') == 'curve color0']
    assert max(path.count('M') for path in curves) == 3


def test_streams_share_charts_and_terms_end_when_they_are_no_longer_computed(tmp_path):
    values = {f'{stream}.loss_info': 3.0 for stream in ('motion', 'joint')}
    values |= {'joint.cosine': 0.3, 'motion.cosine': 0.2}
    validation = {'step': 2, 'joint/knn/top1': 30.0, 'fused/knn/top1': 40.0}
    write_log(tmp_path, [*(train_record(e, **values) for e in range(1, 5)), validation])
    charts = page(tmp_path).data['charts']
    assert [[series['label'] for series in chart['series']] for chart in charts] == [
        ['loss', 'chance'],
        ['joint', 'motion'],
        ['joint', 'fused'],
        ['all streams', 'joint', 'motion'],
    ]
    assert charts[1]['series'][0]['values'] == [3.0]


def test_a_classifier_has_the_accuracy_of_its_training_batches(tmp_path):
    record = dict(epoch=1, step=3, loss=2.0, loss_cls=2.0, top1_acc=0.25)
    write_log(tmp_path, [record, {'step': 1, 'acc/top1': 50.0}])
    shown = page(tmp_path)
    assert shown.curve('acc/top1') == {1: 50.0} and shown.curve('training batches') == {1: 25.0}
    assert [len(chart['series']) for chart in shown.data['charts']] == [1, 2]


@pytest.fixture
def hostile(tmp_path):
    """A work directory in which every text is code."""
    write_log(tmp_path, [train_record(1, **{f'{HOSTILE}.cosine': 0.5})])
    make_scores(name=HOSTILE).save(str(tmp_path / 'linear.npz'))
    make_features(name=HOSTILE).save(str(tmp_path / 'features.npz'))
    metrics = {
        'motion/knn/top1': 7,
        'joint/knn/top1': 61.234,
        'joint/linear/top1': 4,
        'joint/linear/top1_std': 0.5,
        'joint/linear/best_epoch': 12.0,
        HOSTILE: 1,
        'a': 'b',
    }
    result = dict(config=HOSTILE, checkpoint=HOSTILE, metrics=metrics)
    (tmp_path / 'result.json').write_text(json.dumps(result))
    (tmp_path / 'config.py').write_text(HOSTILE[:-1])
    metainfo = dict(classes=[HOSTILE[:-1], 'sit'])
    write_pickle(dict(metainfo=metainfo, annotations=[]), str(tmp_path / 'data.pkl'))
    return tmp_path


def test_content_does_not_become_code_and_nothing_is_loaded(hostile):
    html, notes = build_page(str(hostile), str(hostile / 'data.pkl'))
    shown = Page(html.encode().decode())
    assert notes == []
    assert [tag for tag, _ in shown.tags if tag in ('script', 'img')] == ['script'] * 2
    assert shown.data['embeddings'][0]['names'][0] == f'{HOSTILE}1'
    assert shown.data['matrices'][0]['classes'][:3] == [f'0 {HOSTILE[:-1]}', '1 sit', 'class 2']
    assert HOSTILE[:-1] in shown.text and not re.search(r'url\(|@import', html)

    for name, value in (pair for _, found in shown.tags for pair in found.items()):
        assert not name.startswith('on')
        if name in ('src', 'href'):
            assert value[0] == '#' or value == 'data:,'


def test_results_of_several_checkpoints_in_one_file(tmp_path):
    """What tools/test.py CONFIG raw CHECKPOINT writes: one result each, with its own origin."""
    parts = [dict(checkpoint='raw', metrics={'knn/top1': 50}), 'odd', dict(checkpoint='b.pth')]
    parts[2]['metrics'] = {'knn/top1': 60, 'linear/top1': 70}
    (tmp_path / 'raw_b.json').write_text(json.dumps(dict(config='c.py', results=parts)))
    results, notes = read_results(str(tmp_path))
    assert not notes
    assert [(result.metrics, result.origin) for result in results] == [
        ({'knn/top1': 50.0}, dict(config='c.py', checkpoint='raw')),
        ({'knn/top1': 60.0, 'linear/top1': 70.0}, dict(config='c.py', checkpoint='b.pth')),
    ]


def test_metrics_have_a_column_per_stream(hostile):
    texts = page(hostile).texts
    cells = [text.strip() for tag, text in texts if tag in ('th', 'td') and text.strip()]
    start = cells.index('metric')
    assert cells[start : start + 15] == [
        *('metric', 'value', 'joint', 'motion'),
        *('knn/top1', '–', '61.23', '7.00'),
        *('linear/top1', '–', '4.00 ± 0.50', '–'),
        *('linear/best_epoch', '–', '12'),
    ]


def test_embedding_is_of_the_queries(hostile):
    points = page(hostile).data['embeddings'][0]
    features = make_features(name=HOSTILE)
    queries = ~features.gallery
    assert points['names'] == features.names[queries].tolist()
    classes = [points['classes'][i] for i in points['index']]
    assert classes == [f'class {label}' for label in features.labels[queries]]
    assert len(set(zip(points['x'], points['y']))) == len(points['index']) == 16


def test_page_of_120_classes_stays_small(tmp_path):
    make_scores(classes=120, count=50000).save(str(tmp_path / 'linear.npz'))
    html = build_page(str(tmp_path))[0]
    assert len(html) < 1e6 and np.sum(Page(html).data['matrices'][0]['counts']) == 50000


def test_missing_sections_name_the_command(tmp_path):
    write_log(tmp_path, [train_record(1)])
    (tmp_path / 'run.py').write_text('a = 1\n')
    (tmp_path / 'epoch_1.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    command = f'{tmp_path}/run.py {tmp_path}/epoch_1.pth --out {tmp_path}/eval/result.json --dump'
    assert page(tmp_path).text.count(f'python tools/test.py {command}') == 3

    other = tmp_path / 'other'
    make_features(4).save(str(other / 'features.npz'))
    shown = page(other)
    assert shown.text.count(f'python tools/train.py CONFIG --work-dir {other}') == 3
    assert shown.text.count('python tools/test.py CONFIG CHECKPOINT') == 2
    assert 'at least 4 sequences' in shown.text


def test_environment_names_its_source(tmp_path):
    write_log(tmp_path, [train_record(1)])
    (tmp_path / '20260101_000000' / 'a.log').write_text(
        'System environment:\n    Python: 3.9.1\n    GPU 0,1: Some GPU\n    PyTorch: 2.1.0\n'
        '    MMEngine: 0.10.5\n\nRuntime environment:\n    seed: 41\n'
    )
    text = page(tmp_path).text
    for row in (
        'torch 2.1.0 log',
        'Python 3.9.1 log',
        'device Some GPU log',
        'seed 41 log',
        f'{np.__version__} now',
    ):
        assert row in text


FEATURES, SCORES = make_features(), make_scores()


@pytest.mark.parametrize(
    'wrong',
    [
        replace(FEATURES, labels=np.arange(24) - 1.5),
        replace(FEATURES, labels=np.arange(24) - 1),
        replace(FEATURES, names=np.arange(24)),
        replace(FEATURES, gallery=np.zeros(24)),
        replace(SCORES, labels=SCORES.labels + 2),
        make_scores(MAX_CLASSES + 1),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, wrong):
    wrong.save(str(tmp_path / 'wrong.npz'))
    with pytest.raises(ValueError, match=r'wrong\.npz'):
        build_page(str(tmp_path))


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / 'damaged.npz'
    make_scores().save(str(path))
    for content in (path.read_bytes()[:-40], b'no arrays'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'damaged\.npz.* is damaged'):
            build_page(str(tmp_path))


def test_other_files_are_left_out(tmp_path):
    make_scores().save(str(tmp_path / 'linear.npz'))
    np.savez(tmp_path / 'other.npz', a=np.zeros(3))
    (tmp_path / 'broken.json').write_text('{')
    notes = build_page(str(tmp_path))[1]
    assert [Path(note.split()[0]).stem for note in notes] == ['broken', 'other']


def test_only_files_of_the_folder_itself_are_read(tmp_path):
    """A link may lead to a secret, and a pipe never ends."""
    work, elsewhere = tmp_path / 'work', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    write_log(work, [train_record(1)])
    write_log(elsewhere, [train_record(1, secret=1.0)], '20260102_000000')
    (elsewhere / 'secret.py').write_text('password = 1')
    (elsewhere / 'secret.json').write_text('{"metrics": {"secret": 1}}')
    make_features().save(str(elsewhere / 'secret.npz'))

    (work / '20260102_000000').symlink_to(elsewhere / '20260102_000000')
    for ending in ('py', 'json', 'npz'):
        (work / f'evil.{ending}').symlink_to(elsewhere / f'secret.{ending}')
        os.mkfifo(work / f'pipe.{ending}')
    os.mkfifo(work / '20260101_000000' / 'pipe.log')
    (work / 'own.py').symlink_to(work / 'config.py')
    (work / 'config.py').write_text('a = 1')

    run = read_run(str(work))
    assert list(run.history.train) == [1] and 'secret' not in run.history.train[1]
    assert run.configs == {'config.py': 'a = 1', 'own.py': 'a = 1'}
    assert not run.results and not run.features
    assert run.notes == [
        '6 links that lead out of the folder, pipes or devices are left out: evil.json, evil.npz, '
        'evil.py, pipe.json, pipe.npz, ...'
    ]
    assert 'password' not in page(work).text


def test_folders_without_a_run_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        build_page(str(tmp_path / 'missing'))
    with pytest.raises(FileNotFoundError, match='contains no log'):
        build_page(str(tmp_path))


def test_command_writes_the_page_or_nothing(tmp_path, capsys):
    def call(*arguments):
        cli.run(lambda: call_tool('analyze.py', 'report', *arguments))

    for work, message in ((tmp_path / 'missing', 'does not exist'), (tmp_path, 'contains no log')):
        with pytest.raises(SystemExit, match=message):
            call(work)
    assert list(tmp_path.iterdir()) == []

    write_log(tmp_path, [train_record(1)], end='{')
    call(tmp_path)
    call(tmp_path, '--out', tmp_path / 'pages' / 'a.html')
    output = capsys.readouterr()
    assert output.out.split() == [f'{tmp_path}/report.html', f'{tmp_path}/pages/a.html']
    assert 'line 2' in output.err
    assert Page((tmp_path / 'pages' / 'a.html').read_text()).curve('loss') == {1: 10.0}
