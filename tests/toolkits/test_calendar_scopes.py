"""Every request of every Calendar tool against Google's own description: valid, allowed, with no more than needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from deputize.core import Effect, Need, Request, Tool
from deputize.core.errors import DeputizeError
from deputize.core.providers import GOOGLE
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import (
    APP_CREATED,
    EVENTS,
    EVENTS_READONLY,
    LIST_READONLY,
    OWNED,
    OWNED_READONLY,
    READONLY,
    WHOLE,
)
from tests.toolkits.calendar_calls import CASES, Case
from tests.toolkits.google_driver import Desk, outgoing

pytest.importorskip("googleapiclient")
pytest.importorskip("jsonschema")

from tests.support.discovery import BadBody, BadQuery, Discovery, NoSuchMethod
from tests.support.lanes import sample

SPEC = Discovery.of("calendar.v3")
every_case = pytest.mark.parametrize(
    "case", sample(CASES, lambda case: case.tool, ids=[f"{n}-{case.tool}" for n, case in enumerate(CASES)])
)
IF_GRANTED = {"calendar.settings.list", "calendar.calendarList.list", "calendar.events.list"}
"""Called where the grant happens to allow it: to learn a time zone, or what a calendar is called."""


def tool_of(case: Case) -> Tool:
    return TOOLKIT.tools[f"calendar_{case.tool}"]


def needs_of(case: Case) -> list[Need]:
    tool = tool_of(case)
    return list(tool.needs_of(tool.validate(case.arguments)))


def asked_for(case: Case) -> frozenset[str]:
    return frozenset(need.ask for need in needs_of(case))


def requests_of(case: Case, granted: frozenset[str]) -> list[httpx.Request]:
    """What the call asks of Calendar with these scopes. The zone is named, where no scope would tell it."""
    desk = Desk(TOOLKIT, granted)
    case.spoil(desk)
    desk.run(case.tool, case.arguments | ({"time_zone": "Europe/Berlin"} if case.tool == "find_times" else {}))
    return [described(one) for one in desk.sent]


def described(request: httpx.Request) -> httpx.Request:
    """The request without the nulls of a patch, which take a field away (RFC 7396) and have no place in the schema."""
    if request.method != "PATCH":
        return request
    body = _without_nulls(json.loads(request.content))
    return httpx.Request(request.method, request.url, json=body)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value


def granted_for(case: Case) -> Iterable[frozenset[str]]:
    """Grants that satisfy a call: what consent would ask for, and everything broader."""
    yield asked_for(case)
    for more in (READONLY, EVENTS, EVENTS_READONLY, LIST_READONLY, WHOLE):
        yield asked_for(case) | {more}
        if all(need.is_met_by(frozenset({more})) for need in needs_of(case)):
            yield frozenset({more})


@every_case
def test_every_request_is_one_that_google_describes_and_the_grant_allows(case: Case) -> None:
    for granted in granted_for(case):
        for request in requests_of(case, granted):
            SPEC.check(request, granted)


@every_case
def test_with_what_was_asked_for_only_declared_methods_are_called(case: Case) -> None:
    declared = {need.method for need in needs_of(case)}
    called = {SPEC.call(request).id for request in requests_of(case, asked_for(case))}
    assert called - IF_GRANTED <= declared


@every_case
def test_none_of_the_scopes_asked_for_could_be_left_out(case: Case) -> None:
    asked = asked_for(case)
    requests = requests_of(case, asked)
    for scope in asked:
        assert any(not SPEC.accepted(request) & (asked - {scope}) for request in requests)


@every_case
def test_a_call_that_reads_asks_for_reading_only(case: Case) -> None:
    tool = tool_of(case)
    if tool.effect_of(tool.validate(case.arguments)) is Effect.READS:
        assert all(scope.endswith(("readonly", "freebusy")) for scope in asked_for(case))
        for request in requests_of(case, asked_for(case)):
            assert request.method == "GET" or request.url.path.endswith("/freeBusy")


@every_case
def test_a_need_accepts_what_google_accepts_and_is_enough(case: Case) -> None:
    methods = {method["id"]: method for _, _, method in SPEC._routes}
    for need in needs_of(case):
        accepted = set(methods[need.method]["scopes"])
        assert need.accepts <= accepted and need.ask in need.accepts and need.ask != WHOLE
        narrow = {APP_CREATED, f"{WHOLE}.events.freebusy", f"{WHOLE}.events.public.readonly"}
        narrow -= {f"{WHOLE}.events.freebusy"} if need.method.endswith("freebusy.query") else set()
        narrow -= {APP_CREATED} if need.method.endswith("calendars.insert") else set()
        foreign = {OWNED, OWNED_READONLY} - need.accepts
        own_only = {f"{WHOLE}.freebusy"} - need.accepts
        assert need.accepts == accepted - narrow - foreign - own_only


def test_the_scopes_of_own_calendars_are_no_good_for_others() -> None:
    for tool, arguments in (("get_event", {"event_id": "trip0000001"}), ("delete_event", {"event_id": "trip0000001"})):
        for need in needs_of(Case(tool, arguments | {"calendar": "bobs-travel@group.calendar.google.com"})):
            assert not {OWNED, OWNED_READONLY} & need.accepts


def test_every_tool_is_covered_and_the_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    counts = dict.fromkeys(TOOLKIT.tools, 0)
    failures = 0
    for case in CASES:
        for request in requests_of(case, asked_for(case) | {READONLY}):
            counts[f"calendar_{case.tool}"] += 1
            failures += SPEC.find(request) is None
    with capsys.disabled():
        print(f"\ncalendar: {len(counts)} tools, {sum(counts.values())} requests checked, failures {failures}")
    assert len(counts) == 11 and min(counts.values()) > 0 and failures == 0


def test_a_deliberately_wrong_request_is_caught() -> None:
    good = Request("GET", "/calendars/{calendar}/events", at={"calendar": "primary"}, params={"singleEvents": True})
    SPEC.check(outgoing(good, "calendar"))
    wrong: list[tuple[Request, type[AssertionError]]] = [
        (replace(good, params={"singleEvent": True}), BadQuery),
        (replace(good, params={"orderBy": "start"}), BadQuery),
        (replace(good, params={"eventTypes": ["holiday"]}), BadQuery),
        (replace(good, params={"singleEvents": "yes"}), BadQuery),
        (replace(good, path="/calendar/{calendar}/events"), NoSuchMethod),
        (replace(good, method="POST", params={}), BadBody),
        (replace(good, method="POST", json={"title": "x"}, params={}), BadBody),
        (replace(good, method="POST", json={"start": {"datetime": "x"}}, params={}), BadBody),
        (replace(good, method="POST", json={"attendees": [{"mail": "x"}]}, params={}), BadBody),
    ]
    for request, kind in wrong:
        with pytest.raises(kind):
            SPEC.check(outgoing(request, "calendar"))


def test_consent_beforehand_names_the_scopes_of_the_plain_call() -> None:
    asked = {name: {n.ask.removeprefix(WHOLE) for n in tool.usual_needs()} for name, tool in TOOLKIT.tools.items()}
    assert asked == {
        "calendar_whoami": set(),
        "calendar_list_calendars": {".calendarlist.readonly"},
        "calendar_list_events": {".events.owned.readonly"},
        "calendar_get_event": {".events.owned.readonly"},
        "calendar_create_event": {".events.owned"},
        "calendar_update_event": {".events.owned"},
        "calendar_delete_event": {".events.owned"},
        "calendar_respond_to_event": {".events.owned"},
        "calendar_find_times": {".freebusy"},
        "calendar_manage_calendar": {".calendarlist"},
        "calendar_share_calendar": {".acls"},
    }


def test_every_scope_is_known_in_plain_words() -> None:
    for case in CASES:
        assert asked_for(case) <= set(GOOGLE.scope_descriptions)


@pytest.mark.parametrize("calendar", ["primary", "Team", "bobs-travel@group.calendar.google.com"])
def test_a_grant_of_one_scope_less_meets_a_refusal_of_google(calendar: str) -> None:
    case = Case("create_event", {"title": "x", "start": "2026-12-01", "end": "1d", "calendar": calendar})
    for scope in asked_for(case):
        with pytest.raises((DeputizeError, Exception), match=r"POST|GET|scope"):
            Desk(TOOLKIT, asked_for(case) - {scope}).run(case.tool, case.arguments)
