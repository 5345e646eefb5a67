"""users.drafts of the Gmail API: a draft is a mail with its own id, used up by sending."""

from __future__ import annotations

import secrets

from deputize.sandbox.google.gmail.call import Call, invalid, missing, page
from deputize.sandbox.google.gmail.mailbox import Json, Mail
from deputize.sandbox.google.gmail.messages import brief
from deputize.sandbox.google.gmail.search import search
from deputize.sandbox.google.gmail.send import joined, outgoing, posted, send_out, uploaded, uploaded_draft


def create(call: Call) -> Json:
    """drafts.create"""
    raw, thread_id = posted(call, _message(call))
    mail = outgoing(call, raw)
    draft_id = f"r{secrets.randbelow(9 * 10**18) + 10**18}"
    return _kept(call, draft_id, mail, joined(call.box, mail, thread_id))


def update(call: Call) -> Json:
    """drafts.update: the whole mail is replaced and gets a new id; the draft keeps its own."""
    before = _mail(call, call.ids["id"])
    raw, thread_id = posted(call, _message(call))
    mail = outgoing(call, raw)
    thread = joined(call.box, mail, thread_id) if thread_id else before.thread_id
    call.box.remove(before)
    return _kept(call, call.ids["id"], mail, thread)


def get(call: Call) -> Json:
    """drafts.get"""
    return {"id": call.ids["id"], "message": call.message(_mail(call, call.ids["id"]))}


def list_(call: Call) -> Json:
    """drafts.list"""
    ids = {mail: draft for draft, mail in call.box.drafts.items()}
    hidden = call.flag("includeSpamTrash")
    mails = search(call.box, call.query(), call.world.clock(), labels=("DRAFT",), hidden=hidden)
    rows, more = page(call, mails)
    shown = [{"id": ids[mail.id], "message": {"id": mail.id, "threadId": mail.thread_id}} for mail in rows]
    return ({"drafts": shown} if shown else {}) | more | {"resultSizeEstimate": len(mails)}


def delete(call: Call) -> None:
    """drafts.delete: gone for good, not trashed"""
    call.box.remove(_mail(call, call.ids["id"]))
    del call.box.drafts[call.ids["id"]]


def send(call: Call) -> Json:
    """drafts.send: sends what is kept, or the mail in the body, and uses the draft up."""
    body: Json = {"id": uploaded_draft(call)} if uploaded(call) else call.json()
    draft_id = body.get("id") or call.ask.one("id")
    if not isinstance(draft_id, str) or not draft_id:
        raise invalid("Missing draft id")
    kept = _mail(call, draft_id)
    given = uploaded(call) or body.get("message", {}).get("raw")
    raw = posted(call, body.get("message", {}))[0] if given else kept.raw
    sent = send_out(call, outgoing(call, raw), kept.thread_id)
    call.box.remove(kept)
    del call.box.drafts[draft_id]
    return brief(sent)


def _message(call: Call) -> Json:
    if uploaded(call):
        return {}
    message = call.json().get("message")
    if not isinstance(message, dict):
        raise invalid("Missing message")
    return message


def _mail(call: Call, draft_id: str) -> Mail:
    mail = call.box.mails.get(call.box.drafts.get(draft_id, ""))
    if mail is None:
        raise missing()
    return mail


def _kept(call: Call, draft_id: str, mail: Mail, thread_id: str) -> Json:
    kept = call.box.add(mail.raw, ["DRAFT"], mail.at, thread_id=thread_id)
    call.box.drafts[draft_id] = kept.id
    return {"id": draft_id, "message": brief(kept)}
