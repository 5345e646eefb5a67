"""Salesforce: calls, tasks, events and notes on records."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core.act.toolkit import Alias, Arguments, Effect, Note, Request, Steps
from deputize.core.errors import InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.vault.grant import Account
from deputize.toolkits._salesforce.base import API, DATA, SALESFORCE, Asks, Json, found, record_id
from deputize.toolkits._salesforce.describe import owner_id
from deputize.toolkits._salesforce.soql import select, text
from deputize.toolkits._time import moment

Kind = Literal["call", "task", "event", "note"]
Noted = Mapping[str, Any] | None


def _effect(arguments: Arguments) -> Effect:
    """Somebody else is told of an event, or of a task that is theirs."""
    others = arguments["kind"] == "event" or (arguments["owner"] or "me").strip().lower() != "me"
    return Effect.WRITES | Effect.SENDS if others else Effect.WRITES


@SALESFORCE.tool(
    needs=[API],
    effect=_effect,
    gravest=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias("Salesforce.LogACall", sets={"kind": "call"}),
        Alias("Salesforce.CreateTask", sets={"kind": "task"}),
    ],
)
def log_activity(
    kind: Kind,
    subject: Annotated[str, Field(min_length=1, max_length=255)],
    description: Annotated[str | None, Field(max_length=32_000)] = None,
    contact_or_lead: Annotated[str | None, Field(description="id")] = None,
    account_or_opportunity: Annotated[str | None, Field(description="id")] = None,
    due_date: str | None = None,
    start: str | None = None,
    end: str | None = None,
    duration_minutes: Annotated[int | None, Field(ge=0, le=1440)] = None,
    status: str | None = None,
    priority: str | None = None,
    call_result: str | None = None,
    owner: str | None = None,
    *,
    account: Account,
    noted: Noted,
    now: float,
) -> Steps:
    """Log a call, or create a task, event or note on records."""
    who = record_id(contact_or_lead, "contact_or_lead") if contact_or_lead else None
    what = record_id(account_or_opportunity, "account_or_opportunity") if account_or_opportunity else None
    if who and not who.startswith(("003", "00Q")):
        raise InvalidInput("contact_or_lead: not the id of a contact or lead.")
    if kind == "note":
        return (yield from _noted_down(subject, description or "", what or who, noted))
    times = _times(kind, due_date, start, end, duration_minutes, now)
    values = {"Subject": subject, "Description": description, "WhoId": who, "WhatId": what, **times}
    if owner:
        values["OwnerId"] = yield from owner_id(owner, account)
    if kind == "call":
        values |= {"TaskSubtype": "Call", "Status": status or "Completed", "CallDisposition": call_result}
    elif call_result:
        raise InvalidInput("call_result: of a call only.")
    elif kind == "task":
        values |= {"Status": status or "Not Started"}
    if kind != "event":
        values["Priority"] = priority or "Normal"
    elif status or priority:
        raise InvalidInput("status, priority: of calls and tasks only.")
    given = {name: value for name, value in values.items() if value is not None}
    source = "Event" if kind == "event" else "Task"
    id = yield from _once(source, given, account, noted, now)
    undo = {"tool": "salesforce_delete_record", "args": {"object": source, "id": id}}
    return {"id": id, "kind": kind, "subject": subject, "undo": undo}


def _times(
    kind: Kind, due: str | None, start: str | None, end: str | None, minutes: int | None, now: float
) -> dict[str, Any]:
    if kind == "event":
        if start is None or (end is None) == (minutes is None):
            raise InvalidInput("An event needs start, and end or duration_minutes.")
        begins = moment(start, now, "start")
        ends = moment(end, now, "end") if end else begins + timedelta(minutes=minutes or 0)
        if ends < begins:
            raise InvalidInput("end must lie after start.")
        return {"StartDateTime": begins.isoformat(), "EndDateTime": ends.isoformat()}
    if start or end:
        raise InvalidInput("start, end: of an event only.", hint="A task has due_date.")
    told = {"ActivityDate": moment(due, now, "due_date").date().isoformat()} if due else {}
    if minutes is None:
        return told
    if kind != "call":
        raise InvalidInput("duration_minutes: of calls and events only.")
    return told | {"CallDurationInSeconds": minutes * 60}


def _once(source: str, given: Json, account: Account, noted: Noted, now: float) -> Asks[str]:
    """Make it; after a lost answer look for it, since it has no key."""
    since = float((noted or {}).get("since") or now - 300)
    if noted:
        there = yield from _look(source, given, account, since)
        if there is None:
            raise OutcomeUnknown("An earlier run of this act was cut off: it may have been logged.")
        return there
    yield Note({"since": since})
    try:
        answer = yield Request("POST", f"{DATA}/sobjects/{{object}}", at={"object": source}, json=given)
    except (OutcomeUnknown, ProviderUnavailable):
        there = yield from _look(source, given, account, since)
        if there is None:
            raise
        return there
    return str(answer["id"])


def _look(source: str, given: Json, account: Account, since: float) -> Asks[str | None]:
    stamp = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    me = account.subject.rpartition(":")[2]
    where = [f"CreatedById = {text(me)}", f"CreatedDate >= {stamp}", f"Subject = {text(given['Subject'])}"]
    where += [f"{name} = {text(given[name])}" for name in ("WhoId", "WhatId") if name in given]
    rows = yield from found(select(("Id",), source, where, ("CreatedDate DESC",), 2))
    return str(rows[0]["Id"]) if len(rows) == 1 else None


def _noted_down(title: str, body: str, parent: str | None, noted: Noted) -> Asks[Json]:
    """A note, and the link that puts it on a record. Where the org has no enhanced notes, a plain one."""
    if parent is None:
        raise InvalidInput("A note needs a record: contact_or_lead or account_or_opportunity.")
    if noted:
        raise OutcomeUnknown("An earlier run of this act was cut off: the note may be there.")
    yield Note({"note": title})
    content = base64.b64encode(html.escape(body).replace("\n", "<br>").encode()).decode()
    sends = {"Title": title, "Content": content}
    try:
        made = yield Request("POST", f"{DATA}/sobjects/ContentNote", json=sends, prepares=True)
    except (NotFound, InvalidInput):
        plain = {"Title": title, "Body": body, "ParentId": parent}
        made = yield Request("POST", f"{DATA}/sobjects/Note", json=plain)
        return _note(str(made["id"]), title, "Note")
    link = {"ContentDocumentId": made["id"], "LinkedEntityId": parent, "ShareType": "V"}
    yield Request("POST", f"{DATA}/sobjects/ContentDocumentLink", json=link)
    return _note(str(made["id"]), title, "ContentNote")


def _note(id: str, title: str, source: str) -> Json:
    undo = {"tool": "salesforce_delete_record", "args": {"object": source, "id": id}}
    return {"id": id, "kind": "note", "subject": title, "undo": undo}
