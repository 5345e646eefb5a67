"""users.threads of the Gmail API."""

from __future__ import annotations

from deputize.sandbox.google.gmail.call import Call, page
from deputize.sandbox.google.gmail.mailbox import Json, Mail
from deputize.sandbox.google.gmail.messages import brief, find_mails


def list_(call: Call) -> Json:
    """Run threads.list: a thread matches if one of its mails does, and is ordered by its newest match."""
    ids = list(dict.fromkeys(mail.thread_id for mail in find_mails(call)))
    rows, more = page(call, ids)
    listed: Json = {"threads": [_listed_thread(call.box.thread(id)) for id in rows]} if rows else {}
    return listed | more | {"resultSizeEstimate": len(ids)}


def get(call: Call) -> Json:
    mails = call.thread(call.ids["id"])
    newest = max(mail.history_id for mail in mails)
    return {"id": call.ids["id"], "historyId": str(newest), "messages": [call.message(mail) for mail in mails]}


def modify(call: Call) -> Json:
    body = call.json()
    return _relabel(call, call.labels(body, "addLabelIds"), call.labels(body, "removeLabelIds"))


def trash(call: Call) -> Json:
    return _relabel(call, ["TRASH"], [])


def untrash(call: Call) -> Json:
    return _relabel(call, [], ["TRASH"])


def _relabel(call: Call, add: list[str], remove: list[str]) -> Json:
    mails = call.thread(call.ids["id"])
    for mail in mails:
        call.box.relabel(mail, add=add, remove=remove)
    return {"id": call.ids["id"], "messages": [brief(mail) for mail in mails]}


def _listed_thread(mails: list[Mail]) -> Json:
    newest = max(mail.history_id for mail in mails)
    return {"id": mails[0].thread_id, "snippet": mails[-1].snippet, "historyId": str(newest)}
