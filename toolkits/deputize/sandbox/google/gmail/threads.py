"""users.threads of the Gmail API."""

from __future__ import annotations

from deputize.sandbox.google.gmail.call import Call, page
from deputize.sandbox.google.gmail.mailbox import Json, Mail
from deputize.sandbox.google.gmail.messages import brief, found


def list_(call: Call) -> Json:
    """threads.list: a thread is found by any of its mails and stands where the newest found one does."""
    ids = list(dict.fromkeys(mail.thread_id for mail in found(call)))
    rows, more = page(call, ids)
    listed: Json = {"threads": [_listed_thread(call.box.thread(id)) for id in rows]} if rows else {}
    return listed | more | {"resultSizeEstimate": len(ids)}


def get(call: Call) -> Json:
    """threads.get"""
    mails = call.thread(call.ids["id"])
    newest = max(mail.history_id for mail in mails)
    return {"id": call.ids["id"], "historyId": str(newest), "messages": [call.message(mail) for mail in mails]}


def modify(call: Call) -> Json:
    """threads.modify"""
    body = call.json()
    return _relabelled(call, call.labels(body, "addLabelIds"), call.labels(body, "removeLabelIds"))


def trash(call: Call) -> Json:
    """threads.trash"""
    return _relabelled(call, ["TRASH"], [])


def untrash(call: Call) -> Json:
    """threads.untrash"""
    return _relabelled(call, [], ["TRASH"])


def _relabelled(call: Call, add: list[str], remove: list[str]) -> Json:
    mails = call.thread(call.ids["id"])
    for mail in mails:
        call.box.relabel(mail, add=add, remove=remove)
    return {"id": call.ids["id"], "messages": [brief(mail) for mail in mails]}


def _listed_thread(mails: list[Mail]) -> Json:
    newest = max(mail.history_id for mail in mails)
    return {"id": mails[0].thread_id, "snippet": mails[-1].snippet, "historyId": str(newest)}
