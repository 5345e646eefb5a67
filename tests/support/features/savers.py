"""Conversation stores and durability modes, states, and other inputs of a run."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from tests.support.features.scene import Row, Scene
from tests.support.graphs import Context, Graph
from tests.support.postgres import postgres


def durability(how: str) -> Row:
    """Checkpoints are written at each step, beside it, or at the end of a run."""

    async def run(scene: Scene, graph: Graph, given: Any) -> None:
        more: Any = {"context": scene.context, "durability": how}
        if scene.mode == "sync":
            await asyncio.to_thread(lambda: graph.invoke(given, scene.config, **more))
        else:
            await graph.ainvoke(given, scene.config, **more)

    async def played(scene: Scene) -> int:
        return await scene.play(scene.graph(), run=run)

    return Row(f"durability {how}", played, usual=how == "exit")


async def sqlite(scene: Scene) -> int:
    """A SQLite file, which a new graph reads after each pause."""
    async with AsyncExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "checkpoints"
        if scene.mode == "sync":
            scene.saver = SqliteSaver(stack.enter_context(closing(sqlite3.connect(path, check_same_thread=False))))
        else:
            scene.saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(path)))
        return await scene.play(scene.graph())


async def in_postgres(scene: Scene) -> int:
    """A real Postgres."""
    async with AsyncExitStack() as stack:
        address = stack.enter_context(postgres())
        if scene.mode == "sync":
            scene.saver = stack.enter_context(PostgresSaver.from_conn_string(address))
            scene.saver.setup()
        else:
            scene.saver = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(address))
            await scene.saver.setup()
        return await scene.play(scene.graph())


class Typed(TypedDict):
    """An application's own ``TypedDict`` state."""

    messages: Annotated[list[AnyMessage], add_messages]
    customer: str


class Modeled(BaseModel):
    """An application's own pydantic state."""

    messages: Annotated[list[AnyMessage], add_messages]
    customer: str = "c1"


@dataclass
class Data:
    """An application's own dataclass state."""

    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)
    customer: str = "c1"


def state(schema: type[Any]) -> Row:
    """A graph with the application's own state."""

    async def played(scene: Scene) -> int:
        builder = StateGraph(schema, context_schema=Context)
        builder.add_node("acts", scene.part())
        builder.add_edge(START, "acts")
        builder.add_edge("acts", END)
        graph = builder.compile(checkpointer=scene.saver)
        mails = await scene.play(graph, {**scene.start(), "customer": "c2"})
        assert await scene.statuses(graph) == ["success"]
        return mails

    return Row(f"state is {schema.__name__}", played)


async def with_store(scene: Scene) -> int:
    """A store beside the checkpointer."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", scene.part())
    builder.add_edge(START, "acts")
    builder.add_edge("acts", END)
    store = InMemoryStore()
    store.put(("alice",), "note", {"text": "likes lunch"})
    return await scene.play(builder.compile(checkpointer=scene.saver, store=store))


def named_by(feature: str, give: Callable[[Scene], None]) -> Row:
    """The user is named in another of the ways to give a run something."""

    async def played(scene: Scene) -> int:
        give(scene)
        return await scene.play(scene.graph())

    return Row(feature, played)


def a_dict(scene: Scene) -> None:
    """The context is a dict, which LangGraph converts to the graph's own schema."""
    scene.context = {"user_id": "alice"}


def more_in_configurable(scene: Scene) -> None:
    """``configurable`` has other values, with tags and metadata beside the context."""
    scene.config = {
        "configurable": {"thread_id": "1", "model": "small", "user_id": "alice"},
        "tags": ["demo"],
        "metadata": {"customer": "c1"},
        "run_name": "lunch",
        "max_concurrency": 1,
    }


ROWS: Final = (
    *(durability(how) for how in ("sync", "async", "exit")),
    Row("SQLite", sqlite),
    Row("Postgres", in_postgres, lane="counterpart"),
    *(state(schema) for schema in (Typed, Modeled, Data)),
    Row("store", with_store),
    named_by("context as a dict", a_dict),
    named_by("configurable, tags, metadata, max_concurrency", more_in_configurable),
)
