"""Blocking calls on an event loop, found by BlockBuster: ``langgraph dev`` ends each run that makes one.

``python -m tests.support.blocking`` connects every provider and makes the first act of every toolkit, in a process that
has loaded nothing yet; prints the blocking calls of it as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blockbuster import blockbuster

from deputize.core.act.toolkit import toolkit_names
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy
from tests.support.house import consent

OURS: Final = ["deputize.core", "deputize.adapters", "deputize.toolkits"]


@contextmanager
def noted() -> Iterator[list[str]]:
    """Blocking calls on an event loop with one of our frames below them; each fails, as in ``langgraph dev``."""
    calls: list[str] = []

    class Blocking(blockbuster.BlockingError):
        def __init__(self, func: str) -> None:
            ours = [f"{f.filename}:{f.lineno}" for f in traceback.extract_stack() if "/deputize/" in f.filename]
            calls.append(f"{func} at {ours[-1]}")
            super().__init__(func)

    original, blockbuster.BlockingError = blockbuster.BlockingError, Blocking  # type: ignore[misc]
    try:
        with blockbuster.blockbuster_ctx(OURS, excluded_modules=["deputize.sandbox"]):
            yield calls
    finally:
        blockbuster.BlockingError = original  # type: ignore[misc]


async def first_acts() -> list[str]:
    """The blocking calls of the first act of each toolkit, and of the consent before it."""
    sandbox = Sandbox()
    deputy = await asyncio.to_thread(new_deputy, sandbox)
    with noted() as calls:
        for kit in await asyncio.to_thread(toolkit_names):
            for one in await deputy.connect("alice", tools=[f"{kit}_whoami"]):
                await consent(deputy, sandbox, one)
            await deputy.act(f"{kit}_whoami", {}, user="alice")
        await deputy.close()
    return calls


if __name__ == "__main__":
    print(json.dumps(asyncio.run(first_acts())), flush=True)
