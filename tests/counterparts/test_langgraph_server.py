"""The graphs under LangGraph's own dev server, with its own identities: it ends each run that blocks its loop.

It loads a file once for each of its graphs: that many local deputies of one vault, which share their pages (f21).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import register_pages
from tests.support.counterparts import CHECKOUT, langgraph_cli
from tests.support.ports import free_port

pytestmark = pytest.mark.counterpart
GRAPHS = ("by_hand", "created", "trusting", "tenants", "bound", "named", "told")
GO_ON = {"messages": [{"role": "user", "content": "go on"}]}
ALICE = {"Authorization": "Bearer alice/acme"}
BOB = {"Authorization": "Bearer bob/acme"}
STUDIO = {"x-auth-scheme": "langsmith"}
EVERY_SECOND = "* * * * * *"


@dataclass(frozen=True)
class Server:
    """A running dev server, and the sandbox behind its graphs."""

    url: str
    sandbox: Sandbox
    log: Path
    sandbox_url: str

    def client(self, headers: dict[str, str]) -> Any:
        return get_client(url=self.url, api_key=None, headers=headers)


@contextmanager
def dev_server(
    folder: Path,
    *,
    auth: bool,
    pages: bool = False,
    graphs: Sequence[str] = GRAPHS,
    written: dict[str, Any] | None = None,
    after: Server | None = None,
) -> Iterator[Server]:
    """Run ``langgraph dev`` over these graphs, without ``--allow-blocking``.

    ``pages``: it serves the deputy's pages, too. ``written``: another ``langgraph.json``, whose files are in the
    folder. ``after``: an ended server of this folder, whose sandbox is used again.
    """
    here = CHECKOUT / "tests" / "support" / "langgraph_server"
    config: dict[str, Any] = {
        "dependencies": ["."],
        "graphs": {name: f"{here / 'graphs.py'}:{name}" for name in graphs},
        **({"auth": {"path": f"{here / 'auth.py'}:auth"}} if auth else {}),
        **({"http": {"app": f"{here / 'webapp.py'}:app"}} if pages else {}),
    }
    (folder / "langgraph.json").write_text(json.dumps(written or config))
    sandbox, port = after.sandbox if after else Sandbox(), free_port()
    stack = after.sandbox_url if after else portal().run(portal().enter(serve(sandbox.app)))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("", "core", "adapters", "toolkits")),
        "SERVER_HOME": str(folder / "home"),
        "SERVER_PAGES": str(free_port()),
        "SERVER_SANDBOX": stack,
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "CRON_SCHEDULER_SLEEP_TIME": "1",
    }
    if pages:
        base = f"http://127.0.0.1:{port}/deputize"
        register_pages(sandbox, base)
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        environment |= {"SERVER_BASE_URL": base, "DEPUTIZE_KEY": key}
    command = [langgraph_cli(), "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 90
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.3)
        yield Server(url, sandbox, log, stack)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with custom authentication."""
    with dev_server(tmp_path_factory.mktemp("verified"), auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with dev_server(tmp_path_factory.mktemp("open"), auth=False) as server:
        yield server


@pytest.fixture
def with_pages(tmp_path: Path) -> Iterator[Server]:
    """A server with custom authentication that serves the deputy's pages beside its API."""
    with dev_server(tmp_path, auth=True, pages=True) as server:
        yield server


@dataclass(frozen=True)
class Thread:
    """Runs of one graph in one thread."""

    server: Server
    graph: str
    client: Any
    id: str

    async def __call__(self, who: dict[str, str] | None = None, **what: Any) -> Any:
        """Return the result of a run, or its error; as another user if one is named."""
        async with self.server.client(who) if who else nullcontext(self.client) as client:
            return await client.runs.wait(self.id, self.graph, raise_error=False, **what)

    async def pauses(self) -> list[dict[str, Any]]:
        state = await self.client.threads.get_state(self.id)
        return [pause["value"] for task in state["tasks"] for pause in task["interrupts"]]


@asynccontextmanager
async def thread(server: Server, graph: str, headers: dict[str, str]) -> AsyncIterator[Thread]:
    async with server.client(headers) as client:
        yield Thread(server, graph, client, (await client.threads.create())["thread_id"])


def refused(answer: Any, why: str) -> None:
    error = answer["__error__"]
    assert error["error"] == "PolicyDenied" and why in error["message"], error


async def allow(pause: dict[str, Any], as_: str = "alice@example.test") -> None:
    """Follow the links of a pause for consent as the user."""
    assert pause["type"] == "deputize.consent"
    async with httpx.AsyncHTTPTransport() as net:
        for one in pause["consents"]:
            await Browser(net).allow(one["link"], as_=as_)


async def test_run_pauses_resumes_and_streams_without_blocking_calls(verified: Server) -> None:
    before = len(verified.sandbox.sent("alice@example.test"))
    async with thread(verified, "by_hand", ALICE) as run:
        await run(input=GO_ON)
        [pause] = await run.pauses()
        await allow(pause)
        refused(await run(BOB, command={"resume": {"wake": True}}), "another user")  # f20: not "internal error"
        await run(command={"resume": {"wake": True}})
        [pause] = await run.pauses()
        yes = {"decisions": {ask["approval_id"]: "approve" for ask in pause["approvals"]}}
        ended = await run(command={"resume": yes})
        assert [m["status"] for m in ended["messages"] if m["type"] == "tool"] == ["success", "success"]
        assert len(verified.sandbox.sent("alice@example.test")) == before + 1
    for graph in ("by_hand", "created"):
        async with thread(verified, graph, ALICE) as run:
            stream = run.client.runs.stream(
                run.id, graph, input=GO_ON, stream_mode=["updates", "messages-tuple", "events"], stream_subgraphs=True
            )
            events = [part.event.split("|")[0] async for part in stream]
            assert "updates" in events and "error" not in events
            assert [pause["type"] for pause in await run.pauses()] == ["deputize.approval"]
    assert "BlockingError" not in verified.log.read_text()


class SignedIn(httpx.AsyncBaseTransport):
    """The network of a user signed in to this server: a cookie, and no ``Authorization``."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name, self.network = server, name, httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(self.server.url):
            held = request.headers.get("cookie")
            request.headers["cookie"] = "; ".join(filter(None, [held, f"session={self.name}"]))
        return await self.network.handle_async_request(request)

    async def aclose(self) -> None:
        await self.network.aclose()


async def test_server_serves_our_pages_beside_its_api_to_signed_in_users(with_pages: Server) -> None:
    async with thread(with_pages, "by_hand", ALICE) as run:
        await run(input=GO_ON)
        [pause] = await run.pauses()
        [asked] = pause["consents"]
        assert asked["link"].startswith(f"{with_pages.url}/deputize/connect/")
        async with httpx.AsyncClient() as nobody:
            sent_on = await nobody.get(asked["link"])
            assert sent_on.status_code == 303 and sent_on.headers["location"].startswith("/login?next=")
        async with SignedIn(with_pages, "alice") as network:
            assert "is connected" in (await Browser(network).allow(asked["link"])).text
        await run(command={"resume": "look again"})
        [pause] = await run.pauses()
        [approval] = pause["approvals"]
        assert approval["link"].startswith(f"{with_pages.url}/deputize/approve/")
    assert "BlockingError" not in with_pages.log.read_text()


async def test_server_renders_the_schemas_of_graph_and_node(verified: Server) -> None:
    async with verified.client(ALICE) as client:
        for graph in ("by_hand", "created"):
            [assistant] = await client.assistants.search(graph_id=graph)
            assert (await client.assistants.get_schemas(assistant["assistant_id"]))["input_schema"]
            inner = await client.assistants.get_subgraphs(assistant["assistant_id"], recurse=True)
            assert all(one["input_schema"] and one["output_schema"] for one in inner.values())


async def test_context_of_a_verified_client_changes_neither_tenant_nor_user(verified: Server) -> None:
    for graph in ("by_hand", "trusting", "created"):
        for context in ({"tenant_id": "other"}, {"user_id": "bob"}):
            async with thread(verified, graph, ALICE) as run:
                refused(await run(input=GO_ON, context=context), "names another")
    async with thread(verified, "tenants", ALICE) as run:  # the tenant the authentication gave, whatever a client says
        await run(input=GO_ON, context={"tenant_id": "other"})
        [pause] = await run.pauses()
        assert pause["type"] == "deputize.consent"
        state = await run.client.threads.get_state(run.id, subgraphs=True)
        assert '"tenant": "acme"' in json.dumps(state, default=str)


async def test_studios_own_identity_is_not_an_end_user(verified: Server) -> None:
    """The class that LangSmith's authentication creates for an API key; here it is Studio's."""
    async with thread(verified, "by_hand", STUDIO) as run:
        refused(await run(input=GO_ON), "not an end user")
        refused(await run(input=GO_ON, context={"user_id": "bob"}), "not an end user")
    async with thread(verified, "trusting", STUDIO) as run:
        await run(input=GO_ON, context={"user_id": "bob"})
        [pause] = await run.pauses()
        assert pause["type"] == "deputize.consent"


@pytest.mark.parametrize("said", [{"context": {"user_id": "bob"}}, {"config": {"configurable": {"user_id": "bob"}}}])
async def test_client_of_an_open_server_names_no_user_unless_trusted(open_to_all: Server, said: dict[str, Any]) -> None:
    for graph in ("by_hand", "created"):
        async with thread(open_to_all, graph, {}) as run:
            refused(await run(input=GO_ON, **said), "verifies no user")
    async with thread(open_to_all, "trusting", {}) as run:
        await run(input=GO_ON, **said)
        [pause] = await run.pauses()
        assert pause["type"] == "deputize.consent"


async def scheduled(run: Thread, **what: Any) -> Any:
    """Return the result of a cron's first run in this thread, or its error. The server's own scheduler starts it."""
    cron = await run.client.crons.create_for_thread(run.id, run.graph, schedule=EVERY_SECOND, input=GO_ON, **what)
    return await first_run(run, cron["cron_id"])


async def first_run(run: Thread, cron_id: str) -> Any:
    until = time.monotonic() + 30
    while not (runs := await run.client.runs.list(run.id)):
        assert time.monotonic() < until, run.server.log.read_text()[-3000:]
        await asyncio.sleep(0.5)
    await run.client.crons.delete(cron_id)
    return await run.client.runs.join(run.id, runs[-1]["run_id"])


@pytest.mark.parametrize("graph", ["by_hand", "created", "tenants"])
@pytest.mark.parametrize("who", [ALICE, STUDIO], ids=["a user", "studio"])
async def test_scheduled_run_is_refused_if_the_server_names_users(
    verified: Server, graph: str, who: dict[str, str]
) -> None:
    """The scheduler stores an id of the cron's creator, and nothing that says whose id it is."""
    async with thread(verified, graph, who) as run:
        refused(await scheduled(run), "scheduled run")
        assert await run.pauses() == []


async def test_scheduled_run_of_an_open_server_is_refused(open_to_all: Server) -> None:
    async with thread(open_to_all, "by_hand", {}) as run:
        refused(await scheduled(run, context={"user_id": "bob"}), "verifies no user")


@pytest.mark.parametrize("who", [ALICE, STUDIO, BOB], ids=["a user", "studio", "another user"])
async def test_scheduled_run_acts_for_the_user_a_function_names(verified: Server, who: dict[str, str]) -> None:
    async with thread(verified, "named", who) as run:
        await scheduled(run)
        assert await run.pauses()


@pytest.mark.parametrize("who", [STUDIO, BOB], ids=["studio", "another user"])
async def test_scheduled_run_of_another_user_is_refused_with_a_bound_user(
    verified: Server, who: dict[str, str]
) -> None:
    async with thread(verified, "bound", who) as run:
        refused(await scheduled(run), "names another user")


FIELDS = ["config", "context", "checkpoint"]
FORGED = {"cron_id": "of alice", "user_id": "alice"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("graph", ["by_hand", "bound", "trusting", "tenants", "told"])
async def test_client_that_writes_a_cron_id_is_not_its_owner(verified: Server, graph: str, field: str) -> None:
    """Functions must not rely on it: the cron's id is written by the client, the server's id is not."""
    told: dict[str, Any] = {field: {"configurable": FORGED} if field == "config" else FORGED}
    why = {"by_hand": "scheduled run", "tenants": "scheduled run", "told": "cron of alice made by bob"}
    async with thread(verified, graph, BOB) as run:
        answer = await run(input=GO_ON, **told)
        if (graph, field) == ("trusting", "checkpoint"):  # it does not become the context
            assert {m["artifact"]["error"] for m in answer["messages"] if m["type"] == "tool"} == {"user_required"}
        else:
            refused(answer, why.get(graph, "names another user"))


@pytest.mark.parametrize("graph, field", [*product(["bound", "told"], FIELDS), *product(["trusting"], FIELDS[:2])])
async def test_cron_naming_another_user_does_not_act_for_them(verified: Server, graph: str, field: str) -> None:
    """The scheduler itself copies a ``checkpoint`` without a schema over the cron's own id."""
    told = {field: {"configurable": FORGED} if field == "config" else FORGED}
    cron = {"assistant_id": graph, "schedule": EVERY_SECOND, "input": GO_ON, **told}
    async with thread(verified, graph, BOB) as run:
        made = await run.client.http.post(f"/threads/{run.id}/runs/crons", json=cron)
        why = "cron of alice made by bob" if field == "checkpoint" else f"cron {made['cron_id']} made by bob"
        refused(await first_run(run, made["cron_id"]), why if graph == "told" else "names another user")


async def test_bound_user_acts_for_an_api_key_and_no_other_user(verified: Server) -> None:
    async with thread(verified, "bound", STUDIO) as run:
        await run(input=GO_ON)
        assert await run.pauses()
    async with thread(verified, "bound", BOB) as run:
        refused(await run(input=GO_ON), "names another user")


async def test_user_continues_a_thread_with_a_refused_scheduled_run(verified: Server) -> None:
    async with thread(verified, "by_hand", ALICE) as run:
        refused(await scheduled(run), "scheduled run")
        await run(input=GO_ON)
        assert await run.pauses()
