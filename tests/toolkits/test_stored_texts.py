"""Every text that a tool can replace: where it is read whole, or why nothing is lost by it.

A tool's argument is one of four things: it refers to something (an id, a name, a time), it is new (nothing was there),
it is a long text with a digest (test_round_trips.py and its siblings), or a line that one read shows whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from deputize.core import Deputy
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.seed import TEAM
from deputize.sandbox.linear.seed import stable_id
from tests.toolkits.github_play import SITE
from tests.toolkits.test_round_trips import PLACES, act, event, github, gmail, linear, within
from tests.toolkits.test_round_trips import alice as alice

WHOLE: Final = "the whole of a text"
POINTS: Final = frozenset(
    """account_or_opportunity add_assignees add_attachments add_attendees add_labels add_members add_projects
    add_reviewers add_teams after answer_id append assignee assignees attachment attachments attendees base bcc before
    blocks branch calendar call_result canvas_id category cc color comment_id contact_or_lead conversation customer
    cycle delete_paths document draft_id due_date due_on emoji end event_id expected_head expected_sha external_id
    file filter_id folder from from_ref gist_id group head head_sha id if_text initiative inputs invite issue issues
    item label labels lead link_url members message_id message_ids milestone move_to notification_ids object
    optional_attendees org
    owner parent path person priority project query recurrence ref related remove_assignees remove_attendees
    remove_labels remove_members remove_projects remove_reviewers remove_teams replaces reply_to repo
    resolving_comment_id reviewers scheduled_id send_as send_at snooze source start start_date state status tag target
    target_date team teams template thread_id thread_ids thread_ts time_zone to ts type unmodified_since until url users
    who workflow record""".split()
)
"""Arguments that refer to something: people, places, ids, times, parts of a whole.

Lists of them are changed element by element, or previewed whole.
"""

NEW: Final = {
    "calendar_create_event": "a new event",
    "drive_create_file": "a new file",
    "drive_write_comment": "a new comment or answer",
    "github_create_issue": "a new issue",
    "github_create_pull": "a new pull request",
    "github_create_repo": "a new repository",
    "github_merge_pull": "the message of a new commit",
    "github_review_pull": "a new review",
    "github_write_discussion": "a new discussion, or a new comment of one",
    "gmail_forward_email": "a new mail",
    "gmail_reply_email": "a new mail",
    "gmail_send_email": "a new mail",
    "gmail_manage_filter": "a new filter: one that is there is only deleted",
    "linear_create_customer_need": "a new request",
    "linear_create_issue": "a new issue",
    "linear_create_project_status": "a new status",
    "linear_link_url": "a new link; one of the same address is found again",
    "linear_post_update": "a new update",
    "linear_upload_file": "goes behind the description, or into a new comment",
    "salesforce_create_record": "a new record",
    "salesforce_log_activity": "a new activity",
    "salesforce_upload_file": "a new file",
    "slack_create_channel": "a new channel",
    "slack_pin": "a new bookmark",
    "slack_send_message": "a new message",
    "slack_upload_file": "a new file",
}
"""Tools that write texts where none was."""

ELSEWHERE: Final = {
    "calendar_delete_event.message": "a message to guests, which stands before the description that is kept",
    "calendar_respond_to_event.comment": "the user's own last answer, which the question shows beside the new one",
    "drive_share_file.message": "of a new mail",
    "github_commit_files.files": "held by the sha of each file: test_github_files_read.py",
    "github_commit_files.message": "the message of a new commit",
    "github_write_file.content": "held by the sha of the file: test_github_files_read.py",
    "github_write_file.message": "the message of a new commit",
    "github_save_label.name": "finds the label; `new_name` replaces it",
    "gmail_manage_label.name": "finds the label; `new_name` replaces it",
    "gmail_manage_label.new_name": "names are unique, and every list of labels shows them whole: test_gmail_labels.py",
    "gmail_save_draft.subject": "read whole with the draft: test_gmail_drafts.py",
    "gmail_save_draft.body": "held by the digest of the draft: test_gmail_drafts.py",
    "linear_write_comment.quoted_text": "of a new comment alone",
    "slack_set_status.text": "the user's own, at most 100 characters; the question and the undo have the old one",
    "slack_update_channel.topic": "at most 250 characters, read whole: test_slack_round_trips.py",
    "slack_update_channel.purpose": "at most 250 characters, read whole: test_slack_round_trips.py",
    "slack_update_channel.name": "letters, digits and hyphens, by which the channel is found",
    "slack_update_message.body": "held by the digest: test_slack_round_trips.py",
    "slack_write_canvas.body": "held by the digest: test_slack_round_trips.py",
    "slack_write_canvas.title": "of a new canvas alone",
}
"""What needs no entry here, and why."""


@dataclass(frozen=True)
class Line:
    """A text of one line that is replaced: how it is read and changed, and where the sandbox keeps it.

    ``longest``: characters that the provider accepts. ``named``: its name in the result that reads it.
    """

    reads: str
    where: Mapping[str, Any]
    change: Mapping[str, Any]
    row: Callable[[Sandbox], Any]
    key: str
    named: str
    longest: int = 250


G: Final = {"repo": SITE}


PROJECT: Final = {"project": stable_id("project", "import")}
INITIATIVE: Final = {"initiative": stable_id("initiative", "reliability")}
MILESTONE: Final = stable_id("milestone", "beta")
DESIGN: Final = {"document": stable_id("document", "design")}


def label(sandbox: Sandbox) -> Any:
    return sandbox._world.services["github"]["repos"][SITE]["labels"][0]


LINES: Final = {
    "github_update_issue.title": Line(
        "github_get_issue", G | {"number": 1}, G | {"number": 1}, github("issues"), "title", "title"
    ),
    "github_update_pull.title": Line(
        "github_get_pull", G | {"number": 2}, G | {"number": 2}, github("issues", 1), "title", "title"
    ),
    "github_save_milestone.title": Line(
        "github_list_labels",
        G | {"milestone": "1"},
        G | {"milestone": "1"},
        lambda sandbox: sandbox._world.services["github"]["repos"][SITE]["milestones"][0],
        "title",
        "title",
    ),
    "github_save_release.name": Line(
        "github_list_releases",
        G | {"tag": "v1.0"},
        G | {"tag": "v1.0", "draft": False},
        github("releases"),
        "name",
        "name",
    ),
    "github_save_label.description": Line(
        "github_list_labels", G, G | {"name": "bug"}, label, "description", "description", 99
    ),
    "linear_update_issue.title": Line(
        "linear_get_issue", {"issue": "ENG-1"}, {"issues": ["ENG-1"]}, linear("issues"), "title", "title"
    ),
    "linear_save_project.description": Line(
        "linear_get_project",
        PROJECT,
        PROJECT,
        linear("projects"),
        "description",
        "description",
    ),
    "calendar_update_event.title": Line(
        "calendar_get_event", {"event_id": "focus000001"}, {"event_id": "focus000001"}, event, "summary", "title"
    ),
    "calendar_update_event.location": Line(
        "calendar_get_event", {"event_id": "focus000001"}, {"event_id": "focus000001"}, event, "location", "where"
    ),
    "calendar_manage_calendar.title": Line(
        "calendar_list_calendars",
        {},
        {"action": "update", "calendar": TEAM},
        lambda sandbox: sandbox._world.services["calendar"]["calendars"][TEAM],
        "summary",
        "name",
    ),
    "drive_update_file.name": Line(
        "drive_get_file",
        {"file": "notes"},
        {"file": "notes"},
        lambda sandbox: sandbox._world.services["drive"]["files"]["notes"],
        "name",
        "name",
    ),
    "linear_save_initiative.name": Line(
        "linear_get_initiative", INITIATIVE, INITIATIVE, linear("initiatives"), "name", "name", 80
    ),
    "linear_save_initiative.description": Line(
        "linear_get_initiative", INITIATIVE, INITIATIVE, linear("initiatives"), "description", "description"
    ),
    "linear_save_project.name": Line("linear_get_project", PROJECT, PROJECT, linear("projects"), "name", "name", 80),
    "linear_save_document.title": Line("linear_get_document", DESIGN, DESIGN, linear("documents"), "title", "title"),
    "linear_save_milestone.name": Line(
        "linear_get_project",
        PROJECT | {"milestone": MILESTONE},
        PROJECT | {"milestone": MILESTONE},
        linear("milestones"),
        "name",
        "name",
        80,
    ),
    "linear_save_label.description": Line(
        "linear_lookup",
        {"kind": "labels"},
        {"label": stable_id("label", "bug")},
        linear("labels"),
        "description",
        "description",
    ),
    "linear_save_label.name": Line(
        "linear_lookup", {"kind": "labels"}, {"label": stable_id("label", "bug")}, linear("labels"), "name", "name", 80
    ),
    "github_save_label.new_name": Line("github_list_labels", G, G | {"name": WHOLE}, label, "name", "name", 49),
    "gmail_set_vacation.subject": Line(
        "gmail_get_settings",
        {"section": "vacation"},
        {"enabled": True, "body": "Away."},
        gmail("vacation"),
        "responseSubject",
        "subject",
    ),
}


def texts() -> set[str]:
    """Return each argument of each writing tool that takes words, by tool and name."""
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values() if tool.gravest.words() != "reads"]
    return {f"{tool.name}.{name}" for tool in tools for name, how in tool.schema["properties"].items() if _words(how)}


def _words(how: Mapping[str, Any]) -> bool:
    """Return True if an argument takes free text: a string without fixed values, or a list or object of such."""
    kinds = how.get("anyOf") or [how]
    inner = [one.get("items") or one.get("additionalProperties") or one for one in kinds]
    return any("enum" not in one and one.get("type") in ("string", "object") for one in inner if isinstance(one, dict))


def test_every_replaceable_text_is_readable_whole_or_explained() -> None:
    asked = {one for one in texts() if one.partition(".")[2] not in POINTS and one.partition(".")[0] not in NEW}
    held = {
        f"{place.writes}.{name}"
        for place in PLACES.values()
        for name, value in place.change(WHOLE).items()
        if WHOLE in (value, *(value.values() if isinstance(value, dict) else ()))
    }
    explained = {*ELSEWHERE, *LINES}
    assert asked - held - explained == set()
    assert explained - asked == set(), "no tool takes these any more"


def line(characters: int) -> str:
    """Return a line of wide letters, of this many characters, without a space that reading would change."""
    words = "Привет \u65e5\u672c\u8a9e \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 "
    return (words * 40)[: characters - 1] + "."


@pytest.mark.parametrize("name", LINES)
async def test_line_is_read_whole_and_replaced_by_more(alice: Deputy, sandbox: Sandbox, name: str) -> None:
    one, argument = LINES[name], name.partition(".")[2]
    row, text = one.row(sandbox), line(one.longest)
    row[one.key] = text
    shown = _holding(await act(alice, one.reads, one.where), one.named, text)
    assert shown == text
    change = {key: text if value == WHOLE else value for key, value in one.change.items()}
    await act(alice, name.partition(".")[0], change | {argument: f"{shown[:-1]}!"})
    assert one.row(sandbox)[one.key] == f"{text[:-1]}!"


def _holding(told: Any, name: str, text: str) -> str:
    """Return a result's value under a name; of several, the one that begins like ``text``."""
    rows = told.get("items", [told]) if isinstance(told, dict) else told
    found = [within(one, name).get(name, "") for one in rows]
    return next((one for one in found if one[:20] == text[:20]), f"nothing in {told}")
