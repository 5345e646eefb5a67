"""Salesforce: calls, tasks, events and notes on records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Audience, Effect, Instant, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.times import clock, moment
from deputize.toolkits._shared.when import parse_length
from deputize.toolkits._shared.zone import days_in_zone, in_zone
from deputize.toolkits.salesforce import preview
from deputize.toolkits.salesforce.base import (
    API,
    DATA,
    SALESFORCE,
    Asks,
    Json,
    ask_zone,
    is_id,
    no_record,
    rows_of,
    the_day,
)
from deputize.toolkits.salesforce.delete import AS_CREATED
from deputize.toolkits.salesforce.describe import owner_id
from deputize.toolkits.salesforce.idempotent_create import Noted, creation, make_once
from deputize.toolkits.salesforce.soql import select, text

Kind = Literal["call", "task", "event", "note"]


def _effect(arguments: Arguments) -> Effect:
    """Return the effect: SENDS for an event, for another owner, and for a record that colleagues read."""
    others = arguments["kind"] == "event" or (arguments["owner"] or "me").strip().lower() != "me"
    found = others or arguments["contact_or_lead"] or arguments["account_or_opportunity"]
    return Effect.WRITES | Effect.SENDS if found else Effect.WRITES


@SALESFORCE.tool(
    needs=[API],
    effect=_effect,
    gravest=Effect.WRITES | Effect.SENDS,
)
def log_activity(
    kind: Kind,
    subject: Annotated[str, Field(min_length=1, max_length=255)],
    description: Annotated[str | None, Field(max_length=32_000)] = None,
    contact_or_lead: Annotated[str | None, Field(description="id or name")] = None,
    account_or_opportunity: Annotated[str | None, Field(description="id or name")] = None,
    due_date: Annotated[str | None, Field(description="date, today or +2d")] = None,
    start: Annotated[str | None, Field(description="time of an event")] = None,
    end: str | None = None,
    duration_minutes: Annotated[int | None, Field(ge=0, le=1440)] = None,
    status: str | None = None,
    priority: str | None = None,
    call_result: str | None = None,
    owner: Annotated[str | None, Field(description="me, name or id")] = None,
    *,
    run: Run,
) -> Steps:
    """Log a call, or create a task, event or note on records."""
    what = (yield from _record(account_or_opportunity, *_WHAT_KINDS)) if account_or_opportunity else None
    who = (yield from _record(contact_or_lead, *_WHO_KINDS, at=what)) if contact_or_lead else None
    if who and not who.startswith(("003", "00Q")):
        raise InvalidInput(
            "contact_or_lead: not the id of a contact or lead.", hint="salesforce_search finds contacts and leads."
        )
    if kind == "note":
        if any((due_date, start, end, duration_minutes, status, priority, call_result, owner)):
            raise InvalidInput(
                "kind=note only takes subject, description and a record.",
                hint="Leave out the others, or use kind=task.",
            )
        parent = what or who
        if parent is None:
            raise InvalidInput(
                "kind=note needs contact_or_lead or account_or_opportunity.", hint="Name the record of the note."
            )
        return (yield from _write_note(subject, description or "", parent, run.account, run.noted, run.now))
    if kind == "event":
        run = yield from in_zone(run, ask_zone, start=start, end=end)
    run = yield from days_in_zone(run, ask_zone, due_date=due_date)
    times = _times(kind, due_date, start, end, duration_minutes, run)
    values = {"Subject": subject, "Description": description, "WhoId": who, "WhatId": what, **times}
    if owner:
        values["OwnerId"] = yield from owner_id(owner, run.account)
    if kind == "call":
        values |= {"TaskSubtype": "Call", "Status": status or "Completed", "CallDisposition": call_result}
    elif call_result:
        raise InvalidInput("call_result: only for kind=call.", hint="Leave out call_result.")
    elif kind == "task":
        values |= {"Status": status or "Not Started"}
    if kind != "event":
        values["Priority"] = priority or "Normal"
    elif status or priority:
        raise InvalidInput("status, priority: only for calls and tasks.", hint="Leave out status and priority.")
    given = {name: value for name, value in values.items() if value is not None}
    source = "Event" if kind == "event" else "Task"
    sent = bool(run.noted and run.noted.get("sent"))
    if not sent:
        yield (yield from _show(kind, given, run.account))
    id, existed = yield from make_once(creation(source, given), _alike(given), run.account, run.noted, run.now)
    undo = {"object": source, "id": id}
    if not sent:
        yield Undo("salesforce_delete_record", undo, AS_CREATED)
    told = {"tool": "salesforce_delete_record", "args": undo}
    return {"id": id, "kind": kind, "subject": subject, "undo": told} | ({"existed": True} if existed else {})


_WHAT_KINDS: Final = ("account_or_opportunity", ("Account", "Opportunity"))
_WHO_KINDS: Final = ("contact_or_lead", ("Contact", "Lead"))


def _record(wanted: str, field: str, kinds: Sequence[str], at: str | None = None) -> Asks[str]:
    """Return the id of a record by id or exact name. ``at``: the account of a contact, if several have the name.

    Raises `InvalidInput` with candidates unless exactly one record matches.
    """
    if is_id(wanted.strip()):
        return wanted.strip()
    shown = {"Contact": ("Id", "Name", "AccountId"), "Lead": ("Id", "Name", "Company")}
    found: list[tuple[str, Json]] = []
    for kind in kinds:
        same = select(shown.get(kind, ("Id", "Name")), kind, [f"Name = {text(wanted.strip())}"], limit=6)
        found += [(kind, row) for row in (yield from rows_of(same))]
    if len(found) > 1 and at:
        found = [(kind, row) for kind, row in found if row.get("AccountId") == at] or found
    if len(found) == 1:
        return str(found[0][1]["Id"])
    if not found:
        raise no_record(field, " or ".join(kinds), wanted)
    names = yield from preview.load_names([row["AccountId"] for _, row in found if row.get("AccountId")])
    told = ", ".join(_candidate(kind, row, names) for kind, row in found)
    raise InvalidInput(f"{field}: several records have this name.", hint=f"Use an id: {told}.")


def _candidate(kind: str, row: Json, names: Mapping[str, str]) -> str:
    place = names.get(str(row.get("AccountId")), str(row.get("Company") or ""))
    return f"{row['Id']} ({kind}{f' of {Outside().line(place, 60)}' if place else ''})"


_WHAT: Final[Mapping[Kind, str]] = {
    "call": "Log this call",
    "task": "Create this task",
    "event": "Create this event",
    "note": "Add this note to a record",
}
_PINNED: Final = ("StartDateTime", "EndDateTime", "CallDurationInSeconds")
"""Fields that the preview shows in other words."""
_LINKS: Final[Sequence[str]] = ("WhoId", "WhatId", "OwnerId", "LinkedEntityId")


def _show(kind: Kind, given: Json, account: Account) -> Asks[Preview]:
    """Return the preview with names of people and records. Only the user sees an own activity on no record."""
    links: Json = {name: given[name] for name in _LINKS if name in given}
    names = yield from preview.load_names(links.values())
    owner = links.get("OwnerId")
    seconds = given.get("CallDurationInSeconds")
    return Preview(
        _WHAT[kind],
        audience=Audience.ORGANISATION if kind == "event" else preview.audience_of(given, account, own=True),
        where="; ".join(_places(links, names)) or "Salesforce",
        people=preview.new_owners(given, account),
        subject=given.get("Subject"),
        text=given.get("Description") or None,
        owner=names.get(owner, owner) if owner else None,
        due=given.get("ActivityDate"),
        starts=Instant.of(given["StartDateTime"]) if kind == "event" else None,
        ends=Instant.of(given["EndDateTime"]) if kind == "event" else None,
        length=None if seconds is None else f"{seconds // 60} minutes",
        status=given.get("Status"),
        priority=given.get("Priority"),
        result=given.get("CallDisposition"),
        pins={**links, **{name: given[name] for name in _PINNED if name in given}},
    )


def _places(links: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Return the records to which the activity is attached."""
    ids = [id for name, id in links.items() if name != "OwnerId"]
    return [preview.record_text(preview.kind_of(id), id, names.get(id)) for id in ids]


def _times(
    kind: Kind, due: str | None, start: str | None, end: str | None, minutes: int | None, run: Run
) -> dict[str, Any]:
    if kind == "event":
        if start is None or (end is None) == (minutes is None):
            raise InvalidInput(
                "kind=event needs start, and end or duration_minutes.", hint="Such as start=tomorrow 15:00 and end=1h."
            )
        begins = moment(start, run.now, "start", run.zone)
        ends = _end(end, begins, run) if end else begins + timedelta(minutes=minutes or 0)
        if ends < begins:
            raise InvalidInput("end: must be later than start.", hint="Or give a length such as 30m.")
        return {"StartDateTime": begins.isoformat(), "EndDateTime": ends.isoformat()}
    if start or end:
        raise InvalidInput("start, end: only for kind=event.", hint="A task has due_date.")
    told = {"ActivityDate": the_day(due, run, "due_date")} if due else {}
    if minutes is None:
        return told
    if kind != "call":
        raise InvalidInput("duration_minutes: only for calls and events.", hint="Leave out duration_minutes.")
    return told | {"CallDurationInSeconds": minutes * 60}


def _end(text: str, begins: datetime, run: Run) -> datetime:
    """Return the end: a time, an hour of the day of the start, or a length such as 30m."""
    if (length := parse_length(text)) is not None:
        return begins + timedelta(days=length[0]) + length[1]
    if (hour := clock(text)) is not None:
        text = datetime.combine(begins.astimezone(run.zone).date(), hour).isoformat()
    return moment(text, run.now, "end", run.zone)


def _alike(given: Json) -> list[str]:
    """Return conditions that an equal activity meets."""
    return [f"{name} = {text(given[name])}" for name in ("Subject", "WhoId", "WhatId") if name in given]


def _write_note(title: str, body: str, parent: str, account: Account, noted: Noted, now: float) -> Asks[Json]:
    """Write a note, and the link to its record. If the org has no enhanced notes, write a plain note."""
    begun = bool(noted and (noted.get("sent") or noted.get("note")))
    if not begun:
        yield (yield from _show("note", {"Subject": title, "Description": body, "LinkedEntityId": parent}, account))
    made = yield from _create_note(title, body, parent, account, noted, now)
    if not begun:
        yield Undo("salesforce_delete_record", made["undo"]["args"], AS_CREATED)
    return made


def _create_note(title: str, body: str, parent: str, account: Account, noted: Noted, now: float) -> Asks[Json]:
    if noted and noted.get("kind") == "Note":
        return (yield from _plain(title, body, parent, account, noted, now))
    id = (noted or {}).get("note")
    if not id:
        request = creation("ContentNote", {"Title": title, "Content": body}, prepares=True)
        try:
            id, _ = yield from make_once(request, [f"Title = {text(title)}"], account, noted, now)
        except (NotFound, InvalidInput):
            return (yield from _plain(title, body, parent, account, None, now))
        yield SaveNote({"note": id})
    yield from _link_note(str(id), parent)
    return _note(str(id), title, "ContentNote")


def _plain(title: str, body: str, parent: str, account: Account, noted: Noted, now: float) -> Asks[Json]:
    request = creation("Note", {"Title": title, "Body": body, "ParentId": parent})
    alike = [f"Title = {text(title)}", f"ParentId = {text(parent)}"]
    id, _ = yield from make_once(request, alike, account, noted, now)
    return _note(id, title, "Note")


def _link_note(note: str, parent: str) -> Asks[None]:
    """Link a note to a record. Repeating the link changes nothing. A note that cannot be linked is deleted."""
    link = {"ContentDocumentId": note, "LinkedEntityId": parent, "ShareType": "V"}
    path, at = f"{DATA}/sobjects/{{object}}", {"object": "ContentDocumentLink"}
    try:
        yield Request("POST", path, at=at, json=link, repeat="idem")
    except Conflict:  # the link exists already: an answer was lost
        return
    except (InvalidInput, NotFound, ProviderUnavailable) as refused:
        there = yield from _is_linked(note, parent)
        if there:
            return
        if there is None or isinstance(refused, ProviderUnavailable):
            raise OutcomeUnknown(
                "The note was created, but Salesforce's answer was lost: it may not be linked to the record.",
                hint="Look at the record's notes before a new call.",
            ) from None
        yield from _delete_note(note)
        raise refused from None


def _is_linked(note: str, parent: str) -> Asks[bool | None]:
    """True if a note is linked to a record, None if unknown."""
    where = [f"ContentDocumentId = {text(note)}", f"LinkedEntityId = {text(parent)}"]
    try:
        return bool((yield from rows_of(select(("Id",), "ContentDocumentLink", where, limit=1))))
    except DeputizeError:
        return None


def _delete_note(note: str) -> Asks[None]:
    """Delete a note that only the user has seen. A failed deletion does no harm."""
    at = {"object": "ContentNote", "id": note}
    try:
        yield Request("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}", at=at, repeat="idem", prepares=True)
        yield SaveNote({"note": None, "sent": False})
    except DeputizeError:
        return


def _note(id: str, title: str, source: str) -> Json:
    undo = {"tool": "salesforce_delete_record", "args": {"object": source, "id": id}}
    return {"id": id, "kind": "note", "subject": title, "undo": undo}
