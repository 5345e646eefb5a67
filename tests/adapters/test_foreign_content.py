"""Pictures, sounds and documents of foreign tools reach models in each framework's own types, and never by a handle
that another result names."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from google.adk.agents import LlmAgent
from langchain_core.messages import ToolCall
from llama_index.core.llms import AudioBlock, DocumentBlock, ImageBlock
from mcp import MCPError
from mcp_types import ResourceLink
from pydantic_ai.messages import BinaryContent

from deputize.adapters.google_adk import DeputyToolset
from deputize.adapters.langchain import tools
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.mcp import DeputyServer, results
from deputize.adapters.media import media_of
from deputize.core import Call, Deputy, User
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from tests.support.foreign_mcp import URL, Foreign, definition, foreign_deputy
from tests.support.google_adk_runs import Asking, Chat
from tests.support.mcp_clients import MODES, by_bearer, client, served

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
READS = McpServer("other", URL, tools={"look": ToolOverride(effect="reads")})
WAV, PDF = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", b"%PDF-1.4\n%%EOF\n"


def block(kind: str, content: bytes, mime: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "data": base64.b64encode(content).decode(), "mimeType": mime} | more


def said() -> dict[str, Any]:
    page = {"uri": "docs://a/report.pdf", "mimeType": "application/pdf", "blob": base64.b64encode(PDF).decode()}
    return {
        "content": [
            {"type": "text", "text": "The picture:"},
            block("image", PNG, "image/png"),
            block("audio", WAV, "audio/wav"),
            {"type": "resource", "resource": page},
            block("image", PNG, "image/png", annotations={"audience": ["user"]}),
        ]
    }


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    foreign = Foreign([definition("look")], reply=lambda *_: said())
    async with foreign_deputy(foreign, server=replace(READS, inline=("image", "audio", "pdf"))) as made:
        yield made


def told(text: Any) -> list[str]:
    """Return the types of the parts that a model reads of, in their order."""
    read = json.loads(text)
    assert read["untrusted"] is True and base64.b64encode(PNG).decode() not in text
    return [one["type"] for one in read["content"]]


ALL = ["text", "image", "audio", "resource", "image"]


async def test_langchain_gets_content_blocks(deputy: Deputy) -> None:
    [look] = tools(deputy, "other", user="alice")
    got = await look.ainvoke(ToolCall(name="other_look", args={"to": "bob"}, id="1", type="tool_call"))
    assert told(got.content[0]["text"]) == ALL
    assert [one["type"] for one in got.content] == ["text", "image", "file"]
    blocks = got.content_blocks
    assert [base64.b64decode(one["base64"]) for one in blocks[1:]] == [PNG, PDF]
    assert [one["mime_type"] for one in blocks[1:]] == ["image/png", "application/pdf"]
    assert got.artifact["content"][3]["name"] == "report.pdf"


async def test_llamaindex_gets_blocks(deputy: Deputy) -> None:
    [look] = DeputyToolSpec(deputy, "other", user="alice").to_tool_list()
    got = await look.acall(to="bob")
    assert told(got.blocks[0].text) == ALL  # type: ignore[union-attr]
    kinds = [type(one) for one in got.blocks[1:]]
    assert kinds == [ImageBlock, AudioBlock, DocumentBlock]
    assert got.blocks[1].resolve_image().read() == PNG  # type: ignore[union-attr]


async def test_pydantic_ai_gets_binary_content(deputy: Deputy) -> None:
    from pydantic_ai import Agent as PydanticAgent
    from pydantic_ai.models.test import TestModel

    from deputize.adapters.pydantic_ai import DeputyToolset as PydanticToolset

    agent = PydanticAgent(TestModel(), toolsets=[PydanticToolset(deputy, "other", user="alice")])
    run = await agent.run("Look.")
    [returned] = [one for m in run.all_messages() for one in m.parts if one.part_kind == "tool-return"]
    content: Any = returned.content
    text, *files = content
    assert told(text) == ALL and all(isinstance(one, BinaryContent) for one in files)
    assert [(one.data, one.media_type) for one in files] == [
        (PNG, "image/png"),
        (WAV, "audio/wav"),
        (PDF, "application/pdf"),
    ]


async def test_openai_agents_get_images_and_files(deputy: Deputy) -> None:
    from agents import RunContextWrapper
    from agents.items import ItemHelpers
    from agents.tool_context import ToolContext

    from deputize.adapters.openai_agents import tools as openai_tools

    [look] = openai_tools(deputy, "other", user="alice", thread="t")
    from_agent: Any = ToolContext.from_agent_context
    ctx = from_agent(RunContextWrapper(None), "1", SimpleNamespace(
        name="other_look", call_id="1", arguments="{}", namespace=None
    ))  # fmt: skip
    got = await look.on_invoke_tool(ctx, json.dumps({"to": "bob"}))  # type: ignore[union-attr]
    sent: Any = ItemHelpers.tool_call_output_item(SimpleNamespace(call_id="1"), got)["output"]  # type: ignore[arg-type]
    assert [one["type"] for one in sent] == ["input_text", "input_image", "input_file"]
    assert told(sent[0]["text"]) == ALL
    assert sent[1]["image_url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert sent[2]["filename"] == "report.pdf"


async def test_google_adk_gets_parts_of_the_function_response(deputy: Deputy) -> None:
    model = Asking(calls=[{"name": "other_look", "args": {"to": "bob"}, "id": "1"}])
    chat = Chat(LlmAgent(name="a", model=model, tools=[DeputyToolset(deputy, "other")]))
    await chat.say("Look.")
    parts = [part for event in await chat.session_events() for part in (event.content and event.content.parts) or []]
    [response] = [part.function_response for part in parts if part.function_response]
    assert told((response.response or {})["result"]) == ALL
    found = [one.inline_data for one in response.parts or [] if one.inline_data]
    assert [(one.mime_type, one.data) for one in found] == [
        ("image/png", PNG),
        ("audio/wav", WAV),
        ("application/pdf", PDF),
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_mcp_clients_get_the_content_as_it_came(mode: str) -> None:
    schema = {"type": "object", "properties": {"id": {"$ref": "#/$defs/id"}}, "$defs": {"id": {"type": "string"}}}
    titled = definition("look", title="Look it up", outputSchema=schema)
    link = {"type": "resource_link", "uri": "docs://b", "name": "b.md", "title": "B", "mimeType": "text/markdown"}
    for_user = {"type": "text", "text": "for you", "annotations": {"audience": ["user"]}}
    replies = [
        {"content": [*said()["content"], link, for_user], "structuredContent": {"id": "1"}},
        {"content": [], "structuredContent": {"id": 1}},
        {"content": [{"type": "text", "text": "No."}], "isError": True},
    ]
    foreign = Foreign([titled], reply=lambda *_: replies.pop(0))
    async with foreign_deputy(foreign, server=READS) as deputy, served(DeputyServer(deputy).app(by_bearer)) as base:
        async with client(f"{base}/mcp", mode=mode) as alice:
            tool = (await alice.list_tools()).tools[0]
            whole, unfit, failed = [await alice.call_tool("other_look", {"to": f"bob{n}"}) for n in range(3)]
    assert tool.title == "Look it up" and tool.output_schema["$defs"]["data"]["$defs"] == schema["$defs"]  # type: ignore[index]
    text, *blocks = whole.content
    rest = json.loads(text.text)  # type: ignore[union-attr]
    assert rest == {"untrusted": True, "data": {"id": "1"}, "content": [{"type": "text", "text": "The picture:"}]}
    picture, sound, page, for_alice, linked, told = [
        one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in blocks
    ]
    assert (picture, sound) == (block("image", PNG, "image/png"), block("audio", WAV, "audio/wav"))
    assert (page, linked, told) == (said()["content"][3], link, for_user)
    assert for_alice == said()["content"][4]
    assert whole.structured_content["data"] == {"id": "1"}
    assert unfit.structured_content["data"] == {"id": 1} and "remark" in unfit.structured_content
    assert failed.is_error and not whole.is_error


async def test_large_file_is_a_link_that_only_its_user_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_RESULT_BYTES", len(PNG))
    foreign = Foreign([definition("look")], reply=lambda *_: said())
    async with foreign_deputy(foreign, server=READS) as deputy, served(DeputyServer(deputy).app(by_bearer)) as base:
        async with client(f"{base}/mcp") as alice, client(f"{base}/mcp", "bob") as bob:
            got = await alice.call_tool("other_look", {"to": "bob"})
            [uri, *_] = [one.uri for one in got.content if isinstance(one, ResourceLink)]
            [sound] = (await alice.read_resource(uri)).contents
            assert (sound.mime_type, base64.b64decode(sound.blob)) == ("audio/wav", WAV)  # type: ignore[union-attr]
            kept = await deputy.store_file("alice", "secret.txt", "text/plain", b"x")
            for who, what in ((bob, uri), (alice, f"deputize://files/{kept['file']}/"), (alice, "docs://b")):
                with pytest.raises(MCPError, match=r"no such resource|Unknown file"):
                    await who.read_resource(what)
            assert (await alice.list_resources()).resources == []


async def test_another_tool_or_user_gets_no_bytes_by_a_handle(deputy: Deputy) -> None:
    result = await deputy.act("other_look", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))
    [look] = deputy.tools("other")
    everything = ("image", "audio", "pdf")
    assert len(await media_of(deputy, look, result, User("alice"), everything)) == 3
    assert await media_of(deputy, look, result, User("bob"), everything) == []
    ours: Any = SimpleNamespace(returns_files=False)
    assert await media_of(deputy, ours, result, User("alice"), everything) == []
