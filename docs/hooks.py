"""Hooks of mkdocs: Markdown files outside docs/ become pages, with the links that GitHub has."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    f'{name}.md': f'{name.lower()}.md'
    for name in ('README', 'CONTRIBUTING', 'SECURITY', 'CHANGELOG')
}
LINK = re.compile(r'(?<!!)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)')


def site_links(markdown: str, folder: str) -> str:
    """Turn links to other files of the repository into links between pages of the site.

    Args:
        markdown: text of a file.
        folder: its folder, relative to the root of the repository.

    Returns:
        The text. Links to files that are not pages (a config, a test) become plain text. Links to
        missing files stay, and mkdocs reports them.
    """

    def replace(match: re.Match) -> str:
        text, target, anchor = match[1], match[2], match[3] or ''
        path = os.path.normpath(os.path.join(folder, target)).replace(os.sep, '/')
        if path in PAGES:
            return f'[{text}]({PAGES[path]}{anchor})'
        if path.startswith('docs/'):
            return f'[{text}]({path.removeprefix("docs/")}{anchor})'
        return text if (ROOT / path).exists() else match[0]

    return LINK.sub(replace, markdown)


def on_files(files, config):
    """Add the files outside docs/."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding='utf-8')
        files.append(File.generated(config, page, content=site_links(text, '')))
    return files


def on_page_markdown(markdown: str, page, **kwargs) -> str:
    """Convert the links of the pages in docs/."""
    return markdown if page.file.generated_by else site_links(markdown, 'docs')
