"""A program with a deputy, as people write it: made from settings, it acts at the sandbox as it is told on stdin.

python -m tests.faults.sandbox_program      a line of JSON in, a line of JSON out

Its home lies in a file system of its own where `tests.faults.program_driver` gave it one.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from deputize.core import Call, DeputizeError, Deputy, exit_on_sigterm
from deputize.core.audit import read
from deputize.core.vault.chain_heads import verify_audit

USER: Final = "alice"
FORK: Final = multiprocessing.get_context("fork")


class Program:
    """The commands of the program."""

    def __init__(self, deputy: Deputy) -> None:
        self.deputy = deputy

    async def connect(self, *scopes: str) -> Any:
        """Return the link at which its user consents."""
        asked = await self.deputy.connect(USER, "google", scopes=scopes)
        return asked[0].link if asked else ""

    async def act(self, tool: str, arguments: dict[str, Any], call: str) -> Any:
        """Make one act, by the id of its call."""
        return await self.deputy.act(tool, arguments, user=USER, call=Call("thread", "message", call))

    async def send(self, call: str) -> Any:
        """Send one mail whose subject is the call's id."""
        mail = {"to": ["bob@example.test"], "subject": call, "body": "Yes, gladly."}
        return await self.act("gmail_send_email", mail, call)

    async def many(self, *calls: str) -> Any:
        """Send this many mails at once; return how each ended."""
        return list(await asyncio.gather(*(answered_with(self.send(call)) for call in calls)))

    async def forked(self, *calls: str) -> Any:
        """Send one mail each from forked children, all at once, while this process waits; return how they ended."""
        return _children([partial(self.send, call) for call in calls])

    async def proven(self) -> Any:
        """Return whether the audit verifies, which acts it has as begun, and how calls ended."""
        folder = self.deputy.audit.trail
        assert folder is not None
        await self.deputy.audit.settle()
        rows = list(read(folder))
        ends = [row.get("decision", "") for row in rows if row["event"] == "act.result"]
        return {"ok": (await verify_audit(self.deputy.vault, folder)).ok, "ends": ends}


def _children(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the output of children forked by multiprocessing: they end without Python's own exit."""
    children = []
    for work in works:
        ours, theirs = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_lived, args=(theirs, work))
        child.start()
        theirs.close()
        children.append((child, ours))
    answers = [ours.recv() for _, ours in children]
    for child, _ in children:
        child.join()
    return answers


def _lived(answer: Connection, work: Callable[[], Any]) -> None:
    answer.send(asyncio.run(answered_with(work())))


async def answered_with(work: Any) -> Any:
    """Return ``{"ok": result}``, or an error's text."""
    try:
        return {"ok": await work}
    except DeputizeError as error:
        return {"error": type(error).__name__, "message": str(error), "hint": error.hint}


async def main() -> None:
    """Start, report that, and execute commands until the input ends."""
    try:
        deputy = await asyncio.to_thread(Deputy.from_settings)
    except DeputizeError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "hint": error.hint}), flush=True)
        return
    print(json.dumps({"ok": None}), flush=True)
    program = Program(deputy)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, *arguments = json.loads(line)
        print(json.dumps(await answered_with(getattr(program, word)(*arguments))), flush=True)
    await deputy.close()


if __name__ == "__main__":
    exit_on_sigterm()
    asyncio.run(main())
