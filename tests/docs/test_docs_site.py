"""The site builds without warnings; in Chromium it has no errors and no external requests."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
VIEWS = [(1280, 800, 'light'), (390, 844, 'dark')]
SCHEMES = dict(light='default', dark='slate')
WIDE = {
    './',
    'getting_started/',
    'readme/',
    'performance/',
    'robustness/',
}  # pages with wide tables and blocks


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The built site; broken links and anchors, and pages outside the navigation, are errors."""
    pytest.importorskip(
        'material', reason="mkdocs-material is not installed (pip install -e '.[docs]')"
    )
    folder = tmp_path_factory.mktemp('site')
    result = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', folder],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args) -> None:
        """Nothing."""


@pytest.fixture(scope='module')
def address(site):
    """Where the site is served, on the loopback device."""
    with http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(site))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    if not CHROMIUM:
        pytest.skip('no Chromium or Chrome is installed')
    browser = Browser(tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()


def problems(browser: Browser, address: str) -> list:
    """Errors and warnings of the console, failed requests, and requests to other places."""
    found = []
    for event in browser.events:
        method, params = event.get('method'), event.get('params', {})
        if method in (
            'Runtime.exceptionThrown',
            'Runtime.consoleAPICalled',
            'Log.entryAdded',
            'Network.loadingFailed',
        ):
            found.append(params)
        if method == 'Network.requestWillBeSent':
            url = params['request']['url']
            found += [] if url.startswith((address, 'data:', 'blob:')) else [url]
        if method == 'Network.responseReceived' and params['response']['status'] >= 400:
            found.append(params['response']['url'])
    return found


def pages(site: Path) -> list[str]:
    """Addresses of the pages, relative to the site."""
    return sorted(
        f'{path.parent.relative_to(site).as_posix()}/' for path in site.rglob('index.html')
    )


def show(browser: Browser, url: str, *view) -> None:
    """Loads a page of the site."""
    browser.open(SimpleNamespace(as_uri=lambda: url), *view)


def wait(browser: Browser, condition: str, seconds: float = 10) -> bool:
    """Whether a JavaScript condition becomes true in time."""
    script = f"""new Promise(done => {{ const end = Date.now() + {1000 * seconds}, look = () =>
        {condition} ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 20);
        look(); }})"""
    return browser.call('Runtime.evaluate', expression=script, awaitPromise=True)['result']['value']


def test_pages_are_quiet_and_fit_the_window(site, address, browser):
    assert set(pages(site)) >= WIDE
    for width, height, scheme in VIEWS:
        for page in pages(site) if scheme == 'light' else sorted(WIDE):
            show(browser, address + page, width, height, scheme)
            assert browser.evaluate('document.documentElement.scrollWidth') <= width, (page, width)
            assert browser.evaluate("document.querySelector('article h1') !== null"), page
            assert wait(browser, f'document.body.dataset.mdColorScheme === "{SCHEMES[scheme]}"'), (
                page,
                scheme,
            )
            assert problems(browser, address) == [], page
        browser.evaluate('localStorage.clear()')  # where the choice of a scheme is kept
        show(browser, 'about:blank', width, height, scheme)


def test_search_finds_a_word_without_leaving_the_site(address, browser):
    show(browser, address, 1280, 800, 'light')
    browser.evaluate("""{
        const box = document.querySelector('input[data-md-component="search-query"]');
        box.focus();
        box.value = 'collapses';
        box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
        box.dispatchEvent(new Event('input', {bubbles: true})); null}""")
    assert wait(browser, 'document.querySelectorAll(".md-search-result__item a").length > 0')
    assert problems(browser, address) == []
