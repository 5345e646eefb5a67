"""The kit for adapters: checks of one message, tags of owners, and a surface that the adapters themselves use."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.adapters import kit
from deputize.adapters.kit import ToolRunner
from deputize.core import Call, Conflict, Deputy, PolicyDenied, SettingsError, User
from tests.adapters.test_surface import ADAPTERS
from tests.support.sandbox_deputy import build, new_vault

CALL: Final = Call("1", "m", "c")
DEFERRED: Final = [one for one in ADAPTERS if one.parent.name in ("google_adk", "openai_agents", "pydantic_ai")]


class Looking:
    """A deputy that only checks calls. Carol's are blocked, Bob's check fails, and Alice's takes a minute."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.checks: list[int] = []

    async def check_calls(self, calls: Sequence[Any], *, user: User, **more: Any) -> list[Any]:
        self.entered.set()
        self.checks.append(len(calls))
        if user.id == "bob":
            raise Conflict("No.")
        await asyncio.sleep(0 if user.id == "carol" else 60)
        return [Conflict(call[0]) for call in calls]


async def test_failed_or_cancelled_call_does_not_block_others_of_its_batch() -> None:
    looking: Any = Looking()
    runner = ToolRunner[None](looking, "nobody")
    calls: list[Any] = [(name, {}, Call("1", "m", name)) for name in "abc"]
    with_carol = await asyncio.gather(*(runner.check_call(one, User("carol")) for one in calls))
    assert [str(one) for one in with_carol] == ["a", "b", "c"] and looking.checks == [3]
    failed = await asyncio.gather(*(runner.check_call(one, User("bob")) for one in calls), return_exceptions=True)
    assert [type(one) for one in failed] == [Conflict] * 3
    looking.entered.clear()
    tasks = [asyncio.create_task(runner.check_call(one, User("alice"))) for one in calls]
    await looking.entered.wait()
    tasks[0].cancel()
    done, _ = await asyncio.wait(tasks, timeout=5)
    assert len(done) == 3 and all(task.cancelled() for task in done)


async def test_calls_of_two_messages_or_users_are_checked_apart() -> None:
    looking: Any = Looking()
    runner = ToolRunner[None](looking, "nobody")
    carol, also = User("carol"), User("carol", "acme")
    calls = [(carol, "m"), (carol, "m"), (carol, "n"), (also, "m")]
    checks = [runner.check_call(("a", {}, Call("1", message)), user) for user, message in calls]  # the tenant differs
    await asyncio.gather(*checks)
    assert sorted(looking.checks) == [1, 1, 2]
    checks = [runner.check_call(("a", {}, Call("1", message)), carol, "one turn") for message in "mn"]
    await asyncio.gather(*checks)
    assert looking.checks[3:] == [2]


async def test_pause_belongs_to_the_user_of_its_tag(deputy: Deputy) -> None:
    runner = ToolRunner[None](deputy, "alice")
    tag = runner.owner_tag(User("alice", "acme"), CALL)
    runner.check_owner(tag, User("alice", "acme"), CALL)
    assert tag == ToolRunner[None](deputy, "bob", app="other").owner_tag(User("alice", "acme"), CALL)
    assert "alice" not in tag and "acme" not in tag
    others = [(User("bob", "acme"), CALL), (User("alice"), CALL), (User("alice", "acme"), Call("1", "m", "d"))]
    for user, call in others:
        with pytest.raises(PolicyDenied):
            runner.check_owner(tag, user, call)
    for forged in ("", "alice", "ü", tag[:-1]):
        with pytest.raises(PolicyDenied):
            runner.check_owner(forged, User("alice", "acme"), CALL)


async def test_owner_tag_of_another_vault_is_refused() -> None:
    async with await build(vault=await new_vault()) as first, await build(vault=await new_vault()) as second:
        tag = ToolRunner[None](first, "alice").owner_tag(User("alice"), CALL)
        with pytest.raises(PolicyDenied):
            ToolRunner[None](second, "alice").check_owner(tag, User("alice"), CALL)


async def test_runner_without_a_deputy_or_with_an_async_user_is_refused_at_once() -> None:
    async def later(run: None) -> str:
        return "alice"

    no_deputy: Any = Deputy
    with pytest.raises(SettingsError, match="must be a deputy"):
        ToolRunner[None](no_deputy, "alice").tools(["gmail"])
    awaited: Any = later
    with pytest.raises(SettingsError, match="is an async function"):
        ToolRunner[None](no_deputy, awaited)


def test_kit_has_only_names_that_adapters_use() -> None:
    trees = [ast.parse(Path(one).read_text(encoding="utf-8")) for one in DEFERRED]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    taken = {a.name for n in nodes if isinstance(n, ast.ImportFrom) and n.module == kit.__name__ for a in n.names}
    assert taken == set(kit.__all__)
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    offered = {name for name, value in vars(ToolRunner).items() if inspect.isfunction(value) and name[0] != "_"}
    assert offered - used == {"act"}  # for frameworks whose results are text: examples/adapters
