"""Hooks of the documentation's site: pages outside of docs/, files that pages link to, API pages, and llms.txt.

Pages keep the links that work in the repository. The site contains each file to which a page links: Markdown as a page,
other files as a page with their text, a folder as a list.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"^(`{3,}).*?^\1$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^\s*(`{3,})")
ITEM = re.compile(r"^\s*([-*]|\d+(?=\.))\.? +(?=\S)")
NAMED = re.compile(r"\[[\w./-]+\.md\](?=\(((?!https?:)[^)#\s]+\.md)(?:#[^)\s]*)?\))")
PICTURES = (".svg", ".png")
HIDDEN = "---\nsearch: {exclude: true}\n---\n\n"


def on_config(config: MkDocsConfig) -> None:
    """List every page of the navigation in llms.txt."""
    sections = {title: [uri for _, uri in _entries(items)] for title, items in _sections(config.nav)}
    config.plugins["llmstxt"].config["sections"] = sections


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the navigation that are not in docs/, and every file to which a page links."""
    listed = [uri for _, uri in _entries(config.nav)]
    waiting = [*listed, *(file.src_uri for file in files.documentation_pages())]
    while waiting:
        uri = waiting.pop()
        if uri.startswith("api/"):
            files.append(File.generated(config, uri, content=_api_page(uri)))
            continue
        source = _source(uri)
        if not files.get_file_from_path(uri):
            if not source.exists():
                continue  # mkdocs warns of the link
            content = source.read_text("utf-8") if source.suffix == ".md" else _file_page(source)
            inclusion = InclusionLevel.INCLUDED if uri in listed else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, uri, content=content, inclusion=inclusion))
        if source.suffix == ".md":
            waiting += [one for one in _linked(source) if not files.get_file_from_path(one)]
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links between files of the repository to links between pages of the site, which have titles."""
    source = _source(page.file.src_uri)

    def rewrite(found: re.Match[str]) -> str:
        uri = _uri(source, found[1])
        return f"]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{found[2] or ''})"

    def title(found: re.Match[str]) -> str:
        head = re.search(r"^# (.+)$", _source(_uri(source, found[1])).read_text("utf-8"), re.MULTILINE)
        return f"[{head[1]}]" if head else found[0]

    parts = (part if code else LINK.sub(rewrite, NAMED.sub(title, part)) for part, code in _parts(markdown))
    return _indented("".join(parts))


def _parts(markdown: str) -> Iterator[tuple[str, bool]]:
    """Return the page in parts, and whether each is code."""
    end = 0
    for found in CODE.finditer(markdown):
        yield markdown[end : found.start()], False
        yield found[0], True
        end = found.end()
    yield markdown[end:], False


def _indented(markdown: str) -> str:
    """Return the page with lists as Python's Markdown wants them.

    It reads the contents of an item only if four blanks indent them, and joins two lists of different kinds.
    """
    lines, items, fence = list[str](), list[tuple[int, str]](), ""
    for line in markdown.splitlines():
        found = None if fence else ITEM.match(line)
        before = ""
        while not fence and line.strip() and items and len(line) - len(line.lstrip()) < items[-1][0]:
            before = items.pop()[1]
        shift = 4 * len(items) - (items[-1][0] if items else 0)
        if found and before and before.isdigit() != found[1].isdigit():
            lines += [" " * shift + "<!-- -->", ""]
        lines.append(" " * shift + line if line.strip() else line)
        if mark := FENCE.match(line):
            fence = "" if fence else mark[1]
        elif found:
            items.append((found.end(), found[1]))
    return "\n".join(lines) + "\n"


def _linked(source: Path) -> Iterator[str]:
    """Return the pages of the site to which this file links."""
    for part, code in _parts(source.read_text("utf-8")):
        for found in () if code else LINK.finditer(part):
            yield _uri(source, found[1])


def _uri(source: Path, link: str) -> str:
    """Return the page of the site for a link in this file."""
    path = posixpath.normpath(posixpath.join(source.parent.relative_to(ROOT).as_posix(), link))
    uri = path.removeprefix("docs/")
    return uri if uri.endswith((".md", *PICTURES)) else f"{uri}.md"


def _source(uri: str) -> Path:
    """Return the file that a page of the site shows."""
    places = [ROOT / "docs" / uri, ROOT / uri, ROOT / uri.removesuffix(".md")]
    return next((place for place in places if place.exists()), places[0])


def _file_page(source: Path) -> str:
    """Return a page that shows a file as it is, or the names in a folder."""
    name = source.relative_to(ROOT).as_posix()
    if source.is_dir():
        names = sorted(one.name + "/" * one.is_dir() for one in source.iterdir() if one.name != "__pycache__")
        return f"{HIDDEN}# {name}/\n\n" + "".join(f"- `{one}`\n" for one in names)
    language = {".py": "python", ".sh": "bash", ".toml": "toml", ".yaml": "yaml"}.get(source.suffix, "text")
    return f"{HIDDEN}# {name}\n\n`````{language}\n{source.read_text('utf-8')}\n`````\n"


def _api_page(uri: str) -> str:
    """Return the page of a public module."""
    module = uri.removeprefix("api/").removesuffix(".md")
    return f"# {module}\n\n::: {module}\n"


def _sections(nav: Any) -> Iterator[tuple[str, Any]]:
    for item in nav:
        ((title, value),) = item.items()
        yield title, value if isinstance(value, list) else [item]


def _entries(items: Any) -> Iterator[tuple[str, str]]:
    """Return title (or nothing) and page of each entry of the navigation, in order."""
    for item in items:
        ((title, value),) = item.items() if isinstance(item, dict) else [("", item)]
        if isinstance(value, list):
            yield from _entries(value)
        else:
            yield title, value
