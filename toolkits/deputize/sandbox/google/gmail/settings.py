"""users.settings of the Gmail API: out of office, filters, forwarding, aliases."""

from __future__ import annotations

import secrets

from deputize.sandbox.google.errors import api_error
from deputize.sandbox.google.gmail.call import Call, invalid, not_found
from deputize.sandbox.google.gmail.mailbox import Json
from deputize.sandbox.http_types import Refused

VACATION = {
    *("enableAutoReply", "responseSubject", "responseBodyPlainText", "responseBodyHtml"),
    *("restrictToContacts", "restrictToDomain", "startTime", "endTime"),
}
SEND_AS = {"displayName", "replyToAddress", "signature", "isDefault", "treatAsAlias"}


def get_vacation(call: Call) -> Json:
    return dict(call.box.settings["vacation"])


def update_vacation(call: Call) -> Json:
    """Run settings.updateVacation: replace the settings with the body."""
    body = _check_fields(call.json(), VACATION)
    call.box.settings["vacation"] = {"enableAutoReply": False} | body
    return get_vacation(call)


def get_auto_forwarding(call: Call) -> Json:
    return dict(call.box.settings["autoForwarding"])


def list_forwarding(call: Call) -> Json:
    rows = call.box.settings["forwardingAddresses"]
    return {"forwardingAddresses": rows} if rows else {}


def list_filters(call: Call) -> Json:
    rows = call.box.settings["filters"]
    return {"filter": rows} if rows else {}


def create_filter(call: Call) -> Json:
    body = _check_fields(call.json(), {"criteria", "action"})
    if not body.get("criteria") or not body.get("action"):
        raise invalid("Filter criteria and action are required")
    for name in ("addLabelIds", "removeLabelIds"):
        call.labels(body["action"], name)
    rows: list[Json] = call.box.settings["filters"]
    if any((row["criteria"], row["action"]) == (body["criteria"], body["action"]) for row in rows):
        raise Refused(api_error(400, "Filter already exists", "failedPrecondition", "FAILED_PRECONDITION"))
    made = {"id": "ANe1Bm" + secrets.token_hex(12)} | body
    rows.append(made)
    return made


def delete_filter(call: Call) -> None:
    rows: list[Json] = call.box.settings["filters"]
    kept = [row for row in rows if row["id"] != call.ids["id"]]
    if len(kept) == len(rows):
        raise not_found()
    call.box.settings["filters"] = kept


def list_send_as(call: Call) -> Json:
    return {"sendAs": call.box.settings["sendAs"]}


def patch_send_as(call: Call) -> Json:
    body = _check_fields(call.json(), SEND_AS)
    for row in call.box.settings["sendAs"]:
        if row["sendAsEmail"] == call.ids["sendAsEmail"]:
            row.update(body)
            return dict(row)
    raise not_found()


def _check_fields(body: Json, known: set[str]) -> Json:
    unknown = sorted(set(body) - known)
    if unknown:
        raise invalid(f'Unknown name "{unknown[0]}": Cannot find field.')
    return body
