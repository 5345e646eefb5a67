"""users.history and the profile of the Gmail API."""

from __future__ import annotations

from deputize.sandbox.google.gmail.call import Call, invalid, not_found, page
from deputize.sandbox.google.gmail.mailbox import FIRST_HISTORY, Change, Json

KINDS = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}


def profile(call: Call) -> Json:
    mails = call.box.mails.values()
    return {
        "emailAddress": call.box.owner,
        "messagesTotal": len(mails),
        "threadsTotal": len({mail.thread_id for mail in mails}),
        "historyId": str(call.box.history_id),
    }


def list_(call: Call) -> Json:
    """Run history.list: changes after ``startHistoryId``. Raise 404 if that is older than the history."""
    since = call.ask.one("startHistoryId")
    if not since.isdecimal():
        raise invalid("Missing or invalid startHistoryId")
    if int(since) < FIRST_HISTORY:
        raise not_found()
    kinds = {KINDS.get(kind, "") for kind in call.ask.every("historyTypes")} or set(KINDS.values())
    label = call.ask.one("labelId")
    changes = [
        change
        for change in call.box.history
        if change.id > int(since) and change.kind in kinds and (not label or label in change.labels + change.touched)
    ]
    rows, more = page(call, changes)
    listed: Json = {"history": [_history_record(change) for change in rows]} if rows else {}
    return listed | more | {"historyId": str(call.box.history_id)}


def _history_record(change: Change) -> Json:
    mail = {"id": change.mail, "threadId": change.thread}
    entry: Json = {"message": mail | {"labelIds": change.labels}}
    if change.touched:
        entry["labelIds"] = change.touched
    return {"id": str(change.id), "messages": [mail], change.kind: [entry]}
