"""The sandbox on a port: its output is all that a program needs to use it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.core import PROVIDERS, ConsentRequired, DeputizeError, Deputy, User, allow_all
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import apps
from tests.cli.conftest import Command
from tests.cli.terminal import talk
from tests.support.lanes import sample
from tests.support.ports import free_port
from tests.support.sandbox_deputy import build, consent


@pytest.mark.processes
@pytest.mark.parametrize(("provider", "scope"), sample([("slack", "channels:read"), ("linear", "read")], spread=True))
async def test_program_with_the_printed_variables_connects_to_the_sandbox(
    home: Path, monkeypatch: pytest.MonkeyPatch, provider: str, scope: str
) -> None:
    port = free_port()
    with talk("sandbox", "--port", "0", "--pages", f"http://127.0.0.1:{port}/", home=home) as serving:
        serving.hear("Ctrl-C ends it")
        variables = dict(re.findall(r"export (DEPUTIZE_\w+)=(\S+)", serving.heard))
        for name, value in {**variables, "DEPUTIZE_HOME": str(home / "mine"), "DEPUTIZE_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        async with Deputy.from_settings() as deputy, httpx.AsyncHTTPTransport() as network:
            assert {"google", "slack", "github", "linear", "salesforce"} == set(deputy.apps)
            [asked] = await deputy.connect("alice", provider, scopes=[scope])
            page = await Browser(network).allow(asked.link)
            [ended] = await deputy.wait_for_consents([asked], timeout=10)
            assert ended.status == "granted", page.text
            assert sorted(one.provider for one in await deputy.connections("alice")) == [provider]
        serving.press("c")
        assert serving.ends() == 130


READS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "google": ("gmail_search_emails", {"query": "from:bob"}),
    "slack": ("slack_list_conversations", {}),
    "github": ("github_list_issues", {}),
    "linear": ("linear_list_issues", {}),
    "salesforce": ("salesforce_list_records", {"object": "Account"}),
}


@contextmanager
def serve_sandbox(home: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the command with pages at ``port``, and set the printed variables."""
    with talk("sandbox", "--port", "0", "--pages", f"http://127.0.0.1:{port}/", home=home) as serving:
        serving.hear("Ctrl-C ends it")
        variables = dict(re.findall(r"export (DEPUTIZE_\w+)=(\S+)", serving.heard))
        for name, value in {**variables, "DEPUTIZE_HOME": str(home / "mine"), "DEPUTIZE_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        yield
        serving.press("c")
        assert serving.ends() == 130


def refuse_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every host name but localhost fail to resolve. The list gets the names that were looked up."""
    looked_up: list[str] = []
    resolve = socket.getaddrinfo

    def refuse(host: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in ("127.0.0.1", "localhost"):
            return resolve(host, *rest, **named)
        looked_up.append(name)
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is not on this machine")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return looked_up


@pytest.mark.processes
async def test_acts_through_the_sandbox_stay_on_the_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    with serve_sandbox(home, free_port(), monkeypatch):
        looked_up = refuse_names(monkeypatch)
        async with Deputy.from_settings() as deputy, httpx.AsyncHTTPTransport() as network:
            browser = Browser(network)
            assert READS.keys() == set(deputy.apps)
            for provider, (tool, arguments) in READS.items():
                with subtests.test(provider):
                    with pytest.raises(ConsentRequired) as missing:
                        await deputy.act(tool, arguments, user="alice")
                    page = await browser.allow(missing.value.consent.link)
                    [ended] = await deputy.wait_for_consents([missing.value.consent], timeout=10)
                    assert ended.status == "granted", page.text
                    found = await deputy.act(tool, arguments, user="alice")
                    assert found["items"]
            assert await deputy.revoke("alice")
    assert looked_up == []


REAL: Final = "acme.my.salesforce.com"
AT: Final = "http://127.0.0.1:9"


class Luring(httpx.AsyncBaseTransport):
    """A stand-in whose responses name the real host; records the hosts that were called."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.played = sandbox.transport()
        self.lure = ""
        self.called: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.called.add(request.url.host)
        answer = await self.played.handle_async_request(request)
        place = f"https://{REAL}{request.url.path.removeprefix(f'/{REAL}')}"
        if self.lure == "body" and request.url.path.endswith("/token"):
            return httpx.Response(
                200, content=answer.content.replace(f"{AT}/{REAL}".encode(), f"https://{REAL}".encode())
            )
        if self.lure == "page" and "/query" in request.url.path:
            return httpx.Response(200, json=answer.json() | {"done": False, "nextRecordsUrl": f"{place}/0r8xx-1"})
        if self.lure.isdigit() and "/services/data" in request.url.path:
            return httpx.Response(int(self.lure), headers={"location": place})
        return answer


async def lured() -> tuple[Deputy, Luring]:
    """A deputy whose Salesforce is redirected to such a stand-in."""
    sandbox = Sandbox()
    luring = Luring(sandbox)
    rows = {"salesforce": PROVIDERS["salesforce"].moved_to(AT)}
    [app] = [one for one in apps() if one.name == "salesforce"]
    return await build(sandbox, transport=luring, apps=[app], providers=rows, policy=allow_all), luring


@pytest.mark.parametrize("lure", ["", "body"])
async def test_consent_fails_when_the_sandbox_names_a_real_instance(lure: str) -> None:
    deputy, luring = await lured()
    async with deputy:
        [asked] = await deputy.connect("alice", "salesforce", scopes=["api"])
        luring.lure = lure
        assert (await consent(deputy, luring, asked)).status == ("failed" if lure else "granted")
        assert luring.called == {"127.0.0.1"}


@pytest.mark.parametrize("lure", ["302", "307", "page"])
async def test_sandboxed_act_follows_no_link_off_the_machine(lure: str) -> None:
    deputy, luring = await lured()
    async with deputy:
        [asked] = await deputy.connect("alice", "salesforce", scopes=["api"])
        await consent(deputy, luring, asked)
        luring.lure = lure
        ask = {"soql": "SELECT Id FROM Account"}
        for _ in range(2):
            try:
                ask["cursor"] = (await deputy.act("salesforce_query", ask, user="alice"))["next"]
            except DeputizeError:
                break
        assert luring.called == {"127.0.0.1"}


async def test_sandbox_refuses_a_grant_that_names_a_real_instance() -> None:
    deputy, luring = await lured()
    async with deputy:
        [asked] = await deputy.connect("alice", "salesforce", scopes=["api"])
        await consent(deputy, luring, asked)
        held = await deputy.vault.find_grant(User("alice"), "salesforce", "salesforce")
        assert held and held.extra == {"instance_url": f"{AT}/{REAL}"}
        await deputy.vault.add(replace(held, extra={"instance_url": f"https://{REAL}"}))
        luring.called.clear()
        with pytest.raises(DeputizeError):
            await deputy.act("salesforce_query", {"soql": "SELECT Id FROM Account"}, user="alice")
        assert luring.called == set()


@pytest.mark.processes
def test_sandbox_stops_on_sigterm(home: Path) -> None:
    with talk("sandbox", "--port", "0", home=home) as serving:
        serving.hear("Ctrl-C ends it")
        serving.terminate()
        assert serving.ends(60) == 143  # what is open may take its twenty seconds to close


def test_taken_port_error_says_what_to_choose(cli: Command, taken_port: int) -> None:
    found = cli("sandbox", "--port", str(taken_port))
    assert (found.exit_code, found.stdout) == (1, "") and f"Port {taken_port}" in found.stderr
    assert "--port 0" in found.stderr and "DEPUTIZE_PORT" not in found.stderr
