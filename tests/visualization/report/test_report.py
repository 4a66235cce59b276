"""The report: its figures against loops and scikit-learn, the page's HTML, and what is said of bad input."""

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion

from aimclr_mm.apis import cli
from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.visualization.report import build_page, confusion
from aimclr_mm.visualization.report.page import MAX_CLASSES
from tests.runs import call_tool

HOSTILE = '"\'</script><script>alert(1)</script><img src=http://example.org onerror=alert(1)>{{ 7 * 7 }}&amp;\ud800'
VOID = ('meta', 'link', 'br', 'img')


class Page(HTMLParser):
    """Elements, text and embedded data of a page; tags that are not balanced are an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = ' '.join(
            ' '.join(text for tag, text in self.texts if tag not in ('script', 'style')).split()
        )
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

    def chart(self, label: str) -> dict:
        """Data of the chart with a curve of this name: epoch -> value."""
        return next(
            {e: v for e, v in zip(chart['epochs'], series['values']) if v is not None}
            for chart in self.data['charts']
            for series in chart['series']
            if series['label'] == label
        )


def log(work: Path, records: list, run: str = '20260101_000000', end: str = '') -> None:
    """Writes a scalars.json."""
    folder = work / run / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(
        ''.join(json.dumps(record) + '\n' for record in records) + end
    )


def train(epoch: int, **values) -> dict:
    """A training record."""
    return dict(
        dict(loss=10.0 / epoch, chance=12.0, cosine=1.0 / epoch),
        epoch=epoch,
        step=7 * epoch,
        **values,
    )


def scores(classes: int = 6, count: int = 90, seed: int = 0, name: str = 'sequence') -> ScoreSet:
    """Random scores with a preference for the label and for the class after it."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class has no sequences
    values = rng.normal(size=(count, classes))
    values[np.arange(count), labels] += 1
    values[np.arange(count), (labels + 1) % classes] += 0.7
    return ScoreSet(values.astype(np.float32), labels, np.array([name] * count))


def features(count: int = 24, name: str = 'sequence') -> FeatureSet:
    """Random features, every third one of the gallery."""
    rng = np.random.default_rng(1)
    return FeatureSet(
        rng.normal(size=(count, 5)).astype(np.float32),
        np.arange(count) % 4,
        np.arange(count) % 3 == 0,
        np.array([f'{name}{i}' for i in range(count)]),
    )


def page(work: Path, **options) -> Page:
    return Page(build_page(str(work), **options)[0])


def test_confusion_and_classes_equal_scikit_learn_and_a_loop():
    data = scores(classes=40, count=300)
    data.labels = data.labels.astype(np.uint8)
    predicted = data.scores.argmax(axis=1)
    matrix = confusion.confusion_matrix(data)
    assert np.array_equal(matrix, sklearn_confusion(data.labels, predicted, labels=range(40)))
    for result in confusion.per_class(matrix):
        answers = [p for p, label in zip(predicted.tolist(), data.labels) if label == result.label]
        assert (result.count, result.correct) == (len(answers), answers.count(result.label))
        assert result.accuracy == (
            100 * answers.count(result.label) / len(answers) if answers else None
        )
        wrong = Counter(a for a in answers if a != result.label)
        assert (wrong[result.confused[0]] if wrong else None) == (
            max(wrong.values()) if wrong else result.confused
        )


def test_most_confused_pairs_come_first():
    data = scores()
    answers = zip(data.labels.tolist(), data.scores.argmax(axis=1).tolist())
    wrong = Counter((label, answer) for label, answer in answers if label != answer)
    pairs = confusion.confused_pairs(confusion.confusion_matrix(data), limit=5)
    assert [count for *_, count, _ in pairs] == sorted(wrong.values(), reverse=True)[:5]
    for label, predicted, count, share in pairs:
        assert wrong[label, predicted] == count and share == pytest.approx(
            100 * count / (data.labels == label).sum()
        )
    assert confusion.confused_pairs(np.diag([3, 4])) == []
    assert confusion.confused_pairs(np.array([[8, 2, 0], [0, 5, 0], [2, 0, 1]]))[0][:2] == (
        2,
        0,
    )  # larger share


def test_choice_of_points_keeps_the_shares_of_classes():
    labels = np.repeat([0, 5, 7], [600, 300, 100])
    chosen = confusion.stratified(labels, 50)
    assert len(set(chosen.tolist())) == 50 and (np.diff(chosen) > 0).all()
    assert Counter(labels[chosen].tolist()) == {0: 30, 5: 15, 7: 5}
    assert chosen.tolist() == confusion.stratified(labels, 50).tolist()
    assert confusion.stratified(labels, 1000).tolist() == list(range(1000))


def test_curves_hold_what_was_logged(tmp_path):
    """The last record of an epoch, in the page's data and, by the scale that the ticks give, in its drawing."""
    log(
        tmp_path,
        [
            train(1, loss_a=9.0),
            *(train(e, lr=0.1 / e) for e in range(1, 60)),
            {'step': 5, 'knn/top1': 61.5},
        ],
    )
    html = build_page(str(tmp_path))[0]
    shown = Page(html)
    assert shown.chart('loss') == {e: 10.0 / e for e in range(1, 60)}
    assert shown.chart('chance') == dict.fromkeys(range(1, 60), 12.0)
    assert shown.chart('knn/top1') == {5: 61.5} and shown.chart('lr')[3] == 0.1 / 3
    drawing = html[html.index('<svg class="chart"') :]
    ticks = [
        (float(text), float(y) - 3.5)
        for y, text in re.findall(
            r'y="([\d.]+)" text-anchor="end">([\d.]+)<', drawing[: drawing.index('</svg>')]
        )
    ]
    (low, bottom), (high, top) = ticks[0], ticks[-1]
    places = [
        float(place.split()[1])
        for place in re.search(r'color0" d="M([^"]+)"', drawing)[1].split('L')
    ]
    values = [low + (y - bottom) * (high - low) / (top - bottom) for y in places]
    assert bottom > top and values == pytest.approx([10.0 / e for e in range(1, 60)], abs=0.01)


def test_damaged_lines_are_left_out_and_named(tmp_path):
    log(tmp_path, [train(1), [1], train(2)], end='{"loss": 3.0, "epo')
    html, notes = build_page(str(tmp_path))
    assert list(Page(html).chart('loss')) == [1, 2]
    assert re.search('scalars.json.* lines 2, 4$', notes[0]) and notes[0] in Page(html).text


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    log(tmp_path, [train(e) for e in range(1, 6)])
    path = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.write_bytes(
        path.read_bytes().replace(b'"cosine": 0.5', b'"cosine": NaN').replace(b'0.25', b'1e999')
        + b'\xff'
    )
    shown = page(tmp_path)
    assert list(shown.chart('cosine')) == [1, 3, 5] and '2 values are not finite' in shown.text
    curves = [
        attributes['d'] for _, attributes in shown.tags if attributes.get('class') == 'curve color0'
    ]
    assert max(path.count('M') for path in curves) == 3


def test_streams_share_charts_and_terms_end_when_they_are_no_longer_computed(tmp_path):
    parts = {f'{s}.loss_info': 3.0 for s in ('motion', 'joint')}
    log(
        tmp_path,
        [train(e, **parts, **{'joint.cosine': 0.3, 'motion.cosine': 0.2}) for e in range(1, 5)]
        + [{'step': 2, 'joint/knn/top1': 30.0, 'fused/knn/top1': 40.0}],
    )
    labels = [[s['label'] for s in chart['series']] for chart in page(tmp_path).data['charts']]
    assert labels == [
        ['loss', 'chance'],
        ['joint', 'motion'],
        ['joint', 'fused'],
        ['all streams', 'joint', 'motion'],
    ]
    assert page(tmp_path).data['charts'][1]['series'][0]['values'] == [3.0]


def test_accuracy_of_a_classifier_stands_beside_that_of_its_training_batches(tmp_path):
    log(
        tmp_path,
        [
            dict(epoch=1, step=3, loss=2.0, loss_cls=2.0, top1_acc=0.25),
            {'step': 1, 'acc/top1': 50.0},
        ],
    )
    shown = page(tmp_path)
    assert shown.chart('acc/top1') == {1: 50.0} and shown.chart('training batches') == {1: 25.0}
    assert [len(chart['series']) for chart in shown.data['charts']] == [1, 2]


@pytest.fixture
def hostile(tmp_path):
    """A work directory in which every text is code."""
    log(tmp_path, [train(1, **{f'{HOSTILE}.cosine': 0.5})])
    scores(name=HOSTILE).save(str(tmp_path / 'linear.npz'))
    features(name=HOSTILE).save(str(tmp_path / 'features.npz'))
    metrics = {
        'motion/knn/top1': 7,
        'joint/knn/top1': 61.234,
        'joint/linear/top1': 4,
        'joint/linear/top1_std': 0.5,
        'joint/linear/best_epoch': 12.0,
        HOSTILE: 1,
        'a': 'b',
    }
    (tmp_path / 'result.json').write_text(
        json.dumps(dict(config=HOSTILE, checkpoint=HOSTILE, metrics=metrics))
    )
    (tmp_path / 'config.py').write_text(HOSTILE[:-1])
    write_pickle(
        dict(metainfo=dict(classes=[HOSTILE[:-1], 'sit']), annotations=[]),
        str(tmp_path / 'data.pkl'),
    )
    return tmp_path


def test_nothing_in_files_becomes_code_and_nothing_is_loaded(hostile):
    html, notes = build_page(str(hostile), str(hostile / 'data.pkl'))
    shown = Page(html.encode().decode())
    assert (
        notes == [] and [tag for tag, _ in shown.tags if tag in ('script', 'img')] == ['script'] * 2
    )
    assert shown.data['embeddings'][0]['names'][0] == f'{HOSTILE}1'
    assert shown.data['matrices'][0]['classes'][:3] == [f'0 {HOSTILE[:-1]}', '1 sit', 'class 2']
    assert HOSTILE[:-1] in shown.text and not re.search(r'url\(|@import', html)
    attributes = [pair for _, found in shown.tags for pair in found.items()]
    assert not [name for name, _ in attributes if name.startswith('on')]
    assert all(
        value[0] == '#' or value == 'data:,'
        for name, value in attributes
        if name in ('src', 'href')
    )


def test_metrics_stand_in_a_column_per_stream(hostile):
    cells = [
        text.strip() for tag, text in page(hostile).texts if tag in ('th', 'td') and text.strip()
    ]
    start = cells.index('metric')
    assert cells[start + 1 : start + 4] == ['value', 'joint', 'motion']
    assert cells[start + 4 : start + 12] == [
        'knn/top1',
        '–',
        '61.23',
        '7.00',
        'linear/top1',
        '–',
        '4.00 ± 0.50',
        '–',
    ]
    assert cells[start + 12 : start + 15] == ['linear/best_epoch', '–', '12']


def test_embedding_is_of_the_queries(hostile):
    points = page(hostile).data['embeddings'][0]
    data = features(name=HOSTILE)
    assert points['names'] == data.names[~data.gallery].tolist()
    assert [points['classes'][i] for i in points['index']] == [
        f'class {label}' for label in data.labels[~data.gallery]
    ]
    assert len(set(zip(points['x'], points['y']))) == len(points['index']) == 16


def test_page_of_120_classes_stays_small(tmp_path):
    scores(classes=120, count=50000).save(str(tmp_path / 'linear.npz'))
    html = build_page(str(tmp_path))[0]
    assert len(html) < 1e6 and np.sum(Page(html).data['matrices'][0]['counts']) == 50000


def test_missing_sections_name_the_command(tmp_path):
    log(tmp_path, [train(1)])
    (tmp_path / 'run.py').write_text('a = 1\n')
    (tmp_path / 'epoch_1.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    command = f'tools/test.py {tmp_path}/run.py {tmp_path}/epoch_1.pth --out {tmp_path}/eval/result.json --dump'
    assert page(tmp_path).text.count(command) == 3
    other = tmp_path / 'other'
    features(4).save(str(other / 'features.npz'))
    shown = page(other)
    assert shown.text.count(f'python tools/train.py CONFIG --work-dir {other}') == 3
    assert (
        shown.text.count('tools/test.py CONFIG CHECKPOINT') == 2
        and 'at least 4 sequences' in shown.text
    )


def test_environment_says_where_it_is_from(tmp_path):
    log(tmp_path, [train(1)])
    (tmp_path / '20260101_000000' / 'a.log').write_text(
        'System environment:\n    Python: 3.9.1\n    GPU 0,1: Some GPU\n    PyTorch: 2.1.0\n    MMEngine: 0.10.5\n\n'
        'Runtime environment:\n    seed: 41\n'
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


@pytest.mark.parametrize(
    'wrong',
    [
        replace(features(), labels=np.arange(24) - 1.5),
        replace(features(), labels=np.arange(24) - 1),
        replace(features(), names=np.arange(24)),
        replace(features(), gallery=np.zeros(24)),
        replace(scores(), labels=scores().labels + 2),
        scores(MAX_CLASSES + 1),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, wrong):
    wrong.save(str(tmp_path / 'wrong.npz'))
    with pytest.raises(ValueError, match=r'wrong\.npz'):
        build_page(str(tmp_path))


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / 'damaged.npz'
    scores().save(str(path))
    for content in (path.read_bytes()[:-40], b'no arrays'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'damaged\.npz.* is damaged'):
            build_page(str(tmp_path))


def test_files_of_others_are_left_out(tmp_path):
    scores().save(str(tmp_path / 'linear.npz'))
    np.savez(tmp_path / 'other.npz', a=np.zeros(3))
    (tmp_path / 'broken.json').write_text('{')
    assert [Path(note.split()[0]).stem for note in build_page(str(tmp_path))[1]] == [
        'broken',
        'other',
    ]


def test_command_writes_the_page_or_nothing(tmp_path, monkeypatch, capsys):
    def call(*arguments):
        cli.run(lambda: call_tool('analyze.py', 'report', *arguments))

    for work, message in ((tmp_path / 'missing', 'does not exist'), (tmp_path, 'holds no log')):
        with pytest.raises(SystemExit, match=message):
            call(work)
    assert list(tmp_path.iterdir()) == []
    log(tmp_path, [train(1)], end='{')
    call(tmp_path)
    call(tmp_path, '--out', tmp_path / 'pages' / 'a.html')
    output = capsys.readouterr()
    assert (
        output.out.split() == [f'{tmp_path}/report.html', f'{tmp_path}/pages/a.html']
        and 'line 2' in output.err
    )
    assert Page((tmp_path / 'pages' / 'a.html').read_text()).chart('loss') == {1: 10.0}
