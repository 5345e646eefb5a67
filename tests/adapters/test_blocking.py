"""No deputize code blocks an event loop: ``langgraph dev`` ends each blocking run, using BlockBuster as these tests
do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from deputize.adapters.llamaindex import ApprovalResponse, ConsentResponse, resume_paused, save_paused
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import ApprovalRequired, Call, Deputy
from deputize.core.audit import Audit
from deputize.core.settings import Settings
from deputize.core.tools.plugins import PLUGINS
from deputize.sandbox import Sandbox
from tests.support.blocking import noted
from tests.support.graph_builds import GO_ON
from tests.support.graphs import (
    SEARCH,
    SEND,
    Context,
    Graph,
    approvals_of,
    asking,
    config,
    consents_of,
    plain,
    tool_messages,
)
from tests.support.llamaindex_agents import agent as llamaindex_agent
from tests.support.llamaindex_agents import asked, ended, visit
from tests.support.sandbox_deputy import build, consent, new_vault
from tests.support.scripted_agents import agent

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
ALICE = Context("alice")


@asynccontextmanager
async def on_disk(sandbox: Sandbox, folder: Path) -> AsyncIterator[Deputy]:
    """A deputy as in production: vault, locks and audit are files, and no toolkit is loaded yet."""
    vault = await new_vault(folder / "vault" / "vault.sqlite")
    audit = Audit(folder / "audit", vault.keys.audit)
    async with await build(sandbox, vault=vault, audit=audit, clock=sandbox.clock) as deputy:
        yield deputy


def made_by_hand(deputy: Deputy) -> tuple[Graph, Any]:
    return plain(deputy), asking(SEND, SEARCH)


def created(deputy: Deputy) -> tuple[Graph, Any]:
    return agent(deputy, SEND, SEARCH), GO_ON


@pytest.mark.parametrize("make", [made_by_hand, created])
async def test_langgraph_pause_and_act_make_no_blocking_call(
    sandbox: Sandbox, tmp_path: Path, make: Callable[[Deputy], tuple[Graph, Any]]
) -> None:
    async with on_disk(sandbox, tmp_path) as deputy:
        graph, given = make(deputy)
        with noted() as calls:
            await graph.ainvoke(given, config(), context=ALICE)
            for one in await consents_of(deputy, graph, config()):
                await consent(deputy, sandbox, one)
            await graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
            [ask] = await approvals_of(graph, config())
            yes = {"decisions": {ask["approval_id"]: "approve"}}
            state = await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
            assert {m.status for m in tool_messages(state).values()} == {"success"}
        assert calls == []


async def test_llamaindex_agent_makes_no_blocking_call(sandbox: Sandbox, tmp_path: Path) -> None:
    async with on_disk(sandbox, tmp_path) as deputy:
        made = llamaindex_agent("FunctionAgent", deputy, SEND)
        with noted() as calls:
            handler = made.run("go on")
            [request] = await asked(handler)
            await visit(deputy, sandbox, request.consent_id)
            handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
            [request] = await asked(handler)
            handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
            assert "Sent." in await ended(handler)
        assert calls == []


async def test_undo_makes_no_blocking_call(sandbox: Sandbox, tmp_path: Path) -> None:
    draft = {"to": ["bob@example.test"], "subject": "Plan", "body": "See."}
    async with on_disk(sandbox, tmp_path) as deputy:
        with noted() as calls:
            for one in await deputy.connect("alice", tools=["gmail_save_draft", "gmail_delete_draft"]):
                await consent(deputy, sandbox, one)
            await deputy.act("gmail_save_draft", draft, user="alice", call=Call(thread="1", message="m", id="1"))
            [done] = await deputy.undoable("alice")
            with pytest.raises(ApprovalRequired) as waits:
                await deputy.undo("alice", done.id)
            await deputy.decide(waits.value.approval, "approve", by="alice")
            await deputy.undo("alice", done.id)
        assert calls == []


async def test_saved_llamaindex_run_makes_no_blocking_call(sandbox: Sandbox, tmp_path: Path) -> None:
    async with on_disk(sandbox, tmp_path) as deputy:
        made = llamaindex_agent("FunctionAgent", deputy, SEND)
        with noted() as calls:
            handler = made.run("go on")
            [request] = await asked(handler)
            blob = await save_paused(handler)
            await visit(deputy, sandbox, request.consent_id)
            [request] = await asked(handler := await resume_paused(made, blob))
            handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
            assert "Sent." in await ended(handler)
        assert calls == []


async def test_awaited_deputy_methods_make_no_blocking_call(tmp_path: Path) -> None:
    """From the first act, which loads the toolkits, through a refresh, to closing."""
    now = [time.time()]
    sandbox = Sandbox(clock=lambda: now[0])
    async with on_disk(sandbox, tmp_path) as deputy:
        with noted() as calls:
            for one in await deputy.connect("alice", tools=["gmail_search_emails"]):
                await consent(deputy, sandbox, one)
            await deputy.act("gmail_search_emails", {"query": "x"}, user="alice")
            now[0] += 7200
            await deputy.act("gmail_search_emails", {"query": "x"}, user="alice")
            await deputy.authorized_tools("alice")
            kept = await deputy.store_file("alice", "a.txt", "text/plain", b"a")
            await deputy.get_file("alice", kept["file"])
            await deputy.connections("alice")
            until = now[0] + 86400
            given = await deputy.create_mandate(
                "alice", tools=[SEND["name"]], targets=["a@b.example"], max_acts=1, expires_at=until
            )
            await deputy.mandates("alice")
            await deputy.revoke_mandate("alice", given)
            await deputy.pending("alice")
            await deputy.revoke("alice", "google")
            await deputy.erase("alice")
        assert calls == []


async def test_deputy_created_late_makes_no_blocking_call(tmp_path: Path) -> None:
    """As in a graph factory, which runs while the server does: a vault is created, and then opened again."""
    settings = Settings.load(home=tmp_path / "home", sandbox_url="http://127.0.0.1:1")
    with noted() as calls:
        for _ in range(2):
            deputy = await asyncio.to_thread(Deputy.from_settings, settings)
            assert await deputy.connections("alice") == []
            await deputy.close()
    assert calls == []


@pytest.mark.parametrize("names", [("gmail",), ("gmail_search_emails",)], ids=["toolkit", "tool"])
def test_adapter_created_in_a_loop_makes_no_blocking_call(names: tuple[str, ...], tmp_path: Path) -> None:
    """As in a graph factory that creates its agent for each run. The deputy has looked up no toolkit yet."""
    PLUGINS.forget()
    deputy = Deputy.from_settings(Settings.load(home=tmp_path / "home", sandbox_url="http://127.0.0.1:1"))

    async def create() -> list[str]:
        with noted() as calls:
            assert DeputyMiddleware(deputy, *names).tools
        compiles = "/langgraph/approval_graph.py"  # LangGraph reads the source of functions when it compiles any graph
        return [call for call in calls if compiles not in call]

    with deputy:
        assert asyncio.run(create()) == []


@pytest.mark.processes
def test_first_act_of_each_toolkit_makes_no_blocking_call() -> None:
    """A toolkit loads its modules before its tools run."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.support.blocking"], capture_output=True, text=True, check=False, timeout=60
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == []
