"""Sessions of the older protocols work at every worker and after a restart, for their user only, and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from deputize.adapters.mcp import sessions
from deputize.core import allow_all
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, House, house
from tests.adapters.test_mcp_rounds import ARGS, Slow, approve
from tests.support.sandbox_deputy import connect, new_vault

URL: Final[dict[str, Any]] = {"elicitation": {"url": {}}}


@dataclass(frozen=True)
class Handshaker:
    """A hand-written 2025-11-25 client that opens one session and stays in it."""

    http: httpx2.AsyncClient
    url: str
    session: str = ""
    user: str = "alice"
    id: int = 1

    async def ask(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params or {}}
        if method.startswith("notifications/"):
            del body["id"]
        named = {"mcp-session-id": self.session, "mcp-protocol-version": "2025-11-25"} if self.session else {}
        common = {"authorization": f"Bearer {self.user}", "accept": "application/json, text/event-stream"}
        return await self.http.post(self.url, json=body, headers=common | named | headers)

    async def opened(self, can: dict[str, Any] | None = None) -> Handshaker:
        """Open a session with a handshake."""
        client = {"name": "older", "version": "1"}
        said = {"protocolVersion": "2025-11-25", "capabilities": can or {}, "clientInfo": client}
        answer = await self.ask("initialize", said)
        assert answer.status_code == 200, answer.text
        found = replace(self, session=answer.headers["mcp-session-id"])
        assert (await found.ask("notifications/initialized")).status_code == 202
        return found

    async def call(self) -> httpx2.Response:
        """Make a call that needs approval."""
        return await self.ask("tools/call", {"name": TOOL, "arguments": ARGS})

    def at(self, home: House) -> Handshaker:
        """Return the same client, connected to another worker."""
        return replace(self, url=home.url)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return how many sessions the SDK has open."""
    made: list[StreamableHTTPSessionManager] = []

    class Watched(StreamableHTTPSessionManager):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

    monkeypatch.setattr("deputize.adapters.mcp.http.StreamableHTTPSessionManager", Watched)
    return lambda: sum(len(one._server_instances) for one in made)


@asynccontextmanager
async def worker(sandbox: Sandbox, folder: Path) -> AsyncIterator[House]:
    """One of several workers over the same vault."""
    async with house(sandbox, vault=await new_vault(folder / "vault", bytes(32)), waits=0.1) as home:
        yield home


@pytest.mark.processes
async def test_session_is_valid_at_each_worker_and_after_a_restart(tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with httpx2.AsyncClient(timeout=30) as http:
        async with worker(sandbox, tmp_path) as one, worker(sandbox, tmp_path) as two:
            await connect(one.deputy, sandbox, "readonly", "send")
            alice = await Handshaker(http, one.url).opened(URL)
            for home in (one, two, two, one):
                answer = await alice.at(home).ask("tools/list")
                assert answer.status_code == 200 and TOOL in answer.text
                assert answer.headers["mcp-session-id"] == alice.session
            asked = await alice.at(two).call()
            assert "-32042" in asked.text and "/approve/" in asked.text, "what it can show is known there, too"
            await approve(one)
        async with worker(sandbox, tmp_path) as three:
            done = await alice.at(three).call()
            assert "Sent." in done.text and three.sent() == 1


@pytest.mark.processes
async def test_session_id_is_useless_to_others_or_altered(tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with httpx2.AsyncClient(timeout=30) as http:
        async with worker(sandbox, tmp_path) as one, worker(sandbox, tmp_path) as two:
            alice = await Handshaker(http, one.url).opened()
            other = "A" if alice.session[20] != "A" else "B"
            altered = replace(alice, session=f"{alice.session[:20]}{other}{alice.session[21:]}")
            for home in (one, two):
                assert (await replace(alice, user="bob").at(home).ask("tools/list")).status_code == 404
                assert (await altered.at(home).ask("tools/list")).status_code == 404
                assert (await replace(alice, session="0" * 32).at(home).ask("tools/list")).status_code == 404
                rebound = await alice.at(home).ask("tools/list", host="evil.example")
                assert rebound.status_code == (421 if home is one else 404)


@pytest.mark.processes
async def test_endless_sessions_of_one_user_do_not_block_others(
    kept: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_PER_USER", 3)
    async with house() as home, httpx2.AsyncClient(timeout=30) as http:
        bob = await Handshaker(http, home.url, user="bob").opened()
        alices = [await Handshaker(http, home.url).opened() for _ in range(8)]
        assert kept() == 4, "three of hers, and his"
        for one in (*alices, bob):
            assert (await one.ask("tools/list")).status_code == 200
        assert kept() == 4


async def test_deleted_session_frees_its_slot_and_still_works(kept: Callable[[], int]) -> None:
    async with house() as home, httpx2.AsyncClient(timeout=30) as http:
        alice = await Handshaker(http, home.url).opened()
        ended = await http.delete(home.url, headers={"authorization": "Bearer bob", "mcp-session-id": alice.session})
        assert ended.status_code == 404 and kept() == 1, "it is not his"
        ended = await http.delete(home.url, headers={"authorization": "Bearer alice", "mcp-session-id": alice.session})
        assert (ended.status_code, ended.headers["allow"]) == (405, "GET, POST") and kept() == 0
        assert (await alice.ask("tools/list")).status_code == 200


async def test_debug_log_contains_no_link_or_mail_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with house() as home, httpx2.AsyncClient(timeout=30) as http:
        alice = await Handshaker(http, home.url).opened(URL)
        asked = await alice.call()
        [waiting] = await home.deputy.pending("alice")
        assert waiting.link in asked.text
        await connect(home.deputy, home.sandbox, "readonly", "send")
        assert ARGS["body"] in (await alice.call()).text
    logs = "\n".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    assert len(logs) > 1000 and waiting.link.rpartition("/")[2] not in logs and ARGS["body"] not in logs


async def test_stream_has_no_event_ids_and_resuming_it_is_refused() -> None:
    async with house(connected=True) as home, httpx2.AsyncClient(timeout=5) as http:
        alice = await Handshaker(http, home.url).opened(URL)
        assert not [line for line in (await alice.ask("tools/list")).text.splitlines() if line.startswith("id:")]
        for user, session, version, status in (
            ("alice", alice.session, "2025-11-25", 405),
            ("bob", alice.session, "2025-11-25", 404),
            ("alice", "0" * 32, "2025-11-25", 404),
            ("alice", "", "2026-07-28", 405),
        ):
            named = {"mcp-session-id": session} if session else {}
            common = {"authorization": f"Bearer {user}", "accept": "text/event-stream", "last-event-id": "7"}
            refused = await http.get(home.url, headers=common | named | {"mcp-protocol-version": version})
            assert refused.status_code == status, refused.text
            assert ("Make the call again" in refused.text) == (session == alice.session and user == "alice")


async def test_repeated_call_after_a_broken_stream_returns_its_outcome() -> None:
    sandbox = Sandbox()
    slow = Slow(sandbox.transport())
    async with house(sandbox, policy=allow_all, transport=slow) as home, httpx2.AsyncClient(timeout=5) as http:
        await connect(home.deputy, sandbox, "readonly", "send")
        alice = await Handshaker(http, home.url).opened(URL)
        first = asyncio.create_task(alice.call())
        await slow.taken.wait()
        first.cancel()
        await asyncio.wait([first])
        slow.go_on.set()
        assert "Sent." in (await replace(alice, id=2).call()).text and home.sent() == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"method":"initialize"}', b"[" * 70_000, b"\xff"])
async def test_invalid_handshake_is_refused_and_opens_no_session(body: bytes, kept: Callable[[], int]) -> None:
    async with house() as home, httpx2.AsyncClient(timeout=30) as http:
        common = {"authorization": "Bearer alice", "accept": "application/json, text/event-stream"}
        answer = await http.post(home.url, content=body, headers=common | {"content-type": "application/json"})
        assert 400 <= answer.status_code < 500 and kept() == 0
