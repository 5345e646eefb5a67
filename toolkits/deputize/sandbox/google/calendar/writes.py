"""Event writes. An event is stored once, on its organizer's calendar; its guests' calendars show the same."""

from __future__ import annotations

import re
import secrets
from typing import Any

from deputize.sandbox.google.calendar.call import ROLES, Call, Json, invalid
from deputize.sandbox.google.calendar.events import _data, find_record, is_free, view
from deputize.sandbox.google.calendar.times import check_time, lines, span
from deputize.sandbox.google.errors import api_error
from deputize.sandbox.http_types import Refused

ID = re.compile(r"[a-v0-9]{5,1024}")
ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")
KINDS = ("default", "focusTime", "outOfOffice", "workingLocation", "birthday")
VALUES = {
    "transparency": ("opaque", "transparent"),
    "visibility": ("default", "public", "private", "confidential"),
    "colorId": tuple(map(str, range(1, 12))),
    "status": ("confirmed", "tentative", "cancelled"),
}
OWN = ("reminders", "colorId")
IGNORED = {
    *("kind", "etag", "htmlLink", "created", "updated", "creator", "organizer", "hangoutLink", "iCalUID", "locked"),
    *("recurringEventId", "originalStartTime", "sequence", "attendeesOmitted"),
}


def insert(call: Call) -> Json:
    calendar = call.calendar("writer")
    body = call.body()
    id = body.pop("id", None) or secrets.token_hex(13)
    if not ID.fullmatch(id):
        raise invalid("Invalid resource id value.")
    if any(r["id"] == id and r["home"] == call.calendar_id() for r in call.store["events"].values()):
        raise Refused(api_error(409, "The requested identifier already exists.", "duplicate", "ALREADY_EXISTS"))
    owner = {"email": calendar["owner"] if call.calendar_id() == calendar["owner"] else call.calendar_id()}
    now = f"{call.now:%Y-%m-%dT%H:%M:%S.000Z}"
    data: Json = {"status": "confirmed", "eventType": "default", "created": now, "updated": now, "sequence": 0}
    data |= {"creator": {"email": call.person.email}, "organizer": owner, "iCalUID": f"{id}@google.com"}
    data = _apply_body(call, calendar, data, body)
    record: Json = {
        "id": id,
        "home": call.calendar_id(),
        "data": data,
        "exceptions": {},
        "own": {},
        "removed": [],
        "etag": 0,
    }
    call.store["events"][f"{call.calendar_id()}/{id}"] = record
    _record_change(call, record, data, "invited")
    seen = view(call, calendar, record, {**data, "id": id})
    if "conferenceData" in seen:
        pending = {**seen["conferenceData"]["createRequest"], "status": {"statusCode": "pending"}}
        seen = {name: value for name, value in seen.items() if name != "hangoutLink"}
        seen["conferenceData"] = {"createRequest": pending}
    return seen


def patch(call: Call) -> Json:
    """Run events.patch: replace arrays, merge objects, and remove fields that are null."""
    calendar = call.calendar("writer")
    record, occurrence = find_record(call)
    _check_etag(call, record)
    body = {name: value for name, value in call.body().items() if name != "id"}
    before = _data(record, occurrence)
    if before["status"] == "cancelled" and body.get("status") != "confirmed":
        raise Refused(api_error(403, "Forbidden", "forbidden", "PERMISSION_DENIED"))
    if not _organizes(call, record):
        return _as_guest(call, calendar, record, occurrence, body)
    if body.get("attendeesOmitted"):
        body["attendees"] = _with_answers(before, body.get("attendees") or [])
    elif body.get("attendees"):
        body["attendees"] = [_merge(_entry(before, one["email"]), one) for one in body["attendees"]]
    kept = {
        name: value for name, value in before.items() if name not in ("id", "recurringEventId", "originalStartTime")
    }
    data = _apply_body(call, calendar, kept, body)
    data["updated"] = f"{call.now:%Y-%m-%dT%H:%M:%S.000Z}"
    if occurrence:
        record["exceptions"][occurrence] = {name: v for name, v in data.items() if v != record["data"].get(name)}
        record["exceptions"][occurrence] |= {name: data[name] for name in ("start", "end")}
    else:
        record["data"] = data
    _record_change(call, record, data, "cancelled" if data["status"] == "cancelled" else "updated")
    return view(call, calendar, record, _data(record, occurrence))


def delete(call: Call) -> None:
    """Run events.delete: for all, or, if called by a guest, from the guest's own calendar."""
    call.calendar("writer")
    record, occurrence = find_record(call)
    data = _data(record, occurrence)
    if data["status"] == "cancelled":
        raise Refused(api_error(410, "Resource has been deleted", "deleted", "NOT_FOUND"))
    _check_etag(call, record)
    if not _organizes(call, record):
        record["removed"].append(call.calendar_id())
        _respond(record["data"], call.calendar_id(), {"responseStatus": "declined"})
    elif occurrence:
        record["exceptions"][occurrence] = {"status": "cancelled"}
    else:
        record["data"]["status"] = "cancelled"
        record["data"]["updated"] = f"{call.now:%Y-%m-%dT%H:%M:%S.000Z}"
    _record_change(call, record, data, "cancelled")


def move(call: Call) -> Json:
    """Run events.move: make another calendar the organizer's."""
    call.calendar("writer")
    record, occurrence = find_record(call)
    if occurrence or not _organizes(call, record) or record["data"]["eventType"] != "default":
        raise invalid("Only default events can be moved, by their organizer, and a series as a whole.")
    target = call.calendar_id(call.ask.one("destination"))
    calendar = call.calendar("writer", call.ask.one("destination"))
    del call.store["events"][f"{record['home']}/{record['id']}"]
    record["home"] = target
    record["data"]["organizer"] = {"email": target}
    call.store["events"][f"{target}/{record['id']}"] = record
    _record_change(call, record, record["data"], "updated")
    return view(call, calendar, record, {**record["data"], "id": record["id"]})


# ----------------------------------------------------------------- stored fields


def _apply_body(call: Call, calendar: Json, data: Json, body: Json) -> Json:
    """Return the event with the body's fields. Raise 400 if one is invalid."""
    if "eventType" in body and "eventType" in data and data.get("start") and body["eventType"] != data["eventType"]:
        raise invalid("Event type cannot be changed.")
    for name in body.keys() & VALUES.keys():
        if body[name] is not None and body[name] not in VALUES[name]:
            raise invalid(f"Invalid value for {name}.")
    if body.get("eventType", "default") not in KINDS:
        raise invalid("Invalid event type.")
    body = {name: value for name, value in body.items() if name not in IGNORED and name != "conferenceData"} | (
        _conference(call, body) if "conferenceData" in body else {}
    )
    data = _merge(data, body)
    data["start"], data["end"] = (check_time(data.get(name), calendar["timeZone"]) for name in ("start", "end"))
    if ("date" in data["start"]) != ("date" in data["end"]):
        raise invalid("Start and end times must either both be date or both be dateTime.")
    begins, ends = span(data, call.zone(calendar))
    if ends < begins or ("date" in data["start"] and ends == begins):
        raise invalid("The specified time range is empty.", "timeRangeEmpty")
    if "recurrence" in data:
        data["recurrence"] = lines(data)
        data = data if data["recurrence"] else {name: v for name, v in data.items() if name != "recurrence"}
    if "attendees" in data:
        data["attendees"] = [_room(call, data, _guest(one)) for one in data["attendees"]]
    overrides = (data.get("reminders") or {}).get("overrides") or []
    if len(overrides) > 5 or not all(0 <= one.get("minutes", -1) <= 40_320 for one in overrides):
        raise invalid("Invalid reminders.")
    return data


def _conference(call: Call, body: Json) -> Json:
    """Return the conference that a createRequest creates; ignored without conferenceDataVersion=1."""
    if call.ask.one("conferenceDataVersion") != "1":
        return {}
    wish = body["conferenceData"]
    if wish is None:
        return {"conferenceData": None, "hangoutLink": None}
    request = wish.get("createRequest") or {}
    if not request.get("requestId"):
        raise invalid("Invalid conference data.")
    link = f"https://meet.google.com/{request['requestId'][:3]}-{request['requestId'][3:7]}"
    made = {**request, "status": {"statusCode": "success"}}
    return {"conferenceData": {"createRequest": made, "conferenceId": link[-8:]}, "hangoutLink": link}


def _merge(old: Json, new: Json) -> Json:
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merge(merged[name], value)
        else:
            merged[name] = value
    return merged


def _guest(one: Json) -> Json:
    if not ADDRESS.fullmatch(str(one.get("email", ""))):
        raise invalid("Invalid attendee email.")
    kept = {name: value for name, value in one.items() if name not in ("self", "organizer")}
    return {"responseStatus": "needsAction", **kept}


def _room(call: Call, data: Json, guest: Json) -> Json:
    """Return a guest; a resource that was just invited accepts if it is free, else declines."""
    calendar = call.store["calendars"].get(guest["email"])
    if calendar is None or not guest["email"].endswith("@resource.calendar.google.com"):
        return guest
    if guest["responseStatus"] == "needsAction":
        begins, ends = span(data, call.zone(calendar))
        free = is_free(call, guest["email"], begins, ends, data["iCalUID"])
        guest = {**guest, "responseStatus": "accepted" if free else "declined"}
    return {**guest, "resource": True, "displayName": calendar["summary"]}


def _entry(data: Json, email: str) -> Json:
    return next((one for one in data.get("attendees", ()) if one["email"].lower() == email.lower()), {})


def _with_answers(data: Json, answers: list[Json]) -> list[Json]:
    given = {one.get("email", "").lower(): one for one in answers}
    return [_merge(one, given.get(one["email"].lower(), {})) for one in data.get("attendees", ())]


# ----------------------------------------------------------------- permissions


def _organizes(call: Call, record: Json) -> bool:
    home = call.store["calendars"][record["home"]]
    at_home = call.calendar_id() == record["home"] and ROLES.index(call.role(home)) >= ROLES.index("writer")
    return at_home or bool(record["data"].get("guestsCanModify"))


def _as_guest(call: Call, calendar: Json, record: Json, occurrence: str, body: Json) -> Json:
    """Change a guest's own response, colour and reminders. Raise 403 for the organizer's fields."""
    if set(body) - {"attendees", "attendeesOmitted", *OWN}:
        raise Refused(
            api_error(
                403,
                "Shared properties can only be changed by the organizer of the event.",
                "forbiddenForNonOrganizer",
                "PERMISSION_DENIED",
            )
        )
    record["own"].setdefault(call.person.email, {}).update({name: body[name] for name in OWN if name in body})
    for one in body.get("attendees") or ():
        if one.get("email", "").lower() == call.calendar_id():
            data = _data(record, occurrence) if occurrence else record["data"]
            _respond(data, call.calendar_id(), {n: one[n] for n in ("responseStatus", "comment") if n in one})
            if occurrence:
                record["exceptions"].setdefault(occurrence, {})["attendees"] = data["attendees"]
    _record_change(call, record, record["data"], "answered")
    return view(call, calendar, record, _data(record, occurrence))


def _respond(data: Json, email: str, response: Json) -> None:
    data["attendees"] = [
        {**one, **response} if one["email"].lower() == email else one for one in data.get("attendees", ())
    ]


def _check_etag(call: Call, record: Json) -> None:
    wanted = call.ask.headers.get("if-match", "*")
    if wanted not in ("*", f'"{record["etag"]}"'):
        raise Refused(api_error(412, "Precondition Failed", "conditionNotMet", "FAILED_PRECONDITION"))


def _record_change(call: Call, record: Json, data: Json, what: str) -> None:
    """Set a new etag, and record to whom Google would have written."""
    call.store["etag"] += 1
    record["etag"] = call.store["etag"]
    told, own = call.ask.one("sendUpdates", "none"), call.person.email
    people: list[Any] = [one["email"] for one in data.get("attendees", ()) if one["email"] != own]
    if told == "externalOnly":
        people = [one for one in people if one.partition("@")[2] != own.partition("@")[2]]
    if told != "none":
        call.store["mails"] += [{"event": record["id"], "to": one, "about": what} for one in people]
