"""What changes in Gmail or Calendar after an approval needs a new one, and nothing is written to an object not
previewed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx
import pytest

from deputize.core import Approval, ApprovalRequired, Call, Conflict, OutcomeUnknown, Verdict, ask_before_sending
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.support.provider_state import differences, everything
from tests.support.sandbox_deputy import Clock
from tests.toolkits.calendar_calls import BOB, STAND_UP, TEAM
from tests.toolkits.tool_driver import NOW
from tests.toolkits.undo_calls import SCOPES

GOOGLE: Final = {"google": SCOPES["google"]}
TRACES: Final = re.compile(r"\.(created|updated|sequence)$|\.mails|'status': 'cancelled'|\.calendars\.c_")
"""What every write leaves: timestamps, sent mails, a cancelled event, and a calendar on nobody's list."""
FOCUS: Final = "focus000001"
AGENDA: Final = {"event_id": "holiday0001", "description": "What we agreed"}
Hand = Callable[["Swaps"], Awaitable[Any]]


def unlike(one: Any, other: Any) -> list[str]:
    """Return where two worlds differ, except in what every write leaves."""
    return [found for found in differences(one, other) if not TRACES.search(found)]


class Swaps:
    """Alice under the default policy, and other programs without approvals."""

    def __init__(self, world: ShownWorld) -> None:
        self.world, self.deputy = world, world.deputy

    async def hand(self, tool: str, **arguments: Any) -> Any:
        """Act as another user, or as another program of hers."""
        policy, self.deputy.policy = self.deputy.policy, lambda act: Verdict.ALLOW
        try:
            return await self.world.act(tool, **arguments)
        finally:
            self.deputy.policy = policy

    async def asked(self, tool: str, **arguments: Any) -> Approval:
        """Return what Alice is asked about this call; check that nothing was written to find out."""
        before = len(self.world.wire.writes)
        [way] = await self.deputy.check_calls([(tool, arguments, Call("t", "m", "swap"))], user="alice")
        assert isinstance(way, ApprovalRequired) and way.approval and len(self.world.wire.writes) == before, way
        return way.approval

    async def yes(self, tool: str, **arguments: Any) -> Approval:
        approval = await self.asked(tool, **arguments)
        return await self.deputy.decide(approval, "approve", by="alice")

    async def act(self, tool: str, **arguments: Any) -> Any:
        return await self.deputy.act(tool, arguments, user="alice", call=Call("t", "m", "swap"))

    def between(self, method: str, path: str, does: Hand, *, after: bool = False) -> None:
        """Do this while the next such request is in progress, or when it is done and its response has not arrived."""
        wire, inner, swaps = self.world.wire, self.world.wire.inner, self

        class Between(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.method != method or not request.url.path.endswith(path):
                    return await inner.handle_async_request(request)
                wire.inner = inner
                answer = await inner.handle_async_request(request) if after else None
                await does(swaps)
                return answer or await inner.handle_async_request(request)

        wire.inner = Between()


@pytest.fixture
async def swaps() -> AsyncIterator[Swaps]:
    async with shown_world(GOOGLE, clock=Clock(NOW)) as world:
        world.deputy.policy = ask_before_sending
        yield Swaps(world)


def hand(tool: str, **arguments: Any) -> Hand:
    return lambda swaps: swaps.hand(tool, **arguments)


async def described(swaps: Swaps) -> None:
    await swaps.hand("calendar_update_event", **AGENDA)


async def two_teams(swaps: Swaps) -> None:
    """Rename the calendar Team to Board, and another one to Team."""
    await swaps.hand("calendar_manage_calendar", action="update", calendar=TEAM, title="Board")
    await swaps.hand("calendar_manage_calendar", action="create", title="Team")


async def another_travel(swaps: Swaps) -> None:
    """Rename the label Travel to Trips, and another one to Travel."""
    await swaps.hand("gmail_manage_label", action="rename", name="Travel", new_name="Trips")
    await swaps.hand("gmail_manage_label", action="create", name="Travel")


async def a_mail_of_bobs(swaps: Swaps) -> None:
    raw = b"From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: Never delete this\r\n\r\nPlease."
    swaps.world.sandbox._world.mailbox("alice@example.test").add(raw, ["INBOX", "UNREAD"], int(NOW * 1000))


async def nothing(swaps: Swaps) -> None:
    """Leave everything in its initial state."""


CHANGED: Final[dict[str, tuple[Hand, str, dict[str, Any], Hand, set[str]]]] = {
    "an agenda that is emptied": (
        described,
        "calendar_update_event",
        {"event_id": "holiday0001", "description": ""},
        hand("calendar_update_event", event_id="holiday0001", description="Something that nobody may lose"),
        {"description"},
    ),
    "an event that is cancelled": (
        described,
        "calendar_delete_event",
        {"event_id": "holiday0001"},
        hand("calendar_update_event", event_id="holiday0001", title="Wedding", visibility="public"),
        {"title", "visibility", "audience"},
    ),
    "guests who came": (
        nothing,
        "calendar_update_event",
        {"event_id": STAND_UP, "title": "Lay-offs"},
        hand("calendar_update_event", event_id=STAND_UP, add_attendees=["eve@evil.test"]),
        {"people", "guests"},
    ),
    "an invitation to something else": (
        nothing,
        "calendar_respond_to_event",
        {"event_id": STAND_UP, "response": "tentative"},
        hand("calendar_update_event", event_id=STAND_UP, title="Demotion", start="2026-11-30T07:00"),
        {"title", "begins", "ends"},
    ),
    "a series that was cut before": (
        nothing,
        "calendar_delete_event",
        {"event_id": "standup0001_20261202T080000Z", "apply_to": "following"},
        hand("calendar_delete_event", event_id="standup0001_20261209T080000Z", apply_to="following"),
        {"repeats"},
    ),
    "a calendar of the same name": (
        nothing,
        "calendar_create_event",
        {"title": "Plan", "start": "2026-12-01T10:00", "end": "1h", "calendar": "Team"},
        two_teams,
        {"where", "calendar"},
    ),
    "what somebody may do already": (
        nothing,
        "calendar_share_calendar",
        {"who": BOB, "role": "owner", "calendar": TEAM},
        hand("calendar_share_calendar", who=BOB, role="writer", calendar=TEAM),
        {"access"},
    ),
    "a calendar's description": (
        nothing,
        "calendar_manage_calendar",
        {"action": "update", "calendar": TEAM, "description": "Ours"},
        hand("calendar_manage_calendar", action="update", calendar=TEAM, description="The only list of the keys"),
        {"description", "destroys"},
    ),
    "emails that a query finds": (
        nothing,
        "gmail_update_emails",
        {"query": "from:bob", "action": "trash"},
        a_mail_of_bobs,
        {"emails"},
    ),
    "a label of the same name": (
        nothing,
        "gmail_manage_label",
        {"action": "delete", "name": "Travel"},
        another_travel,
        {"label"},
    ),
    "the label that a filter puts": (
        nothing,
        "gmail_manage_filter",
        {"action": "create", "from": "bob", "add_labels": ["Travel"], "archive": True},
        another_travel,
        {"adds"},
    ),
    "a signature": (
        nothing,
        "gmail_set_signature",
        {"body": "Alice"},
        hand("gmail_set_signature", body="Alice Adams\n\nOffice hours: Monday"),
        {"signature", "html", "destroys"},
    ),
    "an automatic reply": (
        nothing,
        "gmail_set_vacation",
        {"enabled": True, "subject": "Away", "body": "Back soon"},
        hand("gmail_set_vacation", enabled=True, body="In hospital", audience="contacts"),
        {"text", "to", "audience", "destroys"},
    ),
}


@pytest.mark.parametrize("name", CHANGED)
async def test_change_after_approval_is_asked_again_naming_the_change(swaps: Swaps, name: str) -> None:
    first, tool, arguments, change, names = CHANGED[name]
    await first(swaps)
    said = await swaps.yes(tool, **arguments)
    await change(swaps)
    there = everything(swaps.world.sandbox)
    with pytest.raises(ApprovalRequired) as again:
        await swaps.act(tool, **arguments)
    asked = again.value.approval
    assert asked and asked.id != said.id and names <= set(asked.changed_fields), asked and asked.changed_fields
    assert everything(swaps.world.sandbox) == there
    assert (await swaps.asked(tool, **arguments)).id == asked.id, "a loop is asked where it can pause"
    await swaps.deputy.decide(asked, "approve", by="alice")
    await swaps.act(tool, **arguments)
    assert everything(swaps.world.sandbox) != there


LATE: Final[dict[str, tuple[str, dict[str, Any], str, str, Hand]]] = {
    "an event that is changed": (
        "calendar_update_event",
        {"event_id": FOCUS, "title": "Read", "description": "Mine", "add_attendees": [BOB]},
        "PATCH",
        FOCUS,
        hand("calendar_update_event", event_id=FOCUS, description="Theirs"),
    ),
    "an event that is cancelled": (
        "calendar_delete_event",
        {"event_id": FOCUS},
        "DELETE",
        FOCUS,
        hand("calendar_update_event", event_id=FOCUS, title="Do not cancel this"),
    ),
    "an invitation": (
        "calendar_respond_to_event",
        {"event_id": STAND_UP, "response": "declined"},
        "PATCH",
        STAND_UP,
        hand("calendar_update_event", event_id=STAND_UP, title="Your promotion"),
    ),
    "the end of a series": (
        "calendar_delete_event",
        {"event_id": STAND_UP, "apply_to": "following"},
        "PATCH",
        "standup0001",
        hand("calendar_update_event", event_id="standup0001", title="New", apply_to="series"),
    ),
    "a calendar's words": (
        "calendar_manage_calendar",
        {"action": "update", "calendar": TEAM, "description": "Ours"},
        "PATCH",
        TEAM,
        hand("calendar_manage_calendar", action="update", calendar=TEAM, description="Theirs"),
    ),
}


@pytest.mark.parametrize("name", LATE)
async def test_change_during_the_write_is_left_unchanged(swaps: Swaps, name: str) -> None:
    tool, arguments, method, path, change = LATE[name]
    await swaps.yes(tool, **arguments)
    swaps.between(method, path, change)
    with pytest.raises(Conflict):
        await swaps.act(tool, **arguments)
    left = everything(swaps.world.sandbox)
    fresh = await another_world(change)
    assert left == fresh, "just what the other hand did"


async def another_world(change: Hand) -> Any:
    """Return an initial world in which nothing but this was done."""
    async with shown_world(GOOGLE, clock=Clock(NOW)) as world:
        await change(Swaps(world))
        return everything(world.sandbox)


async def test_guests_response_in_between_keeps_the_approval_valid(swaps: Swaps) -> None:
    arguments = {"event_id": STAND_UP, "title": "Late"}
    await swaps.yes("calendar_update_event", **arguments)
    answers = hand("calendar_respond_to_event", event_id=STAND_UP, response="declined")
    swaps.between("PATCH", STAND_UP, answers)
    await swaps.act("calendar_update_event", **arguments)
    event = await swaps.hand("calendar_get_event", event_id=STAND_UP)
    assert (event["title"], event["my_response"]) == ("Late", "declined")


async def test_series_changed_during_its_split_is_whole_and_reported(
    swaps: Swaps,
) -> None:
    arguments = {"event_id": STAND_UP, "title": "New", "apply_to": "following"}
    await swaps.yes("calendar_update_event", **arguments)
    change = hand("calendar_update_event", event_id="standup0001", location="Attic", apply_to="series")
    swaps.between("POST", "/events", change)
    with pytest.raises(OutcomeUnknown):
        await swaps.act("calendar_update_event", **arguments)
    assert unlike(await another_world(change), everything(swaps.world.sandbox)) == []


async def test_approval_of_an_emptied_text_showed_the_text(swaps: Swaps) -> None:
    await described(swaps)
    asked = await swaps.asked("calendar_update_event", event_id="holiday0001", description="")
    assert (asked.preview["description now"], asked.preview["description"]) == ("What we agreed", "(emptied)")
    assert asked.preview["title"] == "Day off" and asked.preview["begins"] == "Mon 7 Dec 2026"
    assert asked.preview["warning"]


# ----------------------------------------------------------------- runs that are cut off


class Killed(BaseException):
    """Stands for the death of the process."""


async def dies(swaps: Swaps) -> None:
    raise Killed


CUT: Final[dict[str, tuple[str, dict[str, Any], str, str]]] = {
    "created": ("calendar_create_event", {"title": "Plan", "start": "2026-12-01", "end": "1d"}, "POST", "/events"),
    "changed": ("calendar_update_event", {"event_id": FOCUS, "title": "Read", "description": "Mine"}, "PATCH", FOCUS),
    "moved in time": (
        "calendar_update_event",
        {"event_id": STAND_UP, "start": "2026-11-30T11:00", "apply_to": "series"},
        "PATCH",
        "standup0001",
    ),
    "moved away": (
        "calendar_update_event",
        {"event_id": "holiday0001", "title": "A", "move_to": TEAM},
        "POST",
        "/move",
    ),
    "the rest made": (
        "calendar_update_event",
        {"event_id": STAND_UP, "title": "New", "apply_to": "following"},
        "POST",
        "/events",
    ),
    "the rest cut off": (
        "calendar_update_event",
        {"event_id": STAND_UP, "title": "New", "apply_to": "following"},
        "PATCH",
        "standup0001",
    ),
    "the rest cancelled": ("calendar_delete_event", {"event_id": STAND_UP, "apply_to": "following"}, "PATCH", "0001"),
    "cancelled": ("calendar_delete_event", {"event_id": FOCUS}, "DELETE", FOCUS),
    "answered": ("calendar_respond_to_event", {"event_id": STAND_UP, "response": "declined"}, "PATCH", STAND_UP),
    "away": ("gmail_set_vacation", {"enabled": True, "body": "Back +1d", "before": "+1d"}, "PUT", "/vacation"),
    "a label deleted": ("gmail_manage_label", {"action": "delete", "name": "Travel"}, "DELETE", "/Label_1"),
    "emails binned": ("gmail_update_emails", {"query": "from:bob", "action": "trash"}, "POST", "/trash"),
}


@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("name", CUT)
async def test_interrupted_run_resumes_without_another_approval_and_acts_once(name: str, written: bool) -> None:
    tool, arguments, method, path = CUT[name]
    clock = Clock(NOW)
    async with shown_world(GOOGLE, clock=clock) as world:
        swaps = Swaps(world)
        await swaps.act(tool, **arguments)
        whole = everything(world.sandbox)
    async with shown_world(GOOGLE, clock=clock) as world:
        swaps = Swaps(world)
        world.deputy.policy = lambda act: Verdict.ASK
        await swaps.yes(tool, **arguments)
        swaps.between(method, path, dies, after=written)
        with pytest.raises(Killed):
            await swaps.act(tool, **arguments)
        clock.now += 30.0
        for _ in range(2):
            await swaps.act(tool, **arguments)
        assert unlike(whole, everything(world.sandbox)) == []
        assert await world.deputy.pending("alice") == []


@pytest.mark.parametrize("name", LATE)
async def test_run_after_an_interrupted_one_keeps_changes_in_between(swaps: Swaps, name: str) -> None:
    tool, arguments, method, path, change = LATE[name]
    await swaps.yes(tool, **arguments)
    swaps.between(method, path, dies)
    with pytest.raises(Killed):
        await swaps.act(tool, **arguments)
    await change(swaps)
    for _ in range(2):
        with pytest.raises((OutcomeUnknown, Conflict)):
            await swaps.act(tool, **arguments)
    assert unlike(await another_world(change), everything(swaps.world.sandbox)) == []


async def test_starring_and_own_events_need_no_approval_after_mail_naming_their_values(swaps: Swaps) -> None:
    head = b"From: Eve <eve@evil.test>\r\nTo: alice@example.test\r\nSubject: ask bob@example.test"
    raw = head + b"\r\n\r\nAt 10:00 Europe/Berlin"
    swaps.world.sandbox._world.mailbox("alice@example.test").add(raw, ["INBOX", "UNREAD"], int(NOW * 1000))
    [mail] = (await swaps.world.act("gmail_search_emails", query="from:eve"))["items"]
    await swaps.world.act("gmail_get_email", message_id=mail["id"])
    await swaps.act("gmail_update_emails", query="from:bob", action="star")
    await swaps.act("calendar_create_event", title="Call", start="2026-12-01T10:00", end="1h")


SO_ALREADY: Final[dict[str, dict[str, Any]]] = {
    "calendar_update_event": {"event_id": "holiday0001", "title": "Day off", "start": "2026-12-07"},
    "calendar_respond_to_event": {"event_id": STAND_UP, "response": "accepted"},
    "calendar_share_calendar": {"who": BOB, "role": "reader", "calendar": TEAM},
    "calendar_manage_calendar": {"action": "update", "calendar": TEAM, "title": "Team", "time_zone": "Europe/Berlin"},
    "gmail_set_signature": {"body": ""},
    "gmail_set_vacation": {"enabled": False},
    "gmail_manage_label": {"action": "create", "name": "travel"},
    "gmail_update_emails": {"query": "from:bob", "action": "untrash"},
}


@pytest.mark.parametrize("tool", SO_ALREADY)
async def test_unchanged_state_asks_and_writes_nothing(swaps: Swaps, tool: str) -> None:
    assert isinstance(await swaps.act(tool, **SO_ALREADY[tool]), dict)
    assert swaps.world.wire.writes == []


UNASKED: Final[dict[str, dict[str, Any]]] = {
    "calendar_create_event": {"title": "Plan", "start": "2026-12-01T10:00", "end": "1h"},
    "calendar_update_event": {"event_id": FOCUS, "title": "Read", "start": "2026-12-02T10:00"},
    "calendar_manage_calendar": {"action": "create", "title": "Side"},
    "gmail_manage_label": {"action": "rename", "name": "Travel", "new_name": "Trips"},
    "gmail_manage_filter": {"action": "create", "from": "bob", "add_labels": ["Travel"]},
    "gmail_update_emails": {"query": "from:bob", "action": "star"},
}


@pytest.mark.parametrize("tool", UNASKED)
async def test_private_reversible_act_runs_immediately(swaps: Swaps, tool: str) -> None:
    before = everything(swaps.world.sandbox)
    await swaps.act(tool, **UNASKED[tool])
    assert everything(swaps.world.sandbox) != before
    [can] = await swaps.deputy.undoable("alice")
    await swaps.deputy.decide(await of_undo(swaps, can.id), "approve", by="alice") if tool in ASKED_BACK else None
    await swaps.deputy.undo("alice", can.id)
    assert unlike(before, everything(swaps.world.sandbox)) == []


ASKED_BACK: Final = {  # their way back deletes
    "calendar_create_event",
    "calendar_manage_calendar",
    "gmail_manage_filter",
}


async def of_undo(swaps: Swaps, act: str) -> Approval:
    with pytest.raises(ApprovalRequired) as asked:
        await swaps.deputy.undo("alice", act)
    assert asked.value.approval
    return asked.value.approval
