"""The pages on pydantic-ai, the OpenAI Agents SDK and Google ADK: their snippets run unchanged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest
from google.adk.sessions.in_memory_session_service import InMemorySessionService

from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from tests.docs.blocks import block, blocks, run, text
from tests.support.google_adk_runs import Asking as Playing
from tests.support.graphs import SEND
from tests.support.openai_agents_runs import Asking
from tests.support.pydantic_ai_runs import Deps, model_of
from tests.support.sandbox_deputy import build, consent

PYDANTIC: Final = "docs/pydantic-ai.md"
OPENAI: Final = "docs/openai-agents.md"
ADK: Final = "docs/google-adk.md"
COUNTS: Final = {PYDANTIC: 3, OPENAI: 2, ADK: 2}  # pydantic-ai's third: tests/adapters/test_pydantic_ai_dbos.py
NAMES: Final[dict[str, dict[str, Any]]] = {
    PYDANTIC: {"Deps": Deps, "model": model_of([SEND])},
    OPENAI: {
        "Chat": SimpleNamespace,
        "context": SimpleNamespace(user_id="alice", chat_id="1"),
        "model": Asking([SEND]),
    },
    ADK: {"model": Playing(calls=[SEND]), "sessions": InMemorySessionService()},
}
LAST: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    PYDANTIC: lambda names: str(names["result"].output),
    OPENAI: lambda names: str(names["result"].final_output),
    ADK: lambda names: str(names["events"][-1].content),
}
"""The model's final answer."""


@pytest.mark.parametrize("page", COUNTS)
def test_every_python_block_of_the_page_is_executed_here(page: str) -> None:
    assert len(blocks(page, "python")) == COUNTS[page]
    assert set(re.findall(r"^```(\w+)$", text(page), re.MULTILINE)) == {"python"}


@pytest.mark.filterwarnings("ignore:Attempting to serialize.*")
@pytest.mark.parametrize("page", COUNTS)
async def test_documented_agent_asks_twice_and_sends_once(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    sandbox, shown = Sandbox(), list[Any]()
    async with await build(sandbox) as deputy:
        monkeypatch.setattr(Deputy, "from_settings", lambda: deputy)

        async def visit() -> None:
            [waiting] = await deputy.consents.list_pending(User("alice"))
            await consent(deputy, sandbox, waiting)

        def show(link: str) -> None:
            assert link.startswith("http")
            shown.append(asyncio.create_task(visit()))

        def ask(approval: dict[str, Any]) -> str:
            shown.append(approval["preview"])
            return "approve"

        names = {"show": show, "ask": ask, **NAMES[page]}
        names = await run(block(page, "Deputy.from_settings()"), names)
        names = await run(block(page, "show("), names)
        assert "Sent." in LAST[page](names) and len(shown) == 2 and len(sandbox.sent("alice@example.test")) == 1
