"""The documentation's site: its navigation, and what the build makes of the pages: links, llms.txt, barriers.

The navigation is checked always. A built site is checked if ``DEPUTIZE_SITE`` names its folder, as in ``.ci/run``:
``mkdocs build --strict --site-dir FOLDER``.
"""

from __future__ import annotations

import functools
import http.server
import importlib
import os
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.docs.blocks import ROOT
from tests.support.chromium import Chromium
from tests.support.counterparts import require, require_axe

FOLDER: Final = os.environ.get("DEPUTIZE_SITE", "")
OUTSIDE: Final = {
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "examples/README.md",
    "deploy/README.md",
}
LOOKS: Final = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}
SEEN: Final = (
    "index",
    "langgraph",
    "settings",
    "security/standards",
    "api/deputize.adapters.kit",
    "examples/policy/policy.toml",
)
BARRIERS: Final = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
.filter(one => ['serious', 'critical'].includes(one.impact))
.map(one => one.id + ': ' + one.nodes.map(node => node.target.join(' ')).join(', ')))"""


class Config(yaml.SafeLoader):
    """YAML with the tags of mkdocs."""


Config.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
Config.add_constructor("!ENV", lambda loader, node: node.tag)


@functools.cache
def pages() -> list[str]:
    """Return the pages of the navigation, in order."""
    config: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Config)  # noqa: S506  # a SafeLoader

    def entries(items: Any) -> Iterator[str]:
        for item in items:
            [value] = item.values() if isinstance(item, dict) else [item]
            yield from entries(value) if isinstance(value, list) else [value]

    return list(entries(config["nav"]))


@pytest.fixture(scope="module")
def site() -> Path:
    """Return the folder of the built site. Skips the test if there is none."""
    require("the documentation's site", bool(FOLDER), "mkdocs build --strict -d FOLDER, and DEPUTIZE_SITE=FOLDER")
    return Path(FOLDER)


def test_navigation_lists_every_page_once() -> None:
    written = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in pages() if not page.startswith("api/")) == sorted(written | OUTSIDE)


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("api/")])
def test_api_page_is_of_a_module_that_says_what_is_public(page: str) -> None:
    module = importlib.import_module(page.removeprefix("api/").removesuffix(".md"))
    assert all(getattr(module, name) is not None for name in module.__all__)


# ------------------------------------------------------------- the built site


class Html(HTMLParser):
    """The ids, links, assets and elements of a page, and its text in the main part."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids, self.links, self.assets, self.elements = set[str](), list[str](), list[str](), list[str]()
        self._in_main = False
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._in_main |= tag == "article"
        self.ids |= {found.get("id") or found.get("name") or ""}
        if tag == "a":
            self.links += [found.get("href") or ""]
        elif tag in ("script", "img", "link", "iframe") and found.get("rel") != "canonical":
            self.assets += [found.get("src") or found.get("href") or ""]
        if self._in_main and tag != "nav":
            self.elements += [tag]

    def handle_endtag(self, tag: str) -> None:
        self._in_main &= tag != "article"


def html(page: str) -> str:
    """Return the file of the site for a page of the repository."""
    if page == "README.md":
        return "index.html"
    return page.replace("README.md", "index.md").removesuffix(".md") + ".html"


@pytest.mark.counterpart
def test_every_link_and_asset_of_the_site_exists_on_the_site(site: Path) -> None:
    read = functools.cache(lambda file: Html(file))
    files = [file for file in site.rglob("*.html") if file.name != "404.html"]
    broken = list[str]()
    for file in files:
        for link in (*read(file).links, *read(file).assets):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto") and link not in read(file).assets:
                continue
            there = file.parent / unquote(parts.path) if parts.path else file
            if parts.scheme or not there.exists() or (parts.fragment and parts.fragment not in read(there).ids):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert len(files) > len(pages()) and broken == []


@pytest.mark.counterpart
@pytest.mark.parametrize("page", [page for page in pages() if not page.startswith("api/")])
def test_site_shows_as_many_lists_tables_and_blocks_as_the_page_has(site: Path, page: str) -> None:
    source = ROOT / page if page in OUTSIDE else ROOT / "docs" / page
    tokens = MarkdownIt("commonmark").enable("table").parse(source.read_text("utf-8"))
    shown = Html(site / html(page)).elements
    for kind in ("bullet_list_open", "ordered_list_open", "list_item_open", "tr_open", "heading_open", "fence"):
        there = [token for token in tokens if token.type == kind]
        tags = ["pre"] if kind == "fence" else sorted({token.tag for token in there})
        assert sum(shown.count(tag) for tag in tags) == len(there), kind


@pytest.mark.counterpart
def test_llms_txt_lists_every_page_as_markdown(site: Path) -> None:
    listed = re.findall(
        r"^- \[[^\]]+\]\(http://127\.0\.0\.1:8000/([^)]+)\)", (site / "llms.txt").read_text(), re.MULTILINE
    )
    assert listed == [html(page).removesuffix(".html") + ".md" for page in pages()]
    for page in listed:
        assert re.search(r"^# \S", (site / page).read_text("utf-8"), re.MULTILINE), page
    assert "```python\n" in (site / "langgraph.md").read_text("utf-8")


@pytest.mark.counterpart
def test_api_reference_contains_every_public_name(site: Path) -> None:
    for page in pages():
        if page.startswith("api/"):
            module = page.removeprefix("api/").removesuffix(".md")
            ids = Html(site / html(page)).ids
            assert {f"{module}.{name}" for name in importlib.import_module(module).__all__} <= ids


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the site on loopback; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.browser
async def test_site_fits_its_window_without_barriers_in_each_theme(address: str) -> None:
    async with Chromium.started() as browser:
        for look, (width, dark) in LOOKS.items():
            await browser.look(width, dark=dark)
            for page in SEEN:
                await browser.open(f"{address}/{page}.html")
                scheme = await browser.run("document.body.getAttribute('data-md-color-scheme')")
                assert scheme == ("slate" if dark else "default")
                assert await browser.run("document.documentElement.scrollWidth <= innerWidth"), (page, look)
                await browser.run(require_axe())
                assert await browser.run(BARRIERS) == [], (page, look)
        await browser.look(1280)
        await browser.open(f"{address}/index.html")
        await browser.run("document.querySelector('.md-search__input').focus()")
        await browser.run("document.execCommand('insertText', false, 'mandate')")
        assert await browser.until("document.querySelectorAll('.md-search-result__item').length > 2")
        elsewhere = (
            "performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin))"
        )
        assert await browser.run(elsewhere) == []
