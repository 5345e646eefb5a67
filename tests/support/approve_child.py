"""A process that resumes a graph with an approval and is killed: ``python -m tests.support.approve_child FOLDER STEP``.

``ask``, ``wake`` (with nothing), ``nudge`` (with a resume that says nothing) and ``approve`` end by themselves, and
print a JSON line. Any other step approves, too, and dies by SIGKILL: ``heard``, before the transaction that records the
yes; ``recorded``, after it; ``claim``, before the transaction that holds the claim and the used yes; ``written``, after
that; ``sent``, when the provider has the request. With `` map`` behind it the resume names the interrupt.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from deputize.core.audit import Audit
from deputize.core.vault.stores.sqlite.writer import Write, Writer
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, approvals_of, asking, config, plain
from tests.support.sandbox_deputy import build, connect, new_vault

KEY = bytes(range(5, 240, 7))[:32]
MINE = "alice@example.test"


def die() -> None:
    """End this process immediately with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


class Sent(httpx.AsyncBaseTransport):
    """A transport to the provider that kills the process after a mail was sent."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.inner = sandbox.transport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on, and die after the one that counts."""
        answer = await self.inner.handle_async_request(request)
        if request.url.path.endswith("/send"):
            die()
        return answer


def dying(where: str) -> None:
    """Kill this process at that step."""
    commit = Writer.commit

    def committing(self: Writer, writes: Sequence[Write]) -> Any:
        kinds = {str(value).partition("/")[0] for write in writes for value in write.values if isinstance(value, str)}
        if where == "heard" and "approval" in kinds:
            time.sleep(0.2)  # what LangGraph keeps of the resume is on its way to the disk
            die()
        if where == "claim" and "act" in kinds:
            die()
        done = commit(self, writes)
        if (where == "recorded" and "approval" in kinds) or (where == "written" and "act" in kinds):
            die()
        return done

    Writer.commit = committing  # type: ignore[method-assign]


async def step(folder: Path, what: str) -> dict[str, Any]:
    """Perform one step, and return what a person would see."""
    sandbox = Sandbox(state=folder / "sandbox.json")
    vault = await new_vault(folder / "vault.sqlite", KEY)
    audit = Audit(folder / "audit", vault.keys.audit)
    line = Sent(sandbox) if what == "sent" else sandbox.transport()
    async with await build(sandbox, vault=vault, audit=audit, transport=line) as deputy:
        async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
            graph = plain(deputy, saver=saver)
            if what == "ask":
                await connect(deputy, sandbox, "readonly", "send")
                given: Any = asking(SEND)
            elif what in ("wake", "nudge"):
                given = None if what == "wake" else Command(resume={"wake": True})
            else:
                asked = await approvals_of(graph, config())
                [pause] = (await graph.aget_state(config())).interrupts
                said = {"decisions": {one["approval_id"]: "approve" for one in asked}}
                given = Command(resume={pause.id: said} if what.endswith(" map") else said)
                dying(what.partition(" ")[0])
            state = await graph.ainvoke(given, config(), context=Context("alice"))
            answers = [message.status for message in state["messages"][2:]]
            pauses = len(await approvals_of(graph, config()))
        rows = [row.json["status"] for row in await vault.scan("approval")]
        told = [row["event"] for row in await asyncio.to_thread(audit.rows) if row["event"].startswith("approval.")]
        sent = len(sandbox.sent(MINE))
        return {"answers": answers, "pauses": pauses, "rows": rows, "told": told, "sent": sent}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(step(Path(sys.argv[1]), sys.argv[2]))), flush=True)
