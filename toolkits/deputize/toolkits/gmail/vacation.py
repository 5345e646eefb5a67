"""Gmail: the out-of-office reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Continuation, Effect, Instant, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times as _time
from deputize.toolkits._shared.arguments import IfText
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import PART, digest
from deputize.toolkits._shared.mail.compose import render_body
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.gmail.api import ask_zone
from deputize.toolkits.gmail.base import GMAIL, knows_to_set, sets
from deputize.toolkits.gmail.html_settings import as_stored, check_replacement, has_tags, stored_part
from deputize.toolkits.gmail.preview import Fields, changed_fields, loses, undo_call

Answered = Literal["everyone", "contacts", "domain"]
VACATION: Final = Request("GET", "/users/me/settings/vacation")
_UNDO: Final = 1_000  # characters of a text that an undo carries


def vacation_row(settings: Mapping[str, Any], offset: int = 0, *, raw: bool = False) -> dict[str, Any]:
    """Return the out-of-office reply as a row. ``offset`` and ``raw`` apply to the text."""
    outside = Outside()
    shown: dict[str, Any] = {
        "enabled": bool(settings.get("enableAutoReply")),
        "subject": outside.line(str(settings.get("responseSubject") or ""), 1_000),
        "after": _time.full(settings.get("startTime") or ""),
        "before": _time.full(settings.get("endTime") or ""),
        "audience": _audience(settings),
    }
    more = Continuation("gmail_get_settings", section="vacation")
    return shown | stored_part(_body(settings), outside, PART, more, offset, raw=raw, name="body")


def _body(settings: Mapping[str, Any]) -> str:
    return str(settings.get("responseBodyHtml") or settings.get("responseBodyPlainText") or "")


def _audience(settings: Mapping[str, Any]) -> Answered:
    if settings.get("restrictToContacts"):
        return "contacts"
    return "domain" if settings.get("restrictToDomain") else "everyone"


@GMAIL.tool(
    needs=[knows_to_set("getVacation"), sets("updateVacation")],
    effect=Effect.SENDS,
    toolset="more",
)
def set_vacation(
    enabled: bool,
    subject: Annotated[str | None, Field(description="default: as it is")] = None,
    body: Annotated[str | None, Field(description="Markdown or HTML; default: as it is")] = None,
    after: Annotated[str | None, Field(description="first time: ISO date/time or +1d")] = None,
    before: Annotated[str | None, Field(description="first time without it")] = None,
    audience: Answered = "everyone",
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Turn the out-of-office reply on or off."""
    run = yield from in_zone(run, ask_zone, after=after, before=before)
    start, end = _time.window(after, before, run.now, run.zone)
    now = dict((yield VACATION))
    old = run.noted["old"] if run.noted else now
    new = {name: value for name, value in old.items() if name in _KEPT} | {"enableAutoReply": enabled}
    if subject is not None:
        new["responseSubject"] = single_line(subject, "subject")
    if body is not None:
        text = as_stored(body)
        new |= {"responseBodyPlainText": text.plain, "responseBodyHtml": text.html}
        if not run.noted and _body(new) != _body(now):
            check_replacement("body", _body(now), if_text, "gmail_get_settings section=vacation raw=true")
    if enabled:
        if not _body(new).strip() and not new.get("responseSubject"):
            raise InvalidInput("body: needed to turn the out-of-office reply on.", hint="Add body.")
        new |= {"restrictToContacts": audience == "contacts", "restrictToDomain": audience == "domain"}
        new |= {"startTime": str(start * 1000)} if start is not None else {}
        new |= {"endTime": str(end * 1000)} if end is not None else {}
    if _is_unchanged(now, new):
        undo = {"undo": undo_call(_undo(old, {}))} if run.noted else {}
        return vacation_row({**new, **now}) | undo | {"summary": "It is so already."}
    yield _make_preview(now, new)
    yield SaveNote({"old": {name: value for name, value in old.items() if name in (*_KEPT, *_MORE)}})
    saved = {**new, **(yield Request("PUT", "/users/me/settings/vacation", json=new, repeat="idem"))}
    undo_step = _undo(old, saved)
    if undo_step:
        yield undo_step
    return vacation_row(saved) | {"undo": undo_call(undo_step), "summary": "On." if enabled else "Off."}


_KEPT: Final = ("responseSubject", "responseBodyPlainText", "responseBodyHtml")
_MORE: Final = ("enableAutoReply", "restrictToContacts", "restrictToDomain", "startTime", "endTime")
_SEEN_BY: Final = {"everyone": Audience.PUBLIC, "contacts": Audience.UNKNOWN, "domain": Audience.ORGANISATION}
_ANSWERED: Final = {
    "everyone": "everybody who writes to you",
    "contacts": "your contacts, when they write to you",
    "domain": "everybody of your domain who writes to you",
}


def _preview_audience(settings: Mapping[str, Any]) -> Audience:
    """Return the audience of the reply. The number of contacts cannot be read."""
    return _SEEN_BY[_audience(settings)] if settings.get("enableAutoReply") else Audience.SELF


def _make_preview(now: Mapping[str, Any], new: Mapping[str, Any]) -> Preview:
    """Return the preview: the new reply beside the current one. People who no longer get a reply count as audience."""
    fields = changed_fields(_reply_fields(now), _reply_fields(new))
    on, what = new["enableAutoReply"], "Change the automatic reply"
    if on != bool(now.get("enableAutoReply")):
        what = "Turn on the automatic reply" if on else "Turn off the automatic reply"
    return Preview(
        what,
        audience=max(_preview_audience(now), _preview_audience(new)),
        destroys=loses({name: fields[name] for name in ("subject", "text", "html")}),
        pins={name: new[name] for name in ("startTime", "endTime") if name in new},
        **fields,
    )


def _reply_fields(settings: Mapping[str, Any]) -> Fields:
    """Return the preview fields, word for word. HTML is included only if deputize did not generate it."""
    plain, markup = str(settings.get("responseBodyPlainText") or ""), str(settings.get("responseBodyHtml") or "")
    ours = bool(plain) and markup == render_body(plain, "auto").html
    on = bool(settings.get("enableAutoReply"))
    return {
        "automatic_reply": "on" if on else "off",
        "to": _ANSWERED[_audience(settings)] if on else None,
        "subject": str(settings.get("responseSubject") or "") or None,
        "text": plain or (read_html(markup).text if markup else None),
        "html": markup if markup and not ours else None,
        "hidden_text": (read_html(markup).unseen or None) if markup and not ours else None,
        "begins": _instant(settings.get("startTime") or ""),
        "ends": _instant(settings.get("endTime") or ""),
    }


def _instant(milliseconds: str) -> Instant | None:
    return Instant(int(milliseconds) / 1000) if _time.full(milliseconds) else None


def _is_unchanged(now: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True if the settings already have these values. Gmail stores no plain text beside HTML."""
    there, wanted = _reply_fields(now), _reply_fields(new)
    same_text = now.get("responseBodyHtml") == new.get("responseBodyHtml") and (
        bool(new.get("responseBodyHtml")) or there["text"] == wanted["text"]
    )
    return same_text and all(there[name] == wanted[name] for name in there.keys() - {"text", "html"})


def _undo(old: Mapping[str, Any], saved: Mapping[str, Any]) -> Undo | None:
    """Return the call that restores the earlier reply, or None if the restored text would differ."""
    text = str(old.get("responseBodyPlainText") or "")
    if len(text) > _UNDO or (old.get("responseBodyHtml") and not text) or has_tags(text):
        return None
    args: dict[str, Any] = {"enabled": bool(old.get("enableAutoReply")), "audience": _audience(old), "body": text}
    args |= {"subject": str(old.get("responseSubject") or "")}
    args |= {"if_text": digest(_body(saved))} if _body(saved) else {}
    times = {"after": _time.full(old.get("startTime") or ""), "before": _time.full(old.get("endTime") or "")}
    args |= {name: at for name, at in times.items() if at}
    left = {name: value for name, value in _reply_fields(saved).items() if value or name in ("subject", "text")}
    return Undo("gmail_set_vacation", args, left)
