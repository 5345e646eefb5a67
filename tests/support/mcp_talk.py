"""A client of MCP that others wrote, told what to do: ``python mcp_talk.py KIND TARGET...``, a URL or a command.

Reads a line of JSON for each order and writes one for each thing it comes to; needs nothing of ours, since it runs in
the client's own environment.

    {"call": tool, "arguments": {...}}   -> {"ask": {"mode", "url" or "message"}}, which is answered by
    {"action": "accept", "content": ...}    and then, in the end, {"text": ..., "error": bool}; "lost" beside it says
                                         that there was no answer
    {"restart": true}                    -> {"text": "ready", "error": false}, after a new connection
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore,arg-type,dict-item"
# pyright: basic, reportMissingImports=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

warnings.simplefilter("ignore")

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
HEADERS = {"Authorization": "Bearer alice"}
LONGEST = 40.0
"""Seconds after which a call counts as lost."""


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


ORDERS: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
ANSWERS: asyncio.Queue[dict[str, Any]] = asyncio.Queue()


async def listen() -> None:
    """Read the input in one place: a request can be answered after its call has ended, and then two readers would
    compete."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        said = json.loads(line)
        (ANSWERS if "action" in said else ORDERS).put_nowait(said)
    ORDERS.put_nowait({"end": True})


async def answer(**ask: Any) -> dict[str, Any]:
    """Return the user's answer to this request."""
    while not ANSWERS.empty():  # to one before, whose call had ended
        ANSWERS.get_nowait()
    tell(ask=ask)
    return await ANSWERS.get()


async def asked(params: Any) -> dict[str, Any]:
    """Return the user's answer to a request in the form of the SDKs."""
    url = getattr(params, "url", None)
    return await (answer(mode="url", url=url) if url else answer(mode="form", message=params.message))


def text_of(result: Any) -> str:
    return "".join(getattr(block, "text", "") for block in result.content)


def by_links(made: Callable[..., Awaitable[Any]]) -> Call:
    """Make a call again after each link of 2025-11-25."""
    from mcp.shared.exceptions import MCPError

    async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        while True:
            try:
                result = await made(tool, arguments)
                return text_of(result), bool(result.is_error)
            except MCPError as error:
                if error.code != -32042:
                    raise
                for one in (error.data or {})["elicitations"]:
                    if (await answer(mode="url", url=one["url"]))["action"] != "accept":
                        return "The client went no further.", True

    return call


@asynccontextmanager
async def sdk(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import ElicitResult

    async def elicit(ctx: Any, params: Any) -> ElicitResult:
        return ElicitResult(**await asked(params))

    async with AsyncExitStack() as stack:
        if target[0].startswith("http"):
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=HEADERS, timeout=60))
            where: Any = streamable_http_client(target[0], http_client=http)
        else:
            where = StdioServerParameters(command=target[0], args=target[1:])
        client = await stack.enter_async_context(
            Client(where, mode=mode, elicitation_callback=elicit if asks else None)
        )

        yield by_links(client.call_tool)


@asynccontextmanager
async def fastmcp(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    from fastmcp import Client
    from fastmcp.client.elicitation import ElicitResult
    from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

    async def elicit(message: str, kind: Any, params: Any, ctx: Any) -> Any:
        return ElicitResult(**await asked(params))

    http = target[0].startswith("http")
    where: Any = StreamableHttpTransport(target[0], headers=HEADERS) if http else StdioTransport(target[0], target[1:])
    async with Client(where, mode=mode, elicitation_handler=elicit if asks else None) as client:
        yield by_links(partial(client.call_tool, raise_on_error=False))


@asynccontextmanager
async def forms(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    """Run the SDK's client, which declares that it shows forms and no links."""
    with patch("mcp_types.UrlElicitationCapability", lambda: None):
        async with sdk(target, mode, asks) as call:
            yield call


def graph_of(tools: list[Any]) -> Any:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "tools")
    return builder.compile(checkpointer=InMemorySaver())


def calling(tools: list[Any]) -> Call:
    """Build a graph in which a model has requested one call, resumed for each request."""
    from langchain_core.messages import AIMessage
    from langgraph.types import Command

    graph, count = graph_of(tools), iter(range(1000))

    async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        config = {"configurable": {"thread_id": str(next(count))}}
        asking = AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": "1"}])
        out = await graph.ainvoke({"messages": [asking]}, config)
        while "__interrupt__" in out:
            answers = {}
            for one in out["__interrupt__"][0].value["requests"]:
                answers[one["key"]] = await answer(mode=one["mode"], url=one.get("url"), message=one["message"])
            out = await graph.ainvoke(Command(resume={"responses": answers}), config)
        last = out["messages"][-1]
        said = last.content if isinstance(last.content, str) else "".join(one.get("text", "") for one in last.content)
        return said, last.status == "error"

    return call


@asynccontextmanager
async def langchain(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
    from langchain.mcp import MCPAdapter

    http = target[0].startswith("http")
    where: Any = StreamableHttpTransport(target[0], headers=HEADERS) if http else StdioTransport(target[0], target[1:])
    async with MCPAdapter(Client(where, mode=mode)) as adapter:
        yield calling(await adapter.list_tools())


@asynccontextmanager
async def adapters(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    http = target[0].startswith("http")
    over_http = {"transport": "streamable_http", "url": target[0], "headers": HEADERS}
    over_stdio = {"transport": "stdio", "command": target[0], "args": target[1:]}
    client = MultiServerMCPClient({"ours": over_http if http else over_stdio})
    yield calling(await client.get_tools())


@asynccontextmanager
async def llama(target: list[str], mode: str, asks: bool) -> AsyncIterator[Call]:
    from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

    http = target[0].startswith("http")
    client = BasicMCPClient(target[0], headers=HEADERS) if http else BasicMCPClient(target[0], args=target[1:])
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}

    async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        output = await tools[tool].acall(**arguments)
        raw = output.raw_output
        return text_of(raw) if hasattr(raw, "content") else str(output), bool(getattr(raw, "is_error", output.is_error))

    yield call


KINDS = {
    "sdk": (sdk, "auto", True),
    "sdk legacy": (sdk, "legacy", True),
    "sdk forms": (forms, "auto", True),
    "sdk legacy forms": (forms, "legacy", True),
    "sdk silent": (sdk, "auto", False),
    "sdk legacy silent": (sdk, "legacy", False),
    "fastmcp": (fastmcp, "auto", True),
    "fastmcp silent": (fastmcp, "auto", False),
    "fastmcp legacy": (fastmcp, "legacy", True),
    "fastmcp legacy silent": (fastmcp, "legacy", False),
    "langchain": (langchain, "auto", True),
    "adapters": (adapters, "", False),
    "llama": (llama, "", False),
}
"""Third-party clients.

A "silent" one declares that it can show no request, as most did at first. `langchain.mcp` shows only the requests of
2026-07-28: with the earlier protocols a link or a form ends its run (-32042).
"""


async def called(call: Call, now: dict[str, Any]) -> None:
    """Make one call, and return its result or error."""
    try:
        said, error = await asyncio.wait_for(call(now["call"], now["arguments"]), LONGEST)
    except Exception as lost:
        tell(text=f"{type(lost).__name__}: {lost}", error=True, lost=True)
    else:
        tell(text=said, error=error)


async def obey(kind: str, target: list[str]) -> None:
    """Execute the orders over one connection after another."""
    opened, mode, asks = KINDS[kind]
    while True:
        now: dict[str, Any] = {}
        try:
            async with opened(target, mode, asks) as call:
                tell(text="ready", error=False)
                while "restart" not in (now := await ORDERS.get()):
                    if "end" in now:
                        return
                    await called(call, now)
        except Exception:
            if not now.keys() & {"restart", "end"}:  # what a connection says at its end, whose server was gone
                raise
            if "end" in now:
                return


async def main(kind: str, target: list[str]) -> None:
    listening = asyncio.create_task(listen())
    try:
        await obey(kind, target)
    finally:
        listening.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
