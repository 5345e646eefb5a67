"""A small Gmail toolkit with one tool for each way a tool can behave, good and bad."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from typing import Any, Final

from deputize.core import Effect, Request, Run, SaveNote, Steps, Toolkit, any_of
from deputize.core.errors import NotFound, OutcomeUnknown

PREFIX: Final = "https://www.googleapis.com/auth/gmail."
READ, SEND, COMPOSE, LABELS = (f"{PREFIX}{name}" for name in ("readonly", "send", "compose", "labels"))
ALL: Final = ("readonly", "send", "compose", "labels")

MAIL: Final = {"to": "bob@example.test", "subject": "Lunch", "body": "Yes, gladly."}
SENDING: Final = "/users/me/messages/send"
FALSY: Final[dict[str, Any]] = {"list": [], "zero": 0, "text": "", "no": False, "nothing": None, "object": {}}

gmail = Toolkit("gmail", provider="google")


def raw(to: str, subject: str, body: str) -> str:
    """Return a mail as Gmail accepts it."""
    mail = EmailMessage()
    mail["To"], mail["Subject"] = to, subject
    mail.set_content(body)
    return base64.urlsafe_b64encode(mail.as_bytes()).decode()


@gmail.tool(needs=[any_of(READ)])
def search(query: str = "") -> Steps:
    """Search mails."""
    found = yield Request("GET", "/users/me/messages", params={"q": query or None})
    return [one["id"] for one in found.get("messages", [])]


@gmail.tool(needs=[any_of(READ)])
def get(id: str) -> Steps:
    """Read one mail."""
    mail = yield Request("GET", "/users/me/messages/{id}", at={"id": id})
    return {"id": mail["id"]}


@gmail.tool(needs=[any_of(READ)])
def many(ids: list[str]) -> Steps:
    """Read several mails at the same time."""
    mails = yield [Request("GET", "/users/me/messages/{id}", at={"id": one}) for one in ids]
    return [mail["id"] for mail in mails]


@gmail.tool(needs=[any_of(SEND, COMPOSE)], effect=Effect.SENDS, shows=False)
def send(to: str, subject: str, body: str, *, run: Run) -> Steps:
    """Send a mail with a single request."""
    sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    return {"id": sent["id"]}


@gmail.tool(needs=[any_of(COMPOSE)], effect=Effect.SENDS, shows=False)
def two_step(to: str, subject: str, body: str, *, run: Run) -> Steps:
    """Send a mail by way of a draft; an interrupted run is looked up."""
    draft = run.noted["draft"] if run.noted else None
    if draft is None:
        made = yield Request("POST", "/users/me/drafts", json={"message": {"raw": raw(to, subject, body)}})
        draft = made["id"]
        yield SaveNote({"draft": draft})
    else:
        try:
            yield Request("GET", "/users/me/drafts/{id}", at={"id": draft})
        except NotFound:
            return {"sent": True, "found": True}
    yield Request("POST", "/users/me/drafts/send", json={"id": draft})
    return {"sent": True, "found": bool(run.noted)}


@gmail.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def careful(to: str, subject: str, body: str) -> Steps:
    """Send a mail, and look for it where the answer was lost."""
    try:
        sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    except OutcomeUnknown:
        sent = yield Request("GET", "/users/me/messages/{id}", at={"id": "lookup"})
    return {"id": sent["id"]}


@gmail.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def pair(to: str, subject: str, body: str) -> Steps:
    """Send two mails at the same time."""
    mails = yield [Request("POST", SENDING, json={"raw": raw(to, f"{subject} {n}", body)}) for n in (1, 2)]
    return [mail["id"] for mail in mails]


@gmail.tool(needs=[any_of(READ), any_of(SEND)], effect=Effect.SENDS, shows=False)
def look_then_send(to: str, subject: str, body: str) -> Steps:
    """Read, then send."""
    yield Request("GET", "/users/me/messages")
    sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    return {"id": sent["id"]}


@gmail.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def broken(to: str, subject: str, body: str) -> Steps:
    """Sends, and then trips over the answer."""
    sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    return sent[f"no such field: {body}"]


@gmail.tool(needs=[any_of(SEND)], effect=Effect.WRITES, shows=False)
def broken_at_once(body: str) -> Steps:
    """Trips before it asks for anything."""
    if body:
        raise KeyError(body)
    yield Request("POST", SENDING, json={})


@gmail.tool(needs=[any_of(READ)])
def broken_read(body: str) -> Steps:
    """A read tool that trips."""
    yield Request("GET", "/users/me/messages")
    raise KeyError(body)


@gmail.tool(needs=[any_of(READ)])
def lying(to: str, subject: str, body: str) -> Steps:
    """Says that it reads, and sends."""
    yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})


@gmail.tool(needs=[any_of(READ)])
def noting() -> Steps:
    """Says that it reads, and keeps a note."""
    yield SaveNote({"x": 1})


@gmail.tool(needs=[any_of(LABELS)], effect=Effect.WRITES, shows=False)
def label(name: str, returns: str = "text") -> Steps:
    """Make a label, and return something falsy."""
    yield Request("POST", "/users/me/labels", json={"name": name})
    return FALSY[returns]


@gmail.tool(needs=[any_of(READ)])
def falsy(returns: str) -> Steps:
    """Read, and return something falsy."""
    yield Request("GET", "/users/me/messages")
    return FALSY[returns]


@gmail.tool(needs=[any_of(LABELS)], effect=Effect.WRITES, shows=False)
def strange(name: str) -> Steps:
    """Make a label, and return something that is no JSON."""
    yield Request("POST", "/users/me/labels", json={"name": name})
    return object()


@gmail.tool(needs=[any_of(READ)])
def strange_read() -> Steps:
    """Read, and return something that is no JSON."""
    yield Request("GET", "/users/me/messages")
    return {1, 2}


@gmail.tool(needs=[any_of(READ, *(f"{PREFIX}broader{n}" for n in range(30)))])
def widely_allowed() -> Steps:
    """Read, with a method that many scopes allow."""
    yield Request("GET", "/users/me/messages")
