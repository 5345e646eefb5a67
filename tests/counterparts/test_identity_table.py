"""The table of who acts, who is asked and who may decide, at the frameworks' own servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import ToolOutput
from llama_index.core.workflow import JsonSerializer

from deputize.adapters.llamaindex import EVENTS, served_user
from deputize.core import Deputy
from deputize.core.settings import Settings
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.adapters.test_identity_table import check
from tests.counterparts.test_langgraph_server import (
    ALICE,
    BOB,
    EVERY_SECOND,
    GO_ON,
    STUDIO,
    Server,
    Thread,
    allow,
    dev_server,
    first_run,
    thread,
)
from tests.counterparts.test_workflow_server import Client, serving
from tests.support.counterparts import workflow_server
from tests.support.graphs import SEND
from tests.support.identity.llamaindex import handing_off
from tests.support.identity.table import OWN, OWNER, Refused, connect_all, in_turn
from tests.support.llamaindex_agents import agent
from tests.support.ports import free_port
from tests.support.sandbox_deputy import build

pytestmark = pytest.mark.counterpart
GRAPHS: Final = ("by_hand", "created", "nested", "helped", "handed", "nested_twice", "by_maker")
SHAPES: Final = {
    "flat": "by_hand",
    "flat, create_agent": "created",
    "nested": "nested",
    "agent as tool": "helped",
    "handoff": "handed",
    "subgraph": "nested_twice",
}
WHO: Final[dict[str, dict[str, str]]] = {"alice": ALICE, "bob": BOB, "": {}, "key": STUDIO}
BACKEND: Final = {"Authorization": "Bearer backend/acme"}
"""The application's own identity at its server."""
CLAIM: Final = {"user_id": OWNER}


@dataclass
class ServedRun:
    """A thread of a graph at LangGraph's dev server. ``cron``: the server's scheduler starts its runs."""

    server: Server
    deputy: Deputy
    graph: str
    cron: bool = False
    maker: Mapping[str, str] = field(default_factory=lambda: ALICE)
    id: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def sandbox(self) -> Sandbox:
        return self.server.sandbox

    @property
    def own(self) -> frozenset[str]:
        return frozenset({OWNER}) if self.cron else OWN

    async def begin(self, who: str) -> None:
        if who == OWNER and self.id:
            return  # before a restart
        headers = dict(self.maker) if who == OWNER else WHO[who]
        try:
            async with thread(self.server, self.graph, headers) as run:
                if who == OWNER:
                    self.id = run.id
                if self.cron:
                    cron = await run.client.crons.create_for_thread(
                        run.id, self.graph, schedule=EVERY_SECOND, input=GO_ON
                    )
                    _raise(await first_run(run, cron["cron_id"]))
                    return
                await in_turn(self._run(run, input=GO_ON), *self._claiming(run, who, input=GO_ON))
        except httpx.HTTPStatusError as refused:
            raise Refused(str(refused.response.status_code)) from None

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        yes = {"command": {"resume": {"decisions": dict.fromkeys(approvals, "approve")}}}
        async with self.server.client(WHO[who]) as client:
            run = Thread(self.server, self.graph, client, self.id)
            again = [self._run(run, input=None)] if who != OWNER else []
            await in_turn(self._run(run, **yes), *again, *self._claiming(run, who, **yes))

    def _claiming(self, run: Thread, who: str, **what: Any) -> list[Any]:
        """Return the same run, in which a stranger claims to be Alice."""
        if who == OWNER:
            return []
        forged: list[dict[str, Any]] = [
            {"context": CLAIM},
            {"config": {"configurable": CLAIM}},
            {"config": {"configurable": {"cron_id": "c"}}},
        ]
        return [self._run(run, **what, **one) for one in forged]

    async def _run(self, run: Thread, **what: Any) -> None:
        try:
            _raise(await run(**what))
        except httpx.HTTPStatusError as refused:
            raise Refused(str(refused.response.status_code)) from None


def _raise(answer: Any) -> None:
    if isinstance(answer, dict) and "__error__" in answer:
        raise Refused(answer["__error__"]["error"])


def deputy_at(server: Server, folder: Path) -> Deputy:
    """Open the vault of a dev server in this process."""
    settings = Settings.load(
        home=folder / "home",
        agent="dev",
        port=free_port(),
        sandbox_url=server.sandbox_url,
        apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
    )
    return Deputy.from_settings(settings)


async def connected(server: Server) -> None:
    """Connect the accounts of Alice and Bob by runs of their own."""
    for who in ("alice", "bob"):
        async with thread(server, "by_hand", WHO[who]) as run:
            await run(input=GO_ON)
            for pause in await run.pauses():
                await allow(pause, as_=f"{who}@example.test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Server]:
    with dev_server(folder, auth=True, graphs=GRAPHS) as server:
        asyncio.run(connected(server))
        yield server


@pytest.mark.parametrize("shape", [*SHAPES, "scheduled", "scheduled, user named"])
async def test_nobody_but_the_owner_acts_or_decides_on_langgraph_server(
    served: Server, folder: Path, shape: str, capsys: Any
) -> None:
    async with deputy_at(served, folder) as deputy:
        if shape == "scheduled":
            run = ServedRun(served, deputy, "by_hand", cron=True)
        elif shape == "scheduled, user named":
            run = ServedRun(served, deputy, "by_maker", cron=True, maker=BACKEND)
        else:
            run = ServedRun(served, deputy, SHAPES[shape])
        await check("LangGraph Server", shape, run, capsys)


# ------------------------------------------------------------- LlamaIndex's workflow server


@dataclass
class WorkflowRun:
    """A run at LlamaIndex's workflow server. ``again``: the server ends after Alice's begin, and another one starts."""

    deputy: Deputy
    sandbox: Sandbox
    build: Callable[[], Any]
    store: Path | None
    stack: AsyncExitStack
    clients: dict[str, Client] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=lambda: {"API key": "its middleware knows users only"})
    own: frozenset[str] = OWN

    async def start(self) -> None:
        """Start a server."""
        more = _durable(self.store) if self.store else {}
        found = await self.stack.enter_async_context(serving(self.build(), users=USERS, **more))
        self.clients = dict(zip(USERS, found, strict=True))

    async def begin(self, who: str) -> None:
        client = self.clients[who]
        _accept((await client.begin()).status_code)
        if who == OWNER:
            await client.hears("ApprovalRequest")
            if self.store:
                await self.stack.aclose()
                await self.start()
                self.clients[OWNER].handler = client.handler

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        hers, client = self.clients[OWNER].handler, self.clients[who]
        said = [{"approval_id": one, "by": by, "decision": "approve"} for one in approvals for by in {who, OWNER}]
        for one in said:
            _accept(await client.says("ApprovalResponse", hers, **one))
        if who == OWNER:
            assert "Sent." in await client.ended()


def _durable(path: Path) -> dict[str, Any]:
    """Return the options of a server whose runs survive it. LlamaIndex stores an agent's memory there, too."""
    serializer = JsonSerializer(allowed_types=[ChatMessage, ChatMemoryBuffer, ToolOutput, *EVENTS])
    return {"workflow_store": workflow_server().SqliteWorkflowStore(str(path)), "serializer": serializer}


USERS: Final = ("alice", "bob", "")


def _accept(status: int) -> None:
    if status != 200:
        raise Refused(str(status))


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # LlamaIndex's own
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
@pytest.mark.parametrize("shape", ["flat", "nested", "handoff", "restored"])
async def test_nobody_but_the_owner_acts_or_decides_on_the_workflow_server(
    shape: str, tmp_path: Path, capsys: Any
) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy, AsyncExitStack() as stack:
        await connect_all(deputy, sandbox)
        kind = "AgentWorkflow" if shape == "nested" else "FunctionAgent"
        one = partial(agent, kind, deputy, SEND, user=served_user)
        two = partial(handing_off, deputy, served_user)
        run = WorkflowRun(
            deputy,
            sandbox,
            two if shape == "handoff" else one,
            tmp_path / "runs" if shape == "restored" else None,
            stack,
        )
        await run.start()
        await check("workflow server", shape, run, capsys)


@pytest.mark.every(4)
async def test_nobody_but_the_owner_acts_or_decides_after_a_restart_of_langgraph_server(
    tmp_path: Path, capsys: Any
) -> None:
    with dev_server(tmp_path, auth=True, graphs=GRAPHS[:2]) as server:
        await connected(server)
        async with deputy_at(server, tmp_path) as deputy:
            begun = ServedRun(server, deputy, "by_hand")
            await begun.begin(OWNER)
    with dev_server(tmp_path, auth=True, graphs=GRAPHS[:2], after=server) as again:
        async with deputy_at(again, tmp_path) as deputy:
            await check("LangGraph Server", "restored", ServedRun(again, deputy, "by_hand", id=begun.id), capsys)
