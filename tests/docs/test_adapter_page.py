"""The page on adapters: its adapter pauses and resumes, and its tables match the kit and the examples."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from deputize.adapters import kit
from deputize.core import Deputy, PolicyDenied, User
from deputize.sandbox import Sandbox
from tests.docs.blocks import ROOT, block, blocks, run, text
from tests.support.counterparts import AGENT_FRAMEWORKS
from tests.support.sandbox_deputy import build, consent

PAGE: Final = "docs/write-an-adapter.md"
ADAPTER: Final = block(PAGE, "class ChatTools")
LOOP: Final = block(PAGE, "while calls := ")
MAIL: Final = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}


def chat_call(ident: str, name: str, arguments: str) -> dict[str, Any]:
    """Return a tool call as chat APIs write it."""
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def turn_of(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return what the page's loop stores of these calls."""
    return {"chat": "1", "message": "m1", "calls": list(calls)}


SEND: Final = chat_call("c1", "gmail_send_email", json.dumps(MAIL))
SEARCH: Final = chat_call("c2", "gmail_search_emails", '{"query": "from:bob"}')


async def chat_tools(deputy: Deputy) -> Any:
    """Return the page's adapter, new as after a restart."""
    return (await run(ADAPTER, {}))["ChatTools"](deputy, "gmail", user=lambda context: context["user_id"])


async def answer(deputy: Deputy, turn: dict[str, Any], user: str = "alice") -> tuple[list[Any], dict[str, Any]]:
    """Answer a stored turn with a new adapter. Return the requests, and what is stored afterwards."""
    stored = json.loads(json.dumps(turn))
    requests = await (await chat_tools(deputy)).answer({"user_id": user}, stored)
    return requests, stored


def test_every_python_block_of_the_page_is_executed_here() -> None:
    assert blocks(PAGE, "python") == [ADAPTER, LOOP]
    assert set(re.findall(r"^```(\w+)$", text(PAGE), re.MULTILINE)) == {"python"}


async def test_documented_loop_asks_twice_and_sends_once() -> None:
    sandbox, shown = Sandbox(), list[Any]()
    async with await build(sandbox) as deputy:

        async def model(messages: list[Any], definitions: list[Any]) -> dict[str, Any]:
            assert {one["function"]["name"] for one in definitions} == {one.name for one in deputy.tools("gmail")}
            assert all(one["function"]["parameters"]["type"] == "object" for one in definitions)
            said = [one["content"] for one in messages if one["role"] == "tool"]
            reply = {"id": f"m{len(messages)}", "role": "assistant", "content": " | ".join(said)}
            return reply if said else reply | {"tool_calls": [SEND, SEARCH]}

        async def visit(link: str) -> None:
            [waiting] = await deputy.consents.list_pending(User("alice"))
            assert waiting.link == link
            await consent(deputy, sandbox, waiting)

        def show(link: str) -> None:
            shown.append(asyncio.create_task(visit(link)))

        def ask(preview: dict[str, str]) -> str:
            shown.append(preview)
            return "approve"

        names: dict[str, Any] = {"deputy": deputy, "model": model, "show": show, "ask": ask}
        names |= {"chat": "1", "context": {"user_id": "alice"}, "messages": []}
        names = await run(LOOP, await run(ADAPTER, names))
    assert len(shown) == 2 and shown[1]["to"] == "bob@example.test"
    assert "Sent." in names["reply"]["content"] and "Bob Brown" in names["reply"]["content"]
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_documented_adapter_resumes_a_stored_turn_once() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        [missing], stored = await answer(deputy, turn_of(SEND))
        assert missing["type"] == "deputize.consent" and "results" not in stored
        [again], stored = await answer(deputy, stored)
        assert again["consent_id"] == missing["consent_id"], "resumed early"
        found = await deputy.get_consent(missing["consent_id"])
        assert found
        await consent(deputy, sandbox, found)
        [asked], stored = await answer(deputy, stored)
        await deputy.decide(asked["approval_id"], "approve", by="alice")
        ends = [await answer(deputy, stored) for _ in range(2)]
        assert [requests for requests, _ in ends] == [[], []] and ends[0][1]["results"] == ends[1][1]["results"]
        [result] = ends[0][1]["results"]
        assert result["tool_call_id"] == "c1" and json.loads(result["content"])["summary"] == "Sent."
        assert len(sandbox.sent("alice@example.test")) == 1


async def test_documented_adapter_refuses_another_user_of_a_stored_turn() -> None:
    async with await build() as deputy:
        _, stored = await answer(deputy, turn_of(SEND))
        with pytest.raises(PolicyDenied):
            await answer(deputy, stored, "bob")
        with pytest.raises(PolicyDenied):
            await answer(deputy, stored | {"owner": "bob"}, "bob")
        with pytest.raises(PolicyDenied):
            await answer(deputy, stored | {"message": "m2"})
        assert await deputy.pending("bob") == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [('{"subjct": 1}', "subjct"), ("{", "not a JSON object"), ("[1]", "not a JSON object"), ("null", "not a JSON")],
)
async def test_documented_adapter_answers_an_unreadable_call(arguments: str, sentence: str) -> None:
    async with await build() as deputy:
        requests, stored = await answer(deputy, turn_of(chat_call("c1", "gmail_send_email", arguments)))
        assert requests == [] and sentence in stored["results"][0]["content"]


async def test_rejection_is_reported_to_the_model_of_the_documented_adapter() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        [missing], stored = await answer(deputy, turn_of(SEND))
        found = await deputy.get_consent(missing["consent_id"])
        assert found
        await consent(deputy, sandbox, found)
        [asked], stored = await answer(deputy, stored)
        await deputy.decide(asked["approval_id"], "reject", by="alice")
        requests, stored = await answer(deputy, stored)
        assert requests == [] and "declined" in stored["results"][0]["content"]
        assert sandbox.sent("alice@example.test") == []


# ------------------------------------------------------------- tables


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the tables under a heading."""
    section = text(PAGE).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in ("Name", "Framework", "Package"):
            yield cells


def test_page_lists_every_name_of_the_kit() -> None:
    named = {name for cells in rows("The kit") for name in re.findall(r"`(?:runner\.)?(\w+)\(", cells[0])}
    methods = {name for name in vars(kit.ToolRunner) if name[0] != "_" and callable(vars(kit.ToolRunner)[name])}
    functions = {name for name in kit.__all__ if name == "ToolRunner" or name.islower()}
    assert named == methods | functions


def test_page_lists_every_adapter_to_copy_with_its_tested_release() -> None:
    files = {file.name for file in (ROOT / "examples" / "adapters").glob("*.py")}
    cells = list(rows("Adapters to copy"))
    assert {name for one in cells for name in re.findall(r"adapters/(\w+\.py)\)", one[1])} == files
    assert {one[0].strip("`"): one[1] for one in cells if len(one) == 2} == AGENT_FRAMEWORKS
    assert len(files) == len(AGENT_FRAMEWORKS)
