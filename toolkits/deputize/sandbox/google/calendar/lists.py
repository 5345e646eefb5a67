"""Calendars: the user's list of them, making and naming them, who may use them, and the user's settings."""

from __future__ import annotations

import re
import secrets
import zlib

from deputize.sandbox.google.calendar.call import ROLES, Call, Json, invalid, missing, zone_named
from deputize.sandbox.google.errors import api_error
from deputize.sandbox.http_types import Refused

COLOUR = re.compile(r"#[0-9a-f]{6}")
SCOPES = ("default", "user", "group", "domain")


def list_(call: Call) -> Json:
    """calendarList.list"""
    mine: Json = call.store["lists"][call.person.email]
    rows = [_entry(call, id) for id in mine if id in call.store["calendars"]]
    rows = [one for one in rows if call.flag("showHidden") or not one.get("hidden")]
    page, more = call.page(rows, 100)
    return {"kind": "calendar#calendarList", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}


def insert(call: Call) -> Json:
    """calendarList.insert: subscribe"""
    body = call.body()
    id = str(body.get("id") or "")
    calendar = call.store["calendars"].get(id)
    if calendar is None or call.role(calendar) == "none":
        raise missing()
    mine = call.store["lists"][call.person.email]
    if id in mine:
        raise Refused(api_error(409, "The requested identifier already exists.", "duplicate", "ALREADY_EXISTS"))
    mine[id] = _look(call, body)
    return _entry(call, id)


def patch(call: Call) -> Json:
    """calendarList.patch"""
    id, mine = call.calendar_id(), call.store["lists"][call.person.email]
    if id not in mine:
        raise missing()
    mine[id] |= _look(call, call.body())
    return _entry(call, id)


def delete(call: Call) -> None:
    """calendarList.delete: unsubscribe"""
    id, mine = call.calendar_id(), call.store["lists"][call.person.email]
    if id == call.person.email:
        raise Refused(api_error(403, "Cannot remove the primary calendar.", "forbidden", "PERMISSION_DENIED"))
    if mine.pop(id, None) is None:
        raise missing()


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
    """calendars.insert"""
    body = call.body()
    if not body.get("summary"):
        raise invalid("Missing title.", "required")
    id = f"c_{secrets.token_hex(16)}@group.calendar.google.com"
    usual = call.store["settings"][call.person.email]["timezone"]
    call.store["calendars"][id] = {
        "summary": body["summary"],
        "description": body.get("description", ""),
        "timeZone": zone_named(body.get("timeZone") or usual).key,
        "owner": call.person.email,
        "acl": [],
        "free_busy": False,
        "made_by_app": True,
    }
    call.store["lists"][call.person.email][id] = {}
    return _calendar(call, id)


def read(call: Call) -> Json:
    """calendars.get"""
    call.calendar("freeBusyReader")
    return _calendar(call, call.calendar_id())


def change(call: Call) -> Json:
    """calendars.patch"""
    calendar = call.calendar("owner")
    if call.ask.headers.get("if-match", "*") not in ("*", _etag(calendar)):
        raise Refused(api_error(412, "Precondition Failed", "conditionNotMet", "FAILED_PRECONDITION"))
    body = call.body()
    if body.get("timeZone"):
        zone_named(body["timeZone"])
    calendar |= {name: body[name] for name in ("summary", "description", "timeZone") if body.get(name) is not None}
    call.store["calendars"][call.calendar_id()] = calendar
    return _calendar(call, call.calendar_id())


def _calendar(call: Call, id: str) -> Json:
    kept = call.store["calendars"][id]
    described = {"description": kept["description"]} if kept.get("description") else {}
    named = {name: kept[name] for name in ("summary", "timeZone")}
    return {"kind": "calendar#calendar", "etag": _etag(kept), "id": id, **named, **described}


def _etag(calendar: Json) -> str:
    """Of what calendars.patch changes."""
    said = "\0".join(str(calendar.get(name, "")) for name in ("summary", "description", "timeZone"))
    return f'"{zlib.crc32(said.encode())}"'


# ----------------------------------------------------------------- access rules


def rules(call: Call) -> Json:
    """acl.list"""
    calendar = call.calendar("owner")
    page, more = call.page([_owner(calendar), *calendar["acl"]], 100)
    return {"kind": "calendar#acl", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}


def add_rule(call: Call) -> Json:
    """acl.insert"""
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
    """acl.patch"""
    calendar, body = call.calendar("owner"), call.body()
    if body.get("role", "reader") not in ROLES:
        raise invalid("Invalid role.")
    for rule in calendar["acl"]:
        if rule["id"] == call.ids["ruleId"]:
            rule["role"] = body.get("role", rule["role"])
            return dict(rule)
    raise missing()


def remove_rule(call: Call) -> None:
    """acl.delete"""
    calendar = call.calendar("owner")
    kept = [one for one in calendar["acl"] if one["id"] != call.ids["ruleId"]]
    if len(kept) == len(calendar["acl"]):
        raise missing()
    calendar["acl"] = kept


def _owner(calendar: Json) -> Json:
    who = calendar["owner"]
    return {"kind": "calendar#aclRule", "id": f"user:{who}", "scope": {"type": "user", "value": who}, "role": "owner"}


def settings(call: Call) -> Json:
    """settings.list"""
    mine = call.store["settings"][call.person.email]
    rows = [{"kind": "calendar#setting", "etag": '"1"', "id": id, "value": value} for id, value in mine.items()]
    page, more = call.page(rows, 100)
    return {"kind": "calendar#settings", "etag": '"1"', "items": page, **(more or {"nextSyncToken": "sync-1"})}
