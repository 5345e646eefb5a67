"""Attacks on Linear between request and approval, between approval and act, and between the last read and the write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deputize.core import Approval, ApprovalRequired, Audience, Call, Conflict, Deputy, OutcomeUnknown
from deputize.core.policy.policy import Verdict, ask_before_sending
from deputize.core.tools.act import Act
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.linear import views
from deputize.sandbox.linear.seed import stable_id
from tests.support.sandbox_deputy import Clock, build
from tests.toolkits.linear_calls import COMMENT, NOTE
from tests.toolkits.test_linear_shows import DESIGN, PROJECT, RELIABILITY
from tests.toolkits.tool_driver import NOW

Row = dict[str, Any]
OPS, PLANNED = stable_id("team", "OPS"), stable_id("status", "planned")


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """The connection to Linear. ``before``: called with each operation before it arrives."""

    inner: httpx.AsyncBaseTransport
    operations: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda operation: None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.url.path == "/graphql":
            self.operations.append(json.loads(request.content)["operationName"])
            self.before(self.operations[-1])
        return await self.inner.handle_async_request(request)


@dataclass
class Office:
    """A deputy with the default policy, and a workspace in which colleagues are at work."""

    deputy: Deputy
    sandbox: Sandbox
    wire: Wire
    clock: Clock
    shown: list[Any] = field(default_factory=list)
    user: str = "alice"

    async def act(self, tool: str, **arguments: Any) -> Any:
        return await self.deputy.act(f"linear_{tool}", arguments, user=self.user, call=Call("t", "m", "1"))

    async def asked(self, tool: str, **arguments: Any) -> Approval:
        """Return what the user is asked."""
        self.clock.now += 60
        with pytest.raises(ApprovalRequired) as asks:
            await self.act(tool, **arguments)
        return asks.value.approval

    async def agreed(self, tool: str, **arguments: Any) -> Approval:
        """Approve it as the user."""
        approval = await self.asked(tool, **arguments)
        await self.yes(approval)
        return approval

    async def yes(self, approval: Approval) -> None:
        await self.deputy.decide(approval.id, "approve", by=self.user)

    def row(self, kind: str, *, at: int = 0) -> Row:
        """Return an object as Linear stores it, to be changed by a colleague."""
        found: Row = self.sandbox._world.services["linear"][kind][at]
        return found

    @property
    def audience(self) -> Audience:
        """Return who sees what was previewed last."""
        found: Audience = self.shown[-1].audience
        return found

    @property
    def written(self) -> list[str]:
        """Return the operations that change something."""
        return [one for one in self.wire.operations if one.endswith(_CHANGES)]


_CHANGES = ("Update", "Create", "Delete", "Edit", "Archive", "Unarchive", "Resolve", "Url", "Post", "LinkProject")


@asynccontextmanager
async def opened(user: str = "alice") -> AsyncIterator[Office]:
    clock, shown = Clock(NOW), list[Any]()
    sandbox = Sandbox(clock=clock)
    wire = Wire(sandbox.transport())

    def policy(act: Act) -> Verdict:
        shown.extend([act.show] if act.show else [])
        return ask_before_sending(act)

    async with await build(sandbox, apps=apps(), transport=wire, policy=policy, clock=clock) as deputy:
        scopes = ["read", "write", "admin"]
        give_grant(sandbox, deputy, user, scopes, provider="linear", email=f"{user}@example.test")
        yield Office(deputy, sandbox, wire, clock, shown, user)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with opened() as office:
        yield office


# ----------------------------------------------------------------- an issue


async def test_emptied_description_is_previewed_with_the_lost_text(office: Office) -> None:
    asked = await office.asked("update_issue", issues=["ENG-1"], description="")
    assert asked.preview["description now"] == "Files without a final newline."
    assert asked.preview["description"] == "(emptied)" and "lost" in asked.preview["warning"]
    assert office.written == []


async def test_colleagues_change_after_approval_is_not_lost_unseen(office: Office) -> None:
    change = {"issues": ["ENG-1"], "description": "", "state": "Done"}
    await office.agreed("update_issue", **change)
    office.row("issues")["description"] = "Bob has found the cause."
    again = await office.asked("update_issue", **change)
    assert again.changed_fields == ("description",) and again.preview["description now"] == "Bob has found the cause."
    assert office.written == []
    await office.yes(again)
    await office.act("update_issue", **change)
    assert office.row("issues")["description"] == "" and len(office.written) == 1


async def test_previewed_text_is_written_despite_a_concurrent_write(office: Office) -> None:
    change = {"issues": ["ENG-1"], "description": "And more.", "append": True}
    asked = await office.agreed("update_issue", **change)

    def meanwhile(operation: str) -> None:
        if operation == "IssueUpdate":
            office.row("issues")["description"] = "Bob's."

    office.wire.before = meanwhile
    await office.act("update_issue", **change)
    assert office.row("issues")["description"] == asked.preview["description"]


async def test_issue_moved_to_another_team_is_asked_again(office: Office) -> None:
    await office.agreed("update_issue", issues=[stable_id("issue", "ENG", "3")], state="Done")
    done = stable_id("state", "OPS", "Backlog")
    office.row("issues", at=2).update({"team": OPS, "number": 9, "state": done})
    again = await office.asked("update_issue", issues=[stable_id("issue", "ENG", "3")], state="Done")
    assert {"where", "issue", "stateId"} <= set(again.changed_fields) and again.preview[
        "where"
    ] == "team Operations (OPS)"
    assert office.written == []


async def test_project_that_took_over_a_name_is_another_one(office: Office) -> None:
    change = {"issues": ["ENG-2"], "project": PROJECT}
    await office.agreed("update_issue", **change)
    mine = office.row("projects")
    other = mine | {"id": stable_id("project", "bob"), "slugId": "ffffffffffff"}
    mine["name"] = "Old"
    office.sandbox._world.services["linear"]["projects"].append(other)
    assert (await office.asked("update_issue", **change)).changed_fields == ("projectId",)
    assert office.written == []


async def test_renamed_label_and_state_are_asked_again(office: Office) -> None:
    change = {"issues": ["ENG-1"], "state": stable_id("state", "ENG", "Todo")}
    await office.agreed("update_issue", **change)
    office.row("teams")["states"][1]["name"] = "Rejected"
    again = await office.asked("update_issue", **change)
    assert again.changed_fields == ("state",) and again.preview["state"] == "Rejected" and office.written == []


async def test_automatic_change_does_not_ask_again(office: Office) -> None:
    change = {"issues": ["ENG-1"], "state": "Done"}
    await office.agreed("update_issue", **change)
    office.row("issues").update({"updatedAt": "2027-01-01T00:00:00.000Z", "priority": 1, "assignee": None})
    await office.act("update_issue", **change)
    assert office.written == ["IssueUpdate"]


# ----------------------------------------------------------------- who sees it


async def test_audience_of_a_private_team_is_its_named_members() -> None:
    async with opened("bob") as office:
        asked = await office.agreed("update_issue", issues=["BOB-1"], title="Ours")
        assert asked.preview["where"] == "team Bob's desk (BOB, a private team)"
        assert "bob (bob@example.test)" in asked.preview["members of the team"]
        assert office.audience is Audience.PEOPLE
        office.row("teams", at=2)["private"] = False
        again = await office.asked("update_issue", issues=["BOB-1"], title="Ours")
        assert {"audience", "where"} <= set(again.changed_fields)
        assert again.preview["seen by"] == "everybody in the organisation" and office.written == []


async def test_private_issue_moved_to_an_open_team_is_visible_to_all() -> None:
    async with opened("bob") as office:
        asked = await office.asked("update_issue", issues=["BOB-1"], team="ENG")
        assert asked.preview["seen by"] == "everybody in the organisation"
        assert asked.preview["team now"].startswith("Bob's desk") and asked.preview["team"] == "Engineering (ENG)"


async def test_audience_of_an_open_team_project_is_everybody() -> None:
    async with opened("bob") as office:
        await office.agreed("save_project", name="Quiet", teams=["BOB"])
        audiences = [office.audience]
        await office.act("save_project", name="Quiet", teams=["BOB"])
        await office.asked("save_project", project="Quiet", add_teams=["ENG"])
        assert [*audiences, office.audience] == [Audience.PEOPLE, Audience.ORGANISATION]


async def test_audience_of_synced_content_is_unknown(office: Office) -> None:
    office.row("issues")["synced"] = ["github"]
    asked = await office.asked("update_issue", issues=["ENG-1"], title="Leaks")
    assert asked.preview["where"].endswith("copied to github") and office.audience is Audience.UNKNOWN
    office.row("issues")["synced"] = []
    thread = {"name": "Slack", "displayName": "#customers", "isConnected": True}
    office.row("comments")["external"] = thread
    asked = await office.asked("write_comment", reply_to=COMMENT, body="Between us.")
    assert asked.preview["where"].endswith("copied to Slack (#customers)")
    assert office.audience is Audience.UNKNOWN


async def test_newly_shared_issue_names_its_viewer_and_is_asked_again() -> None:
    async with opened("bob") as office:
        await office.agreed("write_comment", target="BOB-1", body="Between us.")
        office.row("issues", at=5)["shared"] = ["decoy@example.test"]
        again = await office.asked("write_comment", target="BOB-1", body="Between us.")
        assert again.changed_fields == ("shared with",) and "decoy@example.test" in again.preview["shared with"]
        assert office.written == []


async def test_audience_of_an_unknown_parent_object_is_unknown(office: Office) -> None:
    office.row("documents")["project"] = None
    await office.asked("save_document", document=DESIGN, title="On a cycle")
    assert office.audience is Audience.UNKNOWN


async def test_team_of_unknown_visibility_has_unknown_audience(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = views.team
    monkeypatch.setattr(views, "team", lambda call, row: whole(call, row) | {"visibility": None})
    await office.asked("update_issue", issues=["ENG-1"], title="Whose?")
    assert office.audience is Audience.UNKNOWN


async def test_reply_on_a_synced_thread_has_unknown_audience(office: Office) -> None:
    office.row("comments")["external"] = {"name": "Slack", "displayName": "#customers", "isConnected": True}
    asked = await office.asked("write_comment", reply_to=COMMENT, target="ENG-2", body="Between us.")
    assert office.audience is Audience.UNKNOWN and "#customers" in asked.preview["where"]
    assert "ENG-2" in asked.preview["where"]


async def test_private_act_runs_with_minimal_requests(office: Office) -> None:
    await office.act("set_subscription", issue="ENG-1")
    assert office.wire.operations == ["IssueFollowed", "IssueSubscribe"]
    office.wire.operations.clear()
    await office.act("update_notifications", notification_ids=[NOTE], action="read")
    assert office.wire.operations == ["Notifications", "NotificationUpdate"]


async def test_act_with_approval_reads_once_more(office: Office) -> None:
    change = {"issues": ["ENG-1"], "description": "More.", "append": True}
    await office.agreed("update_issue", **change)
    assert office.wire.operations == ["IssueValues"]
    await office.act("update_issue", **change)
    assert office.wire.operations == ["IssueValues", "IssueValues", "IssueUpdate"]


# ----------------------------------------------------------------- comments, documents, projects


async def test_reply_to_a_rewritten_comment_is_asked_again(office: Office) -> None:
    reply = {"reply_to": COMMENT, "body": "Agreed."}
    await office.agreed("write_comment", **reply)
    office.row("comments")["body"] = "Alice resigns."
    again = await office.asked("write_comment", **reply)
    assert again.changed_fields == ("answers",) and again.preview["answers"] == "bob: Alice resigns."
    assert office.written == []


async def test_invisible_characters_of_a_comment_are_escaped(office: Office) -> None:
    asked = await office.asked("write_comment", target="ENG-1", body="Yes\u202e\u200b, cookie: abc <!-- hidden -->")
    assert "[U+202E]" in asked.preview["text"] and "cookie: abc <!-- hidden -->" in asked.preview["text"]


async def test_document_changed_after_approval_is_not_overwritten(office: Office) -> None:
    read = await office.act("get_document", document=DESIGN)
    change = {"document": DESIGN, "content": "Mine.", "if_text": read["content"]["text_digest"]}
    await office.agreed("save_document", **change)
    office.row("documents")["content"] = "Bob's."
    with pytest.raises(Conflict, match="changed since it was read"):
        await office.act("save_document", **change)
    assert office.written == [] and office.row("documents")["content"] == "Bob's."


async def test_project_is_removed_by_the_previewed_link(office: Office) -> None:
    change = {"initiative": RELIABILITY, "remove_projects": [PROJECT]}
    await office.agreed("save_initiative", **change)
    office.row("initiative_links")["id"] = stable_id("link", "another")
    assert (await office.asked("save_initiative", **change)).changed_fields == ("ends",)
    assert office.written == []


async def test_renamed_label_is_not_deleted_under_its_old_name(office: Office) -> None:
    kind = {"kind": "label", "id": stable_id("label", "bug"), "action": "delete"}
    await office.agreed("archive", **kind)
    office.row("labels")["name"] = "Security"
    again = await office.asked("archive", **kind)
    assert again.changed_fields == ("label",) and again.preview["label"] == "Security" and office.written == []


async def test_grown_text_is_not_deleted_with_the_seen_one(office: Office) -> None:
    comment = {"kind": "comment", "id": COMMENT, "action": "delete"}
    await office.agreed("archive", **comment)
    office.row("comments")["body"] += " And here is how to mend it."
    assert set((await office.asked("archive", **comment)).changed_fields) == {"text", "version"}
    assert office.written == []


async def test_already_reached_state_is_reported_without_asking_or_writing(office: Office) -> None:
    away = {"kind": "document", "id": DESIGN}
    assert "not put away" in (await office.act("archive", **away, action="restore"))["summary"]
    office.row("documents")["archivedAt"] = "2026-11-01T00:00:00.000Z"
    assert "already" in (await office.act("archive", **away))["summary"]
    link = {"issue": "ENG-1", "url": "https://example.test/theirs"}
    row = {
        "id": stable_id("attachment", "1"),
        "issue": office.row("issues")["id"],
        "url": link["url"],
        "title": "Bob's",
    }
    office.sandbox._world.services["linear"]["attachments"].append(row)
    there = await office.act("link_url", **link)
    assert there["existed"] and "undo" not in there, "what others attached is not offered to be removed"
    assert office.written == []


# ----------------------------------------------------------------- runs that die, and undo


async def test_run_killed_after_the_write_resumes_without_asking(office: Office) -> None:
    change = {"issues": ["ENG-1"], "description": "And more.", "append": True}
    await office.agreed("update_issue", **change)
    await died(office, "IssueUpdate", after=True, tool="update_issue", **change)
    text = office.row("issues")["description"]
    await office.act("update_issue", **change)
    assert office.row("issues")["description"] == text and text.count("And more.") == 1


async def test_run_killed_before_the_write_writes_nothing_unseen(office: Office) -> None:
    change = {"issues": ["ENG-1"], "description": "And more.", "append": True}
    await office.agreed("update_issue", **change)
    await died(office, "IssueUpdate", after=False, tool="update_issue", **change)
    office.row("issues")["title"] = "Another one"
    with pytest.raises(OutcomeUnknown):
        await office.act("update_issue", **change)
    assert office.row("issues")["description"] == "Files without a final newline."


@pytest.mark.parametrize("new", [True, False])
async def test_resumed_run_adds_no_unpreviewed_project(office: Office, new: bool) -> None:
    rows = office.sandbox._world.services["linear"]["projects"]
    rows.append(rows[0] | {"id": stable_id("project", "search"), "name": "Search", "slugId": "111111111111"})
    one = {"name": "Speed"} if new else {"initiative": RELIABILITY, "content": "More.", "append": True}
    change = one | {"add_projects": ["Search"]}
    await office.agreed("save_initiative", **change)
    await died(office, "InitiativeLinkProject", after=False, tool="save_initiative", **change)
    rows[1]["name"] = "Old"
    rows.append(rows[0] | {"id": stable_id("project", "other"), "name": "Search", "slugId": "222222222222"})
    with pytest.raises(OutcomeUnknown):
        await office.act("save_initiative", **change)
    assert len(office.sandbox.service("linear")["initiative_links"]) == 1


async def died(office: Office, operation: str, *, after: bool, tool: str, **arguments: Any) -> None:
    """Let the process die before or after this request."""
    whole = office.wire.inner.handle_async_request

    async def dies(request: httpx.Request) -> httpx.Response:
        if office.wire.operations[-1:] != [operation]:
            return await whole(request)
        if after:
            await whole(request)
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(office.wire.inner, "handle_async_request", dies)
        with pytest.raises(asyncio.CancelledError):
            await office.act(tool, **arguments)


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "later"),
    [
        ("update_issue", {"issues": ["ENG-1"], "state": "Done", "title": "New"}, "issues", {"title": "Bob's"}),
        ("update_issue", {"issues": ["ENG-1"], "description": "", "state": "Done"}, "issues", {"description": "Bob's"}),
        ("update_issue", {"issues": ["ENG-1", "OPS-1"], "due_date": "2029-01-01"}, "issues", {"dueDate": "2030-02-02"}),
        ("write_comment", {"comment_id": stable_id("comment", "2"), "body": "x"}, "comments", {"body": "Mine"}),
        (
            "save_project",
            {"project": PROJECT, "status": "paused"},
            "projects",
            {"status": stable_id("status", "planned")},
        ),
        ("save_document", {"document": DESIGN, "title": "x"}, "documents", {"title": "Bob's"}),
        ("save_label", {"label": "Bug", "color": "#000000"}, "labels", {"color": "#ffffff"}),
        ("resolve_comment", {"comment_id": COMMENT}, "comments", {"resolvedAt": None}),
    ],
)
async def test_value_changed_by_others_is_not_undone(
    office: Office, tool: str, arguments: dict[str, Any], kind: str, later: Row
) -> None:
    await office.agreed(tool, **arguments)
    await office.act(tool, **arguments)
    [act] = await office.deputy.undoable("alice")
    office.row(kind, at=_place_of(arguments)).update(later)
    written = len(office.written)
    with pytest.raises(Conflict, match="changed since"):
        await office.deputy.undo("alice", act.id)
    assert len(office.written) == written


def _place_of(arguments: dict[str, Any]) -> int:
    """Return the index of the object that the act has changed."""
    return 1 if arguments.get("comment_id") == stable_id("comment", "2") else 0
