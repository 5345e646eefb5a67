"""A call for each place where a tool offers an undo, and what somebody else does in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support.preview_coverage import ShownWorld
from tests.toolkits import test_calendar_shows as calendar
from tests.toolkits import test_drive_shows as drive
from tests.toolkits import test_github_shows as github
from tests.toolkits import test_gmail_shows as gmail
from tests.toolkits import test_linear_shows as linear
from tests.toolkits import test_salesforce_shows as salesforce
from tests.toolkits import test_slack_shows as slack
from tests.toolkits.github_play import ALL, GUIDE_SHA, SITE
from tests.toolkits.linear_calls import COMMENT, NOTE

SCOPES: Final = {
    "google": [*gmail.SCOPES["google"], *calendar.SCOPES["google"], *drive.SCOPES["google"]],
    "github": ALL,
    "slack": slack.EVERYTHING,
    "linear": linear.SCOPES,
    "salesforce": salesforce.SCOPES["salesforce"],
}

Given = Mapping[str, Any]
Hand = Callable[[ShownWorld, Given, Given], Awaitable[object]]
"""What somebody else does in between: with the arguments of the act, and those of the undo."""


@dataclass(frozen=True)
class Way:
    """A call that leaves a way back. ``tool``: without the toolkit's name, which is the module's.

    ``hand``: what somebody changes meanwhile, which is not to be lost; None where nothing could be, since nothing but
    what the act itself has made is taken away. ``stays``: where the world is another one afterwards, and must be, since
    the provider has no way back there.
    """

    tool: str
    arguments: Given | Callable[[ShownWorld], Awaitable[Given]]
    hand: Hand | None = None
    stays: str = "nothing"


def does(tool: str, **changed: Any) -> Hand:
    """Call a tool as somebody else with some of the act's arguments, and others."""

    async def hand(world: ShownWorld, given: Given, back: Given) -> object:
        names = [name for name, value in changed.items() if value is ...]
        known = {**given, **back}
        return await world.act(tool, **changed | {name: known[name] for name in names})

    return hand


async def one_mail_less(world: ShownWorld, given: Given, back: Given) -> object:
    """Undo the change of one of the mails as somebody else."""
    return await world.act("gmail_update_emails", **{**back, "message_ids": back["message_ids"][:1]})


async def another_label(world: ShownWorld, given: Given, back: Given) -> object:
    """Delete the label as somebody else, and create another one of the same name."""
    await world.act("gmail_manage_label", action="delete", name=back["name"])
    return await world.act("gmail_manage_label", action="create", name=back["name"])


async def written_on(world: ShownWorld, given: Given, back: Given) -> object:
    """Append to the gist as somebody else."""
    return await world.act("github_save_gist", gist_id=back["id"], files={"vole.txt": "Digging"})


async def labelled(world: ShownWorld, given: Given, back: Given) -> object:
    """Put a mail under the new label as somebody else."""
    found = await world.act("gmail_search_emails", query="from:bob", limit=1)
    return await world.act("gmail_update_emails", message_ids=[found["items"][0]["id"]], add_labels=[given["name"]])


async def described(world: ShownWorld, given: Given, back: Given) -> object:
    """Describe the new label as somebody else."""
    return await world.act("github_save_label", repo=SITE, name=back["id"], description="Other")


async def retitled(world: ShownWorld, given: Given, back: Given) -> object:
    """Rename the new milestone as somebody else."""
    return await world.act("github_save_milestone", repo=SITE, milestone=back["id"], title="Other")


async def rewritten(world: ShownWorld, given: Given, back: Given) -> object:
    """Rewrite the new comment as somebody else."""
    return await world.act("github_write_comment", repo=SITE, comment_id=int(back["id"]), body="Other")


def written_in(kind: str, field: str) -> Hand:
    """Edit the new record as somebody else."""

    async def hand(world: ShownWorld, given: Given, back: Given) -> object:
        return await world.act("salesforce_update_record", object=kind, id=back["id"], fields={field: "Other"})

    return hand


async def an_answer(world: ShownWorld) -> Given:
    """Return Bob's invitation, which Alice has answered."""
    answer = {"event_id": "review00001", "response": "tentative"}
    await world.act("calendar_respond_to_event", **answer)
    return answer | {"response": "declined"}


TIMES: Final = r"\.(updatedAt|editedAt|createdAt|completedAt)"
"""What Linear changes by itself."""
IN_THE_BIN: Final = r"salesforce\.(deleted|records\.ContentDocumentLink)"
COUNTED_BY_GITHUB: Final = r"\.issues\..*\.(events|updated_at|closed_at|reason)"


async def bobs_calendar(world: ShownWorld) -> Given:
    """Return a calendar on Alice's list that will be removed."""
    listed = await calendar.let_in(world)
    await world.act("calendar_manage_calendar", action="subscribe", calendar=listed["calendar"])
    return {"action": "unsubscribe", "calendar": listed["calendar"]}


SAID: Final = r"\.messages\[\d+\]: \+ \{.*'subtype': 'channel_"  # what Slack tells the members about it

WAYS: Final[dict[str, Way]] = {
    "drive/sharing.py:share_file": Way(
        "share_file",
        {"file": "notes", "who": "carol@else.test", "role": "reader"},
        does("drive_share_file", file="notes", who="carol@else.test", role="writer"),
    ),
    "drive/create.py:create_file": Way(
        "create_file",
        {"name": "Ideas", "folder": "fair"},
        stays=r"drive\.files\.made.*'trashed': '2|drive\.ids",  # in the trash
    ),
    "drive/changes.py:trash_file": Way(
        "trash_file",
        {"file": "notes"},
        stays=r"version|modifiedTime",
    ),
    "drive/changes.py:update_file": Way(
        "update_file",
        {"file": "notes", "name": "Novel", "folder": "fair"},
        does("drive_update_file", file="notes", name="Theirs"),
        stays=r"version|modifiedTime",
    ),
    "calendar/cancel.py:_undo": Way(
        "respond_to_event",
        an_answer,
        does("calendar_respond_to_event", event_id=..., response="accepted"),
        stays=r"calendar\.mails\[",  # Bob is told each time
    ),
    "calendar/change_report.py:make_undo": Way(
        "update_event",
        {"event_id": "holiday0001", "title": "Away"},
        does("calendar_update_event", event_id=..., title="Moved"),
    ),
    "calendar/manage.py:_unsubscribe_undo": Way(
        "manage_calendar",
        {"action": "create", "title": "Plain"},
        does("calendar_manage_calendar", action="update", calendar=..., title="Renamed"),
        stays=r"calendar\.calendars\.c_",  # nobody's list has it, and Google keeps it
    ),
    "calendar/manage.py:_unsubscribe": Way("manage_calendar", bobs_calendar),
    "calendar/manage.py:_update": Way(
        "manage_calendar",
        {"action": "update", "calendar": "Team", "description": "Ours"},
        does("calendar_manage_calendar", action="update", calendar="Team", description="Theirs"),
    ),
    "calendar/sharing.py:share_calendar": Way(
        "share_calendar",
        {"who": "carol@else.test", "role": "free_busy", "notify": False},
        does("calendar_share_calendar", who="carol@else.test", role="writer", notify=False),
    ),
    "calendar/create.py:_undo": Way(
        "create_event",
        calendar.PLAN,
        does("calendar_update_event", event_id=..., title="Moved"),
        stays=r"calendar\.events\..*'status': 'cancelled'",  # Google keeps what was deleted
    ),
    "github/branches.py:create_branch": Way(
        "create_branch",
        {"repo": SITE, "branch": "fix/typo"},
        does("github_write_file", **github.NEW, branch=...),
    ),
    "github/commit_files.py:_undo": Way(
        "commit_files",
        github.COMMIT,
        does("github_write_file", repo=SITE, path="zebra.txt", content="Spots\n", message="x", mode="append"),
    ),
    "github/delete.py:_ref": Way("delete", github.gone("branch", "feature/polite")[1]),
    "github/save_gist.py:_change_gist": Way(
        "save_gist", github.OLD_GIST, does("github_save_gist", gist_id=..., files={"vole.txt": "Digging"})
    ),
    "github/save_gist.py:save_gist": Way("save_gist", github.GIST, written_on),
    "github/inbox.py:set_star": Way("set_star", {"repo": SITE}),
    "github/project_items.py:_undo": Way(
        "update_project_item",
        {"owner": "acme", "project": "Roadmap", "item": "501", "set": {"Status": "Done"}},
        does("github_update_project_item", owner=..., project=..., item=..., set={"Status": ""}),
    ),
    "github/reactions.py:react": Way("react", {"repo": SITE, "number": 1, "reaction": "hooray"}),
    "github/reviews.py:resolve_thread": Way("resolve_thread", {"thread_id": github.THREAD}),
    "github/save_label.py:_change": Way(
        "save_label",
        {"repo": SITE, "name": "bug", "color": "abcdef"},
        does("github_save_label", repo=..., name=..., color="123456"),
    ),
    "github/save_label.py:_create": Way(
        "save_label",
        {"repo": SITE, "name": "burrow", "description": "Dug by hand"},
        described,
    ),
    "github/save_milestone.py:_create": Way(
        "save_milestone",
        {"repo": SITE, "title": "Harvest", "body": "Bring baskets"},
        retitled,
    ),
    "github/save_milestone.py:_undo": Way(
        "save_milestone",
        {"repo": SITE, "milestone": "Spring", "title": "Lent"},
        does("github_save_milestone", repo=..., milestone=..., title="Other"),
    ),
    "github/save_release.py:_create": Way(
        "save_release", github.RELEASE, does("github_save_release", repo=..., tag=..., body="Other")
    ),
    "github/save_release.py:_undo": Way(
        "save_release",
        {"repo": SITE, "tag": "v1.0", "name": "Firstborn", "draft": False},
        does("github_save_release", repo=..., tag=..., name="Other", draft=False),
    ),
    "github/update_issue.py:_undo": Way(
        "update_issue",
        github.CHANGED,
        does("github_update_issue", repo=..., number=..., title="Other"),
        stays=COUNTED_BY_GITHUB,
    ),
    "github/update_pull.py:_undo": Way(
        "update_pull",
        github.CHANGED_PULL,
        does("github_update_pull", repo=..., number=..., title="Other"),
        stays=COUNTED_BY_GITHUB,
    ),
    "github/write_comment.py:_edit_comment": Way(
        "write_comment",
        {"repo": SITE, "comment_id": 6002, "body": "Seven sleepers"},
        does("github_write_comment", repo=..., comment_id=..., body="Other"),
    ),
    "github/write_comment.py:write_comment": Way(
        "write_comment", {"repo": SITE, "number": 1, "body": "Forty winks"}, rewritten, stays=COUNTED_BY_GITHUB
    ),
    "github/write_file.py:_undo": Way(
        "write_file",
        github.NEW | {"path": "docs/guide.md", "mode": "overwrite", "expected_sha": GUIDE_SHA},
        does("github_write_file", repo=..., path=..., content="Other", message="x", mode="overwrite", expected_sha=...),
    ),
    "gmail/drafts.py:save_draft": Way("save_draft", gmail.DRAFT, does("gmail_save_draft", draft_id=..., body="Other")),
    "gmail/filters.py:_create": Way("manage_filter", gmail.FILTER | {"archive": True}),
    "gmail/filters.py:_delete": Way("manage_filter", gmail.a_filter, stays=r"\.filters\[0\]\.id$"),
    "gmail/labels.py:_create": Way("manage_label", {"action": "create", "name": "Fresh"}, labelled),
    "gmail/labels.py:_rename": Way(
        "manage_label",
        {"action": "rename", "name": "Travel", "new_name": "Journeys"},
        another_label,
    ),
    "gmail/settings.py:set_signature": Way(
        "set_signature", gmail.SIGNATURE, does("gmail_set_signature", body="Mallory", send_as=..., if_text=...)
    ),
    "gmail/bulk_modify.py:_undo": Way("update_emails", gmail.some_mails, one_mail_less),
    "gmail/vacation.py:_undo": Way(
        "set_vacation",
        gmail.AWAY,
        does("gmail_set_vacation", enabled=True, subject="Gone", body="For good", if_text=...),
    ),
    "linear/admin.py:_change_label": Way(
        "save_label",
        {"label": linear.BUG, "name": "Defect", "retired": True},
        does("linear_save_label", label=..., name="Fault"),
        stays=TIMES,
    ),
    "linear/comments.py:_edit_comment": Way(
        "write_comment",
        {"comment_id": linear.MINE, "body": "Other"},
        does("linear_write_comment", comment_id=..., body="Else"),
        stays=TIMES,
    ),
    "linear/comments.py:resolve_comment": Way(
        "resolve_comment",
        {"comment_id": COMMENT},
        does("linear_resolve_comment", comment_id=..., resolved=False),
        stays=TIMES,
    ),
    "linear/inbox.py:update_notifications": Way(
        "update_notifications",
        {"notification_ids": [NOTE], "action": "read"},
        does("linear_update_notifications", notification_ids=..., action="unread"),
    ),
    "linear/initiative_edits.py:_undo": Way(
        "save_initiative",
        linear.an_initiative,
        stays=r"\.initiative_links\[\d+\]\.(id|createdAt|updatedAt)$",
    ),
    "linear/links.py:_attach": Way("link_url", {"issue": "ENG-1", "url": "https://example.test/a"}),
    "linear/links.py:_unlink": Way("link_url", linear.a_link, stays=r"\.attachments\[0\]\.id$"),
    "linear/links.py:relate_issues": Way("relate_issues", {"issue": "ENG-1", "related": "ENG-2"}),
    "linear/links.py:set_subscription": Way(
        "set_subscription",
        {"issue": "ENG-1", "person": "bob"},
        stays=r"subscribers",
    ),
    "linear/document_tools.py:_undo": Way(
        "save_document",
        {"document": linear.DESIGN, "content": "More", "append": True},
        does("linear_save_document", document=..., content="Else", append=True),
        stays=TIMES,
    ),
    "linear/preview.py:undo": Way(
        "create_issue",
        {"team": "ENG", "title": "New", "description": "Words"},
        does("linear_update_issue", issues=["ENG-4"], description="Others' words", append=True),
        stays=r"\.issues\[\d+\]: \+ .*'trashed': True",  # Linear keeps what was deleted for a while
    ),
    "linear/project_edits.py:_undo": Way(
        "save_project",
        {"project": linear.PROJECT, "content": "Anew", "append": True, "status": "paused"},
        does("linear_save_project", project=..., status="completed"),
        stays=TIMES,
    ),
    "linear/project_milestones.py:_change": Way(
        "save_milestone",
        {"project": linear.PROJECT, "milestone": linear.MILESTONE, "description": "First"},
        does("linear_save_milestone", project=..., milestone=..., description="Else", append=True),
        stays=TIMES,
    ),
    "linear/uploads.py:_attach": Way("upload_file", linear.uploading("attachment"), stays=r"\.uploads\["),
    "linear/uploads.py:_append_links": Way(
        "upload_file",
        linear.uploading("description"),
        does("linear_update_issue", issues=..., description="Else", append=True),
        stays=rf"\.uploads\[|{TIMES}",
    ),
    "linear/values.py:undo": Way(
        "update_issue",
        {"issues": ["ENG-1"], "state": "Done", "description": "Mended", "append": True, "remove_labels": ["Bug"]},
        does("linear_update_issue", issues=..., state="Todo"),
        stays=TIMES,
    ),
    "salesforce/activities.py:_write_note": Way(
        "log_activity",
        {"kind": "note", "subject": "Said", "account_or_opportunity": salesforce.ACCOUNT},
        written_in("ContentNote", "Title"),
        stays=IN_THE_BIN,
    ),
    "salesforce/activities.py:log_activity": Way(
        "log_activity", {"kind": "task", "subject": "Own errand"}, written_in("Task", "Subject"), stays=IN_THE_BIN
    ),
    "salesforce/change.py:update_record": Way(
        "update_record",
        salesforce.an_emptied_text,
        does("salesforce_update_record", object=..., id=..., fields={"Phone": "+1 555 3333"}),
        stays=r"LastModifiedDate",
    ),
    "salesforce/create.py:create_record": Way(
        "create_record",
        {"object": "Contact", "fields": {"LastName": "Fox"}},
        written_in("Contact", "LastName"),
        stays=IN_THE_BIN,
    ),
    "slack/channel_members.py:manage_members": Way(
        "manage_members", {"conversation": "#eng", "action": "invite", "users": ["@decoy"]}
    ),
    "slack/channels.py:create_channel": Way(
        "create_channel", {"name": "hush", "private": True}, stays=r"\.channels\.C0NEW.*'is_archived': True"
    ),
    "slack/channels.py:update_channel": Way(
        "update_channel",
        {"conversation": "#random", "topic": "Anything"},
        does("slack_update_channel", conversation=..., topic="Else"),
        stays=SAID,
    ),
    "slack/reactions_and_pins.py:_change_bookmark": Way("pin", slack.BOOKMARK),
    "slack/reactions_and_pins.py:_remove_bookmarks": Way("pin", slack.no_bookmark, stays=r"\.bookmarks\[0\]\.id$"),
    "slack/reactions_and_pins.py:pin": Way("pin", slack.a_pin),
    "slack/reactions_and_pins.py:react": Way("react", slack.a_reaction),
    "slack/own_messages.py:update_message": Way(
        "update_message",
        slack.an_edit,
        does("slack_update_message", conversation=..., ts=..., body="Other"),
        stays=r"\.edited: \+",
    ),
    "slack/send.py:_send_later": Way("send_message", {"conversation": slack.DM, "body": "Later", "send_at": "+2h"}),
    "slack/send.py:_send_now": Way(
        "send_message",
        {"conversation": slack.ENG, "body": "Plain"},
        does("slack_update_message", conversation=..., ts=..., body="Other"),
    ),
    "slack/status.py:set_status": Way(
        "set_status", {"text": "Reading", "emoji": "book"}, does("slack_set_status", text="Writing", emoji="pen")
    ),
}
