"""How the command line opens a browser: with a file that only the user can read, never with the link itself."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from deputize.cli import browser
from deputize.sandbox.forms import forms_of

LINK = "http://127.0.0.1:8736/connect/a-ticket?x=1&y=%22"


def _system(*, terminal: bool) -> SimpleNamespace:
    return SimpleNamespace(platform="linux", stderr=SimpleNamespace(isatty=lambda: terminal))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Return what the browser is started with, at a terminal with a desktop."""
    seen: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(browser, "sys", _system(terminal=True))
    monkeypatch.setattr(webbrowser, "open", lambda url: not seen.append(url))  # type: ignore[func-returns-value]
    monkeypatch.setattr(browser, "_place", lambda: tmp_path)
    yield seen
    for timer in [one for one in threading.enumerate() if isinstance(one, threading.Timer)]:
        timer.cancel()


def _file(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def test_browser_opens_a_private_file(opened: list[str]) -> None:
    assert browser.open_browser(LINK)
    (address,) = opened
    file = _file(address)
    assert address.startswith("file:///") and "ticket" not in address
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    page = file.read_text()
    assert 'http-equiv="refresh" content="0; url=http://127.0.0.1:8736/connect/a-ticket?x=1&amp;y=%22"' in page
    assert not forms_of(page) and 'content="no-referrer"' in page


def test_link_with_markup_stays_a_link(opened: list[str]) -> None:
    browser.open_browser('http://127.0.0.1/"><script>x</script>')
    assert "<script" not in _file(opened[0]).read_text()


def test_browser_file_is_removed_after_a_while(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "LINK_FILE_TTL", 0.01)
    browser.open_browser(LINK)
    deadline = time.monotonic() + 10
    while _file(opened[0]).parent.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _file(opened[0]).parent.exists()


def test_files_of_a_killed_command_are_removed_by_the_next(opened: list[str], tmp_path: Path) -> None:
    old, young, foreign = (tmp_path / name for name in ("deputize-link-old", "deputize-link-young", "other"))
    for folder in (old, young, foreign):
        folder.mkdir()
        (folder / "open.html").touch()
    (tmp_path / "deputize-link-aside").symlink_to(foreign)
    before = time.time() - browser.ABANDONED_AFTER_SECONDS - 10
    for folder in (old, foreign):
        os.utime(folder, (before, before))
    os.utime(tmp_path / "deputize-link-aside", (before, before), follow_symlinks=False)
    browser.open_browser(LINK)
    assert not old.exists() and young.exists() and (foreign / "open.html").exists()


@pytest.mark.parametrize("missing", ["desktop", "terminal", "room"])
def test_failed_browser_start_leaves_no_file(
    opened: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    if missing == "desktop":
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
    elif missing == "terminal":
        monkeypatch.setattr(browser, "sys", _system(terminal=False))
    else:
        monkeypatch.setattr(browser, "_place", lambda: tmp_path / "nowhere")
    assert not browser.open_browser(LINK)
    assert not opened and not list(tmp_path.iterdir())


def test_watched_program_opens_a_browser(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "sys", _system(terminal=False))
    assert browser.open_browser(LINK, watched=True) and len(opened) == 1


def test_remote_mac_session_opens_no_browser(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mac = SimpleNamespace(platform="darwin", stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(browser, "sys", mac)
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert browser.open_browser(LINK)
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert not browser.open_browser(LINK)
    monkeypatch.setenv("BROWSER", "code --open-url")
    assert browser.open_browser(LINK) and len(opened) == 2


def test_only_one_module_starts_a_browser() -> None:
    root = Path(__file__).parents[2]
    files = [file for part in ("core", "adapters", "toolkits", "examples") for file in (root / part).rglob("*.py")]
    found = {
        str(f.relative_to(root)) for f in files if re.search(r"\bwebbrowser\b(?!\.open\")|xdg-open", f.read_text())
    }
    assert found == {"adapters/deputize/cli/browser.py"}
