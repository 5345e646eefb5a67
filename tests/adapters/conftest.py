"""No coroutine of ours makes a blocking call in a test of this folder; and who it is that resumes."""

import pytest

from deputize.adapters.langgraph.single_write import SingleWrite
from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture(params=["the process that paused", "another process"])
def whoever_resumes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What resumes an act node's own pause: a process that remembers it, or one that reads it where LangGraph keeps
    it."""
    if request.param == "another process":
        monkeypatch.setattr(SingleWrite, "_remember", lambda *_: None)
    return str(request.param)
