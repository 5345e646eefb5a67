"""The server of docs/langgraph-server.md: its files run unchanged under ``langgraph dev``; so does its client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.adapters.langgraph import requests_in
from deputize.core import Deputy, QuestionChange, User
from deputize.sandbox import Browser
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.counterparts.test_langgraph_server import Server, dev_server
from tests.docs.blocks import block, run
from tests.support.ports import free_port

pytestmark = pytest.mark.counterpart
PAGE: Final = "docs/langgraph-server.md"
RESUMING: Final = "docs/resuming.md"
BEFORE: Final = {
    "agents.py": """
import os
from tests.support.scripted_agents import calling
from tests.support.graphs import SEND
os.environ["DEPUTIZE_SANDBOX_URL"] = os.environ["SERVER_SANDBOX"]
model = calling(SEND)
""",
    "auth.py": """
class Signed:
    def __init__(self, token):
        self.id, self.org = token, "acme"

async def user_of_token(token):
    return Signed(token) if token else None
""",
}
"""What the page leaves to its reader: a model, and a sign-in."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The files of the page, served."""
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "PORT": str(free_port()),
        "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
        "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
    }.items():
        monkeypatch.setenv(f"DEPUTIZE_{name}", value)
    for file, word in {"agents.py": "create_agent(", "auth.py": "@auth.authenticate"}.items():
        (tmp_path / file).write_text(BEFORE[file] + block(PAGE, word))
    with dev_server(tmp_path, auth=True, written=json.loads(block(PAGE, "graphs", "json"))) as served:
        yield served


async def test_documented_client_is_asked_twice_and_the_mail_is_sent_once(server: Server) -> None:
    previews: list[Any] = []

    async def show(link: str) -> None:
        async with httpx.AsyncHTTPTransport() as network:
            await Browser(network).allow(link)

    def ask(preview: Any) -> str:
        previews.append(preview)
        return "approve"

    names = await run(block(PAGE, "get_client("), {"url": server.url, "token": "alice", "show": show, "ask": ask})
    assert names["state"]["messages"][-1]["content"] == "1 answers"
    assert len(previews) == 1 and len(server.sandbox.sent("alice@example.test")) == 1
    async with server.client({"Authorization": "Bearer bob"}) as bob:
        assert await bob.threads.search() == []
        with pytest.raises(httpx.HTTPStatusError, match="not found"):
            await bob.threads.get_state(names["thread_id"])
    async with server.client({}) as nobody:
        with pytest.raises(httpx.HTTPStatusError, match="Sign in first"):
            await nobody.threads.search()
    assert "BlockingError" not in server.log.read_text()


async def test_documented_function_resumes_the_threads_whose_questions_have_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPUTIZE_PORT", str(free_port()))
    monkeypatch.setenv("DEPUTIZE_SANDBOX_URL", server.sandbox_url)
    resumed = asyncio.Queue[QuestionChange]()
    names = await run(block(RESUMING, "threads.get"), {"url": server.url, "token_for": lambda user: user.id})

    async def resume(told: QuestionChange) -> None:
        await names["resume"](told)
        await resumed.put(told)

    async with Deputy.from_settings() as deputy, server.client({"Authorization": "Bearer alice"}) as client:
        listening = asyncio.create_task(deputy.handle_ended_questions(resume))
        thread = (await client.threads.create())["thread_id"]
        said = {"messages": [{"role": "user", "content": "Tell Bob yes."}]}
        state = await client.runs.wait(thread, "agent", input=said)
        for kind in ("consent", "approval"):
            [asked] = requests_in(state["__interrupt__"], kind)
            if asked["type"] == "deputize.consent":
                async with httpx.AsyncHTTPTransport() as network:
                    await Browser(network).allow(asked["link"])
            else:
                await deputy.decide(asked["approval_id"], "approve", by="alice")
            async with asyncio.timeout(60):
                told = await resumed.get()
            assert (told.thread, told.user, told.change) == (thread, User("alice"), "decided")
            [latest] = await client.runs.list(thread, limit=1)
            state = await client.runs.join(thread, latest["run_id"])
        assert state["messages"][-1]["content"] == "1 answers" and len(server.sandbox.sent("alice@example.test")) == 1
        listening.cancel()
