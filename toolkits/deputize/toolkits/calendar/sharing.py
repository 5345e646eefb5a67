"""Calendar: who may see and change a calendar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core import Effect, Need, Request, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import NotFound
from deputize.toolkits._shared.mail.headers import person
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    CALENDAR,
    PRIMARY,
    Asks,
    CalendarName,
    Json,
    names,
    shares,
)
from deputize.toolkits.calendar.rows import ROLES

_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
Role = Literal["free_busy", "reader", "writer", "owner", "none"]
_GOOGLES: Final = {ours: theirs for theirs, ours in ROLES.items() if theirs != "writerWithoutPrivateAccess"}


def _share_needs(arguments: Arguments) -> Sequence[Need]:
    writes = ("delete",) if arguments["role"] == "none" else ("insert", "patch")
    ask = shares("insert").ask
    return [replace(shares("list"), ask=ask), *map(shares, writes), *names(arguments["calendar"])]


def _share_effect(arguments: Arguments) -> Effect:
    many = "@" not in arguments["who"]  # everybody, or everybody of a domain
    grave = arguments["role"] in ("owner", "none") or many
    return Effect.SENDS | Effect.DESTRUCTIVE if grave else Effect.SENDS


@CALENDAR.tool(needs=_share_needs, effect=_share_effect, gravest=Effect.SENDS | Effect.DESTRUCTIVE, toolset="more")
def share_calendar(who: str, role: Role, calendar: CalendarName = PRIMARY, notify: bool = True) -> Steps:
    """Share a calendar with an email, a domain or "public"; role none stops sharing."""
    scope = _scope(who)
    (found,) = yield from api.calendar_ids(calendar)
    before = yield from _rule_for(found, scope)
    was = ROLES.get(str((before or {}).get("role", "none")), "none")
    result: Json = {"who": scope.get("value", "public"), "role": role, "was": was}
    if was == role:
        return {**result, "summary": "It is so already."}
    at, rule_id = {"calendar": found}, str((before or {}).get("id") or _rule_id(scope))
    params = {"sendNotifications": notify}
    if role == "none":
        try:
            yield Request("DELETE", "/calendars/{calendar}/acl/{rule}", at={**at, "rule": rule_id}, repeat="idem")
        except NotFound:
            return {**result, "summary": "It is not shared with them, or no longer."}
    elif before and was != "none":
        body = {"role": _GOOGLES[role]}
        path = "/calendars/{calendar}/acl/{rule}"
        yield Request("PATCH", path, at={**at, "rule": rule_id}, json=body, params=params, repeat="idem")
    else:
        rule: Json = {"role": _GOOGLES[role], "scope": scope}
        yield Request("POST", "/calendars/{calendar}/acl", at=at, json=rule, params=params, repeat="idem")
    undo = {"who": scope.get("value", "public"), "role": was, "calendar": calendar}
    return result | {"undo": {"tool": "calendar_share_calendar", "args": undo}}


def _scope(who: str) -> dict[str, str]:
    """Whom a rule is about, as Google says it."""
    name = who.strip().lower()
    if name == "public":
        return {"type": "default"}
    if _DOMAIN.fullmatch(name):
        return {"type": "domain", "value": name}
    return {"type": "user", "value": person(who, "who").address.lower()}


def _rule_id(scope: Mapping[str, str]) -> str:
    return f"{scope['type']}:{scope['value']}" if "value" in scope else scope["type"]


def _rule_for(calendar: str, scope: Mapping[str, str]) -> Asks[Mapping[str, Any] | None]:
    """The rule that is about them; groups are addressed like people."""
    token = ""
    for _ in range(8):
        page = yield list_rules(calendar, token)
        for rule in page.get("items") or ():
            of = rule.get("scope") or {}
            kinds = (scope["type"], "group") if scope["type"] == "user" else (scope["type"],)
            if of.get("type") in kinds and str(of.get("value", "")).lower() == scope.get("value", ""):
                return dict(rule)
        token = str(page.get("nextPageToken") or "")
        if not token:
            return None
    return None


def list_rules(calendar: str, token: str = "") -> Request:
    params = {"maxResults": 250} | ({"pageToken": token} if token else {})
    return Request("GET", "/calendars/{calendar}/acl", at={"calendar": calendar}, params=params)
