"""Linear writes at most once, whatever happens to a response, and reports honestly how it ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deputize.core import (
    Call,
    Conflict,
    Deputy,
    OutcomeUnknown,
    ProviderUnavailable,
)
from deputize.sandbox import Sandbox
from deputize.sandbox.http_types import Ask, Refused, Reply
from deputize.sandbox.linear import api, changes
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.linear.store import failed as failure
from deputize.sandbox.world import World
from tests.support.lanes import sample

CALL = Call("thread", "message", "1")
PROJECT = "Import rewrite"
MAKES: list[tuple[str, dict[str, Any], str]] = [
    ("create_issue", {"team": "ENG", "title": "Once", "labels": ["Bug"], "assignee": "me"}, "issues"),
    ("create_issue", {"team": "ENG", "title": "Once", "link_url": "https://example.test/x"}, "attachments"),
    ("write_comment", {"target": "ENG-1", "body": "Once."}, "comments"),
    ("relate_issues", {"issue": "ENG-1", "related": "ENG-2"}, "relations"),
    ("link_url", {"issue": "ENG-1", "url": "https://example.test/x"}, "attachments"),
    ("link_url", {"issue": "ENG-1", "url": "https://github.com/acme/app/pull/7"}, "attachments"),
    ("save_project", {"name": "Once", "teams": ["ENG"]}, "projects"),
    ("save_milestone", {"project": PROJECT, "name": "Once"}, "milestones"),
    ("post_update", {"project": PROJECT, "body": "Once."}, "project_updates"),
    ("post_update", {"initiative": "Reliability", "body": "Once."}, "initiative_updates"),
    ("save_initiative", {"name": "Once", "add_projects": [PROJECT]}, "initiatives"),
    ("save_initiative", {"name": "Once", "add_projects": [PROJECT]}, "initiative_links"),
    ("save_document", {"title": "Once", "project": PROJECT}, "documents"),
    ("save_label", {"name": "Once", "color": "#112233"}, "labels"),
    ("save_label", {"name": "Once", "kind": "project", "color": "#112233"}, "project_labels"),
    ("create_project_status", {"name": "Once", "type": "started"}, "statuses"),
    ("create_customer_need", {"customer": "Example Mills", "body": "Once.", "issue": "ENG-1"}, "needs"),
]
IDS = [f"{tool} {kind} {number}" for number, (tool, _, kind) in enumerate(MAKES)]
by_kind = pytest.mark.parametrize(("tool", "arguments", "kind"), MAKES, ids=IDS)


async def act(deputy: Deputy, tool: str, call: Call | None = None, **arguments: Any) -> Any:
    return await deputy.act(f"linear_{tool}", arguments, user="alice", call=call)


def count(sandbox: Sandbox, kind: str) -> int:
    return len(sandbox.service("linear")[kind])


def bend(monkeypatch: pytest.MonkeyPatch, *ways: str) -> None:
    """Set the outcome of the next writes: ``before`` and ``after`` acting a proxy answers instead of Linear, or the
    caller is cancelled after it. After ``gone`` nothing is answered any more, reads included."""
    whole, left, gone = api.handle, list(ways), [False]

    def answer(ask: Ask, world: World) -> Reply:
        broken = Reply(502, (), b"<html>bad gateway</html>", changes=False)
        writes = str(ask.content().get("query")).startswith("mutation")
        way = left.pop(0) if writes and left else ""
        if gone[0] or way == "before":
            return broken
        try:
            reply = whole(ask, world)
        except Refused:
            left[:0] = [way] if way else []
            raise
        if way == "cancel":
            raise asyncio.CancelledError
        gone[0] = way == "gone"
        return broken if way else reply

    monkeypatch.setattr(api, "handle", answer)


@by_kind
@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_object_is_created_once_despite_lost_answers(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str, lost: int
) -> None:
    before = count(sandbox, kind)
    sandbox.switches.drop_after_commit.extend(["api.linear.app/graphql"] * lost)
    made = await act(alice, tool, CALL, **arguments)
    assert made == await act(alice, tool, CALL, **arguments) and count(sandbox, kind) == before + 1
    assert "warnings" not in made


@by_kind
@pytest.mark.parametrize(
    "ways", sample([("after",) * 3, ("after", "before"), ("before", "after"), ("before", "before")])
)
async def test_object_is_created_once_when_a_proxy_answers(
    alice: Deputy,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    arguments: dict[str, Any],
    kind: str,
    ways: tuple[str, ...],
) -> None:
    before = count(sandbox, kind)
    bend(monkeypatch, *ways)
    made = await act(alice, tool, CALL, **arguments)
    assert made == await act(alice, tool, CALL, **arguments) and count(sandbox, kind) == before + 1


@by_kind
async def test_request_that_never_arrived_is_a_failure_and_repeatable(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before = count(sandbox, kind)
    bend(monkeypatch, *["before"] * 3)
    with pytest.raises(ProviderUnavailable):
        await act(alice, tool, CALL, **arguments)
    assert count(sandbox, kind) == before
    await act(alice, tool, CALL, **arguments)
    assert count(sandbox, kind) == before + 1


MADE_WITH_AN_ID = [one for one in MAKES if one[2] not in ("attachments", "initiative_links")]


@pytest.mark.parametrize(("tool", "arguments", "kind"), MADE_WITH_AN_ID)
async def test_unverifiable_creation_is_unknown_until_a_later_run_finds_it(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before = count(sandbox, kind)
    with pytest.MonkeyPatch.context() as broken:
        bend(broken, "gone")
        with pytest.raises(OutcomeUnknown):
            await act(alice, tool, CALL, **arguments)
    made = await act(alice, tool, CALL, **arguments)
    assert made["existed"] and count(sandbox, kind) == before + 1


@by_kind
async def test_cancelled_run_is_resumed(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before = count(sandbox, kind)
    bend(monkeypatch, "cancel")
    with pytest.raises(asyncio.CancelledError):
        await act(alice, tool, CALL, **arguments)
    await act(alice, tool, CALL, **arguments)
    assert count(sandbox, kind) == before + 1


# ----------------------------------------------------------------- parts of a write


async def test_initiative_result_names_projects_not_added(alice: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("One", "Two"):
        await act(alice, "save_project", name=name, teams=["ENG"])
    whole = changes.link_project
    refused = stable_id("project", "import")

    def some(call: Any, one: Any) -> Any:
        if one.arguments["input"]["projectId"] == refused:
            raise failure(403, "Forbidden", "forbidden", "FORBIDDEN")
        return whole(call, one)

    monkeypatch.setitem(changes.MUTATIONS, "initiativeToProjectCreate", some)
    made = await act(alice, "save_initiative", CALL, name="New", add_projects=["One", PROJECT, "Two"])
    assert made["projects_added"] == ["One", "Two"] and "Import rewrite was not added" in made["warnings"][0]
    again = await act(
        alice, "save_initiative", initiative="New", add_projects=["One"], remove_projects=[PROJECT, "Two"]
    )
    assert "projects_added" not in again and again["projects_removed"] == ["Two"]


async def test_unconfirmed_link_is_reported_as_unsure(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    bend(monkeypatch, "", "after", "after", "after")
    made = await act(alice, "create_issue", team="ENG", title="With", link_url="https://example.test/x")
    assert "did not say" in made["warnings"][0] and count(sandbox, "attachments") == 1


async def test_document_changed_by_others_is_kept(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = stable_id("document", "design")
    read = (await act(alice, "get_document", document=design))["updated"]
    bend(monkeypatch, *["before"] * 3)
    mine = {"document": design, "content": "Mine.", "unmodified_since": read}
    with pytest.raises(ProviderUnavailable):
        await act(alice, "save_document", CALL, **mine)
    sandbox._world.services["linear"]["documents"][0] |= {"content": "Bob's.", "updatedAt": "2027-01-01T00:00:00.000Z"}
    with pytest.raises(Conflict):
        await act(alice, "save_document", CALL, **mine)
    assert (await act(alice, "get_document", document=design))["content"]["text"] == "Bob's."


async def test_document_of_an_earlier_run_is_written(alice: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    design = stable_id("document", "design")
    read = (await act(alice, "get_document", document=design))["updated"]
    bend(monkeypatch, "cancel")
    mine = {"document": design, "content": "Mine.", "unmodified_since": read.replace("Z", "+00:00")}
    with pytest.raises(asyncio.CancelledError):
        await act(alice, "save_document", CALL, **mine)
    assert (await act(alice, "save_document", CALL, **mine))["id"] == design


async def test_failed_notifications_are_named(alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    note = stable_id("notification", "1")
    rows = sandbox._world.services["linear"]["notifications"]
    rows += [rows[0] | {"id": stable_id("notification", str(number))} for number in (2, 3)]
    ids = [note, stable_id("notification", "2"), stable_id("x"), stable_id("notification", "3")]
    bend(monkeypatch, "", *["before"] * 3)
    done = await act(alice, "update_notifications", notification_ids=ids, action="read")
    assert done["done"] == [note] and [one["id"] for one in done["failed"]] == ids[1:]
    done = await act(alice, "update_notifications", notification_ids=ids, action="archive")
    assert [one["id"] for one in done["failed"]] == [stable_id("x")]


async def test_partial_answer_is_marked_as_incomplete(alice: Deputy, sandbox: Sandbox) -> None:
    page = {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    body = {
        "data": {"issues": page},
        "errors": [{"message": "x", "path": ["a"], "extensions": {"type": "internal error"}}],
    }
    sandbox.switches.faults["POST", "api.linear.app/graphql"] = [(200, {}, body)]
    assert "incomplete" in await act(alice, "list_issues")
