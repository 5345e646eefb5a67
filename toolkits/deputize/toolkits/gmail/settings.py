"""Gmail: read settings, set the out-of-office reply and signatures. Forwarding is read only, on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Effect, Need, Note, Request, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times as _time
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.compose import written
from deputize.toolkits._shared.mail.headers import person, single_line
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside, window
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GMAIL, KNOWS_LABELS, knows_settings, knows_to_set, sets
from deputize.toolkits.gmail.filters import LIST_FILTERS, filter_row
from deputize.toolkits.gmail.names import labels_in, own_names

Section = Literal["vacation", "filters", "forwarding", "aliases"]
Audience = Literal["everyone", "contacts", "domain"]
VACATION: Final = Request("GET", "/users/me/settings/vacation")
_TEXT: Final = 1_200  # bytes of a text in a result
_UNDO: Final = 1_000  # characters of a text that an undo carries


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    methods = {
        "vacation": ["getVacation"],
        "filters": ["filters.list"],
        "forwarding": ["getAutoForwarding", "forwardingAddresses.list"],
        "aliases": ["sendAs.list"],
    }[arguments["section"] or "vacation"]
    return list(map(knows_settings, methods))


@GMAIL.tool(needs=_get_needs, toolset="more")
def get_settings(section: Section, *, run: Run) -> Steps:
    """Read out-of-office, filters, forwarding or aliases and signatures."""
    match section:
        case "vacation":
            return _vacation((yield VACATION))
        case "filters":
            return (yield from _filters(run.granted))
        case "forwarding":
            return (yield from _forwarding())
        case "aliases":
            rows = Rows()
            found = (yield api.list_aliases()).get("sendAs") or ()
            done = next((n for n, one in enumerate(found) if not rows.add(_alias(one))), len(found))
            return {"items": rows.items, "truncated": done < len(found)}


def _filters(granted: frozenset[str]) -> Asks[dict[str, Any]]:
    listed = yield LIST_FILTERS
    names = own_names(labels_in((yield api.LIST_LABELS))) if granted & KNOWS_LABELS.accepts else {}
    found, rows = listed.get("filter") or (), Rows()
    done = next((n for n, one in enumerate(found) if not rows.add(filter_row(one, names))), len(found))
    return {"items": rows.items, "total": len(found), "truncated": done < len(found)}


def _forwarding() -> Asks[dict[str, Any]]:
    outside = Outside()
    automatic, listed = yield [
        Request("GET", "/users/me/settings/autoForwarding"),
        Request("GET", "/users/me/settings/forwardingAddresses"),
    ]
    addresses = [
        {"email": outside.line(str(one.get("forwardingEmail") or ""), 100), "status": one.get("verificationStatus")}
        for one in listed.get("forwardingAddresses") or ()
    ]
    return {
        "enabled": bool(automatic.get("enabled")),
        "to": outside.line(str(automatic.get("emailAddress") or ""), 100),
        "then": automatic.get("disposition", ""),
        "addresses": addresses[:20],
    }


def _alias(one: Mapping[str, Any]) -> dict[str, Any]:
    outside = Outside()
    signature, _ = window(read_html(str(one.get("signature") or "")).text, 0, 400)
    return {
        "email": outside.line(str(one.get("sendAsEmail") or ""), 100),
        "name": outside.line(str(one.get("displayName") or ""), 60),
        "primary": bool(one.get("isPrimary")),
        "default": bool(one.get("isDefault")),
        "status": "" if one.get("isPrimary") else str(one.get("verificationStatus") or ""),
        "signature": outside.text(signature),
    }


# ----------------------------------------------------------------- out of office


def _vacation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The out-of-office reply as results say it."""
    outside = Outside()
    text = _body(settings)
    piece, more = window(outside.text(text), 0, _TEXT)
    shown: dict[str, Any] = {
        "enabled": bool(settings.get("enableAutoReply")),
        "subject": outside.line(str(settings.get("responseSubject") or ""), 200),
        "body": piece,
        "after": _time.full(settings.get("startTime") or ""),
        "before": _time.full(settings.get("endTime") or ""),
        "audience": _audience(settings),
    }
    return shown | ({"total_chars": len(text)} if more else {})


def _body(settings: Mapping[str, Any]) -> str:
    markup = str(settings.get("responseBodyHtml") or "")
    return read_html(markup).text if markup else str(settings.get("responseBodyPlainText") or "")


def _audience(settings: Mapping[str, Any]) -> Audience:
    if settings.get("restrictToContacts"):
        return "contacts"
    return "domain" if settings.get("restrictToDomain") else "everyone"


@GMAIL.tool(needs=[knows_to_set("getVacation"), sets("updateVacation")], effect=Effect.SENDS, toolset="more")
def set_vacation(
    enabled: bool,
    subject: str | None = None,
    body: str | None = None,
    after: Annotated[str | None, Field(description="ISO date/time or -7d")] = None,
    before: str | None = None,
    audience: Audience = "everyone",
    *,
    run: Run,
) -> Steps:
    """Turn the out-of-office reply on or off."""
    start, end = _time.window(after, before, run.now)
    old = run.noted["old"] if run.noted else dict((yield VACATION))
    new = {name: value for name, value in old.items() if name in _KEPT} | {"enableAutoReply": enabled}
    if subject is not None:
        new["responseSubject"] = single_line(subject, "subject")
    if body is not None:
        text = written(body, "auto")
        new |= {"responseBodyPlainText": text.plain, "responseBodyHtml": text.html}
    if enabled:
        if not _body(new).strip() and not new.get("responseSubject"):
            raise InvalidInput("body: needed to turn the out-of-office reply on.")
        new |= {"restrictToContacts": audience == "contacts", "restrictToDomain": audience == "domain"}
        new |= {"startTime": str(start * 1000)} if start is not None else {}
        new |= {"endTime": str(end * 1000)} if end is not None else {}
    if not run.noted:
        yield Note({"old": {name: value for name, value in old.items() if name in (*_KEPT, *_MORE)}})
    saved = yield Request("PUT", "/users/me/settings/vacation", json=new, repeat="idem")
    return _vacation({**new, **saved}) | {"undo": _undo(old), "summary": "On." if enabled else "Off."}


_KEPT: Final = ("responseSubject", "responseBodyPlainText", "responseBodyHtml")
_MORE: Final = ("enableAutoReply", "restrictToContacts", "restrictToDomain", "startTime", "endTime")


def _undo(old: Mapping[str, Any]) -> dict[str, Any] | None:
    """The call that brings back what was; None where its text would not be exactly the same."""
    text = str(old.get("responseBodyPlainText") or "")
    if len(text) > _UNDO or (old.get("responseBodyHtml") and not text):
        return None
    args: dict[str, Any] = {"enabled": bool(old.get("enableAutoReply")), "audience": _audience(old), "body": text}
    args |= {"subject": str(old.get("responseSubject") or "")}
    times = {"after": _time.full(old.get("startTime") or ""), "before": _time.full(old.get("endTime") or "")}
    return {"tool": "gmail_set_vacation", "args": args | {name: at for name, at in times.items() if at}}


# ----------------------------------------------------------------- signatures


@GMAIL.tool(needs=[knows_to_set("sendAs.list"), sets("sendAs.patch")], effect=Effect.SENDS, toolset="more")
def set_signature(
    body: Annotated[str, Field(description="HTML or plain; empty removes")],
    send_as: str | None = None,
) -> Steps:
    """Replace the signature of an alias (default: the main address)."""
    known = (yield api.list_aliases()).get("sendAs") or ()
    wanted = person(send_as, "send_as").key if send_as else ""
    named = [one for one in known if str(one.get("sendAsEmail", "")).lower() == wanted]
    found = next(iter(named if wanted else [one for one in known if one.get("isPrimary")]), None)
    if found is None:
        listed = ", ".join(str(one.get("sendAsEmail")) for one in known[:10])
        raise InvalidInput("send_as: this account cannot send from that address.", hint=f"It has: {listed}.")
    address, old = str(found["sendAsEmail"]), str(found.get("signature") or "")
    markup = _markup(body)
    result: dict[str, Any] = {"send_as": address, "signature": read_html(markup).text[:_TEXT]}
    if markup == old:
        return result | {"summary": "It is so already."}
    path = "/users/me/settings/sendAs/{address}"
    yield Request("PATCH", path, at={"address": address}, json={"signature": markup}, repeat="idem")
    undo = {"tool": "gmail_set_signature", "args": {"body": old, "send_as": address}}
    return result | ({"undo": undo} if len(old) <= _UNDO else {}) | {"summary": "Replaced."}


def _markup(body: str) -> str:
    """A signature as Gmail keeps it. Raises `InvalidInput` for one that would load something from elsewhere."""
    if not body.strip():
        return ""
    if "<" in body and ">" in body:
        return written(body, "html").html
    return written(body, "auto").html if body.strip() else ""
