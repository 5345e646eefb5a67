"""Pages on loopback are served only to the account that runs them, and used only if that very program listens there."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from deputize.core import Deputy
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.local import server as local_server
from deputize.core.web.local.pages import LocalPages, same_vault
from deputize.core.web.local.server import connection_uid, serve
from tests.support.sandbox_deputy import google_app

Ends = tuple[tuple[str, int], tuple[str, int]]


async def _deputy() -> Deputy:
    vault = await Vault.open(MemoryStore(), [secrets.token_bytes(32)])
    return Deputy(vault, [google_app()], pages=LocalPages, toolkits=[])


@pytest.fixture(params=["127.0.0.1", "::1"])
def line(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, Ends]]:
    """A connection on this machine: its client, and both ends."""
    family = socket.AF_INET6 if request.param == "::1" else socket.AF_INET
    with ExitStack() as held:
        server = held.enter_context(socket.create_server((request.param, 0), family=family))
        client = held.enter_context(socket.create_connection(server.getsockname()[:2]))
        accepted, peer = server.accept()
        held.enter_context(accepted)
        yield client, (peer[:2], server.getsockname()[:2])


def test_account_of_a_connection_is_found(line: tuple[socket.socket, Ends]) -> None:
    client, ends = line
    assert connection_uid(*ends) == os.geteuid()
    client.close()
    assert connection_uid(*ends) == -1  # nobody holds it


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("nowhere", 1), ("", 0)])
def test_account_lookup_returns_none_for_an_unknown_connection(client: tuple[str, int]) -> None:
    assert connection_uid(client, ("127.0.0.1", 2)) is None


def test_account_is_none_without_a_connection_table(
    line: tuple[socket.socket, Ends], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "_TABLES", {4: "/proc/none", 16: "/proc/none"})
    assert connection_uid(*line[1]) is None


@pytest.mark.parametrize(("account", "status"), [(65534, 403), (-1, 403), (0, 200), (os.geteuid(), 200), (None, 200)])
async def test_connections_of_other_accounts_are_refused(
    monkeypatch: pytest.MonkeyPatch, account: int | None, status: int
) -> None:
    url = await (await _deputy()).pages.base_url()
    monkeypatch.setattr(local_server, "connection_uid", lambda client, server: account)
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/connections", "/health", "/style.css"):
            answer = await client.get(url + path)
            assert answer.status_code == status
    assert ("another account" in answer.text) == (status == 403)


async def test_program_that_forwards_the_health_challenge_is_not_accepted() -> None:
    deputy = await _deputy()
    true = await deputy.pages.base_url()

    async def relay(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] != "http":
            return
        async with httpx.AsyncClient(trust_env=False) as client:
            asked = await client.get(f"{true}{scope['path']}?{scope['query_string'].decode()}")  # type: ignore[attr-defined]
        await send({"type": "http.response.start", "status": asked.status_code, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": asked.content})  # type: ignore[operator]

    async with serve(relay) as other:  # type: ignore[arg-type]
        assert await same_vault(deputy, httpx.URL(true).port or 0)
        assert not await same_vault(deputy, httpx.URL(other).port or 0)
