"""Predictions of finetuned and few-shot classifiers, of windows and of streams."""

import csv
import json

import numpy as np
import pytest
import torch
from scipy.special import softmax

from aimclr_mm.apis import (
    Windows,
    cli,
    fit_classifier,
    load_encoder,
    load_head,
    merge_predictions,
    nearest,
    predict,
    predict_stream,
)
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.annotations import load_annotations
from aimclr_mm.evaluation.evaluate import build_loader, build_model
from aimclr_mm.evaluation.extraction import classify
from aimclr_mm.utils.overlays import read_config
from tests.apis.test_apis import folder, walk  # noqa: F401  a fixture
from tests.runs import ROOT, call_tool

CLASSES = [f'action {k}' for k in range(14)]


@pytest.fixture(scope='module')
def finetuned(folder):  # noqa: F811
    """Return config and checkpoint of a classifier with random weights, and its scores."""
    cfg = read_config(str(folder / 'tiny.py'), [str(ROOT / 'configs/protocols/finetune.py')])
    cfg.work_dir = str(folder / 'work')
    torch.manual_seed(3)
    model = load_encoder(cfg, 'random').model
    model.cls_head.fc.weight.data.normal_(0, 3)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'finetuned.pth')
    expected = classify(build_model(cfg, str(folder / 'finetuned.pth')), build_loader(cfg))
    return str(folder / 'tiny.py'), str(folder / 'finetuned.pth'), expected


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run tools/embed.py in this process; return its output or its error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        try:
            cli.run(lambda: call_tool('embed.py', *arguments))
        except SystemExit as error:
            return str(error.code) + capsys.readouterr().err
        return capsys.readouterr().out

    return run


def rows_of(path) -> list[dict]:
    """Return the rows of a CSV file."""
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def queries_of(folder, expected) -> str:  # noqa: F811
    """Write the sequences that were evaluated to a file, without labels."""
    content = load_annotations(str(folder / 'data.pkl'))
    chosen = {
        a['frame_dir']: {k: v for k, v in a.items() if k != 'label'} for a in content['annotations']
    }
    annotations = [chosen[name] for name in expected.names]
    write_pickle(dict(annotations=annotations, split={}), str(folder / 'queries.pkl'))
    return str(folder / 'queries.pkl')


def test_head_gives_the_scores_of_the_classifier(folder, finetuned, tool, tmp_path):  # noqa: F811
    config, checkpoint, expected = finetuned
    source, keep = queries_of(folder, expected), ('--missing', 'keep')  # as evaluated
    assert '.csv' in tool('predict', config, checkpoint, source, *keep, '--out', 'p.csv')
    rows = rows_of('p.csv')
    scores = expected.scores.astype(np.float64)
    scores = scores if np.allclose(scores.sum(axis=1), 1) else softmax(scores, axis=1)
    order = np.argsort(-scores, axis=1)[:, :5]
    assert [row['name'] for row in rows] == expected.names.tolist()
    assert [row['predicted'] for row in rows] == [CLASSES[k] for k in order[:, 0]]
    for rank in range(5):
        end = '' if rank == 0 else str(rank + 1)
        found = [float(row[f'probability{end}']) for row in rows]
        np.testing.assert_allclose(found, np.take_along_axis(scores, order, 1)[:, rank], atol=2e-4)

    tool('predict', config, checkpoint, source, *keep, '--out', 'p.json')
    content = json.loads((tmp_path / 'p.json').read_text())
    assert content[0]['predicted'] == rows[0]['predicted'] and len(content[0]['top']) == 5
    assert content[0]['top'][4]['predicted'] == rows[0]['predicted5']
    assert 'label' not in content[0] and 'start' not in content[0]


def test_names_of_classes(folder, finetuned, tool):  # noqa: F811
    _, checkpoint, _ = finetuned
    content = torch.load(checkpoint, weights_only=True)
    torch.save(dict(state_dict=content['state_dict']), folder / 'unnamed.pth')
    assert load_head(checkpoint).classes.tolist() == CLASSES
    assert load_head(str(folder / 'unnamed.pth')).classes.tolist() == list(map(str, range(14)))
    with pytest.raises(ValueError, match='has 14 classes, but 2 names are given'):
        load_head(checkpoint, classes=['a', 'b'])
    with pytest.raises(ValueError, match='holds no classifier .*few_shot --save'):
        load_head(str(folder / 'tiny.pth'))


def test_few_shot_classifier_predicts_too(folder, finetuned, tool, tmp_path):  # noqa: F811
    config, checkpoint, _ = finetuned
    for name in ('sit/a', 'sit/b', 'run/a', 'run/b'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f'{name}.npy', walk(8) + (name < 's'))
    tool('few_shot', config, checkpoint, '--examples', '.', '--save', 'c.npz')
    printed = tool('predict', config, checkpoint, 'sit', 'run', '--classifier', 'c.npz')
    given = ['few_shot', config, checkpoint, '--classifier', 'c.npz', '--classify', 'sit', 'run']
    assert [line.split()[-1] for line in printed.splitlines()] == [
        line.split()[-1] for line in tool(*given).splitlines()
    ]
    options = ['--classifier', 'c.npz', '--ann-file', 'x.pkl']
    assert 'has its own names' in tool('predict', config, checkpoint, 'sit', *options)


def test_windows_of_a_long_recording(folder, finetuned, tool, tmp_path):  # noqa: F811
    config, checkpoint, _ = finetuned
    long = walk(400) / 4  # people of a possible size
    long[:, 200:320] = 0  # nobody for four seconds
    np.save(tmp_path / 'long.npy', long)
    np.save(tmp_path / 'short.npy', walk(20))
    options = ['--window', '2', '--stride', '1', '--out', 's.csv']
    printed = tool(
        *('predict', config, checkpoint, 'long.npy', 'short.npy', *options),
        *('--timeline', 't.csv', 't.png'),
    )
    assert (tmp_path / 't.png').read_bytes()[:4] == b'\x89PNG' and 't.csv' in printed

    encoder, head = load_encoder(config, checkpoint), load_head(checkpoint)
    windows = rows_of('t.csv')
    assert {float(w['end']) - float(w['start']) for w in windows if w['name'] == 'long.npy'} == {2}
    for window in windows:
        whole = np.load(window['name'])
        start, end = (round(30 * float(window[side])) for side in ('start', 'end'))
        expected = head.probabilities(encoder.embed(whole[:, start:end]))[0]
        found = [float(window[name]) for name in CLASSES]
        np.testing.assert_allclose(found, expected, atol=2e-4)

    segments = rows_of('s.csv')
    held = [(float(w['start']), float(w['end'])) for w in windows if w['name'] == 'long.npy']
    for row in segments:
        assert row['predicted'] in CLASSES and float(row['start']) < float(row['end'])
    ends = [float(row['end']) for row in segments if row['name'] == 'long.npy']
    assert ends == sorted(ends) and ends[-1] == max(end for _, end in held)
    assert 'give --window SECONDS too' in tool('predict', config, checkpoint, 'a', '--stride', '1')


def test_search_in_a_long_recording(folder, finetuned, tool, tmp_path):  # noqa: F811
    config, checkpoint, _ = finetuned
    long = walk(300) / 4
    np.save(tmp_path / 'long.npy', long)
    np.save(tmp_path / 'query.npy', long[:, 90:150])  # seconds 3 to 5
    options = ['--window', '2', '--stride', '0.5', '-k', '3', '--out', 'n.csv']
    printed = tool(
        *('search', config, checkpoint, 'query.npy', '--gallery', 'long.npy', *options),
        *('--timeline', 't.csv', 't.png', '--picture', 'n.png'),
    )
    assert '1  1.0000  long.npy@3.000-5.000' in printed
    names = [row['name'] for row in rows_of('n.csv')]
    spans = sorted(tuple(map(float, name.split('@')[1].split('-'))) for name in names)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))
    assert (tmp_path / 'n.png').stat().st_size > 1000
    timeline = rows_of('t.csv')
    assert len(timeline) == 17
    (own,) = (row for row in timeline if row['start'] == '3.000')
    assert (own['end'], own['query'], own['similarity']) == ('5.000', 'query.npy', '1.0000')

    tool(
        'embed',
        config,
        checkpoint,
        'long.npy',
        '--window',
        '2',
        '--stride',
        '0.5',
        '--out',
        'g.npz',
    )
    again = tool('search', config, checkpoint, 'query.npy', '--gallery', 'g.npz', '-k', '3')
    assert again.splitlines() == printed.splitlines()[:4]
    wrong = ['--gallery', 'g.npz', '--picture', 'p.png']
    assert 'as the gallery was embedded with' in tool(
        'search', config, checkpoint, 'query.npy', *wrong
    )


@pytest.mark.parametrize('total', [0, 5, 20, 23, 61])
def test_a_stream_gives_the_windows_of_the_recording(folder, finetuned, tmp_path, total):  # noqa: F811
    config, checkpoint, _ = finetuned
    encoder, head = load_encoder(config, checkpoint), load_head(checkpoint)
    windows = Windows(2, 0.5, fps=10)
    recording = walk(max(total, 1), people=2)[:, :total]
    asked = []

    def frames():
        for number in range(total):
            asked.append(number)
            yield recording[:, number]

    found = []
    for prediction in predict_stream(encoder, head, frames(), windows):
        found.append(prediction)
        # as soon as the last frame has come
        assert prediction.end == pytest.approx(len(asked) / 10)
    if not total:
        assert not found
        return

    np.save(tmp_path / 'a.npy', recording)
    expected = predict(encoder.embed_recordings(tmp_path / 'a.npy', windows=windows), head)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert (one.start, one.end) == pytest.approx((other.start, other.end))
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert len(merge_predictions(found)) >= 1


def test_a_stream_with_changing_people(folder, finetuned):  # noqa: F811
    config, checkpoint, _ = finetuned
    encoder = load_encoder(config, checkpoint)
    labels = ['a', 'b', 'a', 'b']
    classifier = fit_classifier(
        np.random.default_rng(0).normal(size=(4, encoder.embed(walk(9)).shape[1])), labels
    )
    poses = walk(12, people=2)
    frames = [None] * 4 + [poses[:, i] if i % 2 else poses[0, i] for i in range(12)]
    (first, *others) = predict_stream(encoder, classifier, frames, Windows(0.4, 0.4, fps=10))
    assert (first.start, first.end) == pytest.approx((0.4, 0.8)) and len(others) == 2
    expected = poses[:, :4].copy()
    expected[1, ::2] = 0
    np.testing.assert_allclose(
        first.probabilities, classifier.probabilities(encoder.embed(expected))[0], atol=1e-6
    )
    with pytest.raises(ValueError, match='frame 1 of the stream has shape'):
        list(predict_stream(encoder, classifier, [np.zeros(3)], Windows(1, 1)))


def test_similarities_of_the_timeline_are_those_of_the_search(finetuned):
    rng = np.random.default_rng(1)
    gallery, query = rng.normal(size=(9, 4)), rng.normal(size=(2, 4))
    found = nearest(query, gallery, 9)
    restored = np.empty((2, 9))
    np.put_along_axis(restored, found.indices, found.similarities, axis=1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)]
    np.testing.assert_allclose(restored, unit[0] @ unit[1].T, atol=1e-7)
