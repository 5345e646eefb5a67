"""users.messages of the Gmail API, without sending."""

from __future__ import annotations

from deputize.sandbox.google.gmail import mime
from deputize.sandbox.google.gmail.call import Call, invalid, not_found, page
from deputize.sandbox.google.gmail.mailbox import Json, Mail
from deputize.sandbox.google.gmail.search import search

BATCH_LIMIT = 1000


def find_mails(call: Call) -> list[Mail]:
    """Return the mails that match a list call, newest first."""
    labels = call.ask.every("labelIds")
    for label in labels:
        if not call.box.knows_label(label):
            raise invalid(f"Invalid label: {label}")
    hidden = call.flag("includeSpamTrash")
    return search(call.box, call.query(), call.world.clock(), labels=labels, hidden=hidden)


def list_(call: Call) -> Json:
    mails = find_mails(call)
    rows, more = page(call, mails)
    listed: Json = {"messages": [{"id": mail.id, "threadId": mail.thread_id} for mail in rows]} if rows else {}
    return listed | more | {"resultSizeEstimate": len(mails)}


def get(call: Call) -> Json:
    return call.message(call.mail(call.ids["id"]))


def attachment(call: Call) -> Json:
    raw = mime.attachment(call.mail(call.ids["messageId"]), call.ids["id"])
    if raw is None:
        raise invalid("Invalid attachment token")
    if not raw:
        raise not_found()
    return {"size": len(raw), "data": mime.encode(raw)}


def modify(call: Call) -> Json:
    mail, body = call.mail(call.ids["id"]), call.json()
    call.box.relabel(mail, add=call.labels(body, "addLabelIds"), remove=call.labels(body, "removeLabelIds"))
    return brief(mail)


def batch_modify(call: Call) -> None:
    """Run messages.batchModify; unknown ids are ignored."""
    body = call.json()
    ids = body.get("ids") or []
    if not isinstance(ids, list) or not ids:
        raise invalid("No message ids specified")
    if len(ids) > BATCH_LIMIT:
        raise invalid("Too many message ids specified")
    add, remove = call.labels(body, "addLabelIds"), call.labels(body, "removeLabelIds")
    for mail in filter(None, map(call.box.mails.get, ids)):
        call.box.relabel(mail, add=add, remove=remove)


def trash(call: Call) -> Json:
    """Run messages.trash: keep the other labels, so that untrash restores them."""
    mail = call.mail(call.ids["id"])
    call.box.relabel(mail, add=["TRASH"])
    return brief(mail)


def untrash(call: Call) -> Json:
    mail = call.mail(call.ids["id"])
    call.box.relabel(mail, remove=["TRASH"])
    return brief(mail)


def brief(mail: Mail) -> Json:
    """Return the reply of writing calls."""
    return {"id": mail.id, "threadId": mail.thread_id, "labelIds": list(mail.labels)}
