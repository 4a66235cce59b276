"""The report's page in headless Chromium: no error, no request, no overflow, and what pointing at things shows."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.visualization.report import write_report

CHROMIUM = (
    shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
)
HOSTILE = '<img src="https://example.org/x.png" onerror="window.hacked=1"></script><script>window.hacked=1</script>'
VIEWS = [(390, 844, 'light'), (390, 844, 'dark'), (1280, 800, 'light'), (1280, 800, 'dark')]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason='no Chromium or Chrome is installed'),
]


class Browser:
    """Headless Chromium, spoken to over its debugging pipe (JSON messages that end with a zero byte)."""

    def __init__(self, profile: Path) -> None:
        (read, self.commands), (self.answers, write) = os.pipe(), os.pipe()
        options = [
            'headless=new',
            'no-sandbox',
            'disable-gpu',
            'disable-dev-shm-usage',
            'no-first-run',
            'disable-background-networking',
            'hide-scrollbars',
            f'user-data-dir={profile}',
            'remote-debugging-pipe',
        ]
        command = [CHROMIUM, *(f'--{option}' for option in options)]
        # the browser reads from descriptor 3 and writes to 4
        self.process = subprocess.Popen(
            ['bash', '-c', f'exec "$@" 3<&{read} 4>&{write}', 'bash', *command],
            pass_fds=(read, write),
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self.number, self.buffer, self.events, self.session = 0, b'', [], None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)[
            'sessionId'
        ]
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def receive(self) -> dict:
        """The next message."""
        while b'\0' not in self.buffer:
            part = os.read(self.answers, 1 << 20)
            assert part, 'the browser has ended'
            self.buffer += part
        message, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(message)

    def call(self, method: str, **params) -> dict:
        """Result of a command; events that come before it are kept."""
        self.number += 1
        message = dict(id=self.number, method=method, params=params)
        if self.session:
            message['sessionId'] = self.session
        os.write(self.commands, json.dumps(message).encode() + b'\0')
        while (answer := self.receive()).get('id') != self.number:
            self.events.append(answer)
        assert 'error' not in answer, answer
        return answer['result']

    def evaluate(self, expression: str):
        """Value of a JavaScript expression."""
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def open(self, page: Path, width: int, height: int, scheme: str) -> None:
        """Loads a page in a window of this size, in the light or dark scheme."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call(
            'Emulation.setEmulatedMedia', features=[dict(name='prefers-color-scheme', value=scheme)]
        )
        self.events.clear()
        self.call('Page.navigate', url=page.as_uri())
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self.receive())

    def point(self, expression: str) -> str:
        """Moves the pointer to where an expression says ([x, y] in the window) and returns the text that appears."""
        x, y = self.evaluate(expression)
        self.call('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)
        return self.evaluate(
            "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
        )

    def problems(self) -> list:
        """Errors and warnings of the console, and requests other than that of the page."""
        found = []
        for event in self.events:
            method, params = event.get('method'), event.get('params', {})
            if method in ('Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded'):
                found.append(params)
            if (
                method == 'Network.requestWillBeSent'
                and params['type'] != 'Document'
                and not params['request']['url'].startswith('data:')
            ):
                found.append(params['request']['url'])
        return found


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Report of a made-up run with three streams, 120 classes and names that would like to be code."""
    work, rng = tmp_path_factory.mktemp('run'), np.random.default_rng(0)
    (work / '20260101_000000' / 'vis_data').mkdir(parents=True)
    records = [
        {
            'loss': 9.0 / e,
            'chance': 9.1,
            'cosine': 1.0 / e,
            'lr': 0.1,
            f'{HOSTILE}.cosine': 0.5,
            'epoch': e,
            'step': 6 * e,
        }
        for e in range(1, 60)
    ] + [{'knn/top1': 50.0, 'step': 30}]
    (work / '20260101_000000' / 'vis_data' / 'scalars.json').write_text(
        '\n'.join(map(json.dumps, records))
    )
    (work / f'{"long_" * 30}.py').write_text(f'a = {HOSTILE!r} * 3\n')
    labels = np.arange(480) % 120
    names = np.array([HOSTILE] * 480)
    for stream in ('joint', 'motion'):
        (work / stream).mkdir()
        FeatureSet(rng.normal(size=(480, 8)).astype('f'), labels, labels % 2 == 0, names).save(
            str(work / stream / 'features.npz')
        )
        ScoreSet(rng.normal(size=(480, 120)).astype('f'), labels, names).save(
            str(work / stream / 'linear.npz')
        )
    metrics = {f'{stream}/{HOSTILE}/top1': 50.0 for stream in ('joint', 'bone', 'motion', 'fused')}
    (work / 'result.json').write_text(
        json.dumps(dict(config=HOSTILE, checkpoint='c' * 200, metrics=metrics))
    )
    write_pickle(
        dict(metainfo=dict(classes=[HOSTILE, *['sit down'] * 119]), split={}, annotations=[]),
        str(work / 'data.pkl'),
    )
    write_report(str(work), str(work / 'report.html'), str(work / 'data.pkl'))
    return work / 'report.html'


@pytest.mark.parametrize('width, height, scheme', VIEWS)
def test_page_is_quiet_and_fits_the_window(browser, page, width, height, scheme):
    browser.open(page, width, height, scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.evaluate('[document.documentElement.scrollWidth, innerWidth]') == [width, width]
    dark = browser.evaluate(
        'getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128'
    )
    assert dark == (scheme == 'dark')
    assert browser.evaluate('window.hacked') is None
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.problems() == []


CENTER = '(r => [r.x + r.width * {0}, r.y + r.height * {1}])(document.querySelector({2!r}).getBoundingClientRect())'


@pytest.mark.parametrize('width, height, scheme', VIEWS[1:3])
def test_pointing_shows_what_is_there(browser, page, width, height, scheme):
    browser.open(page, width, height, scheme)

    def point(selector: str, x: float = 0.5, y: float = 0.5) -> str:
        where = "{block: 'center', behavior: 'instant'}"
        browser.evaluate(f'document.querySelector({selector!r}).scrollIntoView({where})')
        return browser.point(CENTER.format(x, y, selector))

    assert point('[data-chart]', 48 / 400).splitlines() == ['epoch 1', 'loss: 9', 'chance: 9.1']
    assert point('.matrix', 36 / 520, 36 / 520).splitlines()[:2] == [
        f'true: 0 {HOSTILE}',
        f'predicted: 0 {HOSTILE}',
    ]
    scale = browser.evaluate(
        "JSON.parse(document.getElementById('data').textContent).embeddings[0]"
    )
    assert point('.points', scale['x'][7] / 480, scale['y'][7] / 480).splitlines()[0] == HOSTILE
    assert browser.evaluate("document.querySelectorAll('.points path.on').length") == 1
    assert point('h1') == ''
    assert browser.evaluate('window.hacked') is None and browser.problems() == []


def test_table_of_classes_is_sorted_on_demand(browser, page):
    browser.open(page, 1280, 800, 'light')
    values = "[...document.querySelectorAll('.sortable')[0].tBodies[0].rows].map(r => +r.cells[1].dataset.value)"
    before = browser.evaluate(values)
    click = "document.querySelectorAll('.sortable button')[1].click()"
    browser.evaluate(click)
    assert browser.evaluate(values) == sorted(before) != before
    browser.evaluate(click)
    assert browser.evaluate(values) == sorted(before, reverse=True)
    assert browser.problems() == []
