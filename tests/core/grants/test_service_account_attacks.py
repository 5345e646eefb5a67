"""What a user cannot do to an organisation's account, nor to what another user has done with it."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Audience,
    Call,
    Deputy,
    Effect,
    NotFound,
    Preview,
    Request,
    Run,
    Steps,
    Toolkit,
    Undo,
    User,
    any_of,
    ask_before_sending,
)
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import BOT, EXCHANGE, WRITE, World, app, bot_app, deputy_with

boards = Toolkit("boards", provider="api", shows=True)


@boards.tool(needs=[any_of(WRITE)], effect=Effect.SENDS)
def pin(text: str, *, run: Run) -> Steps:
    """Pin a note to the board."""
    yield Preview("Pin this note", audience=Audience.PUBLIC, text=text)
    yield Request("POST", "/notes", api="notes", json={"key": run.key.uuid, "text": text}, repeat="idem")
    yield Undo("boards_pin", {"text": f"not {text}"})
    return {"text": text}


PIN: dict[str, Any] = {"user": "alice", "app": "bot", "call": Call("t", "m", "c")}


async def yes(deputy: Deputy) -> None:
    [waits] = await deputy.approvals.list_pending(User("alice"))
    assert "acting for" in waits.preview
    await deputy.decide(waits.id, "approve", by="alice")


async def test_organization_act_is_undone_by_its_author_with_approval() -> None:
    world = World(Clock(1_800_000_000.0))
    apps = app(EXCHANGE), bot_app(world)
    async with await deputy_with(world, *apps, policy=ask_before_sending, toolkits=[boards]) as deputy:
        world.session("alice")
        with pytest.raises(ApprovalRequired):
            await deputy.act("boards_pin", {"text": "lunch"}, **PIN)
        await yes(deputy)
        await deputy.act("boards_pin", {"text": "lunch"}, **PIN)
        [done] = await deputy.undoable("alice")
        assert await deputy.undoable("bob") == []
        with pytest.raises(NotFound):
            await deputy.undo("bob", done.id)
        with pytest.raises(ApprovalRequired):
            await deputy.undo("alice", done.id)
        await yes(deputy)
        await deputy.undo("alice", done.id)
        assert world.posted == [(BOT, "lunch"), (BOT, "not lunch")]


async def test_erasing_a_user_keeps_the_service_account() -> None:
    world = World(Clock(1_800_000_000.0))
    async with await deputy_with(world, app(EXCHANGE), bot_app(world)) as deputy:
        for user in ("alice", "bob"):
            await deputy.act("notes_count_notes", {}, user=user, app="bot")
        await deputy.erase("alice")
        assert world.alive == [BOT] and await deputy.connections("alice") == []
        asked = world.asked["auth.api.test/token"]
        await deputy.act("notes_count_notes", {}, user="bob", app="bot")
        assert world.asked["auth.api.test/token"] == asked
