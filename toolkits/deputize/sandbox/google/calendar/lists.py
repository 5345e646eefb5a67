"""The calendar list, calendars, access rules and settings."""

from __future__ import annotations

import re
import secrets
import zlib

from deputize.sandbox.google.calendar.call import ROLES, Call, Json, invalid, load_zone, not_found
from deputize.sandbox.google.errors import api_error
from deputize.sandbox.http_types import Refused

COLOUR = re.compile(r"#[0-9a-f]{6}")
SCOPES = ("default", "user", "group", "domain")


def list_(call: Call) -> Json:
    mine: Json = call.store["lists"][call.person.email]
    rows = [_entry(call, id) for id in mine if id in call.store["calendars"]]
    rows = [one for one in rows if call.flag("showHidden") or not one.get("hidden")]
    page, more = call.page(rows, 100)
    return {"kind": "calendar#calendarList", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}


def insert(call: Call) -> Json:
    """Run calendarList.insert: subscribe to a calendar."""
    body = call.body()
    id = str(body.get("id") or "")
    calendar = call.store["calendars"].get(id)
    if calendar is None or call.role(calendar) == "none":
        raise not_found()
    mine = call.store["lists"][call.person.email]
    if id in mine:
        raise Refused(api_error(409, "The requested identifier already exists.", "duplicate", "ALREADY_EXISTS"))
    mine[id] = _look(call, body)
    return _entry(call, id)


def patch(call: Call) -> Json:
    id, mine = call.calendar_id(), call.store["lists"][call.person.email]
    if id not in mine:
        raise not_found()
    mine[id] |= _look(call, call.body())
    return _entry(call, id)


def delete(call: Call) -> None:
    """Run calendarList.delete: unsubscribe from a calendar."""
    id, mine = call.calendar_id(), call.store["lists"][call.person.email]
    if id == call.person.email:
        raise Refused(api_error(403, "Cannot remove the primary calendar.", "forbidden", "PERMISSION_DENIED"))
    if mine.pop(id, None) is None:
        raise not_found()


def _look(call: Call, body: Json) -> Json:
    look: Json = {name: body[name] for name in ("hidden", "selected", "summaryOverride", "colorId") if name in body}
    if "backgroundColor" in body or "foregroundColor" in body:
        if not call.flag("colorRgbFormat"):
            raise invalid("RGB colours need colorRgbFormat.")
        look |= {name: body[name] for name in ("backgroundColor", "foregroundColor") if name in body}
        if not all(COLOUR.fullmatch(str(look[name])) for name in look if name.endswith("Color")):
            raise invalid("Invalid colour.")
    return look


def _entry(call: Call, id: str) -> Json:
    calendar = call.store["calendars"][id]
    described = {"description": calendar["description"]} if calendar.get("description") else {}
    return {
        "kind": "calendar#calendarListEntry",
        "etag": '"1"',
        "id": id,
        "summary": calendar["summary"],
        **described,
        "timeZone": calendar["timeZone"],
        "colorId": "14",
        "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000",
        **call.store["lists"][call.person.email][id],
        "accessRole": call.role(calendar),
        "defaultReminders": [],
        **({"primary": True} if id == call.person.email else {}),
    }


# ----------------------------------------------------------------- calendars


def make(call: Call) -> Json:
    body = call.body()
    if not body.get("summary"):
        raise invalid("Missing title.", "required")
    id = f"c_{secrets.token_hex(16)}@group.calendar.google.com"
    usual = call.store["settings"][call.person.email]["timezone"]
    call.store["calendars"][id] = {
        "summary": body["summary"],
        "description": body.get("description", ""),
        "timeZone": load_zone(body.get("timeZone") or usual).key,
        "owner": call.person.email,
        "acl": [],
        "free_busy": False,
        "made_by_app": True,
    }
    call.store["lists"][call.person.email][id] = {}
    return _calendar(call, id)


def read(call: Call) -> Json:
    call.calendar("freeBusyReader")
    return _calendar(call, call.calendar_id())


def change(call: Call) -> Json:
    calendar = call.calendar("owner")
    if call.ask.headers.get("if-match", "*") not in ("*", _etag(calendar)):
        raise Refused(api_error(412, "Precondition Failed", "conditionNotMet", "FAILED_PRECONDITION"))
    body = call.body()
    if body.get("timeZone"):
        load_zone(body["timeZone"])
    calendar |= {name: body[name] for name in ("summary", "description", "timeZone") if body.get(name) is not None}
    call.store["calendars"][call.calendar_id()] = calendar
    return _calendar(call, call.calendar_id())


def _calendar(call: Call, id: str) -> Json:
    kept = call.store["calendars"][id]
    described = {"description": kept["description"]} if kept.get("description") else {}
    named = {name: kept[name] for name in ("summary", "timeZone")}
    return {"kind": "calendar#calendar", "etag": _etag(kept), "id": id, **named, **described}


def _etag(calendar: Json) -> str:
    """Return an etag of the fields that calendars.patch changes."""
    said = "\0".join(str(calendar.get(name, "")) for name in ("summary", "description", "timeZone"))
    return f'"{zlib.crc32(said.encode())}"'


# ----------------------------------------------------------------- access rules


def rules(call: Call) -> Json:
    calendar = call.calendar("owner")
    page, more = call.page([_owner(calendar), *calendar["acl"]], 100)
    return {"kind": "calendar#acl", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}


def add_rule(call: Call) -> Json:
    calendar, body = call.calendar("owner"), call.body()
    scope = body.get("scope") or {}
    if body.get("role") not in ROLES or scope.get("type") not in SCOPES:
        raise invalid("Invalid rule.", "required")
    if (scope["type"] == "default") == bool(scope.get("value")):
        raise invalid("Invalid scope value.")
    id = f"{scope['type']}:{scope['value']}" if scope.get("value") else "default"
    rule = {"kind": "calendar#aclRule", "etag": '"1"', "id": id, "scope": scope, "role": body["role"]}
    calendar["acl"] = [one for one in calendar["acl"] if one["id"] != id] + [rule]
    return rule


def change_rule(call: Call) -> Json:
    calendar, body = call.calendar("owner"), call.body()
    if body.get("role", "reader") not in ROLES:
        raise invalid("Invalid role.")
    for rule in calendar["acl"]:
        if rule["id"] == call.ids["ruleId"]:
            rule["role"] = body.get("role", rule["role"])
            return dict(rule)
    raise not_found()


def remove_rule(call: Call) -> None:
    calendar = call.calendar("owner")
    kept = [one for one in calendar["acl"] if one["id"] != call.ids["ruleId"]]
    if len(kept) == len(calendar["acl"]):
        raise not_found()
    calendar["acl"] = kept


def _owner(calendar: Json) -> Json:
    who = calendar["owner"]
    return {"kind": "calendar#aclRule", "id": f"user:{who}", "scope": {"type": "user", "value": who}, "role": "owner"}


def settings(call: Call) -> Json:
    mine = call.store["settings"][call.person.email]
    rows = [{"kind": "calendar#setting", "etag": '"1"', "id": id, "value": value} for id, value in mine.items()]
    page, more = call.page(rows, 100)
    return {"kind": "calendar#settings", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}
