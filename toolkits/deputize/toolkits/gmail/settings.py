"""Gmail: read settings, set signatures. Forwarding deliberately cannot be changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Continuation, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import IfText, Offset, Raw
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import PART, digest
from deputize.toolkits._shared.mail.compose import render_body
from deputize.toolkits._shared.mail.headers import person
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GMAIL, KNOWS_LABELS, knows_settings, knows_to_set, sets
from deputize.toolkits.gmail.filters import LIST_FILTERS, filter_row
from deputize.toolkits.gmail.html_settings import check_replacement, stored_part
from deputize.toolkits.gmail.label_lookup import own_names, parse_labels
from deputize.toolkits.gmail.preview import undo_call
from deputize.toolkits.gmail.senders import SendAs
from deputize.toolkits.gmail.vacation import VACATION, vacation_row

Section = Literal["vacation", "filters", "forwarding", "aliases"]
_TEXT: Final = 1_200  # characters of a signature in a result
_IN_ROW: Final = 1_000  # bytes of a signature in a row
_ROW: Final = ("signature", "cut", "more")
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
def get_settings(
    section: Section,
    send_as: Annotated[str | None, Field(description="alias: its signature alone")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    *,
    run: Run,
) -> Steps:
    """Read out-of-office, filters, forwarding or aliases and signatures."""
    if (send_as and section != "aliases") or ((offset or raw) and not (send_as or section == "vacation")):
        raise InvalidInput(
            "send_as, offset, raw: only of a text.", hint="Give section=vacation, or section=aliases and send_as."
        )
    match section:
        case "vacation":
            return vacation_row((yield VACATION), offset, raw=raw)
        case "filters":
            return (yield from _list_filters(run.granted))
        case "forwarding":
            return (yield from _read_forwarding())
        case "aliases":
            rows = Rows()
            found = (yield api.list_aliases()).get("sendAs") or ()
            if send_as:
                return _alias_row(_find_alias(found, send_as), PART, offset, raw=raw)
            done = next((n for n, one in enumerate(found) if not rows.add(_alias_row(one))), len(found))
            return {"items": rows.items, "truncated": done < len(found)}


def _list_filters(granted: frozenset[str]) -> Asks[dict[str, Any]]:
    listed = yield LIST_FILTERS
    names = own_names(parse_labels((yield api.LIST_LABELS))) if granted & KNOWS_LABELS.accepts else {}
    found, rows = listed.get("filter") or (), Rows()
    done = next((n for n, one in enumerate(found) if not rows.add(filter_row(one, names))), len(found))
    return {"items": rows.items, "total": len(found), "truncated": done < len(found)}


def _read_forwarding() -> Asks[dict[str, Any]]:
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


def _alias_row(
    one: Mapping[str, Any], limit: int | None = _IN_ROW, offset: int = 0, *, raw: bool = False
) -> dict[str, Any]:
    """Return an address with its signature. ``limit``, ``offset`` and ``raw`` apply to the signature."""
    outside, email = Outside(), str(one.get("sendAsEmail") or "")
    more = Continuation("gmail_get_settings", section="aliases", send_as=email)
    text = stored_part(str(one.get("signature") or ""), outside, limit, more, offset, raw=raw, name="signature")
    text |= {"cut": True} if limit and "next_offset" in text else {}
    return {
        "email": outside.line(email, 100),
        "name": outside.line(str(one.get("displayName") or ""), 60),
        "primary": bool(one.get("isPrimary")),
        "default": bool(one.get("isDefault")),
        "status": "" if one.get("isPrimary") else str(one.get("verificationStatus") or ""),
        **({name: text[name] for name in _ROW if name in text} if limit else text),
    }


def _find_alias(known: Sequence[Mapping[str, Any]], send_as: str | None) -> Mapping[str, Any]:
    """Return the alias with this address, or the main alias. Raises `InvalidInput` with all addresses if unknown."""
    wanted = person(send_as, "send_as").key if send_as else ""
    named = [one for one in known if str(one.get("sendAsEmail", "")).lower() == wanted]
    found = next(iter(named if wanted else [one for one in known if one.get("isPrimary")]), None)
    if found is None:
        listed = ", ".join(str(one.get("sendAsEmail")) for one in known[:10])
        raise InvalidInput("send_as: this account cannot send from that address.", hint=f"It has: {listed}.")
    return found


# ----------------------------------------------------------------- signatures


@GMAIL.tool(
    needs=[knows_to_set("sendAs.list"), sets("sendAs.patch")],
    effect=Effect.SENDS,
    toolset="more",
)
def set_signature(
    body: Annotated[str, Field(description="HTML or plain; empty removes")],
    send_as: SendAs = None,
    if_text: IfText = None,
) -> Steps:
    """Replace the signature of an alias (default: the main address)."""
    found = _find_alias((yield api.list_aliases()).get("sendAs") or (), send_as)
    address, old = str(found["sendAsEmail"]), str(found.get("signature") or "")
    markup = _markup(body)
    result: dict[str, Any] = {"send_as": address, "signature": read_html(markup).text[:_TEXT]}
    if markup == old:
        return result | {"summary": "It is so already."}
    check_replacement("body", old, if_text, f"gmail_get_settings section=aliases send_as={address} raw=true", _IN_ROW)
    yield Preview(
        "Change the signature of your emails",
        audience=Audience.UNKNOWN,  # all later recipients
        destroys=bool(old) and old not in markup,
        address=address,
        signature=Change(read_html(old).text, read_html(markup).text),
        html=Change(old, markup),
        hidden_text=read_html(markup).unseen or None,
    )
    path = "/users/me/settings/sendAs/{address}"
    saved = yield Request("PATCH", path, at={"address": address}, json={"signature": markup}, repeat="idem")
    if not _is_reproducible(old):
        return result | {"summary": "Replaced."}
    now = str(saved.get("signature", markup))
    args = {"body": old, "send_as": address} | ({"if_text": digest(now)} if now else {})
    undo = Undo("gmail_set_signature", args, {"html": now})
    yield undo
    return result | {"undo": undo_call(undo), "summary": "Replaced."}


def _is_reproducible(signature: str) -> bool:
    """True if a call can write exactly this signature again."""
    try:
        return len(signature) <= _UNDO and _markup(signature) == signature
    except InvalidInput:
        return False


def _markup(body: str) -> str:
    """Return a signature as Gmail stores it. Raises `InvalidInput` if the signature would load remote content."""
    if not body.strip():
        return ""
    if "<" in body and ">" in body:
        return render_body(body, "html").html
    return render_body(body, "auto").html if body.strip() else ""
