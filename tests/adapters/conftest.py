"""Fixtures of every adapter: a deputy over the sandbox, the resuming process, and a check for blocking calls."""

from collections.abc import AsyncIterator

import pytest

from deputize.adapters.langgraph.single_write import SingleWrite
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.blocking import no_coroutine_of_ours_blocks
from tests.support.sandbox_deputy import build, connect

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture
async def deputy(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[Deputy]:
    """A deputy over the sandbox. Each mark ``connected("readonly", user="bob")`` has the arguments of `connect`."""
    async with await build(sandbox) as deputy:
        for mark in request.node.iter_markers("connected"):
            await connect(deputy, sandbox, *mark.args, **mark.kwargs)
        yield deputy


@pytest.fixture(params=["the process that paused", "another process"])
def whoever_resumes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What resumes an act node's own pause: the process that remembers it, or one that reads it from LangGraph's
    checkpoint."""
    if request.param == "another process":
        monkeypatch.setattr(SingleWrite, "_remember", lambda *_: None)
    return str(request.param)
