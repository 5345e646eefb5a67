"""Each way back that a tool leaves leads back: the world is as it was, and what somebody has changed since stays."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import deputize.toolkits.gmail
from deputize.core import Conflict, Undo, User
from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.support.provider_state import differences, everything
from tests.support.sandbox_deputy import Clock
from tests.toolkits.tool_driver import NOW
from tests.toolkits.undo_calls import SCOPES, WAYS, Given, Way

TOOLKITS: Final = Path(deputize.toolkits.gmail.__file__ or "").parents[1]


def sites() -> Iterator[str]:
    """Where our toolkits make an `Undo`: module and function."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in TOOLKITS.rglob("*.py"))
    for path, text in texts:
        for function in ast.walk(ast.parse(text)) if "Undo(" in text else ():
            if isinstance(function, ast.FunctionDef):
                calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
                if any(isinstance(name, ast.Name) and name.id == "Undo" for name in calls):
                    yield f"{path.relative_to(TOOLKITS).as_posix()}:{function.name}"


def test_every_way_back_is_gone_here() -> None:
    assert sorted(sites()) == sorted(WAYS)


# ----------------------------------------------------------------- there and back


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=clock) as world:
        yield world


@pytest.fixture
def made_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where toolkits made each `Undo`."""
    found, made = list[str](), Undo.__init__

    def recorded(self: Undo, *values: Any, **named: Any) -> None:
        code = sys._getframe(1).f_code
        if Path(code.co_filename).is_relative_to(TOOLKITS):  # not one that the ledger has read again
            found.append(f"{Path(code.co_filename).relative_to(TOOLKITS).as_posix()}:{code.co_name}")
        made(self, *values, **named)

    monkeypatch.setattr(Undo, "__init__", recorded)
    return found


async def undoable(world: ShownWorld, tool: str, arguments: Given) -> str:
    await world.act(tool, **arguments)
    [act] = [one.id for one in await world.deputy.undoable("alice") if one.call == str(world.calls)]
    return act


@pytest.mark.parametrize(("site", "way"), WAYS.items(), ids=WAYS)
async def test_what_was_done_is_put_back(world: ShownWorld, made_at: list[str], site: str, way: Way) -> None:
    arguments = await made(way.arguments, world)
    before = everything(world.sandbox)
    made_at.clear()
    act = await undoable(world, f"{site.partition('/')[0]}_{way.tool}", arguments)
    assert site in made_at and everything(world.sandbox) != before
    await world.deputy.undo("alice", act)
    left = [one for one in differences(before, everything(world.sandbox)) if not re.search(way.stays, one)]
    assert left == []


HANDS: Final = {site: way for site, way in WAYS.items() if way.hand}


@pytest.mark.parametrize(("site", "way"), HANDS.items(), ids=HANDS)
async def test_what_somebody_has_changed_since_is_not_put_back(
    world: ShownWorld, clock: Clock, site: str, way: Way
) -> None:
    arguments = await made(way.arguments, world)
    act = await undoable(world, f"{site.partition('/')[0]}_{way.tool}", arguments)
    back = await world.deputy.undoing.inverse(User("alice"), act)
    assert way.hand is not None
    clock.now += 60
    await way.hand(world, arguments, back.arguments)
    changed = everything(world.sandbox)
    with pytest.raises(Conflict, match="changed since") as caught:
        await world.deputy.undo("alice", act)
    assert caught.value.reason == "stale" and everything(world.sandbox) == changed
