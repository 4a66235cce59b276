"""Headless Chromium, driven over its debugging pipe."""

import json
import os
import shutil
import subprocess
from pathlib import Path

CHROMIUM = (
    shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
)
OPTIONS = [
    'headless=new',
    'no-sandbox',
    'disable-gpu',
    'disable-dev-shm-usage',
    'no-first-run',
    'disable-background-networking',
    'hide-scrollbars',
    'remote-debugging-pipe',
]


class Browser:
    """A browser process and one page; messages are JSON and end with a zero byte.

    Args:
        profile: folder for the browser's profile.
    """

    def __init__(self, profile: Path) -> None:
        read, self.commands = os.pipe()
        self.answers, write = os.pipe()
        options = [f'--{option}' for option in (*OPTIONS, f'user-data-dir={profile}')]
        # the browser reads from descriptor 3 and writes to 4
        self.process = subprocess.Popen(
            ['bash', '-c', f'exec "$@" 3<&{read} 4>&{write}', 'bash', CHROMIUM, *options],
            pass_fds=(read, write),
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)

        self.number, self.buffer, self.events, self.session = 0, b'', [], None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self.session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def receive(self) -> dict:
        """Return the next message."""
        while b'\0' not in self.buffer:
            part = os.read(self.answers, 1 << 20)
            assert part, 'the browser has ended'
            self.buffer += part
        message, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(message)

    def call(self, method: str, **params) -> dict:
        """Return the result of a command; events that arrive before it are kept."""
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
        """Return the value of a JavaScript expression."""
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def open(self, page: Path, width: int, height: int, scheme: str) -> None:
        """Load a page in a window of this size, in the light or dark color scheme."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [dict(name='prefers-color-scheme', value=scheme)]
        self.call('Emulation.setEmulatedMedia', features=features)
        self.events.clear()
        self.call('Page.navigate', url=page.as_uri())
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self.receive())

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a position in the window."""
        self.call('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)

    def problems(self) -> list:
        """Return console errors and warnings, and requests other than that of the page."""
        found = []
        for event in self.events:
            method, params = event.get('method'), event.get('params', {})
            if method in ('Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded'):
                found.append(params)
            if method == 'Network.requestWillBeSent' and params['type'] != 'Document':
                url = params['request']['url']
                if not url.startswith('data:'):
                    found.append(url)
        return found
