"""Calendar: share calendars."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Danger, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import NotFound
from deputize.core.tools.tool import Arguments
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
from deputize.toolkits.calendar.calendar_rows import ROLES
from deputize.toolkits.calendar.rows import own_address
from deputize.toolkits.calendar.show_fields import calendar_text, undo_call

_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
Role = Literal["free_busy", "reader", "writer", "owner", "none"]
_GOOGLES: Final = {ours: theirs for theirs, ours in ROLES.items() if theirs != "writerWithoutPrivateAccess"}


def _share_needs(arguments: Arguments) -> Sequence[Need]:
    writes = ("delete",) if arguments["role"] == "none" else ("insert", "patch")
    ask = shares("insert").ask
    return [replace(shares("list"), ask=ask), *map(shares, writes), *names(arguments["calendar"])]


def _share_effect(arguments: Arguments) -> Effect:
    many = "@" not in arguments["who"]  # everybody, or a whole domain
    grave = arguments["role"] in ("owner", "none") or many
    return Effect.SENDS | Effect.DESTRUCTIVE if grave else Effect.SENDS


Who = Annotated[str, Field(description="email, domain or public")]


@CALENDAR.tool(
    needs=_share_needs,
    effect=_share_effect,
    gravest=Effect.SENDS | Effect.DESTRUCTIVE,
    toolset="more",
)
def share_calendar(who: Who, role: Role, calendar: CalendarName = PRIMARY, notify: bool = True, *, run: Run) -> Steps:
    """Share a calendar with an email, a domain or "public"; role none stops sharing."""
    scope = _scope(who)
    (found,) = yield from api.calendar_ids(calendar)
    before = yield from _find_rule(found, scope)
    was = ROLES.get(str((before or {}).get("role", "none")), "none")
    result: Json = {"who": scope.get("value", "public"), "role": role, "was": was}
    if was == role:
        return {**result, "summary": "It is so already."}
    home = own_address(run.account).rpartition("@")[2]
    seen = _audience(scope, home)
    yield _make_preview(scope, was, role, (found, calendar), seen, notify, before)
    at, rule_id = {"calendar": found}, str((before or {}).get("id") or _rule_id(scope))
    params = {"sendNotifications": notify}
    only = {"if-match": str(before["etag"])} if before and before.get("etag") else {}
    path, of = "/calendars/{calendar}/acl/{rule}", {**at, "rule": rule_id}
    if role == "none":
        try:
            yield Request("DELETE", path, at=of, headers=only, repeat="idem")
        except NotFound:
            return {**result, "summary": "It is not shared with them, or no longer."}
    elif before and was != "none":
        body = {"role": _GOOGLES[role]}
        yield Request("PATCH", path, at=of, json=body, params=params, headers=only, repeat="idem")
    else:
        rule: Json = {"role": _GOOGLES[role], "scope": scope}
        yield Request("POST", "/calendars/{calendar}/acl", at=at, json=rule, params=params, repeat="idem")
    args = {"who": scope.get("value", "public"), "role": was, "calendar": calendar}
    undo = Undo("calendar_share_calendar", args, {"access": ACCESS[role]})
    if before and before.get("role") not in _GOOGLES.values():
        return result  # no call restores the earlier role
    yield undo
    return result | {"undo": undo_call(undo)}


ACCESS: Final[Mapping[str, str]] = {
    "none": "none",
    "free_busy": "sees when you are busy, nothing else",
    "reader": "sees all events",
    "writer": "sees, makes, changes and deletes all events",
    "owner": "owns it as you do: may share it with others, and delete it",
}


def _audience(scope: Mapping[str, str], home: str) -> Audience:
    """Return the audience of a scope. ``home``: the user's own domain; the audience of other domains is unknown."""
    if scope["type"] == "domain":
        return Audience.ORGANISATION if scope["value"] == home else Audience.UNKNOWN
    return Audience.PUBLIC if scope["type"] == "default" else Audience.PEOPLE


def _make_preview(
    scope: Mapping[str, str],
    was: str,
    role: str,
    place: tuple[str, str],
    seen: Audience,
    notify: bool,
    before: Mapping[str, Any] | None,
) -> Preview:
    """Return the preview of the new access beside the earlier one."""
    (calendar, name), who = place, scope.get("value", "")
    named = {"default": "everybody", "domain": f"everybody of {who}"}.get(scope["type"], who)
    mail = role != "none" and scope["type"] == "user"
    roles = list(ACCESS)
    if role == "none":
        what = "Stop sharing this calendar"
    else:
        what = "Share this calendar" if was == "none" else "Change access to this calendar"
    return Preview(
        what,
        audience=seen,
        dangers=[Danger.GIVES_ACCESS] if roles.index(role) > roles.index(was) else (),
        people=[who] if scope["type"] == "user" else [],
        where=calendar_text(name, calendar),
        access=Change(ACCESS[was], ACCESS[role]),
        who=named,
        mail=("to them" if notify else "to nobody") if mail else None,
        pins={"calendar": calendar, "rule": (before or {}).get("id"), "scope": scope, "role": _GOOGLES[role]},
    )


def _scope(who: str) -> dict[str, str]:
    """Return Google's scope of a rule."""
    name = who.strip().lower()
    if name == "public":
        return {"type": "default"}
    if _DOMAIN.fullmatch(name):
        return {"type": "domain", "value": name}
    return {"type": "user", "value": person(who, "who").address.lower()}


def _rule_id(scope: Mapping[str, str]) -> str:
    return f"{scope['type']}:{scope['value']}" if "value" in scope else scope["type"]


def _find_rule(calendar: str, scope: Mapping[str, str]) -> Asks[Mapping[str, Any] | None]:
    """Find the rule of this scope. Groups have addresses like people."""
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
