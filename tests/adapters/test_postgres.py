"""Checkpoints in a real Postgres: pauses survive the process, and racing resumes of two savers send once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command

from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, hits
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, tool_messages
from tests.support.postgres import postgres
from tests.support.sandbox_deputy import build, consent, new_vault

pytestmark = pytest.mark.counterpart
ALICE = Context("alice")
KEY = bytes(range(6, 250, 7))[:32]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as address:
        with PostgresSaver.from_conn_string(address) as saver:
            saver.setup()
        yield address


class Seat:
    """Stands for one process: its own deputy, and its own Postgres saver."""

    def __init__(self, mode: str, thread: str, deputy: Deputy, graph: Graph) -> None:
        self.mode, self.deputy, self.graph = mode, deputy, graph
        self.config = config(thread)

    async def run(self, given: Any) -> Any:
        if self.mode == "sync":
            return await asyncio.to_thread(self.graph.invoke, given, self.config, context=ALICE)
        return await self.graph.ainvoke(given, self.config, context=ALICE)

    async def pause(self) -> Any:
        if self.mode == "sync":
            [one] = (await asyncio.to_thread(self.graph.get_state, self.config)).interrupts
        else:
            [one] = (await self.graph.aget_state(self.config)).interrupts
        return one


@asynccontextmanager
async def seat(server: str, mode: str, folder: Path, line: Wiretap) -> AsyncIterator[Seat]:
    """Return a new seat for the conversation in this folder."""
    async with await build(vault=await new_vault(folder / "vault", KEY), transport=line) as deputy:
        if mode == "sync":
            with PostgresSaver.from_conn_string(server) as saver:
                yield Seat(mode, folder.name, deputy, plain(deputy, saver=saver))
        else:
            async with AsyncPostgresSaver.from_conn_string(server) as saver:
                yield Seat(mode, folder.name, deputy, plain(deputy, saver=saver))


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_conversation_in_postgres_continues_in_another_process(server: str, mode: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    line = Wiretap(sandbox.transport())
    async with seat(server, mode, tmp_path, line) as first:
        await first.run(asking(SEND, SEARCH))
        asked = await first.pause()
    async with seat(server, mode, tmp_path, line) as second:
        assert (await second.pause()).value == asked.value
        found = await second.deputy.consents.status(asked.value["consents"][0]["consent_id"])
        assert found and (await consent(second.deputy, line, found)).status == "granted"
        await second.run(Command(resume={"wake": True}))
    async with (
        seat(server, mode, tmp_path, line) as third,
        seat(server, mode, tmp_path, line) as fourth,
    ):
        [ask] = (await third.pause()).value["approvals"]
        yes: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve"}})
        states = await asyncio.gather(third.run(yes), fourth.run(yes))
        assert {message.status for state in states for message in tool_messages(state).values()} == {"success"}
    assert len(sandbox.sent("alice@example.test")) == 1
    assert hits(line.secrets, {"postgres": everything(server)}) == [] and "access_token" in line.kinds()


def everything(server: str) -> str:
    """Return the content of all checkpoint tables."""
    import psycopg

    with psycopg.connect(server) as db:
        rows = [db.execute(f"select * from {table}").fetchall() for table in ("checkpoints", "checkpoint_writes")]  # noqa: S608
        rows.append(db.execute("select * from checkpoint_blobs").fetchall())
    return str(rows)
