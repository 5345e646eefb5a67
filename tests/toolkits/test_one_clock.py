"""A day or an hour in an argument is in the user's own zone, whatever ran before: in every tool that takes one."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_plus
from zoneinfo import ZoneInfo

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Call,
    Deputy,
    Effect,
    InvalidInput,
    User,
    Verdict,
    allow_all,
    ask_before_sending,
)
from deputize.core.policy.policy import Policy
from deputize.core.time_zones import Zone
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.grant import Grant
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.salesforce.seed import record_id
from tests.support.sandbox_deputy import Recorder, build

BERLIN: Final = ZoneInfo("Europe/Berlin")
NOW: Final = datetime(2026, 11, 30, 23, 30, tzinfo=UTC).timestamp()
"""The first of December in Berlin, and the last of November in UTC."""
AT, THERE, ELSEWHERE = "2026-12-03T15:00", "2026-12-03T14:00:00+00:00", "2026-12-03T15:00:00+00:00"
TODAY, NOT_TODAY = "2026-12-01", "2026-11-30"
OPPORTUNITY: Final = record_id("Opportunity", 1)
READS_ZONE: Final = {
    "google": ("https://www.googleapis.com/auth/calendar.settings.readonly",),
    "slack": ("users:read",),
    "github": (),
    "linear": ("read",),
    "salesforce": ("openid",),
}


class Case(NamedTuple):
    """A call whose argument says ``AT``, or with ``day`` "today"."""

    arguments: Mapping[str, Any]
    day: bool = False


def times(**arguments: Any) -> Case:
    return Case(arguments)


def days(**arguments: Any) -> Case:
    return Case(arguments, day=True)


EVENT: Final = {"kind": "event", "subject": "Call", "duration_minutes": 30}
CASES: Final[dict[str, dict[str, Case]]] = {
    "calendar_create_event": {
        "start": times(title="T", start=AT, end="30m"),
        "end": times(title="T", start="2026-12-03T14:00", end=AT),
    },
    "calendar_list_events": {
        "after": times(after=AT),
        "before": times(before=AT),
        "updated_after": times(updated_after=AT),
    },
    "calendar_find_times": {"after": times(after=AT), "before": times(before=AT)},
    "drive_search_files": {"modified_after": times(modified_after=AT)},
    "github_list_issues": {"updated_after": times(repo="alice/garden", updated_after=AT)},
    "github_list_runs": {"after": times(repo="alice/garden", after=AT)},
    "github_list_comments": {"updated_after": times(repo="alice/garden", updated_after=AT)},
    "github_list_commits": {
        "after": times(repo="alice/garden", after=AT),
        "before": times(repo="alice/garden", before=AT),
    },
    "github_list_notifications": {"after": times(after=AT)},
    "github_update_notifications": {"before": times(action="read", before=AT)},
    "github_save_milestone": {"due_on": days(repo="alice/garden", title="M", due_on="today")},
    "gmail_search_emails": {"after": times(after=AT), "before": times(before=AT)},
    "gmail_set_vacation": {
        "after": times(enabled=True, body="Away", after=AT),
        "before": times(enabled=True, body="Away", before=AT),
    },
    "linear_create_issue": {"due_date": days(team="ENG", title="T", due_date="today")},
    "linear_update_issue": {"due_date": days(issues=["ENG-1"], due_date="today")},
    "linear_lookup": {"created_after": times(kind="customers", created_after=AT)},
    "linear_update_notifications": {"until": times(notification_ids=["x"], action="snooze", until=AT)},
    "linear_save_initiative": {"target_date": days(name="I", target_date="today")},
    "linear_list_issues": {
        "updated_after": times(updated_after=AT),
        "created_after": times(created_after=AT),
        "due_before": days(due_before="today"),
    },
    "linear_save_project": {
        "start_date": days(name="P", teams=["ENG"], start_date="today"),
        "target_date": days(name="P", teams=["ENG"], target_date="today"),
    },
    "linear_save_milestone": {"target_date": days(project="Import rewrite", name="M", target_date="today")},
    "linear_list_projects": {"created_after": times(created_after=AT)},
    "salesforce_log_activity": {
        "start": times(**EVENT, start=AT),
        "end": times(kind="event", subject="Call", start="2026-12-03T14:00", end=AT),
        "due_date": days(kind="task", subject="Call", due_date="today"),
    },
    "salesforce_create_record": {
        "fields": days(object="Opportunity", fields={"Name": "N", "StageName": "Prospecting", "CloseDate": "today"}),
    },
    "salesforce_update_record": {"fields": days(object="Opportunity", id=OPPORTUNITY, fields={"CloseDate": "today"})},
    "salesforce_list_records": {
        "filters": times(object="Opportunity", filters=[{"field": "CreatedDate", "op": "gte", "value": AT}])
    },
    "slack_get_messages": {
        "after": times(conversation="#general", after=AT),
        "before": times(conversation="#general", before=AT),
    },
    "slack_list_files": {"after": times(after=AT), "before": times(before=AT)},
    "slack_send_message": {"send_at": times(conversation="#general", text="Hi", send_at=AT)},
    "slack_search": {"after": times(query="a", after=AT), "before": times(query="a", before=AT)},
    "slack_set_status": {"until": times(text="Away", until=AT)},
}
OTHERS: Final = {
    "calendar_update_event": {"start", "end", "time_zone"},  # in the event's own zone, which it names
    "calendar_create_event": {"time_zone"},
    "calendar_list_rooms": {"after", "before"},  # as of calendar_find_times
    "calendar_find_times": {"duration", "hours", "time_zone", "other_zones"},
    "calendar_manage_calendar": {"time_zone"},
    "github_list_project_items": {"fields"},  # names
    "gmail_list_changes": {"since"},  # a reference
    "linear_save_document": {"unmodified_since"},  # as a result told it, with its offset
    "salesforce_update_record": {"unmodified_since"},
    "salesforce_list_records": {"fields"},
    "salesforce_get_record": {"fields"},
    "salesforce_run_report": {"filters"},  # read by Salesforce
    "slack_set_status": {"snooze"},  # a length
}
NAMES: Final = re.compile(
    r"(^|_)(after|before|since|until|start|end|due|date|at|on|when|days?|hours|snooze|duration|time|filters|fields)(_|$)"
)
WORDS: Final = re.compile(r"\b(ISO|dates?|times?|YYYY|days?|hours?)\b")
EVERY: Final = [(tool, argument) for tool, found in CASES.items() for argument in found]


def test_every_time_argument_is_in_the_table() -> None:
    for kit in find_toolkits().values():
        for tool in kit.tools.values():
            parameters = tool.schema["properties"]
            found = {
                name
                for name, one in parameters.items()
                if one.get("type") not in ("boolean", "integer")
                and (NAMES.search(name) or WORDS.search(one.get("description", "")))
            }
            assert found == CASES.get(tool.name, {}).keys() | OTHERS.get(tool.name, set()), tool.name


def ask_always(act: Act) -> Verdict:
    return Verdict.ALLOW if act.effect is Effect.READS else Verdict.ASK


class World:
    """Alice's accounts, and the requests to the providers."""

    def __init__(self, deputy: Deputy, sandbox: Sandbox, sent: Recorder, grant: Grant) -> None:
        self.deputy, self.sandbox, self.sent, self.grant = deputy, sandbox, sent, grant

    async def learn(self, user: str, provider: str, zone: str) -> None:
        assert await self.deputy.services.zones.learn(User(user), provider, zone)

    async def act(self, tool: str, case: Case) -> tuple[set[str], Any]:
        """Return the times and days that were sent, as UTC, and the result."""
        self.sent.seen.clear()
        result = await self.deputy.act(tool, case.arguments, user="alice", call=Call("t", "m", "c"))
        left: set[str] = set()
        for request in self.sent.seen:
            left |= on_the_wire(unquote_plus(str(request.url)) + " " + unquote(request.content.decode()))
        return left, result


def on_the_wire(text: str) -> set[str]:
    found = set(re.findall(r"\b\d{4}-\d\d-\d\d\b(?!T)", text))
    for one in re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)", text):
        at = datetime.fromisoformat(one.replace("Z", "+00:00"))
        found.add(one[:10] if "T12:00:00Z" in one else at.astimezone(UTC).isoformat(timespec="seconds"))
    for one in re.findall(r"\b1[78]\d{8}(?:\d{3})?\b", text):
        at = datetime.fromtimestamp(int(one[:10]), UTC)
        found |= {(at + timedelta(seconds=near)).isoformat(timespec="seconds") for near in (-1, 0, 1)}
    return found


@asynccontextmanager
async def world(
    tool: str, case: Case, policy: Policy = allow_all, zone: Zone = UTC, *, scopes: bool = True
) -> AsyncIterator[World]:
    """Return Alice's deputy. ``scopes``: her grant allows a tool to read her zone."""
    kit = find_toolkits()[tool.partition("_")[0]]
    sandbox = Sandbox(clock=lambda: NOW)
    sent = Recorder(sandbox.transport())
    ours = [app for app in apps() if app.provider == kit.provider]
    async with await build(
        sandbox, apps=ours, toolkits=[kit], transport=sent, policy=policy, clock=sandbox.clock, time_zone=zone
    ) as deputy:
        what = deputy.catalog.tool(tool)
        needs = what.needs_of(what.validate(case.arguments), kit.provider)
        more = READS_ZONE[kit.provider] if scopes else ()
        granted = [*dict.fromkeys([*(need.ask for need in needs), *more])]
        grant = give_grant(sandbox, deputy, "alice", granted, provider=kit.provider, email="alice@example.test")
        yield World(deputy, sandbox, sent, grant)


def expected(case: Case) -> tuple[str, str]:
    """Return what is sent to the provider in Berlin, and what must not be: the same words in UTC."""
    return (TODAY, NOT_TODAY) if case.day else (THERE, ELSEWHERE)


@pytest.mark.parametrize(("tool", "argument"), EVERY)
async def test_time_is_in_the_users_zone_whatever_ran_before(tool: str, argument: str) -> None:
    case = CASES[tool][argument]
    there, elsewhere = expected(case)
    before: dict[str, list[tuple[str, str, str]]] = {
        "another user's zone": [("bob", "slack", "Asia/Tokyo")],
        "another provider": [("alice", "linear" if tool.startswith("slack") else "slack", "Europe/Berlin")],
        "the same provider": [("alice", find_toolkits()[tool.partition("_")[0]].provider, "Europe/Berlin")],
    }
    if not tool.startswith("github"):
        before["nothing"] = []
        before["another user's zone"] = [("bob", "slack", "Asia/Tokyo")]
    else:
        del before["another user's zone"]
    for circumstance, learnt in before.items():
        async with world(tool, case) as here:
            for user, provider, zone in learnt:
                await here.learn(user, provider, zone)
            left, _ = await here.act(tool, case)
            assert there in left and elsewhere not in left, (circumstance, left)


@pytest.mark.parametrize(("tool", "argument"), [one for one in EVERY if one[0].startswith(("github", "gmail"))])
async def test_write_is_refused_and_read_uses_utc_without_a_known_zone(tool: str, argument: str) -> None:
    case = CASES[tool][argument]
    async with world(tool, case, scopes=False) as here:
        what = here.deputy.catalog.tool(tool)
        if what.effect_of(what.validate(case.arguments)) is Effect.READS:
            left, result = await here.act(tool, case)
            assert expected(case)[1] in left and result["time_zone"] == "UTC"
            return
        with pytest.raises(InvalidInput, match=f"^{argument}: names a day or an hour") as refused:
            await here.act(tool, case)
        assert "+01:00" in refused.value.hint
        assert not [one for one in here.sent.seen if one.method not in ("GET", "HEAD")]


@pytest.mark.parametrize(
    ("tool", "argument"), [one for one in EVERY if not CASES[one[0]][one[1]].day and one[0] != "calendar_find_times"]
)
async def test_time_with_offset_needs_no_zone_lookup(tool: str, argument: str) -> None:
    case = CASES[tool][argument]
    with_offset = Case(json.loads(re.sub(r"(2026-12-03T1[45]:00)", r"\1+01:00", json.dumps(case.arguments))))
    counts = []
    for one, learnt in ((with_offset, False), (case, True)):
        async with world(tool, one, scopes=False) as here:
            if learnt:
                await here.learn("alice", "slack" if tool[:5] != "slack" else "linear", "Europe/Berlin")
            left, _ = await here.act(tool, one)
            assert THERE in left and ELSEWHERE not in left
            counts.append(len(here.sent.seen))
    if not tool.startswith("calendar"):  # which asks Google each time
        assert counts[0] == counts[1]


@pytest.mark.parametrize(("tool", "argument"), EVERY)
async def test_time_in_words_is_the_same_time(tool: str, argument: str) -> None:
    case = CASES[tool][argument]
    words = json.dumps(case.arguments).replace(f'"{AT}"', '"3 December at 15:00"').replace('"today"', '"1 December"')
    async with world(tool, Case(json.loads(words), case.day)) as here:
        await here.learn("alice", "linear" if tool.startswith("slack") else "slack", "Europe/Berlin")
        left, _ = await here.act(tool, Case(json.loads(words), case.day))
        there, elsewhere = expected(case)
        assert there in left and elsewhere not in left


async def test_applications_zone_function_avoids_provider_requests() -> None:
    case = CASES["slack_send_message"]["send_at"]
    async with world("slack_send_message", case, zone=lambda user: BERLIN) as here:
        left, _ = await here.act("slack_send_message", case)
        assert THERE in left and not [one for one in here.sent.seen if "users.info" in str(one.url)]


async def test_default_zone_gives_way_to_the_providers() -> None:
    case = CASES["salesforce_log_activity"]["start"]
    async with world("salesforce_log_activity", case, zone=ZoneInfo("Asia/Tokyo")) as here:
        left, _ = await here.act("salesforce_log_activity", case)
        assert THERE in left


@pytest.mark.parametrize("zone", [ZoneInfo("Europe/Berlin"), None])
async def test_default_zone_is_used_if_the_provider_has_none(zone: Any) -> None:
    case = CASES["github_update_notifications"]["before"]
    async with world("github_update_notifications", case, zone=zone) as here:
        left, _ = await here.act("github_update_notifications", case)
        assert (THERE in left) or zone is None


async def test_invalid_zone_from_a_provider_is_ignored() -> None:
    """A provider may answer anything: then nothing is guessed."""
    case = CASES["slack_send_message"]["send_at"]
    async with world("slack_send_message", case) as here:
        here.sandbox.switches.faults["POST", "/api/users.info"] = [
            (200, {}, {"ok": True, "user": {"id": "U1", "tz": "../../etc/passwd"}})
        ]
        with pytest.raises(InvalidInput, match="send_at: names a day or an hour"):
            await here.act("slack_send_message", case)


@pytest.mark.parametrize(
    ("said", "utc"), [("in 2 hours", "2026-12-01T01:30:00+00:00"), ("tomorrow 9:00", "2026-12-02T08:00:00+00:00")]
)
async def test_words_mean_the_same_time_after_an_approval_that_came_later(
    monkeypatch: pytest.MonkeyPatch, said: str, utc: str
) -> None:
    case = Case({**EVENT, "start": said})
    async with world("salesforce_log_activity", case, policy=ask_before_sending) as here:
        await here.learn("alice", "slack", "Europe/Berlin")
        with pytest.raises(ApprovalRequired) as asked:
            await here.act("salesforce_log_activity", case)
        shown = asked.value.approval.preview["starts"]
        assert "Europe/Berlin" in shown and datetime.fromisoformat(utc).astimezone(BERLIN).strftime("%H:%M") in shown
        monkeypatch.setattr("tests.toolkits.test_one_clock.NOW", NOW + 50 * 60)
        await here.deputy.decide(asked.value.approval, "approve", by="alice")
        left, _ = await here.act("salesforce_log_activity", case)
        assert utc in left


async def test_approval_names_the_zone() -> None:
    case = CASES["salesforce_log_activity"]["start"]
    async with world("salesforce_log_activity", case, policy=ask_before_sending) as here:
        with pytest.raises(ApprovalRequired) as asked:
            await here.act("salesforce_log_activity", case)
        shown = asked.value.approval.preview["starts"]
        assert "15:00 (Europe/Berlin)" in shown
        await here.deputy.decide(asked.value.approval, "approve", by="alice")
        left, _ = await here.act("salesforce_log_activity", case)
        assert THERE in left


def is_write(tool: str, case: Case) -> bool:
    what = find_toolkits(tool.partition("_")[0])[tool.partition("_")[0]].tools[tool]
    return what.effect_of(what.validate(case.arguments)) is not Effect.READS


@pytest.mark.parametrize(("tool", "argument"), [one for one in EVERY if is_write(one[0], CASES[one[0]][one[1]])])
async def test_approved_time_stays_when_the_zone_changes_before_the_act(tool: str, argument: str) -> None:
    """Another zone, learnt after the approval, changes nothing: the act is as previewed, or needs a new approval."""
    case = CASES[tool][argument]
    async with world(tool, case, policy=ask_always) as here:
        await here.learn("alice", "linear", "Europe/Berlin")
        with pytest.raises(ApprovalRequired) as asked:
            await here.act(tool, case)
        await here.deputy.decide(asked.value.approval, "approve", by="alice")
        await here.learn("alice", "linear", "America/Los_Angeles")
        try:
            left, _ = await here.act(tool, case)
        except ApprovalRequired as again:
            assert again.approval.id != asked.value.approval.id
            return
        assert expected(case)[0] in left


async def test_service_accounts_zone_is_not_the_users() -> None:
    """The zone of an organisation's account says nothing about the user."""
    case = CASES["slack_send_message"]["send_at"]
    async with world("slack_send_message", case) as here:
        planned = await here.deputy.resolver.resolve("slack_send_message", case.arguments, "alice", None, None, "a")
        act = replace(planned, organisation="Acme")
        with pytest.raises(InvalidInput, match="send_at: names a day or an hour"):
            await here.deputy.runner.preview(act, here.grant)
