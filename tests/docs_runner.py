"""Run code blocks of the documentation in a folder that looks like the project."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.runs import ROOT, command, environment

FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.M | re.S)
FILE = re.compile(r'^# (\w+\.(?:py|yaml))\n')  # a block that begins so is that file


@dataclass(frozen=True)
class Block:
    """A fenced block: the page and line where it begins, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}: {self.text.strip().splitlines()[0]}'

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows, if it shows one."""
        match = FILE.match(self.text)
        return match and match[1]

    def commands(self) -> list[str]:
        """The commands of a ``bash`` block; those over several lines in one."""
        return [
            line
            for line in re.sub(r'\\\n', ' ', self.text).splitlines()
            if shlex.split(line, comments=True)
        ]

    def words(self) -> list[list[str]]:
        """Words of each command, without comments."""
        return [shlex.split(line, comments=True) for line in self.commands()]


def pages() -> list[Path]:
    """The pages whose blocks are looked at."""
    return [
        *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md')),
        *sorted(ROOT.glob('docs/*.md')),
    ]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page."""
    text = page.read_text(encoding='utf-8')
    return [
        Block(
            page.relative_to(ROOT).as_posix(),
            text.count('\n', 0, match.start()) + 1,
            match[1],
            match[2],
        )
        for match in FENCE.finditer(text)
    ]


@contextlib.contextmanager
def arguments(words: list[str]) -> Iterator[None]:
    """The words as command line."""
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before


def parse(words: list[str]) -> None:
    """Lets a tool look at its command line, ``python tools/X.py ...``, and do nothing else.

    Raises:
        SystemExit: if it does not take it.
    """
    with arguments(words[1:]):
        runpy.run_path(str(ROOT / words[1]), run_name='looked_at')['parse_args']()


def make_project(folder: Path) -> Path:
    """A folder with the project's files, in which commands may write."""
    for name in ('aimclr_mm', 'configs', 'tools', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    return folder


def import_libraries() -> None:
    """Import the libraries of the tools once, those that are imported late included."""
    for name in (
        'aimclr_mm.apis',
        'torch._dynamo',
        'matplotlib.pyplot',
        'sklearn.linear_model',
        'scipy.io',
    ):
        importlib.import_module(name)


def work_in(folder: str, tool: str, words: list[str], log: str) -> None:
    """A tool in this process, as if called in the folder."""
    os.chdir(folder)
    sys.path.insert(0, folder)  # as PYTHONPATH=. for modules that a config imports
    sys.stdout, sys.stderr = (
        os.fdopen(n, 'w', buffering=1, closefd=False) for n in (1, 2)
    )  # not pytest's
    # a fork cannot use a GPU that its parent has used
    command(tool, words, log, environment(CUDA_VISIBLE_DEVICES=''))


class Folder:
    """Runs blocks in a folder, one after the other.

    Args:
        path: the folder, see :func:`make_project`.
        reductions: beginning of a command -> options that are appended to make it short.
        after: called with the folder after each command.
        seconds: time limit of a tool.
    """

    def __init__(
        self,
        path: Path,
        reductions: dict[str, str],
        after: Callable[[Path], None] = lambda path: None,
        seconds: int = 120,
    ) -> None:
        self.path, self.reductions, self.after, self.names = path, reductions, after, {}
        self.seconds = seconds

    def run(self, block: Block) -> str:
        """Runs a block, or writes the file that it shows; returns what its commands print."""
        if block.file:
            (self.path / block.file).write_text(block.text)
            return ''
        if block.language == 'python':
            return self.python(block)
        return ''.join(self.command(line, block) for line in block.commands())

    def python(self, block: Block) -> str:
        """Runs Python in this process; names live on in the blocks that follow."""
        before, printed = os.getcwd(), io.StringIO()
        os.chdir(self.path)
        sys.path.insert(0, str(self.path))
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, str(block), 'exec'), self.names)
        finally:
            sys.path.remove(str(self.path))
            os.chdir(before)
        return printed.getvalue()

    def command(self, line: str, block: Block) -> str:
        """Runs one command; tools run in a process that has imported the libraries already."""
        more = next(
            (options for begin, options in self.reductions.items() if line.startswith(begin)), ''
        )
        words, log = [*shlex.split(line, comments=True), *more.split()], self.path / 'command.log'
        log.write_text('')
        if words[0] == 'python' and words[1].startswith('tools/'):
            code = self.tool(Path(words[1]).name, words[2:], log)
        else:
            path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
            with open(log, 'w') as file:
                code = subprocess.run(
                    ['bash', '-ec', line],
                    cwd=self.path,
                    env=environment(PATH=path),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=60,
                ).returncode
        printed = log.read_text()
        assert code == 0, f'{block}\n$ {line}\n{printed[-3000:]}'
        self.after(self.path)
        return printed

    def tool(self, name: str, words: list[str], log: Path) -> int:
        """Return the exit code of a tool, run in a fork that has the libraries imported."""
        import_libraries()
        words = (str(self.path), name, words, str(log))
        process = multiprocessing.get_context('fork').Process(target=work_in, args=words)
        process.start()
        process.join(self.seconds)
        return process.exitcode
