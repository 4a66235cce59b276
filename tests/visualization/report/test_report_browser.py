"""The report in headless Chromium: no errors, requests or overflow, tooltips and sorting."""

import json

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.visualization.report import write_report
from tests.browser import CHROMIUM, Browser

from .runs import write_log

HOSTILE = (
    '<img src="https://example.org/x.png" onerror="window.hacked=1">'
    '</script><script>window.hacked=1</script>'
)
VIEWS = [(390, 844, 'light'), (390, 844, 'dark'), (1280, 800, 'light'), (1280, 800, 'dark')]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason='Chromium or Chrome is not installed'),
]


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Report of a made-up run with two streams, 120 classes and names that contain code."""
    work, rng = tmp_path_factory.mktemp('run'), np.random.default_rng(0)
    usual = {'chance': 9.1, 'lr': 0.1, f'{HOSTILE}.cosine': 0.5}
    records = [dict(usual, loss=9.0 / e, cosine=1.0 / e, epoch=e, step=6 * e) for e in range(1, 60)]
    write_log(work, [*records, {'knn/top1': 50.0, 'step': 30}])
    (work / f'{"long_" * 30}.py').write_text(f'a = {HOSTILE!r} * 3\n')

    labels = np.arange(480) % 120
    names = np.array([HOSTILE] * 480)
    for stream in ('joint', 'motion'):
        features = rng.normal(size=(480, 8)).astype('f')
        scores = rng.normal(size=(480, 120)).astype('f')
        folder = work / stream
        FeatureSet(features, labels, labels % 2 == 0, names).save(str(folder / 'features.npz'))
        ScoreSet(scores, labels, names).save(str(folder / 'linear.npz'))
    metrics = {f'{stream}/{HOSTILE}/top1': 50.0 for stream in ('joint', 'bone', 'motion', 'fused')}
    result = dict(config=HOSTILE, checkpoint='c' * 200, metrics=metrics)
    (work / 'result.json').write_text(json.dumps(result))

    metainfo = dict(classes=[HOSTILE, *['sit down'] * 119])
    write_pickle(dict(metainfo=metainfo, split={}, annotations=[]), str(work / 'data.pkl'))
    write_report(str(work), str(work / 'report.html'), str(work / 'data.pkl'))
    return work / 'report.html'


@pytest.mark.parametrize('width, height, scheme', VIEWS)
def test_page_is_quiet_and_fits_the_window(browser, page, width, height, scheme):
    browser.open(page, width, height, scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.evaluate('[document.documentElement.scrollWidth, innerWidth]') == [width, width]
    background = browser.evaluate('getComputedStyle(document.body).backgroundColor')
    red = int(background.removeprefix('rgb(').split(',')[0])
    assert (red < 128) == (scheme == 'dark')
    assert browser.evaluate('window.hacked') is None
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.problems() == []


def tooltip(browser: Browser, selector: str, x: float = 0.5, y: float = 0.5) -> list[str]:
    """Point at an element and return the lines of the tooltip.

    Args:
        browser: shows the page.
        selector: CSS selector of the element, which is scrolled into view.
        x, y: position in widths and heights of the element.
    """
    element = f'document.querySelector({selector!r})'
    browser.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    box = browser.evaluate(f'{element}.getBoundingClientRect().toJSON()')
    browser.point(box['x'] + box['width'] * x, box['y'] + box['height'] * y)
    tip = browser.evaluate("(t => t.hidden ? '' : t.textContent)(document.getElementById('tip'))")
    return tip.splitlines()


@pytest.mark.parametrize('width, height, scheme', VIEWS[1:3])
def test_tooltips_show_the_values(browser, page, width, height, scheme):
    browser.open(page, width, height, scheme)
    lines = tooltip(browser, '[data-chart]', 48 / 400)
    assert lines == ['epoch 1', 'loss: 9', 'chance: 9.1']
    lines = tooltip(browser, '.matrix', 36 / 520, 36 / 520)
    assert lines[:2] == [f'true: 0 {HOSTILE}', f'predicted: 0 {HOSTILE}']

    points = "JSON.parse(document.getElementById('data').textContent).embeddings[0]"
    x, y = browser.evaluate(f'(e => [e.x[7], e.y[7]])({points})')
    assert tooltip(browser, '.points', x / 480, y / 480)[0] == HOSTILE
    assert browser.evaluate("document.querySelectorAll('.points path.on').length") == 1

    assert tooltip(browser, 'h1') == []
    assert browser.evaluate('window.hacked') is None and browser.problems() == []


def test_classes_are_sorted_by_clicking_on_a_heading(browser, page):
    browser.open(page, 1280, 800, 'light')
    table = "document.querySelector('.sortable')"
    accuracies = f'[...{table}.tBodies[0].rows].map(row => +row.cells[1].dataset.value)'
    click = f"{table}.querySelectorAll('button')[1].click()"
    before = browser.evaluate(accuracies)
    browser.evaluate(click)
    assert browser.evaluate(accuracies) == sorted(before) != before
    browser.evaluate(click)
    assert browser.evaluate(accuracies) == sorted(before, reverse=True)
    assert browser.problems() == []
