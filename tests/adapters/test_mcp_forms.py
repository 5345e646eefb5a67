"""Approvals in a client's form: in 2025-11-25 the server asks during the call, in later protocols in rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import mcp_types as types
import pytest

from deputize.adapters.mcp.elicitation import question_of
from deputize.core import Approval, ApprovalRequired
from tests.adapters.test_mcp_asks import OWN_PAGE, TOOL, House, house, text
from tests.adapters.test_mcp_rounds import ARGS, approve
from tests.support.mcp_clients import MODES, client, forms_alone

YES: Final = types.ElicitResult(action="accept", content={"decision": "approve"})
Answers: Final = {
    "approved": (YES, 1),
    "rejected": (types.ElicitResult(action="accept", content={"decision": "reject"}), 0),
    "declined": (types.ElicitResult(action="decline"), 0),
}
each = pytest.mark.parametrize("mode", MODES)
Elicited = Callable[[Any, types.ElicitRequestParams], Awaitable[types.ElicitResult]]


async def call(home: House, mode: str, says: Elicited) -> types.CallToolResult:
    """Make one call as a client that shows forms only."""
    with forms_alone():
        async with client(home.url, mode=mode, elicitation_callback=says) as alice:
            return await alice.call_tool(TOOL, ARGS)


async def waiting(home: House) -> list[Approval]:
    return [one for one in await home.deputy.pending("alice") if isinstance(one, Approval)]


@each
@pytest.mark.parametrize("answer", Answers)
async def test_form_shows_the_complete_act_and_its_decision_is_executed_once(mode: str, answer: str) -> None:
    shown: list[types.ElicitRequestFormParams] = []
    said, mails = Answers[answer]

    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams) and home.sent() == 0
        shown.append(params)
        return said

    async with house(connected=True) as home:
        result = await call(home, mode, says)
        assert home.sent() == mails == (not result.is_error), text(result)
        assert len(shown) == 1 and await waiting(home) == [] == await home.deputy.vault.scan("call")
    for part in (*ARGS["to"], ARGS["subject"], ARGS["body"]):
        assert part in shown[0].message


@each
async def test_closed_form_leaves_the_request_open(mode: str) -> None:
    said = types.ElicitResult(action="cancel")

    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return said

    async with house(connected=True) as home:
        assert (await call(home, mode, says)).is_error and home.sent() == 0
        [before] = await waiting(home)
        said = YES
        assert not (await call(home, mode, says)).is_error and home.sent() == 1
        assert (await home.deputy.get_approval(before.id, by="alice")) is not None


@each
async def test_first_of_page_and_form_decisions_counts(mode: str) -> None:
    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        [one] = await waiting(home)
        await home.deputy.decide(one, "reject", by="alice")
        return YES

    async with house(connected=True) as home:
        result = await call(home, mode, says)
        assert result.is_error and "declined" in text(result).lower() and home.sent() == 0


@each
async def test_client_that_disconnects_at_the_form_finds_the_request_again(mode: str) -> None:
    seen = asyncio.Event()

    async def stares(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        seen.set()
        await asyncio.sleep(60)
        raise AssertionError

    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return YES

    async with house(connected=True) as home:
        calling = asyncio.create_task(call(home, mode, stares))
        await seen.wait()
        calling.cancel()
        await asyncio.wait([calling])
        [before] = await waiting(home)
        assert home.sent() == 0
        assert not (await call(home, mode, says)).is_error and home.sent() == 1
        assert await waiting(home) == [] and (await home.deputy.get_approval(before.id, by="alice")) is not None


@pytest.mark.processes
@each
async def test_form_without_a_decision_decides_nothing(mode: str) -> None:
    asked = 0

    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        nonlocal asked
        asked += 1
        if asked == 2:
            await approve(home)
        return types.ElicitResult(action="accept", content={"decision": "maybe"})

    async with house(waits=0.3, connected=True) as home:
        result = await call(home, mode, says)
        assert not result.is_error and asked == 2 and home.sent() == 1


@each
async def test_consent_is_explained_in_text_instead_of_a_form(mode: str) -> None:
    async def says(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        raise AssertionError("a form cannot take anybody to a provider")

    async with house(waits=0.1) as home:
        result = await call(home, mode, says)
        assert result.is_error and OWN_PAGE in text(result) and home.sent() == 0


def test_form_begins_with_the_sentence_and_one_line_for_each_danger() -> None:
    preview = {
        "first contact": "Never.",
        "warning": "This gives somebody access.\nIt is lost.",
        "text": "one\nto: eve@evil.test",
    }
    dangers = ("first contact", "warning")
    summary = "Scout wants to send this email at Gmail to eve@evil.test"
    asked = Approval("1", TOOL, "sends", preview, dangers, summary=summary)
    assert question_of(ApprovalRequired("It waits.", approval=asked)).message.split("\n") == [
        "Scout wants to send this email at Gmail to eve@evil.test",
        "",
        "first contact: Never.",
        "warning: This gives somebody access.",
        "warning: It is lost.",
        "",
        "text:",
        "    one",
        "    to: eve@evil.test",
    ]
