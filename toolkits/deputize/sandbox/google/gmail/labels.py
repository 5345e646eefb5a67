"""users.labels of the Gmail API."""

from __future__ import annotations

from dataclasses import asdict

from deputize.sandbox.google.errors import api_error
from deputize.sandbox.google.gmail.call import Call, invalid, not_found
from deputize.sandbox.google.gmail.mailbox import SYSTEM_LABELS, Json, Label
from deputize.sandbox.http_types import Refused


def list_(call: Call) -> Json:
    return {"labels": [*map(_system, SYSTEM_LABELS), *map(_user_label, call.box.labels.values())]}


def get(call: Call) -> Json:
    """Run labels.get, with the counts of mails."""
    id = call.ids["id"]
    row = _system(id) if id in SYSTEM_LABELS else _user_label(_label(call))
    mails = [mail for mail in call.box.mails.values() if id in mail.labels]
    unread = [mail for mail in mails if "UNREAD" in mail.labels]
    return row | {
        "messagesTotal": len(mails),
        "messagesUnread": len(unread),
        "threadsTotal": len({mail.thread_id for mail in mails}),
        "threadsUnread": len({mail.thread_id for mail in unread}),
    }


def create(call: Call) -> Json:
    body = call.json()
    name = _free_name(call, body.get("name"))
    number = 1 + max((int(id.removeprefix("Label_")) for id in call.box.labels), default=0)
    label = _set_visibility(Label(f"Label_{number}", name), body)
    call.box.labels[label.id] = label
    return _user_label(label)


def patch(call: Call) -> Json:
    label, body = _label(call), call.json()
    if "name" in body:
        label.name = _free_name(call, body["name"], but=label.id)
    return _user_label(_set_visibility(label, body))


def delete(call: Call) -> None:
    """Run labels.delete: remove the label from its mails, which stay."""
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
        raise not_found()
    return label


def _free_name(call: Call, name: object, but: str = "") -> str:
    if not isinstance(name, str) or not name.strip() or name.upper() in SYSTEM_LABELS:
        raise invalid("Invalid label name")
    if any(label.name.lower() == name.lower() and label.id != but for label in call.box.labels.values()):
        raise Refused(api_error(409, "Label name exists or conflicts", "aborted", "ABORTED"))
    return name


def _set_visibility(label: Label, body: Json) -> Label:
    label.messageListVisibility = str(body.get("messageListVisibility", label.messageListVisibility))
    label.labelListVisibility = str(body.get("labelListVisibility", label.labelListVisibility))
    return label


def _system(id: str) -> Json:
    return {"id": id, "name": id, "type": "system"}


def _user_label(label: Label) -> Json:
    return asdict(label) | {"type": "user"}
