"""KNN accuracy over training: against scikit-learn, cached results, and tools/analyze.py knn."""

import csv
import json
import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from rich.console import Console
from sklearn.neighbors import KNeighborsClassifier

from aimclr_mm.apis import cli
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.evaluation import knn_curve
from aimclr_mm.evaluation.knn_curve import Point
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.utils.training_log import History
from tests.evaluation.helpers import POINTS
from tests.runs import call_tool

ROOT = Path(__file__).resolve().parents[2]


def feature_set(classes: int = 2, count: int = 90, seed: int = 0) -> FeatureSet:
    """Return noisy classes; two of three sequences belong to the gallery."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    centers = rng.normal(size=(classes, 6))
    features = (centers[labels] + 1.5 * rng.normal(size=(count, 6))).astype(np.float32)
    return FeatureSet(features, labels, np.arange(count) % 3 > 0, np.arange(count).astype(str))


def by_scikit_learn(features: FeatureSet, k: int) -> float:
    """Return the KNN accuracy in percent."""
    gallery = features.gallery
    model = KNeighborsClassifier(k, metric='cosine', algorithm='brute')
    model.fit(features.features[gallery], features.labels[gallery])
    return 100 * model.score(features.features[~gallery], features.labels[~gallery])


def work_dir(path: Path, epochs: tuple[int, ...], logged: dict[int, dict[int, float]]) -> Path:
    """Make a work directory with fake checkpoints and a log.

    Args:
        path: the folder.
        epochs: epochs of the checkpoints.
        logged: epoch -> k -> top-1 accuracy of the validations.
    """
    log = path / '20260101_000000' / 'vis_data'
    log.mkdir(parents=True)
    records = [dict(epoch=1, step=3, loss=5.0)]
    for epoch, values in logged.items():
        accuracies = {f'knn/top1_k{k}': top1 for k, top1 in values.items()}
        records.append({'knn/top1': 0.0, **accuracies, 'step': epoch})
    (log / 'scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records))
    (log / 'config.py').write_text("model = dict(type='AimCLR')\nlauncher = 'pytorch'\n")
    (path / 'name.py').write_text('this is = not the config')
    for epoch in epochs:
        (path / f'epoch_{epoch}.pth').write_text(f'weights of epoch {epoch}')
    return path


@pytest.fixture
def run(tmp_path):
    return work_dir(tmp_path / 'run', (2, 4, 10), {2: {1: 30.0}, 4: {1: 40.0, 20: 45.0}})


@pytest.fixture
def extracted(monkeypatch):
    """Names of the checkpoints that were evaluated; features depend on the epoch."""
    names = []

    def stub(cfg, checkpoint):
        assert cfg.model.type == 'AimCLR' and cfg.launcher == 'none' and os.path.isdir(cfg.work_dir)
        names.append(os.path.basename(checkpoint))
        return feature_set(seed=int(names[-1][6:-4]))

    monkeypatch.setattr(knn_curve, 'extract_features', stub)
    return names


# accuracies


@pytest.mark.parametrize('classes, ks', [(6, [1]), (2, [1, 5, 21])])  # without ties
def test_accuracy_equals_scikit_learn(classes, ks):
    features = feature_set(classes, 180, seed=2)
    expected = {k: by_scikit_learn(features, k) for k in ks}
    assert knn_curve.knn_accuracy(features, ks) == pytest.approx(expected, abs=1e-4)
    assert len(set(expected.values())) == len(ks) and max(expected.values()) < 100


def test_k_larger_than_the_gallery_is_refused():
    with pytest.raises(ValueError, match='k=61, but the gallery holds only 60'):
        knn_curve.knn_accuracy(feature_set(), [1, 61])


def test_logged_points_are_ordered_by_epoch():
    validation = {20: {'knn/top1': 1.0, 'knn/top1_k1': 1.0, 'knn/top1_k20': 2.0}}
    validation[10] = {'knn/top1': 3.0, 'knn/top1_k1': 3.0, 'knn/top1_k20': 4.0}
    assert knn_curve.logged_points('a', History(validation=validation), [20, 5, 1]) == [
        Point('a', 10, 20, 4.0, 'logged'),
        Point('a', 10, 1, 3.0, 'logged'),
        Point('a', 20, 20, 2.0, 'logged'),
        Point('a', 20, 1, 1.0, 'logged'),
    ]


def test_checkpoints_in_the_order_of_epochs(run):
    for name in ('best_epoch_3.pth', 'epoch_3.pth.tmp', 'iter_5.pth'):
        (run / name).touch()
    assert list(knn_curve.find_checkpoints(str(run))) == [2, 4, 10]


def test_accuracies_of_the_checkpoints(run, extracted):
    points = knn_curve.checkpoint_points('a', str(run), [5, 1])
    assert points == [
        Point(
            'a',
            epoch,
            k,
            pytest.approx(by_scikit_learn(feature_set(seed=epoch), k), abs=1e-4),
            'checkpoint',
        )
        for epoch in (2, 4, 10)
        for k in (5, 1)
    ]
    assert sorted(path.name for path in run.iterdir()) == [
        '20260101_000000',
        'epoch_10.pth',
        'epoch_2.pth',
        'epoch_4.pth',
        'knn_curve.json',
        'name.py',
    ]


# cached results


def test_second_call_computes_only_what_is_new(run, extracted):
    first = knn_curve.checkpoint_points('a', str(run), [1, 5])
    assert knn_curve.checkpoint_points('a', str(run), [1, 5]) == first
    assert extracted == ['epoch_2.pth', 'epoch_4.pth', 'epoch_10.pth']
    (run / 'epoch_12.pth').touch()
    os.utime(run / 'epoch_4.pth', ns=(0, 0))
    with open(run / 'epoch_10.pth', 'a') as file:
        file.write(' and more')
    knn_curve.checkpoint_points('a', str(run), [1, 5])
    assert extracted[3:] == ['epoch_4.pth', 'epoch_10.pth', 'epoch_12.pth']
    more = knn_curve.checkpoint_points('a', str(run), [1, 5, 21])
    assert extracted[6:] == ['epoch_2.pth', 'epoch_4.pth', 'epoch_10.pth', 'epoch_12.pth']
    assert [p for p in more if p.k < 21 and p.epoch < 12] == first


def test_interrupted_call_continues(run, extracted, monkeypatch):
    stub = knn_curve.extract_features

    def interrupt(cfg, checkpoint):
        if checkpoint.endswith('epoch_10.pth'):
            raise KeyboardInterrupt
        return stub(cfg, checkpoint)

    monkeypatch.setattr(knn_curve, 'extract_features', interrupt)
    with pytest.raises(KeyboardInterrupt):
        knn_curve.checkpoint_points('a', str(run), [1])
    monkeypatch.setattr(knn_curve, 'extract_features', stub)
    assert len(knn_curve.checkpoint_points('a', str(run), [1])) == 3
    assert extracted == ['epoch_2.pth', 'epoch_4.pth', 'epoch_10.pth']


# picture, table and command


def test_table_holds_the_last_epochs():
    console = Console(width=100, record=True, file=open(os.devnull, 'w'))  # noqa: SIM115
    console.print(knn_curve.summary(POINTS, [1, 20]))
    rows = [
        line.replace('│', ' ').split() for line in console.export_text().splitlines() if '│' in line
    ]
    assert rows == [
        ['A', 'logged', '4', '40.00', '45.00'],
        ['A', 'checkpoint', '4', '41.00', '46.00'],
        ['B', 'logged', '6', '20.00', '21.00'],
    ]


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Run tools/analyze.py knn in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.run(lambda: call_tool('analyze.py', 'knn', *arguments))


def test_command_writes_picture_and_csv(tool, run, extracted, tmp_path, capsys):
    work_dir(tmp_path / 'other', (3,), {3: {1: 35.0}})
    tool(
        'run', 'other', '--k', 1, 5, '--names', 'AimCLR', 'SkeletonCLR', '--out', 'figures/knn.png'
    )
    assert min(matplotlib.image.imread('figures/knn.png').shape[:2]) > 600
    with open('figures/knn.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['run', 'epoch', 'k', 'top1', 'source'] and len(rows) == 3 + 8
    assert rows[1] == dict(run='AimCLR', epoch='4', k='1', top1='40.0', source='logged')
    assert float(rows[-1]['top1']) == pytest.approx(
        by_scikit_learn(feature_set(seed=3), 5), abs=1e-4
    )
    assert rows[-1]['run'] == 'SkeletonCLR' and rows[-1]['source'] == 'checkpoint'
    assert 'SkeletonCLR' in capsys.readouterr().out


def test_command_without_evaluation(tool, run, extracted):
    tool('run', '--no-evaluate')
    with open('knn.csv', encoding='utf-8') as file:
        assert [(row['epoch'], row['k']) for row in csv.DictReader(file)] == [
            ('2', '1'),
            ('4', '1'),
            ('4', '20'),
        ]
    assert not extracted and Path('knn.png').is_file() and not (run / 'knn_curve.json').exists()


def spoil(run: Path, name: str) -> None:
    """Remove or damage a part of a work directory."""
    log = run / '20260101_000000' / 'vis_data'
    if name == 'checkpoints':
        for path in run.glob('*.pth'):
            path.unlink()
    elif name == 'config':
        (log / 'config.py').unlink()
    elif name == 'syntax':
        (log / 'config.py').write_text('model = dict(')
    elif name == 'log':
        (log / 'scalars.json').unlink()
    elif name:
        (run / 'knn_curve.json').write_text(name)


@pytest.mark.parametrize(
    'what, arguments, message',
    [
        ('checkpoints', [], 'contains no checkpoint epoch_N.pth; --no-evaluate'),
        ('config', [], "config.py' does not exist; --no-evaluate"),
        ('syntax', [], "config.py' cannot be read"),
        ('log', [], 'give the work directory of a training'),
        ('[1, 2', [], "knn_curve.json' is damaged"),
        ('[1, 2]', [], "knn_curve.json' is damaged"),
        ('{"epoch_2.pth": {"size": 1}}', [], "knn_curve.json' is damaged"),
        ('', ['--no-evaluate', '--k', '7', '9'], 'logged no KNN accuracy for k = 7, 9'),
        ('', ['--k', '99'], 'k=99, but the gallery holds only 60'),
        ('', ['--out', 'knn.txt'], "'knn.txt': a picture is"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tool, run, extracted, what, arguments, message):
    spoil(run, what)
    before = sorted(Path().rglob('*'))
    with pytest.raises(SystemExit) as exit:
        tool('run', *arguments)
    assert str(exit.value).startswith('error: ') and message in str(exit.value)
    assert sorted(Path().rglob('*')) == before


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['run', 'x/run'], 'give --names'),
        (['run', '--k', '0'], 'at least 1'),
        (['run', '--names', 'a', 'b'], 'give --names'),
    ],
)
def test_bad_options_are_refused(tool, run, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        tool(*arguments)
    assert message in f'{exit.value.code} {capsys.readouterr().err}'


def test_checkpoint_of_a_real_encoder(tool, tmp_path, monkeypatch):
    """The command evaluates the features that saved weights give."""
    write_pickle(
        Synthetic(subjects=2, cameras=1, repetitions=1).dataset(), str(tmp_path / 'data.pkl')
    )
    cfg = Config.fromfile(ROOT / 'configs' / 'aimclr_synthetic_xsub_joint.py')
    cfg.merge_from_dict(
        {'model.backbone.base_channels': 4, 'test_dataloader.dataset.ann_file': 'data.pkl'}
    )
    run = work_dir(tmp_path / 'run', (), {})
    cfg.dump(run / '20260101_000000' / 'vis_data' / 'config.py')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), run / 'epoch_7.pth')
    seen, extract = [], knn_curve.extract_features
    monkeypatch.setattr(
        knn_curve, 'extract_features', lambda *given: seen.append(extract(*given)) or seen[-1]
    )
    tool('run', '--k', 1)
    with open('knn.csv', encoding='utf-8') as file:
        (row,) = csv.DictReader(file)
    assert row['epoch'] == '7' and float(row['top1']) == knn_curve.knn_accuracy(seen[0], [1])[1]
    assert seen[0].gallery.sum() == (~seen[0].gallery).sum() == 14
