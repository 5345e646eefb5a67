"""Sending at most once. Gmail has no idempotency key, so there are two ways.

With a scope for drafts, a mail is sent in two steps: create a draft and note its id, then send it, which consumes the
draft. After a lost response or a crash, a missing draft means sent and a present one means not sent. The request always
carries the mail itself, whatever the draft contains by then. A later run does not send if somebody has overwritten the
draft, which the id of its message reveals.

With gmail.send alone there is one step. After a lost response, deputize searches for the mail by a header of its own if
it may read mail; otherwise the outcome stays unknown. A failed search proves nothing: Gmail may drop such headers, and
it replaces deputize's Message-ID.
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
from deputize.toolkits._shared.mail.parts import decode_base64, header
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import DRAFTING, READING
from deputize.toolkits.gmail.query import build_query

UPLOAD: Final = "gmail_upload"
"""The API root for uploads of whole mails."""

KEY_HEADER = "X-Deputize-Key"
"""Header with sixteen characters of the act's key. Recipients can see it; "" leaves it out."""

MAX_IN_JSON: Final = 3_750_000
"""Largest mail, in bytes, that is sent as JSON (5 MB once encoded); larger ones are uploaded."""

_A_MOMENT = 2.0  # seconds that Gmail may still return a draft after it was sent
_SKEW = 300.0  # seconds by which Gmail's clock and ours may differ
_LOST = (OutcomeUnknown, ProviderUnavailable)

Noted = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A mail ready to be sent. ``thread``: the conversation that it joins, "" for a new one."""

    content: bytes
    key: ActKey
    thread: str = ""
    recipient: str = ""

    @property
    def thread_fields(self) -> dict[str, str]:
        return {"threadId": self.thread} if self.thread else {}

    def request_to(self, path: str, *, draft: bool = False) -> Request:
        """Return the POST of this mail to ``path``, as JSON if it is small, else as an upload."""
        if len(self.content) > MAX_IN_JSON:
            fields = self.thread_fields
            return _upload(self.content, {"message": fields} if draft and fields else fields, path)
        message = {"raw": base64url(self.content), **self.thread_fields}
        return Request("POST", path, json={"message": message} if draft else message)


def send_request(draft: str, content: bytes, thread: str) -> Request:
    """Return a drafts.send request that sends ``content`` and consumes the draft, even if its content changed."""
    about = {"threadId": thread} if thread else {}
    path = "/users/me/drafts/send"
    if len(content) > MAX_IN_JSON:
        return _upload(content, {"id": draft, "message": about}, path)
    return Request("POST", path, json={"id": draft, "message": {"raw": base64url(content), **about}})


def _upload(content: bytes, about: Mapping[str, Any], path: str) -> Request:
    """Return an upload of a mail. Metadata precedes the mail in a multipart body (RFC 2387)."""
    made = Request("POST", path, api=UPLOAD)
    if not about:
        return replace(made, params={"uploadType": "media"}, content=content, content_type="message/rfc822")
    line = hashlib.sha256(content).hexdigest()
    head = f"--{line}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
    whole = f"{head}--{line}\r\nContent-Type: message/rfc822\r\n\r\n".encode() + content + f"\r\n--{line}--".encode()
    kind = f"multipart/related; boundary={line}"
    return replace(made, params={"uploadType": "multipart"}, content=whole, content_type=kind)


def key_header(key: ActKey) -> tuple[tuple[str, str], ...]:
    """Return the header by which a mail of this act can be found."""
    return ((KEY_HEADER, key.hex[:16]),) if KEY_HEADER else ()


def deliver(mail: Outgoing, run: Run) -> Asks[dict[str, Any]]:
    """Send a mail. The response has ``threadId``, and ``id`` unless Gmail cannot say which message it became.

    Raises `OutcomeUnknown` if it may have been sent and this cannot be determined.
    """
    if run.noted:
        return (yield from commit(run.noted, run.granted))
    if not run.granted & DRAFTING:
        return (yield from _send_directly(mail, run.granted))
    draft = yield from _prepare_draft(mail)
    noted = make_note(draft, run.now)
    yield SaveNote(noted)
    return (yield from commit(noted, run.granted, mail.content))


def make_note(draft: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the note with which a later run can finish sending a draft."""
    message = draft["message"]
    thread, kept = str(message.get("threadId", "")), str(message.get("id", ""))
    return {"draft": draft["id"], "message": kept, "thread": thread, "at": now}


def commit(noted: Mapping[str, Any], granted: frozenset[str], content: bytes | None = None) -> Asks[dict[str, Any]]:
    """Send the mail of a noted draft. ``content``: its bytes if no attempt was made yet.

    After a lost response, and in a later run, the mail is sent again only if the draft still exists and is unchanged.
    Raises `OutcomeUnknown` if the draft was changed.
    """
    fresh = content is not None
    for _ in range(2):
        if not fresh and (sent := (yield from _find_sent(noted, granted))) is not None:
            return sent
        try:
            content = content if content is not None else (yield from _load_content(noted))
        except NotFound:
            return (yield from _guess_sent(noted, granted))
        try:
            return dict((yield send_request(noted["draft"], content, noted["thread"])))
        except _LOST as lost:
            _raise_if_unsent(lost)
        except NotFound:
            if fresh:
                raise
            return (yield from _guess_sent(noted, granted))
        fresh = False
    if (sent := (yield from _find_sent(noted, granted))) is not None:
        return sent
    raise _outcome_unknown()


def _raise_if_unsent(lost: DeputizeError) -> None:
    if isinstance(lost, ProviderUnavailable) and not lost.sent:
        raise lost


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "Gmail's answer was lost: the email may have been sent.", hint="Look in Sent before sending it again."
    )


def _load_content(noted: Mapping[str, Any]) -> Asks[bytes]:
    """Load the bytes of the draft. Raises `OutcomeUnknown` if it was changed."""
    message = (yield api.get_draft(noted["draft"], "raw")).get("message") or {}
    _raise_if_other(message, noted)
    return decode_base64(str(message.get("raw", "")))


def _raise_if_other(message: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
    if not noted.get("message") or message.get("id") != noted["message"]:
        raise OutcomeUnknown(
            "The draft has been changed since its sending began, and was not sent again.",
            hint="Look at the draft, and in Sent.",
        )


def _find_sent(noted: Mapping[str, Any], granted: frozenset[str]) -> Asks[dict[str, Any] | None]:
    """Return the message that the draft became, or None if it still exists. Gmail may lag for a moment."""
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
        return (yield from _guess_sent(noted, granted))
    except DeputizeError:
        raise _outcome_unknown() from None
    _raise_if_other(message, noted)
    return None


def _guess_sent(noted: Mapping[str, Any], granted: frozenset[str]) -> Asks[dict[str, Any]]:
    """Return the newest message sent in the conversation since the note, or only its ``threadId``."""
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


def _send_directly(mail: Outgoing, granted: frozenset[str]) -> Asks[dict[str, Any]]:
    try:
        return dict((yield mail.request_to("/users/me/messages/send")))
    except _LOST as lost:
        _raise_if_unsent(lost)
    sent = (yield from _find_marked_mail(mail)) if KEY_HEADER and granted & READING else None
    if sent is None:
        raise _outcome_unknown()
    return sent


def _find_marked_mail(mail: Outgoing) -> Asks[dict[str, Any] | None]:
    q = build_query("in:sent newer_than:1d", to=[mail.recipient])
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


def _prepare_draft(mail: Outgoing) -> Asks[dict[str, Any]]:
    """Create a draft of the mail, with one retry: an extra draft is harmless because nothing is sent yet."""
    try:
        return (yield from create_draft(mail, prepares=True))
    except OutcomeUnknown:
        pass
    try:
        return (yield from create_draft(mail, prepares=True))
    except OutcomeUnknown:
        raise ProviderUnavailable(
            "Gmail is not available now; nothing was sent.", hint="Call again in a minute."
        ) from None


def create_draft(mail: Outgoing, *, prepares: bool = False) -> Asks[dict[str, Any]]:
    """Create a draft. After a lost response, search for it. Raises `OutcomeUnknown` if it is not found.

    ``prepares``: True if the draft is only a step towards sending.
    """
    try:
        return dict((yield replace(mail.request_to("/users/me/drafts", draft=True), prepares=prepares)))
    except _LOST as lost:
        _raise_if_unsent(lost)
    made = yield from _find_marked_draft(mail.key)
    if made is None:
        raise OutcomeUnknown("Gmail's answer was lost: the draft may have been saved.", hint="List the drafts.")
    return made


def _find_marked_draft(key: ActKey) -> Asks[dict[str, Any] | None]:
    try:
        page = yield Request("GET", "/users/me/drafts", params={"maxResults": api.AT_ONCE})
        ids = [str(one["id"]) for one in page.get("drafts") or ()]
        answers = yield from api.many([api.get_draft(one, "metadata") for one in ids])
    except DeputizeError:
        return None
    made = (dict(one) for one in answers if isinstance(one, dict))
    return next((one for one in made if _has_mark(one.get("message") or {}, key)), None)
