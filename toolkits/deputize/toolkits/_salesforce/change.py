"""Salesforce: new records, changed records, records in the recycle bin.

Without an external id of the org's own a new record has no key: after a lost answer it is looked for by what was just
written, by the same user, in these minutes. Not finding it proves nothing, so the outcome stays unknown then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core.act.toolkit import ActKey, Alias, Arguments, Effect, Note, Request, Steps
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.vault.grant import Account
from deputize.toolkits._salesforce.base import (
    API,
    DATA,
    SALESFORCE,
    Asks,
    Json,
    flat,
    found,
    get,
    is_id,
    object_called,
    record_id,
)
from deputize.toolkits._salesforce.describe import Described, field_in, fields_of, owner_id, required
from deputize.toolkits._salesforce.rows import NAME
from deputize.toolkits._salesforce.soql import condition, field_called, select, text

_SKEW: Final = 300.0  # seconds by which Salesforce's clock and ours may differ
_LOST: Final = (OutcomeUnknown, ProviderUnavailable)
_NUMBERS: Final = {"double", "currency", "percent"}
Noted = Mapping[str, Any] | None
Values = Annotated[dict[str, str], Field(min_length=1, max_length=100, description="API names to values")]


def _mails(arguments: Arguments) -> Effect:
    """An org's assignment rules may send mail for new leads and cases."""
    kind = str(arguments["object"]).lower()
    return Effect.WRITES | Effect.SENDS if kind in ("lead", "case") else Effect.WRITES


@SALESFORCE.tool(
    needs=[API],
    effect=_mails,
    gravest=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias("Salesforce.CreateContact", sets={"object": "Contact"}),
        Alias("Salesforce.CreateLead", sets={"object": "Lead"}),
        Alias("Salesforce.CreateOpportunity", sets={"object": "Opportunity"}),
    ],
)
def create_record(
    object: str,
    fields: Values,
    external_id: Annotated[str | None, Field(description="Field=value: upsert")] = None,
    allow_duplicates: bool = False,
    *,
    key: ActKey,
    account: Account,
    noted: Noted,
    now: float,
) -> Steps:
    """Create an account, contact, lead, opportunity, case, task or any record."""
    kind = object_called(object, write=True)
    known = yield from fields_of(kind)
    values = yield from _values(known, fields, account, creating=True)
    missing = [str(one["name"]) for one in known.values() if required(one) and one["name"] not in values]
    if external_id:
        return (yield from _upserted(kind, known, external_id, values))
    if missing:
        raise InvalidInput(f"fields: {', '.join(missing[:10])} must be given.")
    since = (noted or {}).get("since") or now - _SKEW
    if noted:
        there = yield from _look(kind, known, values, account, since)
        if there is None:
            raise OutcomeUnknown("An earlier run of this act was cut off: the record may have been made.")
        return _made(kind, there, existed=True)
    yield Note({"since": since})
    headers = {"sforce-duplicate-rule-header": "allowSave=true"} if allow_duplicates else {}
    try:
        answer = yield Request("POST", f"{DATA}/sobjects/{{object}}", at={"object": kind}, json=values, headers=headers)
    except Conflict as duplicate:
        raise Conflict(
            f"fields: Salesforce has such a record of {kind} already.",
            reason=duplicate.reason,
            hint="Search for it; allow_duplicates=true makes one more.",
        ) from None
    except _LOST:
        there = yield from _look(kind, known, values, account, since)
        if there is None:
            raise
        return _made(kind, there, existed=True)
    return _made(kind, str(answer["id"]), existed=False)


def _made(kind: str, id: str, *, existed: bool) -> Json:
    undo = {"tool": "salesforce_delete_record", "args": {"object": kind, "id": id}}
    return {"id": id, "object": kind, "created": True, "undo": undo} | ({"existed": True} if existed else {})


def _look(kind: str, known: Described, values: Json, account: Account, since: float) -> Asks[str | None]:
    """The record that was just made: by this user, since then, with these values; None where it cannot be told."""
    stamp = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    me = account.subject.rpartition(":")[2]
    where = [f"CreatedById = {text(me)}", f"CreatedDate >= {stamp}"]
    for name, value in list(values.items())[:10]:
        field = known[name.lower()]
        if field.get("filterable", True) and field.get("type") != "textarea" and value is not None:
            where.append(
                condition(name, "eq", str(value).lower() if isinstance(value, bool) else str(value), field["type"])
            )
    try:
        rows = yield from found(select(("Id",), kind, where, ("CreatedDate DESC",), 2))
    except DeputizeError:
        return None
    return str(rows[0]["Id"]) if len(rows) == 1 else None


def _upserted(kind: str, known: Described, external_id: str, values: Json) -> Asks[Json]:
    """A record under a key of the org's own: the same key is the same record."""
    name, _, value = external_id.partition("=")
    field = field_in(known, name, "external_id")
    if not field.get("externalId") or not value.strip():
        raise InvalidInput("external_id: Field=value, where the org marks the field as an external id.")
    at = {"object": kind, "field": str(field["name"]), "value": value.strip()}
    body = {one: given for one, given in values.items() if one != field["name"]}
    path = f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}"
    answer = yield Request("PATCH", path, at=at, json=body, repeat="idem")
    where = [condition(str(field["name"]), "eq", value, str(field["type"]))]
    id = (answer or {}).get("id") or (yield from found(select(("Id",), kind, where, limit=1)))[0]["Id"]
    created = bool((answer or {}).get("created", True)) if answer else False
    return {"id": id, "object": kind, "created": created}


def _values(known: Described, given: Mapping[str, str], account: Account, *, creating: bool) -> Asks[Json]:
    """Values as their fields' types want them. Every name is one of the object's, every picklist value one of its."""
    values: Json = {}
    for name, value in given.items():
        field = field_in(known, name, "fields")
        if not field.get("createable" if creating else "updateable"):
            raise InvalidInput(f"fields: {field['name']} cannot be set.")
        if field["name"] == "OwnerId" and value and not is_id(value):
            values["OwnerId"] = yield from owner_id(value, account)
        else:
            values[str(field["name"])] = _cast(field, value)
    return values


def _cast(field: Json, value: str) -> Any:
    name, kind = str(field["name"]), str(field.get("type") or "string")
    if value == "":
        return None
    try:
        if kind in _NUMBERS:
            return float(value)
        if kind == "int":
            return int(value)
        if kind == "boolean":
            return {"true": True, "false": False}[value.strip().lower()]
        if kind == "date":
            return date.fromisoformat(value.strip()).isoformat()
        if kind == "datetime":
            return datetime.fromisoformat(value.strip()).isoformat()
    except (ValueError, KeyError):
        raise InvalidInput(
            f"fields: {name} is a {kind}.", hint="Numbers, true or false, ISO dates and times."
        ) from None
    if kind == "reference":
        return record_id(value, f"fields: {name}")
    if kind == "picklist" and field.get("restrictedPicklist"):
        options = [str(one["value"]) for one in field.get("picklistValues") or () if one.get("active", True)]
        if value not in options:
            raise InvalidInput(f"fields: {name} has no such value.", hint=f"One of {', '.join(options[:20])}.")
    if field.get("length") and kind in ("string", "picklist", "email", "phone", "url") and len(value) > field["length"]:
        raise InvalidInput(f"fields: {name} holds {field['length']} characters.")
    return value


@SALESFORCE.tool(
    needs=[API],
    effect=_mails,
    gravest=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias("Salesforce.UpdateLead", {"lead_id": "id"}, sets={"object": "Lead"}),
        Alias("Salesforce.UpdateOpportunity", {"opportunity_id": "id"}, sets={"object": "Opportunity"}),
        Alias("Salesforce.UpdateTask", {"task_id": "id"}, sets={"object": "Task"}),
    ],
)
def update_record(
    object: str,
    id: str,
    fields: Annotated[
        dict[str, str], Field(min_length=1, max_length=100, description='API names to values; "" clears')
    ],
    unmodified_since: str | None = None,
    *,
    account: Account,
) -> Steps:
    """Change fields of a record."""
    kind, at = object_called(object, write=True), record_id(id)
    known = yield from fields_of(kind)
    values = yield from _values(known, fields, account, creating=False)
    headers = {"if-unmodified-since": _http_date(unmodified_since)} if unmodified_since else {}
    path = f"{DATA}/sobjects/{{object}}/{{id}}"
    yield Request("PATCH", path, at={"object": kind, "id": at}, json=values, headers=headers, repeat="idem")
    names = ",".join(field_called(one) for one in values)
    node = yield get("/sobjects/{object}/{id}", {"object": kind, "id": at}, {"fields": names})
    now = {name: value for name, value in flat(node).items() if name in values}
    return {"id": at, "object": kind, "changed": sorted(values), "fields": now}


def _http_date(text_: str) -> str:
    try:
        read = datetime.fromisoformat(text_.strip())
    except ValueError:
        raise InvalidInput("unmodified_since: not a time.", hint="ISO 8601, as LastModifiedDate shows it.") from None
    return format_datetime(read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC), usegmt=True)


@SALESFORCE.tool(needs=[API], effect=Effect.WRITES | Effect.DESTRUCTIVE)
def delete_record(object: str, id: str) -> Steps:
    """Move a record to the recycle bin."""
    kind, at = object_called(object, write=True), record_id(id)
    name = NAME.get(kind, "Name")
    place = {"object": kind, "id": at}
    try:
        node = yield get("/sobjects/{object}/{id}", place, {"fields": name})
        yield Request("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}", at=place, repeat="idem")
    except NotFound:
        return {"id": at, "object": kind, "deleted": True, "summary": "It is gone already, or was never visible."}
    return {"id": at, "object": kind, "name": flat(node).get(name), "deleted": True}
