"""users.labels of the Gmail API."""

from __future__ import annotations

from dataclasses import asdict

from deputize.sandbox.google.errors import api_error
from deputize.sandbox.google.gmail.call import Call, invalid, missing
from deputize.sandbox.google.gmail.mailbox import SYSTEM_LABELS, Json, Label
from deputize.sandbox.http_types import Refused


def list_(call: Call) -> Json:
    """labels.list"""
    return {"labels": [*map(_system, SYSTEM_LABELS), *map(_own, call.box.labels.values())]}


def get(call: Call) -> Json:
    """labels.get, with counts"""
    id = call.ids["id"]
    row = _system(id) if id in SYSTEM_LABELS else _own(_label(call))
    mails = [mail for mail in call.box.mails.values() if id in mail.labels]
    unread = [mail for mail in mails if "UNREAD" in mail.labels]
    return row | {
        "messagesTotal": len(mails),
        "messagesUnread": len(unread),
        "threadsTotal": len({mail.thread_id for mail in mails}),
        "threadsUnread": len({mail.thread_id for mail in unread}),
    }


def create(call: Call) -> Json:
    """labels.create"""
    body = call.json()
    name = _free_name(call, body.get("name"))
    number = 1 + max((int(id.removeprefix("Label_")) for id in call.box.labels), default=0)
    label = _seen(Label(f"Label_{number}", name), body)
    call.box.labels[label.id] = label
    return _own(label)


def patch(call: Call) -> Json:
    """labels.patch"""
    label, body = _label(call), call.json()
    if "name" in body:
        label.name = _free_name(call, body["name"], but=label.id)
    return _own(_seen(label, body))


def delete(call: Call) -> None:
    """labels.delete: the mails stay, without the label"""
    label = _label(call)
    del call.box.labels[label.id]
    for mail in call.box.mails.values():
        call.box.relabel(mail, remove=[label.id])


def _label(call: Call) -> Label:
    id = call.ids["id"]
    if id in SYSTEM_LABELS:
        raise invalid("Cannot change a system label")
    label = call.box.labels.get(id)
    if label is None:
        raise missing()
    return label


def _free_name(call: Call, name: object, but: str = "") -> str:
    if not isinstance(name, str) or not name.strip() or name.upper() in SYSTEM_LABELS:
        raise invalid("Invalid label name")
    if any(label.name.lower() == name.lower() and label.id != but for label in call.box.labels.values()):
        raise Refused(api_error(409, "Label name exists or conflicts", "aborted", "ABORTED"))
    return name


def _seen(label: Label, body: Json) -> Label:
    label.messageListVisibility = str(body.get("messageListVisibility", label.messageListVisibility))
    label.labelListVisibility = str(body.get("labelListVisibility", label.labelListVisibility))
    return label


def _system(id: str) -> Json:
    return {"id": id, "name": id, "type": "system"}


def _own(label: Label) -> Json:
    return asdict(label) | {"type": "user"}
