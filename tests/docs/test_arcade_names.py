"""The names of Arcade's tools that work by docs/migrating/arcade.md, and the arguments that do not.

Names, arguments and values are those of Arcade's public documentation of August 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from deputize.core import InvalidInput
from deputize.core.tools.catalog import Catalog
from tests.docs.blocks import text

ARCADE: Final = "docs/migrating/arcade.md"
ID: Final = "18a4f2c3d9e1b567"
DAY: Final = "2026-08-21T10:00:00"
NOBODY: Final = {"user_ids": None, "usernames": None, "emails": None}
NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Gmail.ArchiveEmail": {"email_id": ID},
    "Gmail.ChangeThreadLabels": {"thread_id": ID, "labels_to_add": ["A"], "labels_to_remove": ["B"]},
    "Gmail.CreateLabel": {"label_name": "A"},
    "Gmail.DeleteDraftEmail": {"draft_email_id": "r1"},
    "Gmail.DeleteLabel": {"label_name": "A"},
    "Gmail.ForwardEmail": {
        "email_id": ID,
        "recipient": "a@x.test",
        "note": "n",
        "cc": ["b@x.test"],
        "bcc": ["c@x.test"],
    },
    "Gmail.GetEmail": {"email_id": ID},
    "Gmail.GetThread": {"thread_id": ID},
    "Gmail.ListDraftEmails": {"n_drafts": 5, "page_token": "x"},
    "Gmail.ListEmailAttachmentMetadata": {"email_id": ID},
    "Gmail.ListEmails": {"n_emails": 5, "page_token": "x", "exclude_automated": False, "include_body": True},
    "Gmail.ListLabels": {},
    "Gmail.ListThreads": {
        "page_token": "x",
        "max_results": 5,
        "include_spam_trash": True,
        "exclude_automated": False,
    },
    "Gmail.ReportSpam": {"email_id": ID},
    "Gmail.SearchEmailsByQuery": {
        "query": "is:unread",
        "result_detail": "lightweight",
        "max_results": 5,
        "page_token": "x",
        "include_spam_trash": True,
    },
    "Gmail.SendDraftEmail": {"email_id": "r1"},
    "Gmail.SetThreadTrashStatus": {"thread_id": ID, "in_trash": True},
    "Gmail.TrashEmail": {"email_id": ID},
    "Gmail.UnsubscribeFromEmail": {"email_id": ID, "trash_existing": True},
    "Gmail.UpdateDraftEmail": {
        "draft_email_id": "r1",
        "subject": "s",
        "body": "b",
        "recipient": "a@x.test",
        "cc": ["b@x.test"],
        "bcc": ["c@x.test"],
    },
    "Gmail.UpdateLabel": {"current_name": "A", "new_name": "B"},
    "Gmail.WhoAmI": {},
    "GoogleCalendar.CreateEvent": {
        "summary": "s",
        "start_datetime": DAY,
        "end_datetime": "2026-08-21T11:00:00",
        "calendar_id": "primary",
        "description": "d",
        "location": "l",
        "visibility": "private",
        "attendee_emails": ["a@x.test"],
        "send_notifications_to_attendees": "externalOnly",
        "add_google_meet": True,
        "recurrence": ["RRULE:FREQ=WEEKLY"],
    },
    "GoogleCalendar.DeleteEvent": {"event_id": "e", "calendar_id": "primary", "send_updates": "externalOnly"},
    "GoogleCalendar.ListEvents": {
        "min_end_datetime": DAY,
        "max_start_datetime": "2026-08-22T10:00:00",
        "calendar_id": "primary",
        "max_results": 5,
    },
    "GoogleCalendar.WhoAmI": {},
    "Slack.GetConversationMetadata": {"channel_name": "general", **NOBODY},
    "Slack.GetMessages": {
        "user_ids": ["U012AB3CD"],
        "usernames": ["bob"],
        "emails": ["c@x.test"],
        "oldest_relative": "07:00:00",
        "latest_datetime": "2026-08-21 10:00:00",
        "limit": 100,
        "next_cursor": "x",
    },
    "Slack.GetThreadMessages": {
        "thread_ts": "1700000000.000100",
        "channel_name": "general",
        "oldest_datetime": "2026-08-21 10:00:00",
        "latest_relative": "00:01:30",
        "limit": 100,
        "next_cursor": "x",
        **NOBODY,
    },
    "Slack.GetUsersInfo": {"user_ids": ["U1"], "usernames": ["bob"], "emails": ["c@x.test"]},
    "Slack.GetUsersInConversation": {"conversation_id": "C1", "limit": 500, "next_cursor": "x"},
    "Slack.InviteUsersToChannel": {
        "channel_id": "C1",
        "channel_name": None,
        "user_ids": ["U1"],
        "usernames": ["bob"],
        "emails": ["c@x.test"],
    },
    "Slack.ListConversations": {
        "conversation_types": ["public_channel", "private_channel", "multi_person_direct_message", "direct_message"],
        "limit": 500,
        "next_cursor": "x",
    },
    "Slack.ListUsers": {"exclude_bots": False, "limit": 500, "next_cursor": "x"},
    "Slack.SendMessage": {
        "message": "m",
        "user_ids": ["U1"],
        "usernames": ["bob"],
        "emails": ["c@x.test"],
        "thread_ts": "1700000000.000100",
        "reply_broadcast": True,
    },
    "Slack.WhoAmI": {},
    "Github.GetReviewWorkload": {},
    "Github.GetUserRecentActivity": {"days": 7, "per_page": 10},
    "Github.WhoAmI": {},
    "Linear.AddComment": {"issue": "ENG-1", "body": "b"},
    "Linear.LinkGithubToIssue": {"issue": "ENG-1", "github_url": "https://github.com/a/b/pull/1", "title": "t"},
    "Linear.UpdateComment": {"comment_id": "00000000-0000-4000-8000-000000000001", "body": "b"},
    "Linear.WhoAmI": {},
    "Salesforce.GetAccountDataById": {"account_id": "001000000000001AAA"},
    "Salesforce.GetOpportunityById": {"opportunity_id": "006000000000001AAA"},
    "Salesforce.WhoAmI": {},
}
"""The names that work by the page, each with all arguments of Arcade's public documentation."""


def test_arcade_tool_names_accept_all_documented_arguments() -> None:
    catalog, page = Catalog(), text(ARCADE)
    [table] = re.findall(r"\n\| toolkit \| names that work .*?\n\n", page, re.DOTALL)
    assert set(re.findall(r"`(\w+\.\w+)`", table)) == NAMED.keys()
    for name, arguments in NAMED.items():
        assert catalog.tool(name).validate(dict(arguments)) is not None, name
        assert catalog.tool(name.replace(".", "_")).name == catalog.tool(name).name
    for older in ("Google.SendEmail", "Google.CreateEvent", "Slack.PostMessage"):
        assert f"`{older}`" in page and catalog.tool(older)


MEANT: Final[list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]] = [
    (
        "Slack.GetMessages",
        NAMED["Slack.GetMessages"],
        {"conversation": "U012AB3CD,@bob,c@x.test", "after": "-07d00h00m"},
    ),
    ("Slack.GetThreadMessages", NAMED["Slack.GetThreadMessages"], {"conversation": "general", "before": "-00d01h30m"}),
    ("Slack.GetUsersInfo", NAMED["Slack.GetUsersInfo"], {"users": ["U1", "bob", "c@x.test"]}),
    (
        "Slack.InviteUsersToChannel",
        NAMED["Slack.InviteUsersToChannel"],
        {"conversation": "C1", "users": ["U1", "bob", "c@x.test"], "action": "invite"},
    ),
    ("Slack.ListConversations", {}, {"types": ["public", "private", "group_dm", "dm"]}),
    ("Slack.ListConversations", {"conversation_types": ["im", "mpim"]}, {"types": ["dm", "group_dm"]}),
    ("Slack.ListUsers", {"exclude_bots": True}, {"bots": False}),
    ("Slack.ListUsers", {"exclude_bots": False}, {"bots": True}),
]
"""What calls by Arcade's names mean here."""


def test_arcade_arguments_have_their_documented_effect(subtests: pytest.Subtests) -> None:
    catalog = Catalog()
    for name, theirs, ours in MEANT:
        with subtests.test(name, theirs=theirs):
            assert ours.items() <= catalog.tool(name).validate(dict(theirs)).items()


def test_only_arcade_names_join_lists_and_all_names_drop_none() -> None:
    find = Catalog().tool("slack_find_users")
    with pytest.raises(InvalidInput):
        find.validate({"users": ["a"], "usernames": ["b"]})
    assert find.validate({"users": ["a"], "limit": None}) == find.validate({"users": ["a"]})


REFUSED: Final[list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]] = [
    ("Gmail.ListEmailsByHeader", {"date_range": "today"}, {"after": "-1d", "before": "now", "query": "a"}),
    ("Gmail.SearchThreads", {"label_ids": ["INBOX"]}, {"label": "INBOX"}),
    ("Gmail.ChangeEmailLabels", {"label_name": "A"}, {"email_ids": [ID], "add_labels": ["A"]}),
    ("Gmail.TriageEmails", {"include_full_ledger": True}, {"email_ids": [ID], "action": "mark_read"}),
    ("GoogleCalendar.UpdateEvent", {"updated_calendar_id": "x"}, {"event_id": "e", "move_to": "x", "meet": "add"}),
    ("GoogleCalendar.FindTimeSlotsWhenEveryoneIsFree", {"end_date": "2026-08-22"}, {"before": "2026-08-23"}),
    ("GoogleCalendar.FindTimeSlotsWhenEveryoneIsFree", {"start_time_boundary": "09:00"}, {"hours": "09:00-17:00"}),
    ("GoogleCalendar.ListCalendars", {"show_deleted": True}, {"show_hidden": True, "next_page_token": "x"}),
    ("Linear.ListIssues", {"end_cursor": "x"}, {"cursor": "x", "labels": ["Bug"]}),
    ("Linear.GetIssue", {"include_comments": True}, {"issue_id": "ENG-1", "include": ["comments"]}),
    ("Linear.CreateIssue", {"auto_accept_matches": True}, {"team": "ENG", "title": "t"}),
]


def test_documented_refusals_are_refused_and_their_replacement_accepted(
    subtests: pytest.Subtests,
) -> None:
    catalog = Catalog()
    for name, theirs, ours in REFUSED:
        with subtests.test(name):
            called = catalog.tool(name)
            assert f"`{name}`" in text(ARCADE) and called.validate(dict(ours))
            with pytest.raises(InvalidInput, match=r"no such argument|types"):
                called.validate({**ours, **theirs})


def test_arcade_tool_without_counterpart_is_unknown() -> None:
    assert "`Salesforce.ConvertLead` has no" in text(ARCADE)
    with pytest.raises(InvalidInput, match="No tool is called"):
        Catalog().tool("Salesforce.ConvertLead")


OF_GITHUB: Final = frozenset(
    "AssignPullRequestUser CheckPullRequestMergeStatus CountStargazers CreateBranch CreateFile CreateIssue "
    "CreateIssueComment CreatePullRequest CreateReplyForReviewComment CreateReviewComment GetFileContents GetIssue "
    "GetPullRequest GetRepository GetReviewWorkload GetUserOpenItems GetUserRecentActivity ListIssues "
    "ListOrgRepositories ListProjectFields ListProjectItems ListProjects ListPullRequestCommits ListPullRequests "
    "ListRepositoryActivities ListRepositoryCollaborators ListRepositoryLabels ListReviewCommentsInARepository "
    "ListReviewCommentsOnPullRequest ListStargazers ManageLabels ManagePullRequestReviewers MergePullRequest "
    "ResolveReviewThread SearchCode SearchMyRepos SearchProjectItem SetStarred SubmitPullRequestReview UpdateFileLines "
    "UpdateIssue UpdatePullRequest WhoAmI".split()
)
"""Arcade's tools of GitHub, version 4.1.0."""


OF_LINEAR: Final = frozenset(
    "AddComment AddProjectComment AddProjectToInitiative ArchiveInitiative ArchiveIssue ArchiveProject "
    "CreateInitiative CreateIssue CreateIssueRelation CreateProject CreateProjectStatus CreateProjectUpdate "
    "GetCycle GetInitiative GetInitiativeDescription GetIssue GetMilestone GetNotifications GetProject "
    "GetProjectDescription GetRecentActivity GetTeam LinkGithubToIssue ListAvailableProjectStatuses ListComments "
    "ListCycles ListInitiatives ListIssues ListLabels ListMilestones ListProjectComments ListProjectUpdates "
    "ListProjects ListTeams ListWorkflowStates ManageIssueSubscription ReplyToComment ReplyToProjectComment "
    "ResolveComment TransitionIssueState UpdateComment UpdateInitiative UpdateIssue UpdateProject UpsertMilestone "
    "WhoAmI".split()
)
"""Arcade's tools of Linear, version 4.3.1."""
OF_SALESFORCE: Final = frozenset(
    "CreateContact CreateLead CreateOpportunity CreateTask GetAccountDataById GetAccountDataByKeywords "
    "GetOpportunityById ListMyTasks LogACall SearchContacts SearchLeads SearchOpportunities UpdateLead "
    "UpdateOpportunity UpdateTask WhoAmI".split()
)
"""Arcade's tools of Salesforce, version 2.2.1, but for the one that has no counterpart."""


@pytest.mark.parametrize(
    ("kit", "every"), [("Github", OF_GITHUB), ("Linear", OF_LINEAR), ("Salesforce", OF_SALESFORCE)]
)
def test_each_arcade_tool_is_an_alias_or_in_the_table(kit: str, every: frozenset[str]) -> None:
    catalog = Catalog()
    [table] = re.findall(r"\| here \| in place of \|\n.*?\n\n", text(ARCADE), re.DOTALL)
    rows = re.findall(rf"^\| `({kit.lower()}_\w+)` \| (.+) \|$", table, re.MULTILINE)
    placed = {theirs for _, names in rows for theirs in re.findall(r"`(\w+)`", names)}
    known = [*NAMED, *(name for name, _, _ in REFUSED)]
    named = {name.partition(".")[2] for name in known if name.startswith(f"{kit}.")}
    assert placed | named == every and not placed & named
    assert all(catalog.tool(ours).name == ours for ours, _ in rows)
    for theirs in placed:
        with pytest.raises(InvalidInput, match="No tool is called"):
            catalog.tool(f"{kit}.{theirs}")
