"""An approval covers the preview: if one shown row has changed by the time of the act, nothing is written.

Each row of each writing call is exchanged once, as if somebody had changed it at the provider: between request and
approval, between approval and act, and between an approval with an edit and the act.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from deputize.core import Act, ApprovalRequired, Audience, Call, Effect, Preview, Verdict
from deputize.core.acts.runner import Runner
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.plugins import find_toolkits
from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.support.sandbox_deputy import Clock
from tests.toolkits.github_play import SITE
from tests.toolkits.shown_rows import ROWS, SCOPES, Row
from tests.toolkits.tool_driver import NOW

Given = Mapping[str, Any]
Change = Callable[[Preview], None]

OTHER: Final = "Fire everybody"
CAN_CHANGE: Final = {
    "members": "how many people are in a channel",
    "mentions_reach": "how many people a mention reaches",
    "emails": "how many emails have a label",
    "more_match": "whether a query finds more",
    "deleted_with_it": "how many records go with one",
    "state": "of a notification, a run, a pull request",
    "commits": "how many",
    "files": "how many",
    "lines": "how many are added and removed",
    "checks": "of a commit: the failed ones are pinned",
    "open_issues": "how many",
    "closed_issues": "how many",
}
"""The rows that may change without a new approval: counts and states, by the name of their argument."""
OF_EACH_KIT: Final = [
    pytest.param([row for row in ROWS if row.kit == kit], id=kit, marks=pytest.mark.processes) for kit in SCOPES
]


# ----------------------------------------------------------------- every row, exchanged once


def exchanged(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case {"before": before, "after": after}:
            return {"before": exchanged(before), "after": after}
        case dict() if value:
            first = next(iter(value))
            return value | {first: exchanged(value[first])}
        case [*rest, last]:
            return [*rest, exchanged(last)]
    return OTHER


def exchanges(show: Preview) -> Iterator[tuple[str, Change]]:
    """Return each row, pin and part of a `Preview`, with a function that exchanges it."""

    def part(name: str, other: Any) -> tuple[str, Change]:
        return name, lambda show: setattr(show, name, other)

    def entry(part: str, name: str) -> tuple[str, Change]:
        def change(show: Preview) -> None:
            rows = dict(getattr(show, part))
            setattr(show, part, rows | {name: exchanged(rows.get(name))})

        return f"{part}.{name}", change

    yield part("what", OTHER)
    yield part("where", OTHER)
    yield part("people", (*show.people, "eve@evil.test"))
    yield part("audience", Audience.PUBLIC if show.audience is not Audience.PUBLIC else Audience.SELF)
    yield part("destroys", not show.destroys)
    for name, rows in show.kept.items():
        if isinstance(rows, dict):
            yield from (entry(name, one) for one in rows)
    yield entry("fields", "a new row")


class World:
    """A world in which somebody may exchange what a tool is about to preview."""

    def __init__(self, world: ShownWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.shown = world, list[Preview]()
        self.change: Change | None = None
        world.deputy.policy = self._ask
        begin = Runner.begin
        monkeypatch.setattr(Runner, "begin", lambda runner, run: _Between(begin(runner, run), self))

    def _ask(self, act: Act) -> Verdict:
        self.shown.extend([act.show] if act.show else [])
        return Verdict.ASK

    async def asked(self, row: Row, arguments: Given) -> tuple[Call, ApprovalRequired]:
        """Make a new call of the case; return what it waits for."""
        self.change = None
        self.world.calls += 1
        call = Call("t", "m", f"exchange-{self.world.calls}")
        with pytest.raises(ApprovalRequired) as asked:
            await self.world.deputy.act(row.tool, arguments, user="alice", call=call)
        return call, asked.value

    async def done(self, row: Row, arguments: Given, call: Call) -> str:
        """Return the outcome of the call after the approval: "" if it was asked again or refused, else why that is a
        fault."""
        self.world.wire.writes.clear()
        fault = "was done"
        try:
            await self.world.deputy.act(row.tool, arguments, user="alice", call=call)
        except ApprovalRequired as again:
            fault = ""
            await self.world.deputy.decide(again.approval, "reject", by="alice")
        except DeputizeError:
            fault = ""
        return "wrote" if self.world.wire.writes else fault


@dataclass
class _Between:
    """A tool's steps. Its preview reflects the world at that time."""

    steps: Any
    world: World

    def __iter__(self) -> _Between:
        return self

    def __next__(self) -> Any:
        return self._seen(next(self.steps))

    def send(self, answer: Any) -> Any:
        return self._seen(self.steps.send(answer))

    def throw(self, failure: BaseException) -> Any:
        return self._seen(self.steps.throw(failure))

    def close(self) -> None:
        self.steps.close()

    def _seen(self, step: Any) -> Any:
        if not isinstance(step, Preview) or self.world.change is None:
            return step
        other = Preview.of(copy.deepcopy(step.kept))
        self.world.change(other)
        return other


def edits(arguments: Given) -> Iterator[dict[str, Any]]:
    """Return the arguments with one word more in one of them, for each string; the last are unchanged."""
    for name, value in arguments.items():
        if isinstance(value, str) and " " in value:
            yield {**arguments, name: f"{value} indeed"}
    yield dict(arguments)


async def faults_of(row: Row, tried: set[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the exchanges after which a call was done all the same, and when they were made.

    ``tried``: the rows of each tool that were exchanged in another call of it.
    """
    found: list[str] = []
    async with shown_world(**row.world) as shown:
        arguments = await made(row.make, shown)
        with monkeypatch.context() as patched:
            world = World(shown, patched)
            call, asked = await world.asked(row, arguments)
            await shown.deputy.decide(asked.approval, "reject", by="alice")
            show = world.shown[-1]
            edited = await an_edit(world, row, arguments)
            for name, change in exchanges(show):
                part, _, key = name.partition(".")
                if f"{row.tool} {name}" in tried or (part == "beside" and key in CAN_CHANGE):
                    continue
                tried.add(f"{row.tool} {name}")
                for when in ("before the yes", "after the yes", "after an edit"):
                    call, asked = await world.asked(row, arguments)
                    if when == "before the yes":
                        world.change = change
                    if when == "after an edit":
                        await shown.deputy.decide(asked.approval, "edit", by="alice", arguments=edited)
                    else:
                        await shown.deputy.decide(asked.approval, "approve", by="alice")
                    world.change = change
                    if fault := await world.done(row, arguments, call):
                        found.append(f"{row.tool}: {name} was exchanged {when}, and the call {fault}")
                        return found
    return found


async def an_edit(world: World, row: Row, arguments: Given) -> dict[str, Any]:
    """Return arguments with one word more that a tool accepts; the same ones if it accepts none."""
    for edited in edits(arguments):
        call, asked = await world.asked(row, arguments)
        try:
            await world.world.deputy.decide(asked.approval, "edit", by="alice", arguments=edited)
        except InvalidInput:
            await world.world.deputy.decide(asked.approval, "reject", by="alice")
            continue
        [found] = await world.world.deputy.check_calls([(row.tool, arguments, call)], user="alice")
        if found is None or isinstance(found, ApprovalRequired):
            if found is not None:
                await world.world.deputy.decide(found.approval, "reject", by="alice")
                continue
            return edited
    return dict(arguments)


@pytest.mark.parametrize("rows", [pytest.param(ROWS[::24], id="some"), *OF_EACH_KIT])
async def test_act_is_asked_again_if_its_target_was_exchanged(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = set[str]()
    assert [fault for row in rows for fault in await faults_of(row, tried, monkeypatch)] == []
    assert len(tried) > 5 * len({row.tool for row in rows})


def test_every_writing_tool_has_an_exchangeable_target() -> None:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    writing = {tool.name for tool in tools if tool.gravest is not Effect.READS}
    assert writing - {row.tool for row in ROWS} == set()


# ----------------------------------------------------------------- an edit, and what somebody else changes


Store = dict[str, Any]


def issue_of(store: Store, number: int) -> dict[str, Any]:
    """Return an issue or a pull request as GitHub stores it."""
    found: dict[str, Any] = next(one for one in store["issues"][SITE] if one["number"] == number)
    return found


def event_of(store: Store) -> dict[str, Any]:
    """Return Alice's event as the calendar stores it."""
    found: dict[str, Any] = store["events"]["alice@example.test/focus000001"]["data"]
    return found


@dataclass(frozen=True)
class Renamed:
    """A call that the user edits, and what somebody renames after that. ``row``: what is then reported as changed."""

    tool: str
    arguments: Given
    edited: Given
    rename: Callable[[Store, str], None]
    row: str

    def __str__(self) -> str:
        return self.tool


THANKS: Final = "Thank you very much"
RENAMED: Final = [
    Renamed(
        "github_write_comment",
        {"repo": SITE, "number": 1, "body": THANKS},
        {"body": f"{THANKS} indeed"},
        lambda store, title: issue_of(store, 1).update(title=title),
        "on",
    ),
    Renamed(
        "github_review_pull",
        {"repo": SITE, "number": 2, "body": THANKS},
        {"body": f"{THANKS} indeed"},
        lambda store, title: issue_of(store, 2).update(title=title),
        "pull request",
    ),
    Renamed(
        "github_update_issue",
        {"repo": SITE, "number": 1, "body": THANKS, "append": True},
        {"body": f"{THANKS} indeed"},
        lambda store, title: issue_of(store, 1).update(title=title),
        "issue",
    ),
    Renamed(
        "calendar_update_event",
        {"event_id": "focus000001", "description": THANKS},
        {"description": f"{THANKS} indeed"},
        lambda store, title: event_of(store).update(summary=title),
        "title",
    ),
]


@pytest.mark.parametrize("title", [OTHER, f"{THANKS} indeed"], ids=["another title", "title from the edit"])
@pytest.mark.parametrize("attack", RENAMED, ids=str)
async def test_edited_act_is_asked_again_when_its_target_was_renamed(attack: Renamed, title: str) -> None:
    kit = attack.tool.partition("_")[0]
    async with shown_world(SCOPES[kit], clock=Clock(NOW)) as world:
        world.deputy.policy = world._ask
        call = [(attack.tool, attack.arguments, Call("t", "m", "one"))]
        [asked] = await world.deputy.check_calls(call, user="alice")
        assert isinstance(asked, ApprovalRequired)
        await world.deputy.decide(asked.approval, "edit", by="alice", arguments={**attack.arguments, **attack.edited})
        attack.rename(world.sandbox._world.services[kit], title)
        [again] = await world.deputy.check_calls(call, user="alice")
        assert isinstance(again, ApprovalRequired) and attack.row in again.approval.changed_fields, again
        assert any(title in text for text in again.approval.preview.values())
        with pytest.raises(ApprovalRequired):
            await world.deputy.act(attack.tool, attack.arguments, user="alice", call=call[0][2])
        assert not world.wire.writes
        await world.deputy.decide(again.approval, "approve", by="alice")
        done = await world.deputy.act(attack.tool, attack.arguments, user="alice", call=call[0][2])
        assert world.wire.writes and done["changed_by_user"] == attack.edited


@pytest.mark.parametrize("attack", RENAMED, ids=str)
async def test_edited_act_is_done_without_asking_again_if_nothing_else_changed(attack: Renamed) -> None:
    kit = attack.tool.partition("_")[0]
    async with shown_world(SCOPES[kit], clock=Clock(NOW)) as world:
        world.deputy.policy = world._ask
        call = [(attack.tool, attack.arguments, Call("t", "m", "one"))]
        [asked] = await world.deputy.check_calls(call, user="alice")
        assert isinstance(asked, ApprovalRequired)
        await world.deputy.decide(asked.approval, "edit", by="alice", arguments={**attack.arguments, **attack.edited})
        done = await world.deputy.act(attack.tool, attack.arguments, user="alice", call=call[0][2])
        assert world.wire.writes and done["changed_by_user"] == attack.edited


async def test_edit_that_names_another_issue_is_asked_again() -> None:
    async with shown_world(SCOPES["github"], clock=Clock(NOW)) as world:
        world.deputy.policy = world._ask
        arguments: dict[str, Any] = {"repo": SITE, "number": 1, "body": THANKS}
        call = Call("t", "m", "one")
        [asked] = await world.deputy.check_calls([("github_write_comment", arguments, call)], user="alice")
        assert isinstance(asked, ApprovalRequired)
        await world.deputy.decide(asked.approval, "edit", by="alice", arguments=arguments | {"number": 2})
        with pytest.raises(ApprovalRequired) as again:
            await world.deputy.act("github_write_comment", arguments, user="alice", call=call)
        assert "on" in again.value.approval.changed_fields and not world.wire.writes


async def edited_while(monkeypatch: pytest.MonkeyPatch, *changes: Change | None) -> list[bool]:
    """Return whether an edited comment wrote something and was asked again.

    ``changes``: what is exchanged in each check.
    """
    row = Row("github", "github_write_comment", {})
    arguments: dict[str, Any] = {"repo": SITE, "number": 1, "body": THANKS}
    left = list(changes)

    def change(show: Preview) -> None:
        if left and (change := left.pop(0)):
            change(show)

    async with shown_world(SCOPES["github"], clock=Clock(NOW)) as shown:
        with monkeypatch.context() as patched:
            world = World(shown, patched)
            call, asked = await world.asked(row, arguments)
            edit = arguments | {"body": f"{THANKS} indeed"}
            await shown.deputy.decide(asked.approval, "edit", by="alice", arguments=edit)
            world.change = change
            [found] = await shown.deputy.check_calls([(row.tool, arguments, call)], user="alice")
            return [bool(shown.wire.writes), isinstance(found, ApprovalRequired)]


def renamed(show: Preview) -> None:
    """Give the issue another title."""
    show.fields = {**show.fields, "on": f"#1 {OTHER}"}


def gone(show: Preview) -> None:
    """Make the issue unreadable."""
    raise NotFound("No such issue.")


@pytest.mark.parametrize("looks", [(renamed, None), (None, renamed), (renamed, renamed), (None, gone)])
async def test_differing_previews_ask_again(looks: tuple[Change | None, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert await edited_while(monkeypatch, *looks) == [False, True]
    assert await edited_while(monkeypatch, None, None) == [False, False]
