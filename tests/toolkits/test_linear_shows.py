"""Everything that Linear's tools send was previewed; previews are stable, and name the readers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core.tools.preview import show_rows
from deputize.sandbox.linear.seed import stable_id
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.linear_calls import COMMENT, NOTE

OURS: Final = frozenset({"graphql"})
SCOPES: Final = ("read", "write", "admin")
MINE: Final = stable_id("comment", "2")
PROJECT, DESIGN = "Import rewrite", stable_id("document", "design")
UPDATE, RELIABILITY = stable_id("project update", "1"), "Reliability"
LABEL, MILESTONE = stable_id("label", "flaky"), stable_id("milestone", "beta")
BUG, QUARTER = stable_id("label", "bug"), stable_id("project label", "quarter")


async def a_project(world: ShownWorld) -> dict[str, Any]:
    made = await world.act("linear_save_project", name="Onward", teams=["ENG"])
    return {"project": made["id"]}


async def a_crew(world: ShownWorld) -> dict[str, Any]:
    await world.act("linear_save_project", project=PROJECT, add_members=["me", "bob"], add_labels=["This quarter"])
    return {"project": PROJECT, "remove_members": ["bob"], "remove_labels": ["This quarter"]}


async def a_relation(world: ShownWorld) -> dict[str, Any]:
    asked = {"issue": "ENG-2", "related": "ENG-1", "type": "duplicate"}
    await world.act("linear_relate_issues", **asked)
    return asked | {"remove": True}


async def a_link(world: ShownWorld) -> dict[str, Any]:
    asked = {"issue": "ENG-1", "url": "https://example.test/gone/a%20b?c=d", "title": "Was here"}
    await world.act("linear_link_url", **asked)
    return {"issue": asked["issue"], "url": asked["url"], "remove": True}


async def a_titled_link(world: ShownWorld) -> dict[str, Any]:
    return await a_link(world) | {"remove": False, "title": "Another title"}


def uploading(place: str) -> Any:
    async def make(world: ShownWorld) -> dict[str, Any]:
        kept = await world.deputy.store_file("alice", "qoppa sampi.png", "image/png", b"words inside")
        return {"issue": "ENG-1", "attachments": [kept["file"]], "place": place}

    return make


async def two_uploads(world: ShownWorld) -> dict[str, Any]:
    first = await world.deputy.store_file("alice", "digamma.txt", "text/plain", b"one")
    other = await world.deputy.store_file("alice", "stigma.pdf", "application/pdf", b"other")
    return {"issue": "ENG-2", "attachments": [first["file"], other["file"]]}


async def a_followed_issue(world: ShownWorld) -> dict[str, Any]:
    await world.act("linear_set_subscription", issue="ENG-2", person="bob")
    return {"issue": "ENG-2", "person": "bob", "subscribed": False}


async def an_initiative(world: ShownWorld) -> dict[str, Any]:
    new = await a_project(world)
    return {"initiative": RELIABILITY, "add_projects": [new["project"]], "remove_projects": [PROJECT]}


def restoring(kind: str, id: str) -> tuple[str, Any]:
    async def put_away(world: ShownWorld) -> dict[str, Any]:
        await world.act("linear_archive", kind=kind, id=id)
        return {"kind": kind, "id": id, "action": "restore"}

    return "linear_archive", put_away


def archiving(kind: str, id: str, action: str) -> tuple[str, Any]:
    return "linear_archive", {"kind": kind, "id": id, "action": action}


WHOLE: Final = {
    "team": "ENG",
    "title": "Alpha beta",
    "description": "Gamma **delta**",
    "state": "todo",
    "assignee": "bob",
    "priority": "urgent",
    "labels": ["Flaky", "area/import"],
    "project": PROJECT,
    "milestone": "beta",
    "cycle": "next",
    "parent": "ENG-1",
    "estimate": 987,
    "due_date": "2031-05-17",
    "template": "bug report",
    "link_url": "https://example.test/zeta?eta=theta",
    "link_title": "Iota kappa",
}
CHANGED: Final = {
    "issues": ["ENG-1"],
    "title": "Lambda",
    "description": "Mu nu",
    "state": "Done",
    "assignee": "bob",
    "priority": "low",
    "add_labels": ["Flaky"],
    "remove_labels": ["Bug"],
    "project": PROJECT,
    "milestone": "Beta",
    "cycle": "3",
    "parent": "ENG-2",
    "estimate": 654,
    "due_date": "2032-06-18",
}
SAVED: Final = {
    "project": PROJECT,
    "name": "Xi omicron",
    "description": "Pi rho",
    "content": "Sigma tau",
    "status": "paused",
    "lead": "bob",
    "add_members": ["me", "bob"],
    "add_labels": ["This quarter"],
    "priority": "medium",
    "start_date": "2033-07-19",
    "target_date": "2034-08-20",
    "add_teams": ["OPS"],
}
ROWS: Final[list[tuple[str, Any]]] = [
    ("linear_create_issue", WHOLE),
    ("linear_create_issue", {"team": "OPS", "title": "Alpha"}),
    ("linear_update_issue", CHANGED),
    ("linear_update_issue", {name: CHANGED[name] for name in CHANGED if name not in ("estimate", "milestone")}),
    ("linear_update_issue", {"issues": ["ENG-2", "OPS-1"], "due_date": "2029-04-16", "project": PROJECT}),
    ("linear_update_issue", {"issues": ["ENG-1", "OPS-1"], "assignee": "none", "priority": "none", "cycle": "none"}),
    ("linear_update_issue", {"issues": ["ENG-2", "ENG-3"], "state": "Done", "add_labels": ["Flaky"]}),
    ("linear_update_issue", {"issues": ["ENG-1"], "description": "", "due_date": "none", "parent": "none"}),
    ("linear_update_issue", {"issues": ["ENG-1"], "description": "Upsilon", "append": True}),
    ("linear_update_issue", {"issues": ["ENG-3"], "team": "OPS", "state": "In Progress"}),
    ("linear_relate_issues", {"issue": "ENG-1", "related": "ENG-2", "type": "blocked_by"}),
    ("linear_relate_issues", a_relation),
    ("linear_link_url", {"issue": "ENG-1", "url": "https://example.test/phi?chi=psi", "title": "Omega"}),
    ("linear_link_url", {"issue": "ENG-1", "url": "https://github.com/acme/app/pull/7"}),
    ("linear_link_url", a_link),
    ("linear_link_url", a_titled_link),
    *(("linear_upload_file", uploading(place)) for place in ("attachment", "description", "comment")),
    ("linear_upload_file", two_uploads),
    ("linear_set_subscription", {"issue": "ENG-1"}),
    ("linear_set_subscription", {"issue": "ENG-1", "person": "bob"}),
    ("linear_set_subscription", a_followed_issue),
    ("linear_write_comment", {"target": "ENG-1", "body": "Alif ba"}),
    ("linear_write_comment", {"reply_to": COMMENT, "body": "Ta tha"}),
    ("linear_write_comment", {"target": PROJECT, "target_kind": "project", "body": "Jim", "quoted_text": "Rows"}),
    ("linear_write_comment", {"target": DESIGN, "target_kind": "document", "body": "Ha kha", "quoted_text": "pass"}),
    ("linear_write_comment", {"target": RELIABILITY, "target_kind": "initiative", "body": "Dal"}),
    ("linear_write_comment", {"target": UPDATE, "target_kind": "project_update", "body": "Dhal"}),
    ("linear_write_comment", {"comment_id": MINE, "body": "Ra zay"}),
    ("linear_resolve_comment", {"comment_id": COMMENT, "resolving_comment_id": MINE}),
    ("linear_resolve_comment", {"comment_id": MINE, "resolved": False}),
    ("linear_save_project", {"name": "Sin shin", "teams": ["ENG", "OPS"], "status": "planned", "lead": "me"}),
    ("linear_save_project", {"name": "Shin", "teams": ["ENG"], "add_members": ["bob"], "add_labels": ["This quarter"]}),
    ("linear_save_project", a_crew),
    ("linear_save_project", SAVED),
    ("linear_save_project", {name: SAVED[name] for name in SAVED if name not in ("add_members", "start_date")}),
    ("linear_save_milestone", {"project": PROJECT, "name": "Sad", "description": "Dad", "target_date": "2035-09-21"}),
    ("linear_save_milestone", {"project": PROJECT, "milestone": MILESTONE, "name": "Zah", "target_date": "2036-01-02"}),
    ("linear_save_milestone", {"project": PROJECT, "milestone": MILESTONE, "description": "Tah"}),
    ("linear_post_update", {"project": PROJECT, "body": "Ayn ghayn", "health": "offTrack"}),
    ("linear_post_update", {"initiative": RELIABILITY, "body": "Fa qaf"}),
    ("linear_save_initiative", {"name": "Kaf", "description": "Lam", "owner": "bob", "add_projects": [PROJECT]}),
    ("linear_save_initiative", {"initiative": RELIABILITY, "name": "Mim", "content": "Nun waw", "owner": "me"}),
    ("linear_save_initiative", an_initiative),
    ("linear_save_document", {"title": "Aleph bet", "content": "Gimel dalet", "issue": "ENG-1"}),
    ("linear_save_document", {"document": DESIGN, "title": "He vav", "content": "Zayin het", "append": True}),
    ("linear_save_document", {"document": DESIGN, "initiative": RELIABILITY}),
    (
        "linear_save_label",
        {"name": "Tet yod", "color": "#0a1b2c", "description": "Kof", "team": "ENG", "group": "Area"},
    ),
    ("linear_save_label", {"label": LABEL, "name": "Lamed", "description": "Mem nun", "color": "#3d4e5f"}),
    ("linear_save_label", {"label": BUG, "retired": True, "group": "Area"}),
    ("linear_save_label", {"label": BUG, "retired": True}),
    ("linear_save_label", {"kind": "project", "name": "Samekh"}),
    ("linear_save_label", {"kind": "project", "label": QUARTER, "description": "Pe tsadi"}),
    ("linear_create_project_status", {"name": "Qof", "type": "paused", "description": "Resh"}),
    ("linear_create_customer_need", {"customer": "Example Mills", "body": "Shin tav", "issue": "ENG-2"}),
    ("linear_create_customer_need", {"customer": "Example Mills", "body": "Aa", "project": PROJECT, "important": True}),
    *(
        ("linear_update_notifications", {"notification_ids": [NOTE], "action": action, **more})
        for action, more in (("read", {}), ("unread", {}), ("snooze", {"until": "+2d"}), ("archive", {}))
    ),
    *(archiving("issue", "ENG-1", action) for action in ("archive", "delete")),
    restoring("issue", "ENG-1"),
    archiving("project", stable_id("project", "import"), "delete"),
    restoring("project", stable_id("project", "import")),
    restoring("project_update", UPDATE),
    *(archiving("initiative", stable_id("initiative", "reliability"), action) for action in ("archive", "delete")),
    archiving("document", DESIGN, "archive"),
    archiving("project_update", UPDATE, "archive"),
    archiving("initiative_update", stable_id("initiative update", "1"), "archive"),
    archiving("comment", COMMENT, "delete"),
    archiving("label", BUG, "delete"),
    archiving("project_label", QUARTER, "delete"),
    archiving("milestone", MILESTONE, "delete"),
]


TEAM: Final = "organisation; people where the team is private"
AUDIENCES: Final[dict[str, str]] = {  # who sees what a tool does
    "archive": TEAM,
    "create_customer_need": TEAM,
    "create_issue": TEAM,
    "create_project_status": "organisation",
    "link_url": f"{TEAM}; unknown where it leads to GitHub, which Linear may tell",
    "post_update": TEAM,
    "relate_issues": TEAM,
    "resolve_comment": TEAM,
    "save_document": TEAM,
    "save_initiative": "organisation",
    "save_label": TEAM,
    "save_milestone": TEAM,
    "save_project": TEAM,
    "set_subscription": "self; people where it is about somebody else",
    "update_issue": TEAM,
    "upload_file": TEAM,
    "update_notifications": "self",
    "write_comment": TEAM,
}


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"linear": SCOPES}) as world:
        yield world


async def test_texts_of_uploaded_files_are_shown(world: ShownWorld) -> None:
    await world.act("linear_upload_file", **await two_uploads(world))
    files = dict(show_rows(world.shown[-1]))["files"]
    assert files.count("Its text:") == 2 and "one" in files and "other" in files


async def test_objects_of_one_name_have_different_previews(world: ShownWorld) -> None:
    """Replacing an object by one of the same name is a change, though the words are the same."""
    store = world.sandbox._world.services["linear"]
    for kind, key, more in (("labels", "bug", {"team": stable_id("team", "ENG")}), ("projects", "import", {})):
        there = next(one for one in store[kind] if one["id"] == stable_id(kind[:-1], key))
        store[kind].append(there | more | {"id": stable_id(kind[:-1], f"{key} 2"), "slugId": "f0f0f0f0f0f0"})
    label, project = stable_id("label", "bug 2"), stable_id("project", "import 2")
    await world.act("linear_update_issue", issues=["ENG-1"], add_labels=[label], project=project)
    rows = dict(show_rows(world.shown[-1]))
    assert (rows["labels now"], rows["labels"]) == ("Bug", "Bug, Bug")
    assert (rows["project now"], rows["project"]) == ("Import rewrite", "Import rewrite (another one of this name)")


async def test_issue_in_the_trash_is_not_called_lost(world: ShownWorld) -> None:
    for action, what, undo in (
        ("archive", "Archive this issue", None),
        ("restore", "Restore this issue", None),
        ("delete", "Move this issue to the trash", "it can be restored from the trash for 30 days"),
    ):
        await world.act("linear_archive", kind="issue", id="ENG-1", action=action)
        show = world.shown[-1]
        assert (show.what, show.fields.get("undo"), show.destroys) == (what, undo, False)
    await world.act("linear_archive", kind="comment", id=COMMENT, action="delete")
    assert world.shown[-1].destroys


async def test_subscription_of_somebody_else_is_told_from_the_users_own(world: ShownWorld) -> None:
    for person, what in (("me", "Follow this issue"), ("bob", "Make somebody else follow this issue")):
        await world.act("linear_set_subscription", issue="ENG-1", person=person)
        assert world.shown[-1].what == what


async def test_health_of_an_update_is_shown_in_words(world: ShownWorld) -> None:
    await world.act("linear_post_update", project="Import rewrite", body="Late", health="offTrack")
    assert dict(show_rows(world.shown[-1]))["health"] == "off track"
