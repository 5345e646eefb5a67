"""Another account of the same machine sees processes, /tmp and the port, and obtains nothing of the user by them."""

from __future__ import annotations

import html
import json
import re
import time
from asyncio import Runner
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deputize.sandbox import Browser
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import LINK, click_open, talk
from tests.support.other_os_account import as_nobody
from tests.support.ports import free_port

pytestmark = pytest.mark.processes

OF_THE_USER = ("alice", "wants to act", "is connected", "Waiting for your approval", "gmail", "as you", "Connected")


def _desktop(home: Path, port: int) -> dict[str, str]:
    """A browser of the user that stays open: its arguments are visible in the process list."""
    program = home / "browser"
    program.write_text(
        '#!/bin/sh\necho "$1" >> "$HOME/opened"\n'
        'for _ in $(seq 600); do [ -e "$HOME/over" ] && exit; sleep 0.1; done\n',
        encoding="utf-8",
    )
    program.chmod(0o700)
    return {"BROWSER": f"{program} %s &", "DEPUTIZE_PORT": str(port)}


def _opened(home: Path) -> str:
    """Return where the browser was finally directed."""
    deadline = time.monotonic() + 20
    while not (home / "opened").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    address = (home / "opened").read_text(encoding="utf-8").strip()
    found = re.search(r'url=([^"]+)"', Path(urlsplit(address).path).read_text(encoding="utf-8"))
    assert address.startswith("file:///") and found
    return html.unescape(found[1])


def _gets_nothing(seen: dict[str, Any]) -> None:
    for page in seen["shown"]:
        assert not [word for word in OF_THE_USER if word in page["text"]], page
    assert {page["status"] for page in seen["shown"]} == {403}
    assert any(page["url"].endswith("/connections") for page in seen["shown"])


def test_another_account_can_neither_see_nor_finish_a_consent(cli: Command, home: Path, provider: Provider) -> None:
    env = provider.settings() | _desktop(home, port := free_port())
    with talk("connect", "google", "--scopes", "gmail.readonly", home=home, env=env) as connecting, Runner() as person:
        link = connecting.hear(LINK)[1]
        assert _opened(home) == link
        seen = as_nobody(port)
        assert any("file:///" in text for text in seen["read"])  # it saw the browser start
        _gets_nothing(seen)
        browser = Browser(network := httpx.AsyncHTTPTransport())
        assert "wants to act for you" in person.run(browser.open(link)).text
        _gets_nothing(as_nobody(port, urlsplit(link).path, f"{urlsplit(link).path}?cookie=1"))
        assert "is connected" in person.run(browser.allow(link)).text, connecting.heard
        person.run(network.aclose())
        (home / "over").touch()
        assert connecting.ends() == 0, connecting.heard
    assert [one["account"] for one in json.loads(cli("accounts", "--json", **env).stdout)] == ["alice@example.test"]


def test_page_of_the_user_opens_for_no_other_account(home: Path, provider: Provider) -> None:
    env = connected(home, provider, "gmail.send") | _desktop(home, port := free_port())
    with talk("open", home=home, env=env) as showing:
        link = showing.hear(r"(http://127\.0\.0\.1:\d+/me/[\w-]+/connections)")[1]
        assert _opened(home) == link
        _gets_nothing(as_nobody(port))
        assert "alice@example.test" in click_open(link)
        _gets_nothing(as_nobody(port, urlsplit(link).path))
        showing.press("c")
    (home / "over").touch()


def test_another_account_cannot_decide_an_approval(home: Path, provider: Provider) -> None:
    env = connected(home, provider, "gmail.send") | _desktop(home, port := free_port())
    arguments = json.dumps({"to": ["bob@example.test"], "subject": "x", "body": "y"})
    with talk("act", "gmail_send_email", arguments, home=home, env=env) as acting:
        link = acting.hear(r"(http://127\.0\.0\.1:\d+/me/[\w-]+/approve/[\w-]+)")[1]
        acting.hear(r"Do this\?")
        _gets_nothing(as_nobody(port))
        assert "bob@example.test" in click_open(link)
        _gets_nothing(as_nobody(port, urlsplit(link).path))
        acting.say("n")
        assert acting.ends() == 1
    assert provider.sandbox.count("gmail.googleapis.com", "/gmail/v1/users/me/messages/send") == 0
