"""Calendar through the whole deputy, against emulate as far as it goes and against the sandbox for the rest. emulate's
first user is a decoy: each test checks whose events it got. What emulate lacks (reading one event, changing, moving,
answering, sharing, settings) is listed in the table below, so that a newer emulate is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from deputize.core import App, Call, ConsentRequired, Deputy, Secret, User, allow_all
from deputize.core.errors import DeputizeError, NotFound
from deputize.sandbox import Sandbox
from deputize.toolkits.calendar import TOOLKIT
from tests.counterparts.test_emulate_acts import PEOPLE, visit
from tests.sandbox.registered_app import Clock
from tests.support.emulate import BOBS_SECRET, oauth_client
from tests.support.sandbox_deputy import build, connect
from tests.support.sandbox_deputy import consent as walk
from tests.support.strict_emulate import StrictTransport, answered, lost_after_acting
from tests.toolkits.calendar_calls import STAND_UP, TRAVEL

pytestmark = pytest.mark.counterpart
Args = dict[str, Any]
SCOPE: Final = "https://www.googleapis.com/auth/calendar"
EVENTS: Final = "/calendar/v3/calendars/primary/events"
AT_EMULATE: Final = {"whoami", "list_calendars", "list_events", "create_event", "delete_event", "find_times"}
MEETING: Final[Args] = {"title": "Plan", "start": "2026-12-01T10:00", "end": "30m", "time_zone": "Europe/Berlin"}


@pytest.fixture
async def deputy(strict_google: StrictTransport) -> AsyncIterator[Deputy]:
    client = oauth_client("google")
    app = App("google", client.id, Secret(client.secret))
    async with await build(transport=strict_google, apps=[app], policy=allow_all) as deputy:
        yield deputy


async def allow(deputy: Deputy, transport: StrictTransport, user: str, *scopes: str) -> None:
    for consent in await deputy.connect(user, "google", scopes=[SCOPE + one for one in scopes]):
        assert await visit(deputy, transport, consent, PEOPLE[user]) == "granted"


async def act(deputy: Deputy, user: str, tool: str, call: Call | None = None, **arguments: Any) -> Any:
    return await deputy.act(f"calendar_{tool}", arguments, user=user, call=call)


ALL: Final = (".events.owned", ".calendarlist.readonly", ".freebusy", ".events.freebusy")


async def test_alice_and_bob_never_see_each_others_events(deputy: Deputy, strict_google: StrictTransport) -> None:
    await asyncio.gather(*(allow(deputy, strict_google, user, *ALL) for user in PEOPLE))
    window: Args = {"after": "2026-03-01T00:00Z", "before": "2026-04-01T00:00Z"}
    seen = dict(
        zip(PEOPLE, await asyncio.gather(*(act(deputy, u, "list_events", **window) for u in PEOPLE)), strict=True)
    )
    assert [row["title"] for row in seen["alice"]["items"]] == ["Kickoff"]
    assert [row["title"] for row in seen["bob"]["items"]] == [BOBS_SECRET]
    made = await act(deputy, "alice", "create_event", **MEETING, attendees=["carol@example.test"])
    assert made["start"].startswith("2026-12-01T10:00") and made["title"] == "Plan"
    days: Args = {"after": "2026-12-01T00:00Z", "before": "2026-12-02T00:00Z"}
    assert [row["title"] for row in (await act(deputy, "alice", "list_events", **days))["items"]] == ["Plan"]
    assert (await act(deputy, "bob", "list_events", **days))["items"] == []
    everything = [await act(deputy, "alice", tool) for tool in ("whoami", "list_calendars")]
    assert everything[0]["email"] == "alice@example.test" and everything[1]["items"][0]["primary"] is True
    assert BOBS_SECRET not in json.dumps([seen["alice"], made, everything])
    busy = await act(deputy, "alice", "find_times", time_zone="UTC", after="2026-03-09", before="2026-03-10")
    assert busy["items"] == [{"date": "2026-03-09", "weekday": "Mon", "busy": {"alice@example.test": ["09:00-09:30"]}}]


async def test_event_pages_are_complete_without_gaps(deputy: Deputy, strict_google: StrictTransport) -> None:
    await allow(deputy, strict_google, "alice", ".events.owned", ".calendarlist.readonly")
    for hour in range(8, 15):
        asked: Args = {**MEETING, "start": f"2026-12-01T{hour:02}:00", "title": f"At {hour}"}
        await act(deputy, "alice", "create_event", **asked)
    days: Args = {"after": "2026-12-01T00:00Z", "before": "2026-12-02T00:00Z", "limit": 3}
    titles, cursor = list[str](), None
    for _ in range(5):
        page = await act(deputy, "alice", "list_events", **days, cursor=cursor)
        titles += [row["title"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert titles == [f"At {hour}" for hour in range(8, 15)]


async def test_narrow_scope_is_requested_and_reading_does_not_write(
    deputy: Deputy, strict_google: StrictTransport
) -> None:
    await allow(deputy, strict_google, "alice", ".events.owned.readonly")
    assert (await act(deputy, "alice", "list_events", after="2026-03-01T00:00Z", before="2026-04-01T00:00Z"))["items"]
    with pytest.raises(ConsentRequired) as asked:
        await act(deputy, "alice", "create_event", **MEETING)
    assert asked.value.consent.scopes == (f"{SCOPE}.events.owned",)
    assert [e for e in strict_google.ledger if e.method == "POST" and e.path == EVENTS] == []


async def test_event_with_a_lost_answer_is_searched_for_first(deputy: Deputy, strict_google: StrictTransport) -> None:
    await allow(deputy, strict_google, "alice", ".events.owned", ".calendarlist.readonly")
    call = Call("thread", "message", "1")
    asked = list[str]()

    def is_there(request: httpx.Request, send: Any) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        return httpx.Response(200, json={"id": asked[-1], "status": "confirmed", "summary": "Plan"})

    def lost(request: httpx.Request, send: Any) -> httpx.Response:
        key = json.loads(request.content)["id"]
        strict_google.inject("GET", f"{EVENTS}/{key}", is_there)  # emulate reads no event and forgets the given id
        return lost_after_acting(request, send)

    strict_google.inject("POST", EVENTS, lost)
    made = await act(deputy, "alice", "create_event", call, **MEETING)
    again = await act(deputy, "alice", "create_event", call, **MEETING)
    assert made == again and [made["id"]] == asked and len(asked[0]) == 26
    assert len([e for e in strict_google.ledger if e.method == "POST" and e.path == EVENTS]) == 1


async def test_event_is_cancelled_once_it_can_be_read(deputy: Deputy, strict_google: StrictTransport) -> None:
    await allow(deputy, strict_google, "alice", ".events.owned", ".calendarlist.readonly")
    event = {"id": "evt_alice_1", "status": "confirmed", "summary": "Kickoff", "etag": '"1"'}
    strict_google.inject("GET", f"{EVENTS}/evt_alice_1", answered(200, event))
    gone = await act(deputy, "alice", "delete_event", event_id="evt_alice_1")
    assert gone["deleted"] is True
    window: Args = {"after": "2026-03-01T00:00Z", "before": "2026-04-01T00:00Z"}
    assert (await act(deputy, "alice", "list_events", **window))["items"] == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_event", {"event_id": "evt_alice_1"}),
        ("update_event", {"event_id": "evt_alice_1", "title": "x"}),
        ("respond_to_event", {"event_id": "evt_alice_1", "response": "accepted"}),
        ("share_calendar", {"who": "bob@example.test", "role": "reader"}),
        ("manage_calendar", {"action": "create", "title": "Side"}),
    ],
)
async def test_unsupported_request_is_not_found_at_emulate(
    deputy: Deputy, strict_google: StrictTransport, tool: str, arguments: dict[str, Any]
) -> None:
    await allow(deputy, strict_google, "alice", ".events.owned", ".acls", ".app.created")
    with pytest.raises(DeputizeError) as refused:
        await act(deputy, "alice", tool, **arguments)
    assert isinstance(refused.value, NotFound) and tool not in AT_EMULATE


THE_REST: Final[list[tuple[str, dict[str, Any]]]] = [
    ("whoami", {}),
    ("list_calendars", {"sharing": True}),
    ("list_rooms", {}),
    ("list_events", {"calendars": ["primary", "Team"]}),
    ("get_event", {"event_id": "review00001"}),
    ("create_event", {**MEETING, "attendees": ["bob@example.test"], "meet": True}),
    ("update_event", {"event_id": STAND_UP, "title": "Later", "start": "2026-11-30T10:00"}),
    ("update_event", {"event_id": STAND_UP, "title": "New", "apply_to": "following"}),
    ("respond_to_event", {"event_id": "review00001", "response": "accepted"}),
    ("delete_event", {"event_id": "focus000001"}),
    ("find_times", {"attendees": ["bob@example.test"], "duration": "30m"}),
    ("manage_calendar", {"action": "update", "calendar": TRAVEL, "hidden": True}),
    ("share_calendar", {"who": "bob@example.test", "role": "reader"}),
]


async def test_every_tool_is_exercised_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(clock=Clock())
    where = {name.removeprefix("calendar_"): ["emulate"] * (name[9:] in AT_EMULATE) for name in TOOLKIT.tools}
    async with await build(sandbox, policy=allow_all, clock=sandbox.clock) as deputy:
        await connect(deputy, sandbox, "readonly")  # Gmail's: other scopes of the same grant change nothing here
        for consent in await deputy.connect("alice", "google", scopes=[SCOPE]):
            assert (await walk(deputy, sandbox, consent)).status == "granted"
        for n, (tool, arguments) in enumerate(THE_REST):
            result = await act(deputy, "alice", tool, Call("t", "m", str(n)), **arguments)
            again = await act(deputy, "alice", tool, Call("t", "m", str(n)), **arguments)
            effect = TOOLKIT.tools[f"calendar_{tool}"].gravest
            assert result and (result == again or not effect.value)
            where[tool] = list(dict.fromkeys([*where[tool], "sandbox"]))
    with capsys.disabled():
        print("\n" + "\n".join(f"calendar_{tool:20} {', '.join(places)}" for tool, places in where.items()))
    assert len(where) == 12 and all(where.values())


async def shapes(transport: httpx.AsyncBaseTransport, token: str) -> dict[str, tuple[int, set[str]]]:
    """Return the responses to the same requests: status, and the names in the body."""
    root = "https://www.googleapis.com/calendar/v3"
    times = {name: {"dateTime": f"2026-12-01T1{n}:00:00Z"} for n, name in enumerate(("start", "end"))}
    event = {"summary": "Once", "attendees": [{"email": "carol@example.test"}], **times}
    window = {"timeMin": "2026-12-01T00:00:00Z", "timeMax": "2026-12-02T00:00:00Z"}
    found: dict[str, tuple[int, set[str]]] = {}
    async with httpx.AsyncClient(transport=transport, headers={"authorization": f"Bearer {token}"}) as http:

        async def send(step: str, method: str, path: str, body: Any = None, **params: str) -> Any:
            reply = await http.request(method, root + path, json=body, params=params)
            answer = reply.json() if reply.content else {}
            rows = answer.get("items") or [{}]
            members = set(answer) | {f"items.{name}" for name in rows[0]}
            found[step] = (reply.status_code, members)
            return answer

        made = await send("insert", "POST", "/calendars/primary/events", event)
        listed = await send("list", "GET", "/calendars/primary/events", **window)
        assert [one["summary"] for one in listed["items"]] == ["Once"]
        busy = await send("freeBusy", "POST", "/freeBusy", {**window, "items": [{"id": "primary"}]})
        assert [one["start"][:13] for one in busy["calendars"]["primary"]["busy"]] == ["2026-12-01T10"]
        await send("calendars", "GET", "/users/me/calendarList")
        await send("delete", "DELETE", f"/calendars/primary/events/{made['id']}")
        await send("nothing", "DELETE", "/calendars/primary/events/neverwas0")
        await send("nowhere", "GET", "/calendars/nobody@example.test/events")
    return found


async def test_sandbox_calendar_answers_like_emulate(deputy: Deputy, strict_google: StrictTransport) -> None:
    await allow(deputy, strict_google, "alice", "")
    grant = await deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant is not None
    theirs = await shapes(strict_google, grant.access_token.reveal())
    empty = Sandbox(clock=Clock())
    empty._world.services["calendar"]["events"].clear()
    ours = await shapes(empty.transport(), empty.give("google", "alice@example.test", [SCOPE])["access_token"])
    assert {step: one[0] for step, one in ours.items()} == {step: one[0] for step, one in theirs.items()}
    for step, (_, members) in theirs.items():
        assert members <= ours[step][1], step
