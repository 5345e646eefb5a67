"""One step of a conversation in its own process: ``python -m tests.support.graph_child FOLDER STEP DURABILITY``.

FOLDER contains vault, checkpoints and the sandbox's state. Prints one JSON line and then waits to be killed. In the
step "cut" the process approves, and kills itself when Google has received the mail.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, cast

from langgraph.types import Command, Durability

from deputize.sandbox import Sandbox
from tests.support.deferred_conversations import Deadly
from tests.support.graphs import SEARCH, SEND, Context, asking, config, plain, sqlite_saver
from tests.support.sandbox_deputy import build, consent, new_vault

KEY = bytes(range(5, 240, 7))[:32]


async def step(folder: Path, what: str, durability: Durability) -> dict[str, Any]:
    """Perform one step, and return what a person would see."""
    sandbox = Sandbox(state=folder / "sandbox.json")
    wire = sandbox.transport()
    transport = (lambda: Deadly(wire)) if what == "cut" else (lambda: wire)
    deputy = await build(sandbox, vault=await new_vault(folder / "vault.sqlite", KEY), transport=transport)
    with sqlite_saver(folder / "checkpoints.sqlite") as saver:
        graph = plain(deputy, saver=saver)

        async def run(given: Any) -> None:
            await asyncio.to_thread(graph.invoke, given, config(), context=Context("alice"), durability=durability)

        async def pause() -> dict[str, Any]:
            interrupts = (await asyncio.to_thread(graph.get_state, config())).interrupts
            return dict(interrupts[0].value) if interrupts else {}

        if what == "ask":
            await run(asking(SEND, SEARCH))
        if what == "consent":
            for ask in (await pause())["consents"]:
                status = await deputy.consents.status(ask["consent_id"])
                assert status is not None
                await consent(deputy, sandbox, status)
            await run(Command(resume={"wake": True}))
        if what in ("approve", "cut"):
            approvals = [ask["approval_id"] for ask in (await pause())["approvals"]]
            await run(Command(resume={"decisions": dict.fromkeys(approvals, "approve")}))
        if what == "wake":
            await run(Command(resume={"wake": True}))
        return {"pause": await pause(), "sent": len(sandbox.sent("alice@example.test"))}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(step(Path(sys.argv[1]), sys.argv[2], cast("Durability", sys.argv[3])))), flush=True)
    signal.pause()
