"""Conversations of five frameworks in a process that may be killed: the functions of docs/resuming.md, unchanged.

``python -m tests.support.resume_child FOLDER STAGE BASE``: FOLDER keeps the vault and all that the frameworks store;
Google is at BASE. STAGE "start" begins one conversation in each framework, as Alice. STAGE "listen" resumes them as
their questions end. Each step prints one JSON line. The process ends only by being killed.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import httpx
from google.adk.sessions.database_session_service import DatabaseSessionService
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from deputize.adapters.llamaindex import GmailToolSpec, store_user
from deputize.core import PROVIDERS, Deputy, QuestionChange
from tests.docs.blocks import block, run
from tests.support import google_adk_runs, openai_agents_runs, pydantic_ai_runs
from tests.support.graphs import SEND, Context, asking, plain
from tests.support.llamaindex_agents import Calling, Model
from tests.support.sandbox_deputy import build, new_vault

PAGE: Final = "docs/resuming.md"
KEY: Final = bytes(range(5, 250, 7))[:32]
MARKS: Final = {
    "langgraph": "resume_when_done",
    "llamaindex": "save_paused",
    "pydantic_ai": "ModelMessagesTypeAdapter",
    "openai_agents": "RunState",
    "google_adk": "get_session",
}
"""A word in each framework's block of the page."""


@dataclass
class Chat:
    """The context of a run of the OpenAI Agents SDK."""

    user_id: str
    chat_id: str


class Table(MutableMapping[str, Any]):
    """A table in files, which an application would have in its database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def __getitem__(self, key: str) -> Any:
        try:
            return pickle.loads((self.folder / key).read_bytes())  # noqa: S301  # our own
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        new = self.folder / f".{key}"
        new.write_bytes(pickle.dumps(value))
        new.replace(self.folder / key)

    def __delitem__(self, key: str) -> None:
        try:
            (self.folder / key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Any:
        return (path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def __len__(self) -> int:
        return len([*self])


def call(framework: str) -> dict[str, Any]:
    """Return the call of this framework's conversation."""
    return {**SEND, "args": {**SEND["args"], "subject": framework}}


def say(**what: Any) -> None:
    """Print a line for the test."""
    print(json.dumps(what), flush=True)


Start = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def conversations(deputy: Deputy, folder: Path) -> AsyncIterator[dict[str, tuple[Start, Any]]]:
    """Yield how each framework's conversation starts, and the page's function that resumes it."""
    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints")))
        graph = plain(deputy, saver=saver)
        sessions = DatabaseSessionService(f"sqlite+aiosqlite:///{folder / 'sessions'}")
        runner = google_adk_runs.runner_of(google_adk_runs.agent_of(deputy, call("google_adk")), sessions)
        gmail = GmailToolSpec(deputy, user=store_user("user_id")).to_tool_list()
        function_agent = import_module("llama_index.core.agent.workflow").FunctionAgent
        agents: dict[str, Any] = {
            "llamaindex": function_agent(tools=gmail, llm=Calling(respond=Model([call("llamaindex")]))),
            "pydantic_ai": pydantic_ai_runs.agent_of(deputy, call("pydantic_ai")),
            "openai_agents": openai_agents_runs.agent_of(
                deputy,
                call("openai_agents"),
                user=lambda ctx: ctx.context.user_id,
                thread=lambda ctx: ctx.context.chat_id,
            ),
        }

        async def deliver(chat: str, answer: Any) -> None:
            """Show an answer: the test reads it."""

        async def start_langgraph() -> None:
            config: Any = {"configurable": {"thread_id": "langgraph"}}
            await graph.ainvoke(asking(call("langgraph")), config, context=Context("alice"))

        async def start_google_adk() -> None:
            await sessions.create_session(app_name=google_adk_runs.APP, user_id="alice", session_id="google_adk")
            await google_adk_runs.played(runner, "google_adk", google_adk_runs.message("go on"))

        found: dict[str, tuple[Start, Any]] = {}
        shared = {"deputy": deputy, "graph": graph, "sessions": sessions, "runner": runner, "deliver": deliver}
        shared |= {"Deps": pydantic_ai_runs.Deps, "Chat": Chat, "saved": Table(folder / "saved")}
        for name, mark in MARKS.items():
            names = await run(block(PAGE, mark), {**shared, "agent": agents.get(name)})
            own = {"langgraph": start_langgraph, "google_adk": start_google_adk}.get(name)
            found[name] = own or partial(names["start"], "go on", name, "alice"), names["resume"]
        yield found


async def main(folder: Path, stage: str, base: str) -> None:
    """Run one stage; see the top of this module."""
    vault = await new_vault(folder / "vault", KEY)
    providers = {"google": PROVIDERS["google"].moved_to(base)}
    transport = lambda: httpx.AsyncHTTPTransport(trust_env=False)  # noqa: E731
    async with (
        await build(vault=vault, transport=transport, providers=providers) as deputy,
        conversations(deputy, folder) as each,
    ):
        if stage == "start":
            for start, _ in each.values():
                await start()
            say(started=[*each])
            await asyncio.Event().wait()

        async def resume(told: QuestionChange) -> None:
            assert told.user.id == "alice"
            await each[told.thread][1](told)
            say(thread=told.thread, change=told.change, status=told.question.status)

        await deputy.handle_ended_questions(resume)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
