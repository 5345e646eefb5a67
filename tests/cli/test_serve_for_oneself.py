"""``deputize serve --stdio`` for one user: their client shows no links, so their browser is opened."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shlex
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from deputize.adapters.mcp.elicitation import question_of
from deputize.cli import local_browser as own_browser
from deputize.cli.local_browser import OwnBrowser
from deputize.core import ApprovalRequired, ConsentRequired, User
from deputize.sandbox import Browser, Sandbox
from tests.cli.conftest import Provider
from tests.cli.terminal import CLI, environment, talk
from tests.support.sandbox_deputy import build, connect

HOME: Final = "http://127.0.0.1:8736"
TOOL: Final = "gmail_send_email"
MAIL: Final = {"to": ["bob@example.test"], "subject": "Hello", "body": "Hello Bob"}


@dataclass
class Desk:
    """A user's machine: the program named by BROWSER records which file it was opened with, and fetches it."""

    home: Path
    seen: list[str] = field(default_factory=list)

    @property
    def script(self) -> Path:
        script, tabs = self.home / "browser", self.home / "tabs"
        if not script.exists():
            tabs.mkdir()
            script.write_text(
                f'#!/bin/sh\necho "to the wire?"\ncat > /dev/null\nn=$(mktemp {tabs}/XXXXXX)\n'
                f'cp "$(echo "$1" | sed s,^file://,,)" $n && mv $n $n.html\n'
            )
            script.chmod(0o700)
        return script

    def tabs(self) -> list[str]:
        """Return the links that it was given, oldest first."""
        pages = sorted((self.home / "tabs").glob("*.html"), key=os.path.getmtime)
        links = (re.search(r'<a href="([^"]+)"', page.read_text()) for page in pages)
        return [html.unescape(link[1]) for link in links if link]

    async def next(self) -> str:
        """Return the next tab that opens."""
        async with asyncio.timeout(20):
            while not (new := [link for link in self.tabs() if link not in self.seen]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        self.seen.append(new[0])
        return new[0]


async def visit(link: str, decision: str = "approve") -> None:
    """Do what the user does at a link."""
    async with httpx.AsyncHTTPTransport() as transport:
        browser = Browser(transport)
        if "/connect/" in link:
            await browser.allow(link)
            return
        page = await browser.open(link)
        [form] = [form for form in page.forms if decision in form.offers("decision")]
        await browser.submit(page, form, decision=decision)


@asynccontextmanager
async def started(home: Path, settings: dict[str, str], *more: str) -> AsyncIterator[Client]:
    """Return the SDK's client, which shows nothing, connected to a server it has started."""
    env = environment(home, **settings)
    server = StdioServerParameters(command=CLI[0], args=[*CLI[1:], "serve", "--stdio", "gmail", *more], env=env)
    async with Client(stdio_client(server), mode="2026-07-28") as mcp:
        yield mcp


def text(said: types.CallToolResult) -> str:
    assert isinstance(said.content[0], types.TextContent)
    return said.content[0].text


@pytest.mark.processes
async def test_browser_opens_and_a_decision_there_happens_once(home: Path, provider: Provider) -> None:
    desk = Desk(home)
    async with started(home, provider.settings() | {"BROWSER": str(desk.script)}) as mcp:
        calling = asyncio.create_task(mcp.call_tool(TOOL, MAIL))
        consent = await desk.next()
        assert "/connect/" in consent
        await visit(consent)
        approval = await desk.next()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/me/[\w-]+/approve/[\w-]+", approval)
        await visit(approval)
        said = await calling
        assert not said.is_error and "Sent." in text(said), "one call, and the model made it once"
        assert len(provider.sandbox.sent("alice@example.test")) == 1

        calling = asyncio.create_task(mcp.call_tool(TOOL, MAIL | {"subject": "Again"}))
        await visit(await desk.next(), "reject")
        assert "declined" in text(await calling).lower()
        assert len(provider.sandbox.sent("alice@example.test")) == 1 and len(desk.tabs()) == 3


@pytest.mark.processes
async def test_model_is_told_the_command_to_run_without_a_browser(home: Path, provider: Provider) -> None:
    async with started(home, provider.settings() | {"BROWSER": str(Desk(home).script)}, "--no-browser") as mcp:
        said = await mcp.call_tool(TOOL, MAIL)
        [command] = re.findall(r"`(.+)`", text(said))
        assert said.is_error and command.endswith("open --user alice") and "/connect/" not in text(said)
        words = shlex.split(command)
        with talk("open", *words[words.index("open") + 1 :], home=home, env=provider.settings()) as shown:
            assert await asyncio.to_thread(shown.hear, r"http://127\.0\.0\.1:\d+/me/")
        assert words[0] == f"DEPUTIZE_HOME={home}/deputize" and not Desk(home).tabs()


@pytest.fixture
def tabs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what a browser would open, without a browser."""
    links: list[str] = []

    def opened(link: str, watched: bool) -> bool:
        links.append(link)
        return watched

    monkeypatch.setattr(own_browser, "open_browser", opened)
    monkeypatch.setattr(own_browser, "GATHER_SECONDS", 0.05)
    monkeypatch.setattr(own_browser, "TAB_INTERVAL_SECONDS", 0.3)
    return links


async def test_concurrent_requests_share_a_tab_and_a_repeated_one_opens_none(tabs: list[str]) -> None:
    sandbox, alice = Sandbox(), User("alice")
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        opens, questions = OwnBrowser(deputy), []
        for n in range(5):
            with pytest.raises(ApprovalRequired) as asked:
                await deputy.act(TOOL, MAIL | {"subject": str(n)}, user="alice")
            questions.append(question_of(asked.value))
        first = await opens(alice, questions[0])
        assert first.opened and tabs == [f"{HOME}/approve/{questions[0].id}"]
        assert f"{HOME}/connections" in first.words and questions[0].id not in first.words
        began = time.monotonic()
        assert all(told.opened for told in await asyncio.gather(*(opens(alice, one) for one in questions[1:])))
        assert tabs[1:] == [f"{HOME}/connections"], "which lists them all"
        assert time.monotonic() - began > 0.2, "a model cannot open tabs without end"
        assert (await opens(alice, questions[0])).opened and len(tabs) == 2


async def test_disconnecting_client_closes_no_tab_of_another_call(tabs: list[str]) -> None:
    sandbox, alice = Sandbox(), User("alice")
    async with await build(sandbox) as deputy:
        opens = OwnBrowser(deputy)
        with pytest.raises(ConsentRequired) as asked:
            await deputy.act(TOOL, MAIL, user="alice")
        one = question_of(asked.value)
        left = asyncio.create_task(opens(alice, one))
        stays = asyncio.create_task(opens(alice, one))
        await asyncio.sleep(0)
        left.cancel()
        assert (await stays).opened and tabs == [one.link] and one.link not in (await stays).words


async def test_foreground_browser_does_not_block_the_call(monkeypatch: pytest.MonkeyPatch, tabs: list[str]) -> None:
    closed = threading.Event()
    monkeypatch.setattr(own_browser, "open_browser", lambda link, watched: closed.wait(20))
    monkeypatch.setattr(own_browser, "START_TIMEOUT_SECONDS", 0.1)
    async with await build(Sandbox()) as deputy:
        with pytest.raises(ConsentRequired) as asked:
            await deputy.act(TOOL, MAIL, user="alice")
        assert (await OwnBrowser(deputy)(User("alice"), question_of(asked.value))).opened
        closed.set()
