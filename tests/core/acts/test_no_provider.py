"""Tools without a provider get the same checks as others, work for a user without any account, and can send nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import pytest

from deputize.core import (
    Act,
    Audience,
    Call,
    Deputy,
    Effect,
    InvalidInput,
    NotFound,
    PolicyDenied,
    Preview,
    PublicRequest,
    Request,
    Steps,
    Take,
    TimeZone,
    Toolkit,
    User,
    Verdict,
    allow_all,
)
from tests.support.sandbox_deputy import build

KEPT = Toolkit("kept", provider="", shows=True)


@KEPT.tool()
def size(file: str) -> Steps:
    """How large a file is."""
    return {"size": len((yield Take(file)).content)}


@KEPT.tool()
def ask(path: str) -> Steps:
    """Ask somebody."""
    return (yield Request("GET", path, api="gmail"))


@KEPT.tool(effect=Effect.SENDS)
def send() -> Steps:
    """Tell somebody."""
    yield Preview("Tell somebody", audience=Audience.PUBLIC)
    return (yield PublicRequest("https://example.com/", "POST", content=b"x"))


@KEPT.tool()
def place() -> Steps:
    """Say where the user is."""
    yield TimeZone("Asia/Tokyo")


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    async with await build(toolkits=[KEPT]) as made:
        yield made


async def handle_of(deputy: Deputy, user: str = "alice") -> str:
    return str((await deputy.store_file(user, "a.txt", "text/plain", b"12345"))["file"])


async def test_local_tool_works_on_stored_files_without_an_account(deputy: Deputy) -> None:
    assert await deputy.act("kept_size", {"file": await handle_of(deputy)}, user="alice") == {"size": 5}
    assert await deputy.pending("alice") == []


async def test_local_tool_cannot_read_another_users_file(deputy: Deputy) -> None:
    with pytest.raises(NotFound):
        await deputy.act("kept_size", {"file": await handle_of(deputy, "bob")}, user="alice")
    with pytest.raises(NotFound):
        await deputy.act("kept_size", {"file": await handle_of(deputy)}, user=User("alice", "another tenant"))


async def test_local_tool_cannot_send_requests(deputy: Deputy) -> None:
    with pytest.raises(InvalidInput, match="no API"):
        await deputy.act("kept_ask", {"path": "/users/me"}, user="alice")


async def test_approved_local_tool_still_cannot_send_or_set_time_zone(deputy: Deputy) -> None:
    deputy.policy = allow_all
    for tool in ("kept_send", "kept_place"):
        with pytest.raises(InvalidInput, match="toolkit without a provider"):
            await deputy.act(tool, {}, user="alice")
    assert await deputy.services.zones.of(User("alice")) is UTC


async def test_policy_applies_to_local_tools(deputy: Deputy) -> None:
    handle = await handle_of(deputy)

    def nothing_kept(act: Act) -> Verdict:
        return Verdict.DENY if act.tool.toolkit == "kept" else Verdict.ALLOW

    deputy.policy = nothing_kept
    with pytest.raises(PolicyDenied):
        await deputy.act("kept_size", {"file": handle}, user="alice")


async def test_local_tools_are_authorized_without_consent(deputy: Deputy) -> None:
    found: list[Any] = await deputy.authorized_tools("alice", "kept")
    assert {tool.name for tool in found} == {"kept_size", "kept_ask", "kept_send", "kept_place"}
    assert await deputy.connect("alice", tools=["kept_size"]) == []
    call = Call("thread", "message", "call")
    assert await deputy.check_calls([("kept_size", {"file": "x"}, call)], user="alice") == [None]
