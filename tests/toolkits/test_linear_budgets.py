"""The token cost of Linear's tools, their descriptions, and the aliases they accept."""

from __future__ import annotations

import pytest

from deputize.core import Effect, InvalidInput
from deputize.core.tools.catalog import Catalog
from deputize.toolkits.linear import TOOLKIT
from tests.support.lanes import sample
from tests.toolkits.linear_calls import EVERY


def test_alias_takes_its_own_arguments_and_sends_the_same_request() -> None:
    theirs = Catalog([TOOLKIT]).tool("Linear.CreateIssue")
    there = {
        "team": "ENG",
        "title": "x",
        "labels_to_add": ["Bug"],
        "parent_issue": "ENG-1",
        "attachment_url": "https://example.test/a",
        "attachment_title": "A",
    }
    here = {
        "team": "ENG",
        "title": "x",
        "labels": ["Bug"],
        "parent": "ENG-1",
        "link_url": "https://example.test/a",
        "link_title": "A",
    }
    assert theirs.validate(there) == TOOLKIT.tools["linear_create_issue"].validate(here)
    with pytest.raises(InvalidInput):
        TOOLKIT.tools["linear_create_issue"].validate(there)


def test_visible_effects_are_declared_and_only_deletion_is_destructive() -> None:
    sends = {name.removeprefix("linear_") for name, tool in TOOLKIT.tools.items() if Effect.SENDS in tool.gravest}
    assert sends == {
        "create_issue",
        "update_issue",
        "relate_issues",
        "resolve_comment",
        "link_url",
        "upload_file",
        "write_comment",
        "save_project",
        "post_update",
        "save_initiative",
        "save_document",
        "create_customer_need",
        "save_label",
        "create_project_status",
        "save_milestone",
        "archive",
        "set_subscription",
    }
    follow = TOOLKIT.tools["linear_set_subscription"]
    for person, asks in ((None, False), ("me", False), (" Me ", False), ("bob", True)):
        effect = follow.effect_of(follow.validate({"issue": "ENG-1"} | ({"person": person} if person else {})))
        assert (Effect.SENDS in effect) == asks
    archive = TOOLKIT.tools["linear_archive"]
    for action in ("archive", "restore", "delete"):
        effect = archive.effect_of(archive.validate({"kind": "issue", "id": "ENG-1", "action": action}))
        assert (Effect.DESTRUCTIVE in effect) == (action == "delete") and Effect.SENDS in effect


@pytest.mark.parametrize(
    "case", sample(EVERY, lambda case: case.tool), ids=lambda case: f"{case.tool} {case.says[:20]}"
)
def test_reading_tool_requests_read_scope_and_none_more_than_needed(case: object) -> None:
    tool = TOOLKIT.tools[case.name]  # type: ignore[attr-defined]
    asks = {need.ask for need in tool.needs_of(tool.validate(case.arguments))}  # type: ignore[attr-defined]
    if tool.gravest is Effect.READS:
        assert asks == {"read"}
    elif tool.name == "linear_create_project_status":
        assert asks == {"read", "admin"}
    else:
        assert asks <= {"read", "write", "issues:create", "comments:create"} and asks != {"read"}
