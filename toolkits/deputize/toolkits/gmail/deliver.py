"""Sending at most once. Gmail has no idempotency key, so there are two ways.

Who may write drafts sends in two steps: a draft is made, its id is noted, and sending consumes it. After a lost answer
or a crash the draft tells: gone means sent, still there means not sent. What is sent is always the mail itself and not
what the draft is by then: a draft is sent with its content, once, and not at all by a later run if somebody has written
another one over it, which its message's id tells. Who may only send has one step; after a lost
answer the mail is looked for by a header of its own, where reading is allowed, and else the outcome stays unknown. A
miss proves nothing, since Gmail is not known to keep such headers; nor does it keep a Message-ID of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deputize.core import ActKey, Request, Run, SaveNote, Wait
from deputize.core.errors import DeputizeError, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.toolkits._shared.mail.compose import base64url
from deputize.toolkits._shared.mail.parts import header, unpacked
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import DRAFTING, READING
from deputize.toolkits.gmail.query import search

UPLOAD: Final = "gmail_upload"
"""The root under which Gmail takes whole mails."""

KEY_HEADER = "X-Deputize-Key"
"""Marks what an act made, by sixteen characters of its key. Recipients can see it; "" leaves it out."""

MAX_IN_JSON: Final = 3_750_000
"""Bytes of a mail that go as JSON, which makes 5 MB of them; larger ones are uploaded."""

_A_MOMENT = 2.0  # seconds that a draft may be shown after it was sent
_SKEW = 300.0  # seconds by which Gmail's clock and ours may differ
_LOST = (OutcomeUnknown, ProviderUnavailable)

Noted = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A mail that is ready to leave. ``thread``: the conversation it joins, "" for a new one."""

    content: bytes
    key: ActKey
    thread: str = ""
    recipient: str = ""

    @property
    def about(self) -> dict[str, str]:
        """What Gmail is told beside the mail itself."""
        return {"threadId": self.thread} if self.thread else {}

    def to(self, path: str, *, draft: bool = False) -> Request:
        """The POST that takes it to ``path``: as JSON while it is small, else as an upload."""
        if len(self.content) > MAX_IN_JSON:
            return _upload(self.content, {"message": self.about} if draft and self.about else self.about, path)
        message = {"raw": base64url(self.content), **self.about}
        return Request("POST", path, json={"message": message} if draft else message)


def send_of(draft: str, content: bytes, thread: str) -> Request:
    """drafts.send: this mail leaves, and uses up the draft, whatever that holds by then."""
    about = {"threadId": thread} if thread else {}
    path = "/users/me/drafts/send"
    if len(content) > MAX_IN_JSON:
        return _upload(content, {"id": draft, "message": about}, path)
    return Request("POST", path, json={"id": draft, "message": {"raw": base64url(content), **about}})


def _upload(content: bytes, about: Mapping[str, Any], path: str) -> Request:
    """A mail as it is; with what is to be said about it, as the second of two parts (RFC 2387)."""
    made = Request("POST", path, api=UPLOAD)
    if not about:
        return replace(made, params={"uploadType": "media"}, content=content, content_type="message/rfc822")
    line = hashlib.sha256(content).hexdigest()
    head = f"--{line}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
    whole = f"{head}--{line}\r\nContent-Type: message/rfc822\r\n\r\n".encode() + content + f"\r\n--{line}--".encode()
    kind = f"multipart/related; boundary={line}"
    return replace(made, params={"uploadType": "multipart"}, content=whole, content_type=kind)


def mark(key: ActKey) -> tuple[tuple[str, str], ...]:
    """The header by which a mail of this act can be found."""
    return ((KEY_HEADER, key.hex[:16]),) if KEY_HEADER else ()


def deliver(mail: Outgoing, run: Run) -> Asks[dict[str, Any]]:
    """Send it. The answer has ``threadId``, and ``id`` unless Gmail cannot say which mail it became.

    Raises `OutcomeUnknown` if it may have been sent and nobody can tell.
    """
    if run.noted:
        return (yield from commit(run.noted, run.granted))
    if not run.granted & DRAFTING:
        return (yield from _in_one_step(mail, run.granted))
    draft = yield from _prepared(mail)
    noted = noted_of(draft, run.now)
    yield SaveNote(noted)
    return (yield from commit(noted, run.granted, mail.content))


def noted_of(draft: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What a later run has to know of a draft that is about to be sent: which one, and which mail it was."""
    message = draft["message"]
    thread, kept = str(message.get("threadId", "")), str(message.get("id", ""))
    return {"draft": draft["id"], "message": kept, "thread": thread, "at": now}


def commit(noted: Mapping[str, Any], granted: frozenset[str], content: bytes | None = None) -> Asks[dict[str, Any]]:
    """Send the mail whose draft is noted. ``content``: its bytes, where nobody has tried yet.

    After a lost answer, and in a later run, the draft is looked for, and the mail is sent once more only if the draft
    is still there and still that mail. Raises `OutcomeUnknown` where it is another one.
    """
    fresh = content is not None
    for _ in range(2):
        if not fresh and (sent := (yield from _already(noted, granted))) is not None:
            return sent
        try:
            content = content if content is not None else (yield from _content(noted))
        except NotFound:
            return (yield from _sent_in(noted, granted))
        try:
            return dict((yield send_of(noted["draft"], content, noted["thread"])))
        except _LOST as lost:
            _raise_if_unsent(lost)
        except NotFound:
            if fresh:
                raise
            return (yield from _sent_in(noted, granted))
        fresh = False
    if (sent := (yield from _already(noted, granted))) is not None:
        return sent
    raise _unknown()


def _raise_if_unsent(lost: DeputizeError) -> None:
    if isinstance(lost, ProviderUnavailable) and not lost.sent:
        raise lost


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "Gmail's answer was lost: the email may have been sent.", hint="Look in Sent before sending it again."
    )


def _content(noted: Mapping[str, Any]) -> Asks[bytes]:
    """The bytes of a draft that is still the mail that was noted."""
    message = (yield api.get_draft(noted["draft"], "raw")).get("message") or {}
    _raise_if_other(message, noted)
    return unpacked(str(message.get("raw", "")))


def _raise_if_other(message: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
    if not noted.get("message") or message.get("id") != noted["message"]:
        raise OutcomeUnknown(
            "The draft has been changed since its sending began, and was not sent again.",
            hint="Look at the draft, and in Sent.",
        )


def _already(noted: Mapping[str, Any], granted: frozenset[str]) -> Asks[dict[str, Any] | None]:
    """What a draft became, or None if it is still there. Asked twice: a sent draft may be shown a moment longer."""
    message: Mapping[str, Any] = {}
    try:
        for look in range(2):
            if look:
                yield Wait(_A_MOMENT)
            found = yield api.get_draft(noted["draft"], "minimal")
            message = found.get("message") or {}
            if "SENT" in (message.get("labelIds") or ()):
                return dict(message)
    except NotFound:
        return (yield from _sent_in(noted, granted))
    except DeputizeError:
        raise _unknown() from None
    _raise_if_other(message, noted)
    return None


def _sent_in(noted: Mapping[str, Any], granted: frozenset[str]) -> Asks[dict[str, Any]]:
    """The mail that a draft became, as far as can be told: its conversation's newest that was sent since."""
    thread = str(noted.get("thread", ""))
    if thread and granted & READING:
        try:
            found = yield api.get_thread(thread, "minimal")
        except DeputizeError:
            return {"threadId": thread}
        since = (float(noted.get("at", 0)) - _SKEW) * 1000
        for message in reversed(found.get("messages") or ()):
            if "SENT" in (message.get("labelIds") or ()) and int(message.get("internalDate", 0)) >= since:
                return dict(message)
    return {"threadId": thread}


def _in_one_step(mail: Outgoing, granted: frozenset[str]) -> Asks[dict[str, Any]]:
    try:
        return dict((yield mail.to("/users/me/messages/send")))
    except _LOST as lost:
        _raise_if_unsent(lost)
    sent = (yield from _marked_among_sent(mail)) if KEY_HEADER and granted & READING else None
    if sent is None:
        raise _unknown()
    return sent


def _marked_among_sent(mail: Outgoing) -> Asks[dict[str, Any] | None]:
    q = search("in:sent newer_than:1d", to=[mail.recipient])
    try:
        page = yield Request("GET", "/users/me/messages", params={"q": q, "maxResults": api.AT_ONCE})
        ids = [str(one["id"]) for one in page.get("messages") or ()]
        answers = yield from api.many([api.get_message(one, "metadata", (KEY_HEADER,)) for one in ids])
    except DeputizeError:
        return None
    return next((dict(one) for one in answers if isinstance(one, dict) and _has_mark(one, mail.key)), None)


def _has_mark(message: Mapping[str, Any], key: ActKey) -> bool:
    headers: Sequence[Mapping[str, Any]] = (message.get("payload") or {}).get("headers") or ()
    return bool(KEY_HEADER) and header(headers, KEY_HEADER) == key.hex[:16]


# ----------------------------------------------------------------- drafts


def _prepared(mail: Outgoing) -> Asks[dict[str, Any]]:
    """A draft of the mail. A lost answer costs at most a draft that stays behind: nothing is sent yet."""
    try:
        return (yield from create_draft(mail, prepares=True))
    except OutcomeUnknown:
        pass
    try:
        return (yield from create_draft(mail, prepares=True))
    except OutcomeUnknown:
        raise ProviderUnavailable("Gmail is not available now; nothing was sent.") from None


def create_draft(mail: Outgoing, *, prepares: bool = False) -> Asks[dict[str, Any]]:
    """drafts.create. After a lost answer the draft is looked for; raises `OutcomeUnknown` if it is not found.

    ``prepares``: the draft is only a step towards sending.
    """
    try:
        return dict((yield replace(mail.to("/users/me/drafts", draft=True), prepares=prepares)))
    except _LOST as lost:
        _raise_if_unsent(lost)
    made = yield from _marked_draft(mail.key)
    if made is None:
        raise OutcomeUnknown("Gmail's answer was lost: the draft may have been saved.", hint="List the drafts.")
    return made


def _marked_draft(key: ActKey) -> Asks[dict[str, Any] | None]:
    try:
        page = yield Request("GET", "/users/me/drafts", params={"maxResults": api.AT_ONCE})
        ids = [str(one["id"]) for one in page.get("drafts") or ()]
        answers = yield from api.many([api.get_draft(one, "metadata") for one in ids])
    except DeputizeError:
        return None
    made = (dict(one) for one in answers if isinstance(one, dict))
    return next((one for one in made if _has_mark(one.get("message") or {}, key)), None)
