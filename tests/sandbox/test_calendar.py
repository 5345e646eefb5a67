"""The sandbox's Calendar: it accepts what Google's own document allows; people see what they are invited to."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.api import ANSWERS
from deputize.sandbox.google.calendar.methods import BOOLEANS, ENUMS, METHODS, NUMBERS, SCOPE, full_scope
from deputize.sandbox.google.calendar.schemas import SCHEMAS
from deputize.sandbox.google.calendar.seed import BOBS_SECRET, ROOM, TEAM
from deputize.sandbox.google.errors import REALM
from tests.sandbox.registered_app import ALICE, BOB, Clock
from tests.support.counterparts import require
from tests.support.discovery import Discovery

ROOT = "https://www.googleapis.com/calendar/v3"
EVENTS = f"{ROOT}/calendars/primary/events"
PLAN = {
    "summary": "Plan",
    "start": {"dateTime": "2026-12-01T10:00:00", "timeZone": "Europe/Berlin"},
    "end": {"dateTime": "2026-12-01T11:00:00", "timeZone": "Europe/Berlin"},
}


class Calendar:
    """One person's Calendar, without the toolkit."""

    def __init__(self, sandbox: Sandbox, person: str = ALICE, *scopes: str) -> None:
        granted = [full_scope(one) for one in scopes or ("all",)]
        self.token = sandbox.give("google", person, granted)["access_token"]
        self.http = httpx.AsyncClient(transport=sandbox.transport())

    async def send(self, method: str, url: str, body: Any = None, **how: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", **how.pop("headers", {})}
        url = url if url.startswith("https:") else ROOT + url
        return await self.http.request(method, url, json=body, headers=headers, params=how)

    async def ok(self, method: str, url: str, body: Any = None, **how: Any) -> Any:
        reply = await self.send(method, url, body, **how)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None


@pytest.fixture
def alice(sandbox: Sandbox) -> Calendar:
    return Calendar(sandbox)


@pytest.fixture
def bob(sandbox: Sandbox) -> Calendar:
    return Calendar(sandbox, BOB)


@pytest.mark.counterpart
def test_calendar_methods_match_googles_discovery_document() -> None:
    found = importlib.util.find_spec("googleapiclient") is not None
    require("google-api-python-client", found, "pip install google-api-python-client")
    document = Discovery.of("calendar.v3")
    for method in METHODS:
        request = httpx.Request(method.verb, ROOT + re.sub(r"\{\w+\}", "x", method.path))
        call = document.call(request)
        assert (call.id, set(call.method["scopes"])) == (f"calendar.{method.id}", set(method.scopes))
        query = {name: spec for name, spec in call.parameters.items() if spec["location"] == "query"}
        assert set(query) == method.query
        assert method.body == call.method.get("request", {}).get("$ref", "")
        for name, spec in query.items():
            assert (spec["type"] == "boolean") == (name in BOOLEANS)
            assert (spec["type"] == "integer") == (name in NUMBERS)
            assert set(spec.get("enum", ())) == set(ENUMS.get(name, ()))
    assert set(ANSWERS) == {method.id for method in METHODS}


@pytest.mark.counterpart
def test_calendar_bodies_match_googles_discovery_document() -> None:
    require("google-api-python-client", importlib.util.find_spec("googleapiclient") is not None, "pip install it")
    schemas = Discovery.of("calendar.v3")._document["schemas"]
    for name, fields in SCHEMAS.items():
        assert set(fields) == set(schemas[name]["properties"])
        for field, kind in fields.items():
            spec = schemas[name]["properties"][field]
            inner = spec.get("items", spec)
            told = inner.get("$ref") if inner.get("$ref") in SCHEMAS else inner.get("type", "object")
            assert kind == (f"[{told}]" if spec.get("type") == "array" else told)


@pytest.mark.parametrize(
    ("change", "query"),
    [
        ({"title": "x"}, {}),
        ({"summary": 5}, {}),
        ({"start": {"datetime": "x"}}, {}),
        ({"start": {"dateTime": "2026-12-01T10:00:00"}}, {}),
        ({"start": {"date": "2026-12-01"}}, {}),
        ({"start": {"dateTime": "2026-12-01T10:00:00", "timeZone": "Mars/X"}}, {}),
        ({"start": None}, {}),
        ({"end": {"dateTime": "2026-12-01T09:00:00", "timeZone": "Europe/Berlin"}}, {}),
        ({"attendees": [{"email": "nobody"}]}, {}),
        ({"attendees": {"email": BOB}}, {}),
        ({"recurrence": ["RRULE:FREQ=SOMETIMES"]}, {}),
        ({"recurrence": ["FREQ=DAILY;COUNT=1;UNTIL=20270101T000000Z"]}, {}),
        ({"id": "UPPER"}, {}),
        ({"id": "abc"}, {}),
        ({"visibility": "secret"}, {}),
        ({"colorId": "99"}, {}),
        ({"eventType": "party"}, {}),
        ({"reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": 50000}]}}, {}),
        ({}, {"sendUpdates": "everyone"}),
        ({}, {"sendUpdate": "all"}),
        ({}, {"conferenceDataVersion": "2"}),
        ({"conferenceData": {"createRequest": {}}}, {"conferenceDataVersion": "1"}),
    ],
)
async def test_calendar_refuses_bodies_google_would_refuse(
    alice: Calendar, sandbox: Sandbox, change: dict[str, Any], query: dict[str, str]
) -> None:
    before = sandbox.service("calendar")
    reply = await alice.send("POST", EVENTS, {**PLAN, **change}, **query)
    assert reply.status_code == 400 and sandbox.service("calendar")["events"] == before["events"]


@pytest.mark.parametrize(
    "query",
    [
        {"orderBy": "startTime"},
        {"timeMin": "2026-12-01"},
        {"timeMin": "2026-12-01T10:00:00"},
        {"timeMin": "2026-12-02T00:00:00Z", "timeMax": "2026-12-01T00:00:00Z"},
        {"maxResults": "x"},
        {"maxResults": "2501"},
        {"eventTypes": "holiday"},
        {"singleEvents": "yes"},
        {"pageToken": "mine"},
        {"timeZone": "Mars/X"},
    ],
)
async def test_calendar_refuses_lists_google_would_refuse(alice: Calendar, query: dict[str, str]) -> None:
    assert (await alice.send("GET", EVENTS, **query)).status_code == 400


async def test_event_id_is_usable_once_even_after_deletion(alice: Calendar) -> None:
    await alice.ok("POST", EVENTS, {**PLAN, "id": "0123456789"})
    again = await alice.send("POST", EVENTS, {**PLAN, "id": "0123456789"})
    assert again.status_code == 409 and again.json()["error"]["errors"][0]["reason"] == "duplicate"
    assert (await alice.send("DELETE", f"{EVENTS}/0123456789")).status_code == 204
    assert (await alice.send("DELETE", f"{EVENTS}/0123456789")).status_code == 410
    assert (await alice.ok("GET", f"{EVENTS}/0123456789"))["status"] == "cancelled"
    assert (await alice.send("POST", EVENTS, {**PLAN, "id": "0123456789"})).status_code == 409


async def test_outdated_change_of_an_event_is_refused(alice: Calendar) -> None:
    made = await alice.ok("POST", EVENTS, PLAN)
    url = f"{EVENTS}/{made['id']}"
    await alice.ok("PATCH", url, {"location": "Here"}, headers={"if-match": made["etag"]})
    for method in ("PATCH", "DELETE"):
        stale = await alice.send(
            method, url, {"location": "There"} if method == "PATCH" else None, headers={"if-match": made["etag"]}
        )
        assert stale.status_code == 412
    event = await alice.ok("GET", url)
    assert event["location"] == "Here" and event["status"] == "confirmed"
    cleared = await alice.ok("PATCH", url, {"location": None, "start": {"timeZone": "Asia/Kolkata"}})
    assert "location" not in cleared and cleared["start"]["timeZone"] == "Asia/Kolkata"


async def test_invitation_is_on_both_calendars_and_responses_return(alice: Calendar, bob: Calendar) -> None:
    made = await alice.ok(
        "POST", EVENTS, {**PLAN, "attendees": [{"email": BOB}, {"email": "c@x.test"}]}, sendUpdates="all"
    )
    url = f"{EVENTS}/{made['id']}"
    seen = await bob.ok("GET", url)
    assert seen["organizer"] == {"email": ALICE} and made["organizer"] == {"email": ALICE, "self": True}
    assert [one.get("self", False) for one in seen["attendees"]] == [True, False]
    refused = await bob.send("PATCH", url, {"summary": "Mine"})
    assert refused.json()["error"]["errors"][0]["reason"] == "forbiddenForNonOrganizer"
    answer = {"attendeesOmitted": True, "attendees": [{"email": BOB, "responseStatus": "accepted"}]}
    await bob.ok("PATCH", url, answer)
    await bob.ok("PATCH", url, {"attendees": [{"email": "c@x.test", "responseStatus": "declined"}]})  # not his to say
    people = (await alice.ok("GET", url))["attendees"]
    assert [one["responseStatus"] for one in people] == ["accepted", "needsAction"]
    assert (await bob.send("DELETE", url)).status_code == 204
    assert (await bob.send("GET", url)).status_code == 404
    assert (await alice.ok("GET", url))["status"] == "confirmed"


async def test_series_has_occurrences_that_may_differ(alice: Calendar) -> None:
    body = {**PLAN, "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}
    made = await alice.ok("POST", EVENTS, body)
    url = f"{EVENTS}/{made['id']}"
    (first, second, third) = (await alice.ok("GET", f"{url}/instances"))["items"]
    assert second["id"] == f"{made['id']}_20261202T090000Z" and second["recurringEventId"] == made["id"]
    later = {"dateTime": "2026-12-02T15:00:00", "timeZone": "Europe/Berlin"}
    await alice.ok(
        "PATCH", f"{EVENTS}/{second['id']}", {"start": later, "end": {**later, "dateTime": "2026-12-02T16:00:00"}}
    )
    assert (await alice.send("DELETE", f"{EVENTS}/{third['id']}")).status_code == 204
    left = (await alice.ok("GET", EVENTS, singleEvents="true", orderBy="startTime", q="plan"))["items"]
    assert [one["start"]["dateTime"] for one in left] == ["2026-12-01T10:00:00+01:00", "2026-12-02T15:00:00+01:00"]
    assert left[1]["originalStartTime"]["dateTime"] == "2026-12-02T10:00:00+01:00"
    assert (await alice.ok("GET", f"{EVENTS}/{third['id']}"))["status"] == "cancelled"
    assert (await alice.send("GET", f"{EVENTS}/{made['id']}_20270101T090000Z")).status_code == 404
    masters = (await alice.ok("GET", EVENTS, q="plan"))["items"]
    assert [one["recurrence"] for one in masters] == [["RRULE:FREQ=DAILY;COUNT=3"]]
    assert first["status"] == "confirmed"


async def test_event_pages_contain_everything_once(alice: Calendar) -> None:
    query = {"singleEvents": "true", "timeMin": "2026-11-23T00:00:00Z", "timeMax": "2026-12-12T00:00:00Z"}
    whole = await alice.ok("GET", EVENTS, **query)
    assert whole["timeZone"] == "Europe/Berlin" and whole["accessRole"] == "owner" and "nextSyncToken" in whole
    ids, token = list[str](), dict[str, str]()
    while True:
        page = await alice.ok("GET", EVENTS, maxResults="4", **query, **token)
        ids += [one["id"] for one in page["items"]]
        if "nextPageToken" not in page:
            break
        token = {"pageToken": page["nextPageToken"]}
    assert ids == [one["id"] for one in whole["items"]] and len(ids) > 8


async def test_calendar_details_are_hidden_and_colleagues_see_free_busy(alice: Calendar) -> None:
    assert (await alice.send("GET", f"/calendars/{BOB}/events")).status_code == 404
    assert (await alice.send("GET", f"{EVENTS}/dentist0001")).status_code == 404
    body = {
        "timeMin": "2026-12-01T00:00:00Z",
        "timeMax": "2026-12-02T00:00:00Z",
        "items": [{"id": BOB}, {"id": ROOM}, {"id": "no@where.test"}, {"id": TEAM}],
    }
    told = (await alice.ok("POST", "/freeBusy", body))["calendars"]
    assert told[BOB]["busy"][1] == {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"}
    assert told["no@where.test"]["errors"][0]["reason"] == "notFound" and told[TEAM] == {"busy": []}
    assert BOBS_SECRET not in json.dumps(told)
    long = {**body, "timeMax": "2027-12-01T00:00:00Z"}
    assert (await alice.send("POST", "/freeBusy", long)).status_code == 400


async def test_sharing_opens_a_calendar_as_far_as_the_role_allows(alice: Calendar, bob: Calendar) -> None:
    rule = {"role": "freeBusyReader", "scope": {"type": "user", "value": ALICE}}
    await bob.ok("POST", "/calendars/primary/acl", rule)
    url = f"/calendars/{BOB}/events"
    assert "Design review" not in (await alice.send("GET", url)).text
    await bob.ok("PATCH", f"/calendars/primary/acl/user:{ALICE}", {"role": "reader"})
    text = (await alice.send("GET", url)).text
    assert "Design review" in text and BOBS_SECRET not in text
    assert (await alice.send("POST", url, PLAN)).status_code == 403
    await bob.ok("PATCH", f"/calendars/primary/acl/user:{ALICE}", {"role": "writer"})
    await alice.ok("POST", url, PLAN)
    assert (await bob.send("DELETE", f"/calendars/primary/acl/user:{ALICE}")).status_code == 204
    assert (await alice.send("GET", url)).status_code == 404
    assert (await bob.send("DELETE", f"/calendars/primary/acl/user:{ALICE}")).status_code == 404


@pytest.mark.parametrize(
    "short",
    [scope.removeprefix(SCOPE).lstrip(".") or "all" for scope in sorted({s for m in METHODS for s in m.scopes})],
)
async def test_method_is_refused_exactly_when_its_scopes_lack_the_granted(sandbox: Sandbox, short: str) -> None:
    calendar = Calendar(sandbox, ALICE, short)
    for method in METHODS:
        path = (
            method.path.replace("{calendarId}", "primary").replace("{eventId}", "0" * 9).replace("{ruleId}", "default")
        )
        reply = await calendar.send(method.verb, path, {} if method.body else None)
        refused = reply.status_code == 403 and "insufficient" in reply.text
        narrow = short in ("app.created", "events.public.readonly")  # of the scope, but not of this calendar
        assert refused == (full_scope(short) not in method.scopes or (narrow and "/calendars/primary" in path)), (
            method.id
        )
        if refused:
            assert reply.headers["www-authenticate"].startswith(REALM)


async def test_own_calendar_scopes_do_not_open_others(sandbox: Sandbox) -> None:
    own = Calendar(sandbox, ALICE, "events.owned")
    await own.ok("GET", EVENTS)
    assert (await own.send("GET", "/calendars/bobs-travel@group.calendar.google.com/events")).status_code == 403
    busy = Calendar(sandbox, ALICE, "events.freebusy")
    assert "Stand-up" not in (await busy.send("GET", EVENTS)).text


async def test_calendars_survive_a_restart(tmp_path: Any) -> None:
    file = tmp_path / "sandbox.json"
    first = Sandbox(state=file, clock=Clock())
    made = await Calendar(first).ok("POST", EVENTS, PLAN)
    second = Sandbox(state=file, clock=Clock())
    assert (await Calendar(second).ok("GET", f"{EVENTS}/{made['id']}"))["summary"] == "Plan"
    second.reset()
    assert (await Calendar(second).send("GET", f"{EVENTS}/{made['id']}")).status_code == 404


async def test_calendar_host_serves_nothing_else(alice: Calendar) -> None:
    for method, path in (("GET", "/colors"), ("DELETE", "/calendars/primary"), ("POST", "/calendars/primary/clear")):
        assert (await alice.send(method, path)).status_code == 404
    assert (await alice.http.get(EVENTS)).status_code == 401
