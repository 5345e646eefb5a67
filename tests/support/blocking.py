"""Blocking calls on an event loop, found by BlockBuster: ``langgraph dev`` ends each run that makes one.

``python -m tests.support.blocking`` connects every provider and makes the first act of every toolkit, in a process that
has loaded nothing yet; prints the blocking calls of it as one JSON line.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from blockbuster import BlockBuster, blockbuster

from deputize.core.tools.plugins import toolkit_names
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy
from tests.support.sandbox_deputy import consent

_THEIRS: Final = ("/tests/", "/deputize/sandbox/", "/logging/__init__.py", "importlib._bootstrap")
"""Callers that are not ours: the test itself, the simulated providers, the handlers of an application's log, an
import."""
_NOT_IN: Final = {"test_a_pickle_in_the_vault_is_refused"}
"""Tests that BlockBuster breaks, because the functions that replace the system's cannot be pickled."""
_FIRST: Final = {"files": "files_read", "contacts": "contacts_search", "drive": "drive_search_files"}
"""The tool to call first in a toolkit without a whoami tool."""
OURS: Final = ["deputize.core", "deputize.adapters", "deputize.toolkits"]


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collect blocking calls on an event loop that have one of our frames below them; each fails, as in ``langgraph
    dev``."""
    with _listed() as calls, blockbuster.blockbuster_ctx(OURS, excluded_modules=["deputize.sandbox"]):
        yield calls


@contextmanager
def guarded() -> Iterator[list[str]]:
    """Collect blocking calls made by a coroutine of ours; each fails.

    The test and the sandbox may block in between. Finds less than `noted`: a function of ours that a test calls
    directly, as an application does before its loop runs, does not belong to a coroutine.
    """
    guard = BlockBuster(OURS, excluded_modules=["deputize.sandbox"])
    for function in guard.functions.values():
        function.can_block_predicate = _may_block(function.can_block_predicate)
    with _listed() as calls:
        guard.activate()
        try:
            yield calls
        finally:
            guard.deactivate()


@contextmanager
def _listed() -> Iterator[list[str]]:
    """Yield each blocking call that BlockBuster finds, with the line of ours that makes it."""
    calls: list[str] = []

    class Blocking(blockbuster.BlockingError):
        def __init__(self, func: str) -> None:
            ours = [f"{f.filename}:{f.lineno}" for f in traceback.extract_stack() if "/deputize/" in f.filename]
            calls.append(f"{func} at {ours[-1]}")
            super().__init__(func)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(blockbuster, "BlockingError", Blocking)
        yield calls


def _may_block(usual: Callable[..., bool]) -> Callable[..., bool]:
    return lambda *args, **more: usual(*args, **more) or not _awaited_by_us()


def _awaited_by_us() -> bool:
    """Return whether a coroutine of ours waits for the call directly."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if any(part in code.co_filename for part in _THEIRS) and "/support/blocking" not in code.co_filename:
            return False
        if "/deputize/" in code.co_filename and code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            return True
        frame = frame.f_back
    return False


@pytest.fixture(autouse=True)
def no_coroutine_of_ours_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an async test in which a coroutine of ours blocks. For the conftest.py of a folder."""
    function = getattr(request.node, "function", None)
    if not inspect.iscoroutinefunction(function) or function.__name__ in _NOT_IN:
        yield
        return
    with guarded() as calls:
        yield
    assert calls == [], f"blocking calls on an event loop: {calls}"


async def first_acts() -> list[str]:
    """Return the blocking calls of the first act of each toolkit and of the consent before it."""
    sandbox = Sandbox()
    deputy = await asyncio.to_thread(new_deputy, sandbox)
    with noted() as calls:
        kept = await deputy.store_file("alice", "notes.txt", "text/plain", b"some notes")
        for kit in await asyncio.to_thread(toolkit_names):
            tool, arguments = _FIRST.get(kit, f"{kit}_whoami"), {"file": kept["file"]} if kit == "files" else {}
            for one in await deputy.connect("alice", tools=[tool]):
                await consent(deputy, sandbox, one)
            await deputy.act(tool, arguments, user="alice")
        await deputy.close()
    return calls


if __name__ == "__main__":
    print(json.dumps(asyncio.run(first_acts())), flush=True)
