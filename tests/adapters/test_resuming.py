"""Paused runs of five frameworks, their processes killed, and resumed by the questions that have ended alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import PROVIDERS, Approval, ApprovalRequired, Call, Consent, Deputy, QuestionChange, User
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.docs.blocks import block, blocks, run
from tests.support.graphs import SEND
from tests.support.resume_child import KEY, MARKS, PAGE
from tests.support.sandbox_deputy import build, connect, consent, new_vault

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
ONCE = {name: 1 for name in MARKS}
QUIET = {"PYTHONWARNINGS": "ignore", "OPENAI_AGENTS_DISABLE_TRACING": "1"}


@asynccontextmanager
async def process(folder: Path, stage: str, base: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run the conversations in a process of their own. It is killed (SIGKILL) at the end of the block."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.resume_child", str(folder), stage, base,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, **QUIET},
    )  # fmt: skip
    assert child.stdout
    try:
        yield child.stdout
    finally:
        child.kill()
        await child.wait()


async def lines(output: asyncio.StreamReader, count: int) -> list[tuple[str, str, str]]:
    """Return thread, change and status of the next ended questions that were handled."""
    async with asyncio.timeout(SECONDS):
        found = [json.loads(await output.readline()) for _ in range(count)]
    return [(one["thread"], one["change"], one["status"]) for one in found]


def mails(sandbox: Sandbox) -> Counter[str]:
    return Counter(mail.subject for mail in sandbox.sent("alice@example.test"))


@pytest.mark.processes
async def test_new_process_resumes_five_frameworks_after_each_kill(tmp_path: Path) -> None:
    sandbox, rejected = Sandbox(), "pydantic_ai"
    async with serve(sandbox.app) as base:
        async with process(tmp_path, "start", base) as output:
            assert json.loads(await asyncio.wait_for(output.readline(), SECONDS)) == {"started": [*MARKS]}

        providers: Any = {"google": PROVIDERS["google"].moved_to(base)}
        vault = await new_vault(tmp_path / "vault", KEY)
        async with await build(vault=vault, providers=providers, transport=network) as deputy:
            [asked] = await deputy.pending("alice")
            assert isinstance(asked, Consent)
            async with network() as browser:
                await consent(deputy, browser, asked)
            async with process(tmp_path, "listen", base) as output:
                await lines(output, 1)
            granted = {(name, "decided", "granted") for name in MARKS}
            async with process(tmp_path, "listen", base) as output:
                assert {*await lines(output, 5)} == granted
            approvals = await deputy.pending("alice")
            assert len(approvals) == 5 and not mails(sandbox)
            for one in approvals:
                assert isinstance(one, Approval)
                decision: Any = "reject" if rejected in str(one.preview) else "approve"
                await deputy.decide(one, decision, by="alice")
            for _ in range(2):
                async with process(tmp_path, "listen", base) as output:
                    ended = await lines(output, 10)
                assert granted < {*ended} and (rejected, "decided", "rejected") in ended
                assert mails(sandbox) == Counter(ONCE | {rejected: 0})
            assert [*(tmp_path / "saved").iterdir()] == [] and await deputy.pending("alice") == []


def network() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(trust_env=False)


async def decided_question(deputy: Deputy, sandbox: Sandbox) -> None:
    """Let a call of the conversation "chat" wait for an approval, and approve it."""
    await connect(deputy, sandbox, "send")
    with pytest.raises(ApprovalRequired) as asked:
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=Call("chat", "message", "1"))
    await deputy.decide(asked.value.approval, "approve", by="alice")


async def test_documented_application_listens_while_it_serves(sandbox: Sandbox) -> None:
    resumed = asyncio.Event()

    async def resume(told: QuestionChange) -> None:
        assert (told.thread, told.user) == ("chat", User("alice"))
        resumed.set()

    async def serve_the_application() -> None:
        await decided_question(deputy, sandbox)
        await asyncio.wait_for(resumed.wait(), SECONDS)

    deputy = await build(sandbox)
    names = {"deputy": deputy, "resume": resume, "serve_the_application": serve_the_application}
    names = await run(block(PAGE, "serve_the_application"), names)
    listening: Any = names["listening"]
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_documented_stream_fills_a_queue(sandbox: Sandbox) -> None:
    queue = asyncio.Queue[tuple[str, str, str]]()
    async with await build(sandbox) as deputy:
        await decided_question(deputy, sandbox)
        listening = asyncio.create_task(run(block(PAGE, "async for told"), {"deputy": deputy, "queue": queue}))
        assert await asyncio.wait_for(queue.get(), SECONDS) == ("alice", "", "chat")
    await asyncio.wait_for(listening, SECONDS)


def test_every_block_of_the_page_is_executed() -> None:
    assert len(blocks(PAGE, "python")) == len(MARKS) + 3, "2 in this file, and 1 of LangGraph Server in counterparts"
