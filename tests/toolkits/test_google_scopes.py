"""Every request of every Google tool against Google's own description: valid, allowed, with no more scopes than
needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import pytest

from deputize.core import Effect, Need, Request, Toolkit
from deputize.core.errors import DeputizeError
from deputize.core.providers import GOOGLE
from deputize.toolkits.calendar import TOOLKIT as CALENDAR_TOOLKIT
from deputize.toolkits.calendar import base as calendar
from deputize.toolkits.drive import TOOLKIT as DRIVE_TOOLKIT
from deputize.toolkits.drive import base as drive_base
from deputize.toolkits.gmail import TOOLKIT as GMAIL_TOOLKIT
from tests.toolkits import calendar_calls, drive_calls, gmail_calls
from tests.toolkits.google_driver import Desk, outgoing
from tests.toolkits.mailbox import COMPOSE, LABELS, MAIL, MODIFY, READONLY, SEND, SETTINGS
from tests.toolkits.tool_driver import Driver, drive

pytest.importorskip("googleapiclient")
pytest.importorskip("jsonschema")

from tests.support.discovery import BadBody, BadQuery, Discovery, NoSuchMethod
from tests.support.lanes import some_and_all

Case = gmail_calls.Case | calendar_calls.Case | drive_calls.Case


@dataclass(frozen=True, repr=False, eq=False)
class Row:
    """A toolkit, its calls, and Google's description of its API.

    ``requests``: what a call asks with these scopes. ``broad``: scopes beyond those that a call asks for. ``reading``:
    True if a scope only reads. ``left_out``: scopes that Google accepts for a need, and we do not. ``optional``:
    methods that a call uses if the grant happens to allow it. ``also``: scopes with which every tool has a request,
    except those that are ``silent``.
    """

    toolkit: Toolkit
    cases: list[Any]
    spec: Discovery
    requests: Callable[[Any, frozenset[str]], list[httpx.Request]]
    broad: tuple[str, ...]
    whole: str
    reading: Callable[[str, str], bool]
    left_out: Callable[[Need, set[str]], set[str]]
    optional: Callable[[Any], set[str]]
    also: frozenset[str]
    silent: tuple[str, ...]
    usual: dict[str, set[str]]

    @cached_property
    def asked(self) -> list[tuple[Any, list[httpx.Request]]]:
        """Return each call, and its requests with what it asks for."""
        return [(case, self.requests(case, self.asked_for(case))) for case in self.cases]

    def needs_of(self, case: Case) -> list[Need]:
        """Return the needs of a call."""
        tool = self.toolkit.tools[f"{self.toolkit.name}_{case.tool}"]
        return list(tool.needs_of(tool.validate(case.arguments)))

    def asked_for(self, case: Case) -> frozenset[str]:
        """Return the scopes that consent would request."""
        return frozenset(need.ask for need in self.needs_of(case))

    def granted_for(self, case: Case) -> Iterable[frozenset[str]]:
        """Return grants that satisfy a call: what consent would request, and everything broader."""
        yield self.asked_for(case)
        for more in self.broad:
            yield self.asked_for(case) | {more}
            if all(need.is_met_by(frozenset({more})) for need in self.needs_of(case)):
                yield frozenset({more})

    def reads(self, case: Case) -> bool:
        """Return True if the call only reads."""
        tool = self.toolkit.tools[f"{self.toolkit.name}_{case.tool}"]
        return tool.effect_of(tool.validate(case.arguments)) is Effect.READS


def gmail_requests(case: gmail_calls.Case, granted: frozenset[str]) -> list[httpx.Request]:
    """Return the call's requests to Gmail with these scopes, whatever the outcome, as sent without a token."""
    box = gmail_calls.mailbox()
    case.spoil(box)
    with suppress(gmail_calls.UNSURE):
        drive(Driver(GMAIL_TOOLKIT, granted).start(case.tool, case.arguments), box)
    asked: list[httpx.Request] = []
    for request in box.asked:
        path = request.path.format(**{name: quote(value, safe="") for name, value in request.at.items()})
        params = {name: str(v).lower() if isinstance(v, bool) else v for name, v in (request.params or {}).items()}
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        url = f"{GOOGLE.apis.roots['gmail']}{path}{query}"
        asked.append(httpx.Request(request.method, url, json=request.json))
    return asked


def gmail_optional(case: gmail_calls.Case) -> set[str]:
    """Return methods for names of labels and senders, and those that check a mail whose response was lost."""
    methods = set[str]()
    if case.spoil is not gmail_calls.Case._field_defaults["spoil"]:
        methods |= {f"gmail.users.{name}" for name in ("messages.list", "messages.get", "threads.get")}
        methods |= {f"gmail.users.drafts.{name}" for name in ("list", "get")}
    if case.tool in ("get_settings", "manage_filter"):
        methods.add("gmail.users.labels.list")
    if "send_as" in case.arguments:
        methods.add("gmail.users.settings.sendAs.list")
    return methods


def calendar_requests(case: calendar_calls.Case, granted: frozenset[str]) -> list[httpx.Request]:
    """Return the call's requests to Calendar with these scopes. The zone is given, since no scope would reveal it."""
    desk = Desk(CALENDAR_TOOLKIT, granted)
    case.spoil(desk)
    desk.run(case.tool, case.arguments | ({"time_zone": "Europe/Berlin"} if case.tool == "find_times" else {}))
    return [described(one) for one in desk.sent]


def described(request: httpx.Request) -> httpx.Request:
    """Return the request without the nulls of a patch, which remove a field (RFC 7396) and are not in the schema."""
    if request.method != "PATCH":
        return request
    body = _without_nulls(json.loads(request.content))
    return httpx.Request(request.method, request.url, json=body)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value


def calendar_left_out(need: Need, accepted: set[str]) -> set[str]:
    """Scopes for a part of an event, for calendars of the app, and for own calendars where another may be meant."""
    whole = calendar.WHOLE
    narrow = {calendar.APP_CREATED, f"{whole}.events.freebusy", f"{whole}.events.public.readonly"}
    narrow -= {f"{whole}.events.freebusy"} if need.method.endswith("freebusy.query") else set()
    narrow -= {calendar.APP_CREATED} if need.method.endswith("calendars.insert") else set()
    return narrow | ({calendar.OWNED, calendar.OWNED_READONLY, f"{whole}.freebusy"} - need.accepts)


def drive_requests(case: drive_calls.Case, granted: frozenset[str]) -> list[httpx.Request]:
    """Return the call's requests to Drive with these scopes."""
    desk = drive_calls.desk(granted)
    case.spoil(desk)
    with suppress(DeputizeError):
        desk.run(case.tool, case.arguments)
    return [_without_upload(one) for one in desk.sent if one.method != "PUT"]  # the bytes, in no discovery document


def _without_upload(request: httpx.Request) -> httpx.Request:
    """Return the request without what opens an upload: Google's guides describe it, its discovery document does not."""
    url = request.url.copy_remove_param("uploadType")
    return httpx.Request(request.method, url, headers=request.headers, content=request.content)


def drive_left_out(need: Need, accepted: set[str]) -> set[str]:
    """Scopes for other apps' data; for the app's own files in a search for all; of metadata in a search for text."""
    whole = drive_base.ALL
    narrow = {f"{whole}.{name}" for name in ("appdata", "meet.readonly", "photos.readonly", "scripts")}
    return narrow | ((accepted - need.accepts) if need.method == "drive.files.list" else set())


GMAIL: Final = Row(
    GMAIL_TOOLKIT,
    list(gmail_calls.CASES),
    Discovery.of("gmail.v1"),
    gmail_requests,
    broad=(COMPOSE, READONLY, MODIFY, MAIL),
    whole=MAIL,
    reading=lambda scope, tool: scope == (LABELS if tool == "list_labels" else READONLY),
    left_out=lambda _, accepted: {one for one in accepted if ".addons." in one or one.endswith(".metadata")},
    optional=gmail_optional,
    also=frozenset(),
    silent=("gmail_whoami",),  # the account says it all
    usual={
        "gmail_whoami": set(),
        "gmail_search_emails": {READONLY},
        "gmail_get_email": {READONLY},
        "gmail_get_thread": {READONLY},
        "gmail_list_labels": {LABELS},
        "gmail_save_draft": {COMPOSE},
        "gmail_list_drafts": {READONLY},
        "gmail_send_draft": {COMPOSE},
        "gmail_delete_draft": {COMPOSE},
        "gmail_send_email": {SEND},
        "gmail_reply_email": {READONLY, SEND},
        "gmail_forward_email": {READONLY, SEND},
        "gmail_update_emails": {MODIFY},
        "gmail_manage_label": {LABELS},
        "gmail_get_attachment": {READONLY},
        "gmail_unsubscribe": {READONLY},
        "gmail_list_changes": {READONLY},
        "gmail_get_settings": {READONLY},
        "gmail_set_vacation": {SETTINGS},
        "gmail_manage_filter": {SETTINGS},
        "gmail_set_signature": {SETTINGS},
    },
)
CALENDAR: Final = Row(
    CALENDAR_TOOLKIT,
    list(calendar_calls.CASES),
    Discovery.of("calendar.v3"),
    calendar_requests,
    broad=(
        calendar.READONLY,
        calendar.EVENTS,
        calendar.EVENTS_READONLY,
        calendar.LIST_READONLY,
        calendar.WHOLE,
    ),
    whole=calendar.WHOLE,
    reading=lambda scope, tool: scope.endswith(("readonly", "freebusy")),
    left_out=calendar_left_out,
    # to learn a time zone, or what a calendar is called
    optional=lambda case: {f"calendar.{name}.list" for name in ("settings", "calendarList", "events")},
    also=frozenset({calendar.READONLY}),
    silent=(),
    usual={
        name: {f"{calendar.WHOLE}{one}" for one in asked}
        for name, asked in {
            "calendar_whoami": [],
            "calendar_list_calendars": [".calendarlist.readonly"],
            "calendar_list_rooms": [".calendarlist.readonly"],
            "calendar_list_events": [".events.owned.readonly"],
            "calendar_get_event": [".events.owned.readonly"],
            "calendar_create_event": [".events.owned"],
            "calendar_update_event": [".events.owned"],
            "calendar_delete_event": [".events.owned"],
            "calendar_respond_to_event": [".events.owned"],
            "calendar_find_times": [".freebusy"],
            "calendar_manage_calendar": [".calendarlist"],
            "calendar_share_calendar": [".acls"],
        }.items()
    },
)
DRIVE: Final = Row(
    DRIVE_TOOLKIT,
    list(drive_calls.CASES),
    Discovery.of("drive.v3"),
    drive_requests,
    broad=(drive_base.READONLY, drive_base.ALL),
    whole=drive_base.ALL,
    reading=lambda scope, tool: scope.endswith(("readonly", "drive.file")),
    left_out=drive_left_out,
    optional=lambda case: {f"drive.{one}.list" for one in ("files", "comments")} | {"drive.files.get"},
    also=frozenset({drive_base.READONLY}),
    silent=(),
    usual={
        f"drive_{name}": {f"{drive_base.ALL}.{one}" if one else drive_base.ALL for one in asked}
        for name, asked in {
            "search_files": ["metadata.readonly"],
            "get_file": ["metadata.readonly"],
            "read_file": ["readonly"],
            "download_file": ["readonly"],
            "list_comments": ["readonly"],
            "share_file": [""],
            "create_file": ["file"],
            "write_comment": [""],
            "trash_file": ["metadata"],
            "update_file": ["metadata"],
        }.items()
    },
)
CASES: Final = [(row, case) for row in (GMAIL, CALENDAR, DRIVE) for case in row.cases]


every = pytest.mark.parametrize("row", [GMAIL, CALENDAR, DRIVE], ids=["gmail", "calendar", "drive"])


@pytest.mark.parametrize("cases", some_and_all(CASES, 25))
def test_request_is_described_by_google_and_allowed_by_the_grant(cases: list[tuple[Row, Case]]) -> None:
    for row, case in cases:
        for granted in row.granted_for(case):
            for request in row.requests(case, granted):
                row.spec.check(request, granted)


@every
def test_requests_of_each_call_are_described_and_allowed(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    counts = dict.fromkeys(row.toolkit.tools, 0)
    for case in row.cases:
        granted = row.asked_for(case) | row.also
        for request in row.requests(case, granted):
            counts[f"{row.toolkit.name}_{case.tool}"] += 1
            row.spec.check(request, granted)
    with capsys.disabled():
        print(f"\n{row.toolkit.name}: {len(counts)} tools, {sum(counts.values())} requests checked")
    assert {f"{row.toolkit.name}_{case.tool}" for case in row.cases} == set(counts)
    assert tuple(tool for tool, count in counts.items() if not count) == row.silent


@every
def test_only_declared_methods_are_called_with_the_requested_scopes(row: Row) -> None:
    for case, requests in row.asked:
        called = {row.spec.call(request).id for request in requests}
        assert called - row.optional(case) <= {need.method for need in row.needs_of(case)}, case


@every
def test_every_requested_scope_is_necessary(row: Row) -> None:
    for case, requests in row.asked:
        asked = row.asked_for(case)
        for scope in asked:
            assert any(not row.spec.accepted(request) & (asked - {scope}) for request in requests), (case, scope)


@every
def test_reading_call_requests_read_scopes_only(row: Row) -> None:
    for case, requests in row.asked:
        if row.reads(case):
            assert all(row.reading(scope, case.tool) for scope in row.asked_for(case)), case
            assert all(one.method == "GET" or one.url.path.endswith("/freeBusy") for one in requests), case


def test_readonly_scope_suffices_for_every_reading_gmail_call() -> None:
    for case in filter(GMAIL.reads, GMAIL.cases):
        for request in GMAIL.requests(case, frozenset({READONLY})):
            assert request.method == "GET" and READONLY in GMAIL.spec.accepted(request)


@every
def test_need_accepts_what_google_accepts_and_requests_less_than_everything(row: Row) -> None:
    methods = {method["id"]: method for _, _, method in row.spec._routes}
    for case in row.cases:
        assert row.asked_for(case) <= set(GOOGLE.scope_descriptions)
        for need in row.needs_of(case):
            accepted = set(methods[need.method]["scopes"])
            assert need.accepts == accepted - row.left_out(need, accepted), case
            assert need.ask in need.accepts and (need.ask != row.whole or row is DRIVE)  # nothing less shares a file


@every
def test_advance_consent_requests_the_scopes_of_the_plain_call(row: Row) -> None:
    assert {name: {need.ask for need in tool.usual_needs()} for name, tool in row.toolkit.tools.items()} == row.usual


def test_send_scope_alone_suffices_to_send() -> None:
    call = gmail_calls.Case("send_email", {"to": ["b@x.test"], "subject": "s", "body": "b"})
    assert GMAIL.asked_for(call) == {SEND}


def test_own_calendar_scopes_do_not_suffice_for_others() -> None:
    for tool in ("get_event", "delete_event"):
        arguments = {"event_id": "trip0000001", "calendar": "bobs-travel@group.calendar.google.com"}
        for need in CALENDAR.needs_of(calendar_calls.Case(tool, arguments)):
            assert not {calendar.OWNED, calendar.OWNED_READONLY} & need.accepts


@pytest.mark.parametrize("name", ["primary", "Team", "bobs-travel@group.calendar.google.com"])
def test_grant_with_one_scope_less_is_refused_by_google(name: str) -> None:
    case = calendar_calls.Case("create_event", {"title": "x", "start": "2026-12-01", "end": "1d", "calendar": name})
    for scope in CALENDAR.asked_for(case):
        with pytest.raises((DeputizeError, Exception), match=r"POST|GET|scope"):
            Desk(CALENDAR_TOOLKIT, CALENDAR.asked_for(case) - {scope}).run(case.tool, case.arguments)


def test_invalid_request_is_detected() -> None:
    good = Request("GET", "/calendars/{calendar}/events", at={"calendar": "primary"}, params={"singleEvents": True})
    CALENDAR.spec.check(outgoing(good, "calendar"))
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
            CALENDAR.spec.check(outgoing(request, "calendar"))
