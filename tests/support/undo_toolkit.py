"""A toolkit whose tools leave an undo, valid and invalid: one stars a mail."""

from __future__ import annotations

from deputize.core import Audience, Change, Effect, Preview, Request, Steps, Toolkit, Undo, any_of

MODIFY = "https://www.googleapis.com/auth/gmail.modify"
NEED = any_of(MODIFY, method="x")
KIT = Toolkit("gmail", provider="google", shows=True)


@KIT.tool(needs=[NEED], effect=Effect.WRITES)
def star(id: str, on: bool = True, undo: str = "gmail_star") -> Steps:
    """Star a mail, or not; ``undo``: by which tool that is put back."""
    now = sorted((yield Request("GET", "/users/me/messages/{id}", at={"id": id}))["labelIds"])
    then = sorted({*now, "STARRED"} if on else {*now} - {"STARRED"})
    yield Preview("Star a mail", audience=Audience.SELF, where="Inbox", labels=Change(now, then), pins={"mail": id})
    change = {"addLabelIds" if on else "removeLabelIds": ["STARRED"]}
    yield Request("POST", "/users/me/messages/{id}/modify", at={"id": id}, json=change)
    yield Undo(undo, {"id": id, "on": not on}, holds={"labels": then, "mail": id})
    return {"labels": then}


@KIT.tool(needs=[NEED], effect=Effect.WRITES)
def trash(id: str) -> Steps:
    """Throw a mail away, for good as far as this tool knows."""
    yield Preview("Throw a mail away", audience=Audience.SELF, mail=id)
    yield Request("POST", "/users/me/messages/{id}/trash", at={"id": id})
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.WRITES, shows=False)
def blind(id: str, on: bool = True) -> Steps:
    """Stars without a word."""
    yield Request("POST", "/users/me/messages/{id}/modify", at={"id": id}, json={"addLabelIds": ["STARRED"]})


@KIT.tool(needs=[NEED], effect=Effect.WRITES)
def strange(id: str) -> Steps:
    """Leaves a way back that cannot be kept."""
    yield Preview("Do nothing", audience=Audience.SELF)
    yield Undo("gmail_star", {"id": object()})


@KIT.tool(needs=[NEED], effect=Effect.WRITES)
def hasty(id: str) -> Steps:
    """Says how it is put back before it says what it does."""
    yield Undo("gmail_star", {"id": id})
    yield Preview("Do nothing", audience=Audience.SELF)
