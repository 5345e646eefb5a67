"""Form answers (2025-11-25) that arrive at another worker: the decision counts once, and for its request only."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, House, Person, house, text
from tests.adapters.test_mcp_rounds import ARGS, approve
from tests.adapters.test_mcp_sessions import Handshaker
from tests.support.mcp_clients import forms_alone
from tests.support.mcp_matrix import Life
from tests.support.mcp_process import beside
from tests.support.sandbox_deputy import GMAIL, connect, consent, new_vault

FORMS: Final[dict[str, Any]] = {"elicitation": {}}
ALICE: Final = {"authorization": "Bearer alice"}
SCOPES: Final = [f"{GMAIL}{name}" for name in ("readonly", "send")]
YES: Final = {"action": "accept", "content": {"decision": "approve"}}
NO: Final = {"action": "accept", "content": {"decision": "reject"}}


@asynccontextmanager
async def workers(folder: Path, **server: Any) -> AsyncIterator[tuple[House, House]]:
    """Two workers over one vault, in which Alice and Bob are connected."""
    async with AsyncExitStack() as stack:
        sandbox, made = Sandbox(), list[House]()
        for _ in range(2):
            vault = await new_vault(folder / "vault", bytes(32))
            made.append(await stack.enter_async_context(house(sandbox, vault=vault, waits=0.1, server=server)))
        for name in ("alice", "bob"):
            await connect(made[0].deputy, sandbox, "readonly", "send", user=name, as_=f"{name}@example.test")
        yield made[0], made[1]


@asynccontextmanager
async def calling(alice: Handshaker, subject: str = "Lunch") -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Yield the messages on the stream of one call that needs approval."""
    params = {"name": TOOL, "arguments": ARGS | {"subject": subject}}
    body = {"jsonrpc": "2.0", "id": subject, "method": "tools/call", "params": params}
    headers = {"authorization": f"Bearer {alice.user}", "accept": "application/json, text/event-stream"}
    named = {"mcp-session-id": alice.session, "mcp-protocol-version": "2025-11-25"}
    async with alice.http.stream("POST", alice.url, json=body, headers=headers | named) as answer:

        async def heard() -> AsyncIterator[dict[str, Any]]:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])

        yield heard()


async def replied(alice: Handshaker, id: Any, **said: Any) -> int:
    """Answer a request of the server, and return the status."""
    headers = {"authorization": f"Bearer {alice.user}", "accept": "application/json, text/event-stream"}
    named = {"mcp-session-id": alice.session, "mcp-protocol-version": "2025-11-25"}
    body = {"jsonrpc": "2.0", "id": id, **said}
    return (await alice.http.post(alice.url, json=body, headers=headers | named)).status_code


def said(message: dict[str, Any]) -> str:
    """Return what the model reads of a result."""
    return str(message["result"]["content"][0]["text"])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("answer", "words", "mails"),
    [
        ({"result": YES}, "Sent.", 1),
        ({"result": NO}, "declined", 0),
        ({"result": {"action": "decline"}}, "declined", 0),
        ({"result": {"action": "cancel"}}, "without an answer", 0),
        ({"result": {"action": "accept", "content": {"decision": "perhaps"}}}, "without an answer", 0),
        ({"error": {"code": -32603, "message": "no screen"}}, "without an answer", 0),
    ],
)
async def test_answer_at_another_worker_counts(answer: dict[str, Any], words: str, mails: int, tmp_path: Path) -> None:
    async with workers(tmp_path) as (one, two), httpx2.AsyncClient(timeout=10) as http:
        alice = await Handshaker(http, one.url).opened(FORMS)
        async with calling(alice) as stream:
            asked = await anext(stream)
            assert asked["method"] == "elicitation/create" and "Lunch" in asked["params"]["message"]
            assert await replied(alice.at(two), asked["id"], **answer) == 202
            heard = [one async for one in stream]
        assert words in said(heard[-1]) and one.sent() == mails
        for again in (YES, {"action": "decline"}):  # late, at either: the row counts
            assert await replied(alice.at(two), asked["id"], result=again) == 202
        assert one.sent() == mails


@pytest.mark.processes
async def test_crossing_answers_belong_to_their_own_request(tmp_path: Path) -> None:
    async with workers(tmp_path) as (one, two), httpx2.AsyncClient(timeout=10) as http:
        alice = await Handshaker(http, one.url).opened(FORMS)
        async with calling(alice, "first") as here, calling(alice.at(two), "second") as there:
            asked = [await anext(here), await anext(there)]
            assert await replied(alice.at(two), asked[0]["id"], result=YES) == 202
            assert "Sent." in said([one async for one in here][-1])
            [mail] = one.sandbox.sent("alice@example.test")
            assert b"Subject: first" in mail.raw, "a yes to the first is none to the second"
            assert await replied(alice, asked[1]["id"], result=NO) == 202
            assert "declined" in said([one async for one in there][-1]).lower() and one.sent() == 1


@pytest.mark.processes
async def test_request_id_is_useless_to_others_altered_or_without_forms(tmp_path: Path) -> None:
    async with workers(tmp_path) as (one, two), httpx2.AsyncClient(timeout=10) as http:
        alice = await Handshaker(http, one.url).opened(FORMS)
        bob = await Handshaker(http, two.url, user="bob").opened(FORMS)
        async with calling(alice) as stream:
            id = (await anext(stream))["id"]
            other = "A" if id[30] != "A" else "B"
            for who, named in ((bob, id), (alice.at(two), f"{id[:30]}{other}{id[31:]}"), (alice.at(two), 1)):
                assert await replied(who, named, result=YES) == 202
            two.server.performing.forms = False
            assert await replied(alice.at(two), id, result=YES) == 202
            await asyncio.sleep(0.7)
            assert one.sent() == 0 and [one.status for one in await one.deputy.pending("alice")] == ["pending"]
            await approve(two)  # on our page meanwhile: the call goes on, and the form is closed
            heard = [one async for one in stream]
        assert heard[0]["method"] == "notifications/cancelled" and heard[0]["params"]["requestId"] == id
        assert "Sent." in said(heard[-1]) and (one.sent(), one.sent("bob")) == (1, 0)


# ------------------------------------------------------------- two processes, and nothing in front that knows sessions


class InTurn(httpx2.AsyncHTTPTransport):
    """Sends each request to the next of these ports, whatever its session."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self.ports = itertools.cycle(ports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(port=next(self.ports))
        return await super().handle_async_request(request)


@pytest.mark.processes
async def test_client_with_forms_on_two_workers_is_never_left_waiting(
    tmp_path: Path,
) -> None:
    sandbox = Sandbox()
    async with serve(sandbox.app) as google, await beside(tmp_path, google) as deputy, AsyncExitStack() as stack:
        lives = [Life(tmp_path, google, "http") for _ in range(2)]
        for life in lives:
            stack.push_async_callback(life.end)
            await life.begin()
        async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
            for one in await deputy.connect("alice", "google", scopes=SCOPES):
                await consent(deputy, browser, one)
        alice = Person(deputy, sandbox)
        shows: Any = alice.answers
        http = httpx2.AsyncClient(transport=InTurn([life.port for life in lives]), headers=ALICE, timeout=20)
        with forms_alone():
            async with (
                http,
                Client(
                    streamable_http_client(lives[0].target[0], http_client=http),
                    mode="legacy", elicitation_callback=shows,
                ) as client,
            ):  # fmt: skip
                for number in range(6):
                    alice.does["approval"] = "reject" if number == 3 else "approve"
                    done = await client.call_tool(TOOL, ARGS | {"subject": f"number {number}"})
                    assert ("Sent." in text(done)) == (number != 3), done
        assert len(sandbox.sent("alice@example.test")) == 5 and len(alice.shown) == 6
