"""How much code an act runs: ``python -m tests.trace [--files]``.

Prints the files, functions and calls behind one governed read (``gmail_get_email``), and behind one mail that the user
approves: ``check_calls``, ``decide`` and ``act``, each alone and all together. A resumed coroutine counts as a call.
Vault and audit are on disk. The provider is the sandbox, whose code does not count. Every step runs once before it is
traced, because the first run imports modules and opens files.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import deputize.core
import deputize.toolkits
from deputize.core import ApprovalRequired, Call, Deputy
from deputize.core.audit import Audit
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, connect, new_vault

OURS: Final = tuple(str(Path(package.__path__[0])) for package in (deputize.core, deputize.toolkits))
USER: Final = "alice"
MAIL: Final = {"to": ["carol@example.test"], "subject": "Dinner", "body": "On Friday at seven?"}

Trace = Counter[CodeType]
"""How often each function was called."""


class Tracer:
    """Counts the calls of deputize's functions, in this thread and in all that start after it. One per process."""

    def __init__(self) -> None:
        self._calls: Trace | None = None
        threading.setprofile(self._count)
        sys.setprofile(self._count)

    async def trace(self, work: Awaitable[object]) -> Trace:
        """Return the calls made until this work is done."""
        self._calls = calls = Trace()
        await work
        self._calls = None
        return calls

    def _count(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and (calls := self._calls) is not None and frame.f_code.co_filename.startswith(OURS):
            calls[frame.f_code] += 1


async def traces(tracer: Tracer, folder: Path) -> AsyncIterator[tuple[str, Trace]]:
    """Yield each step's name and trace."""
    sandbox = Sandbox()
    vault = await new_vault(folder / "vault" / "vault.sqlite")
    async with await build(sandbox, vault=vault, audit=Audit(folder / "audit", vault.keys.audit)) as deputy:
        await connect(deputy, sandbox, "readonly", "send", user=USER)
        found = await deputy.act("gmail_search_emails", {"query": "from:bob"}, user=USER)
        mail = {"message_id": found["items"][0]["id"]}
        await deputy.act("gmail_get_email", mail, user=USER)
        yield "read", await tracer.trace(deputy.act("gmail_get_email", mail, user=USER))
        [_ async for _ in steps_of_mail(tracer, deputy, Call("thread", "message", "first"))]
        whole = Trace()
        async for step, trace in steps_of_mail(tracer, deputy, Call("thread", "message", "second")):
            yield f"mail, {step}", trace
            whole += trace
        yield "mail", whole


async def steps_of_mail(tracer: Tracer, deputy: Deputy, call: Call) -> AsyncIterator[tuple[str, Trace]]:
    """Send one mail that the user approves. Yield each step's name and trace."""
    asked: list[Any] = []

    async def prepare() -> None:
        asked.extend(await deputy.check_calls([("gmail_send_email", MAIL, call)], user=USER))

    yield "prepare", await tracer.trace(prepare())
    assert isinstance(asked[0], ApprovalRequired)
    yield "decide", await tracer.trace(deputy.decide(asked[0].approval, "approve", by=USER))
    yield "act", await tracer.trace(deputy.act("gmail_send_email", MAIL, user=USER, call=call))


def lines(name: str, trace: Trace, *, files: bool) -> Iterator[str]:
    """Yield a line for the step and, if ``files``, one for each file."""
    calls = defaultdict[str, list[int]](list)
    for code, number in trace.items():
        calls[code.co_filename].append(number)
    yield f"{name}: {len(calls)} files, {len(trace)} functions, {trace.total():,} calls"
    for file, numbers in sorted(calls.items()) if files else ():
        yield f"{len(numbers):8} functions {sum(numbers):6} calls  {file[file.rindex('deputize/') :]}"


async def main(*, files: bool) -> None:
    """Print all traces."""
    with tempfile.TemporaryDirectory() as folder:
        async for name, trace in traces(Tracer(), Path(folder)):
            print("\n".join(lines(name, trace, files=files)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.trace", description=__doc__)
    parser.add_argument("--files", action="store_true", help="list the functions and calls of each file")
    asyncio.run(main(files=parser.parse_args().files))
