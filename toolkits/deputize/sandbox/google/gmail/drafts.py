"""users.drafts of the Gmail API: a draft is a mail with an id of its own, which sending removes."""

from __future__ import annotations

import secrets

from deputize.sandbox.google.gmail.call import Call, invalid, not_found, page
from deputize.sandbox.google.gmail.mailbox import Json, Mail
from deputize.sandbox.google.gmail.messages import brief
from deputize.sandbox.google.gmail.search import search
from deputize.sandbox.google.gmail.send import (
    is_upload,
    prepare_outgoing,
    read_mail,
    send_out,
    thread_for,
    uploaded_draft,
)


def create(call: Call) -> Json:
    raw, thread_id = read_mail(call, _message(call))
    mail = prepare_outgoing(call, raw)
    draft_id = f"r{secrets.randbelow(9 * 10**18) + 10**18}"
    return _store(call, draft_id, mail, thread_for(call.box, mail, thread_id))


def update(call: Call) -> Json:
    """Run drafts.update: replace the whole mail, which gets a new id; the draft keeps its id."""
    before = _mail(call, call.ids["id"])
    raw, thread_id = read_mail(call, _message(call))
    mail = prepare_outgoing(call, raw)
    thread = thread_for(call.box, mail, thread_id) if thread_id else before.thread_id
    call.box.remove(before)
    return _store(call, call.ids["id"], mail, thread)


def get(call: Call) -> Json:
    return {"id": call.ids["id"], "message": call.message(_mail(call, call.ids["id"]))}


def list_(call: Call) -> Json:
    ids = {mail: draft for draft, mail in call.box.drafts.items()}
    hidden = call.flag("includeSpamTrash")
    mails = search(call.box, call.query(), call.world.clock(), labels=("DRAFT",), hidden=hidden)
    rows, more = page(call, mails)
    shown = [{"id": ids[mail.id], "message": {"id": mail.id, "threadId": mail.thread_id}} for mail in rows]
    return ({"drafts": shown} if shown else {}) | more | {"resultSizeEstimate": len(mails)}


def delete(call: Call) -> None:
    """Run drafts.delete: remove the draft for good instead of trashing it."""
    call.box.remove(_mail(call, call.ids["id"]))
    del call.box.drafts[call.ids["id"]]


def send(call: Call) -> Json:
    """Run drafts.send: send the stored mail, or the one in the body, and remove the draft."""
    body: Json = {"id": uploaded_draft(call)} if is_upload(call) else call.json()
    draft_id = body.get("id") or call.ask.one("id")
    if not isinstance(draft_id, str) or not draft_id:
        raise invalid("Missing draft id")
    kept = _mail(call, draft_id)
    given = is_upload(call) or body.get("message", {}).get("raw")
    raw = read_mail(call, body.get("message", {}))[0] if given else kept.raw
    sent = send_out(call, prepare_outgoing(call, raw), kept.thread_id)
    call.box.remove(kept)
    del call.box.drafts[draft_id]
    return brief(sent)


def _message(call: Call) -> Json:
    if is_upload(call):
        return {}
    message = call.json().get("message")
    if not isinstance(message, dict):
        raise invalid("Missing message")
    return message


def _mail(call: Call, draft_id: str) -> Mail:
    mail = call.box.mails.get(call.box.drafts.get(draft_id, ""))
    if mail is None:
        raise not_found()
    return mail


def _store(call: Call, draft_id: str, mail: Mail, thread_id: str) -> Json:
    kept = call.box.add(mail.raw, ["DRAFT"], mail.at, thread_id=thread_id)
    call.box.drafts[draft_id] = kept.id
    return {"id": draft_id, "message": brief(kept)}
