"""Another account of this machine, uid nobody, with everything that it can see: run as its own program, by root.

It reads what all processes were started with and the environments that it may read, the files that it may read in
/tmp and /dev/shm, and the port of the pages; then it tries every address it has found there, keeps cookies, follows
redirects and sends each form it is shown. Prints as JSON what it was shown, and what it had read of the start of a
browser.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  (all imports happen before it becomes nobody, who may read none of them)
import html
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from itertools import chain
from pathlib import Path
from typing import Any, Final

NOBODY: Final = 65534
MAX_FILES: Final = 2_000
ALWAYS: Final = ("/", "/connections", "/health", "/callback/google", "/approve/x", "/me/x/connections", "/connect/x")


def as_nobody(port: int, *known: str) -> dict[str, Any]:
    """Return what another account sees at this port: ``shown``, pages with their status; ``read``, files of ours.

    ``known``: paths that it has learned somewhere else. Skips where tests do not run as root, who alone can become
    another account; fails instead where counterparts are required.
    """
    from tests.support.counterparts import require

    require("root, who can become another account", os.geteuid() == 0, "run the tests as root")
    ended = subprocess.run(
        [sys.executable, "-I", __file__, str(port), *known], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _texts() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            yield from _read(process / name)
    left = MAX_FILES
    for folder, _, names in chain(os.walk("/tmp"), os.walk("/dev/shm")):  # noqa: S108
        for name in names[:left]:
            yield from _read(Path(folder) / name)
        if (left := left - len(names)) <= 0:
            return


def _read(path: Path) -> Iterator[str]:
    try:
        if path.is_file() or str(path).startswith("/proc/"):
            with path.open("rb") as file:
                yield file.read(100_000).decode("utf-8", "replace")
    except OSError:
        pass


def _paths(texts: list[str]) -> set[str]:
    """Return every address of ours in these texts, or in a file that they name."""
    named = {urllib.parse.unquote(path) for text in texts for path in re.findall(r"file://(/[^\s\0\"'<>]+)", text)}
    texts = [*texts, *(text for path in named for text in _read(Path(path)))]
    found = (re.findall(r"/(?:connect|me|callback|approve)/[\w./?=&%-]+", html.unescape(text)) for text in texts)
    return {path for paths in found for path in paths}


def _tried(base: str, path: str) -> Iterator[dict[str, Any]]:
    """Open this address in a new browser, and send each form on its page."""
    browser = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
    )
    page = _asked(browser, base + path)
    yield page
    for form in re.findall(r"<form.*?</form>", page["text"], re.DOTALL):
        action = re.search(r'action="([^"]*)"', form)
        fields = dict(re.findall(r'name="([^"]*)" value="([^"]*)"', form))
        if action:
            yield _asked(browser, base + html.unescape(action[1]), urllib.parse.urlencode(fields).encode())


def _asked(browser: urllib.request.OpenerDirector, url: str, form: bytes | None = None) -> dict[str, Any]:
    try:
        with browser.open(url, form, timeout=10) as answer:
            return {"url": url, "status": answer.status, "text": answer.read().decode()}
    except urllib.error.HTTPError as e:
        return {"url": url, "status": e.code, "text": e.read().decode()}
    except (OSError, http.client.HTTPException, ValueError) as e:
        return {"url": url, "status": 0, "text": type(e).__name__}


def _main(port: str, *known: str) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    texts = list(_texts())
    paths = sorted({*known, *ALWAYS, *_paths(texts)})
    shown = [page for path in paths for page in _tried(f"http://127.0.0.1:{port}", path)]
    read = [text.replace("\0", " ") for text in texts if "deputize-link-" in text]
    print(json.dumps({"shown": shown, "read": read}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
