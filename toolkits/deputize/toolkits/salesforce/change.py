"""Salesforce: new records, and changed ones.

Without an external id of the org's own a new record has no key: `deputize.toolkits.salesforce.once` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Account, Alias, Effect, Note, Request, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, DeputizeError, InvalidInput
from deputize.toolkits._shared.arguments import IfTexts
from deputize.toolkits._shared.long_text import note_of, written_before
from deputize.toolkits._shared.text import Outside, newlined
from deputize.toolkits.salesforce.base import (
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
from deputize.toolkits.salesforce.describe import Described, field_in, fields_of, owner_id, required
from deputize.toolkits.salesforce.once import creates, once
from deputize.toolkits.salesforce.paging import sorts
from deputize.toolkits.salesforce.rows import FIELDS, FORM, LONG, record_fields
from deputize.toolkits.salesforce.soql import condition, field_called, select
from deputize.toolkits.salesforce.texts import Value, text_edits

_NUMBERS: Final = {"double", "currency", "percent"}
_COMPARED: Final = 255  # characters of a value by which a record is looked for


Values = Annotated[dict[str, Value], Field(min_length=1, max_length=100, description="API names to values")]


_OWN: Final[Mapping[str, frozenset[str]]] = {  # what a note or a task of the user's own consists of
    "task": frozenset(
        "subject description activitydate status priority whoid whatid type tasksubtype "
        "calldisposition calltype calldurationinseconds isreminderset reminderdatetime".split()
    ),
    "note": frozenset({"title", "body", "parentid", "isprivate"}),
    "contentnote": frozenset({"title", "content"}),
}


def _create_effect(arguments: Arguments) -> Effect:
    """Asks for everything but a note or a task of the user's own: an org's people read it, and customers may."""
    own = _OWN.get(str(arguments["object"]).strip().lower())
    fields = {str(name).strip().lower() for name in arguments["fields"] or ()}
    quiet = own is not None and fields <= own and not arguments["external_id"]
    return Effect.WRITES if quiet else Effect.WRITES | Effect.SENDS


@SALESFORCE.tool(
    needs=[API],
    effect=_create_effect,
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
    run: Run,
) -> Steps:
    """Create an account, contact, lead, opportunity, case, task or any record."""
    kind = object_called(object, write=True)
    known = yield from fields_of(kind)
    values = yield from _values(known, fields, run.account, creating=True)
    missing = [str(one["name"]) for one in known.values() if required(one) and one["name"] not in values]
    if external_id:
        return (yield from _upserted(kind, known, external_id, values))
    if missing:
        raise InvalidInput(f"fields: {', '.join(missing[:10])} must be set.")
    headers = {"sforce-duplicate-rule-header": "allowSave=true"} if allow_duplicates else {}
    request = creates(kind, values, headers=headers)
    try:
        id, existed = yield from once(request, _alike(known, values), run.account, run.noted, run.now)
    except Conflict as duplicate:
        raise Conflict(
            f"fields: conflict (exists): Salesforce has a similar {kind} already.",
            reason=duplicate.reason,
            hint="Search for it; allow_duplicates=true makes one more.",
        ) from None
    undo = {"tool": "salesforce_delete_record", "args": {"object": kind, "id": id}}
    return {"id": id, "object": kind, "created": True, "undo": undo} | ({"existed": True} if existed else {})


def _alike(known: Described, values: Json) -> list[str]:
    """Conditions that a record with these values meets, as far as short values can be compared."""
    where = []
    for name, value in values.items():
        type, said = str(known[name.lower()].get("type") or "string"), str(value)
        compares = known[name.lower()].get("filterable", True) and (sorts(type) or type in ("picklist", "boolean"))
        if compares and value is not None and said.isprintable() and len(said) <= _COMPARED:
            where.append(condition(name, "eq", said, type))
    return where[:10]


def _upserted(kind: str, known: Described, external_id: str, values: Json) -> Asks[Json]:
    """A record under a key of the org's own: the same key is the same record."""
    name, _, value = external_id.partition("=")
    field = field_in(known, name, "external_id")
    if not field.get("externalId") or not value.strip():
        raise InvalidInput("external_id: must be Field=value, for a field that the org has marked as an external id.")
    at = {"object": kind, "field": str(field["name"]), "value": value.strip()}
    body = {one: given for one, given in values.items() if one != field["name"]}
    path = f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}"
    answer = yield Request("PATCH", path, at=at, json=body, repeat="idem")
    where = [condition(str(field["name"]), "eq", value.strip(), str(field["type"]))]
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
            f"fields: {name} must be a {kind}.", hint="Numbers, true or false, ISO dates and times."
        ) from None
    if kind == "reference":
        return record_id(value, f"fields: {name}")
    if kind == "picklist" and field.get("restrictedPicklist"):
        options = [str(one["value"]) for one in field.get("picklistValues") or () if one.get("active", True)]
        if value not in options:
            raise InvalidInput(f"fields: {name} does not allow this value.", hint=f"One of {', '.join(options[:20])}.")
    if field.get("length") and kind in ("string", "picklist", "email", "phone", "url") and len(value) > field["length"]:
        raise InvalidInput(f"fields: {name} takes at most {field['length']} characters.")
    return value


@SALESFORCE.tool(
    needs=[API],
    effect=Effect.WRITES | Effect.SENDS,
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
        dict[str, Value], Field(min_length=1, max_length=100, description='API names to values; "" clears')
    ],
    append: Annotated[list[str] | None, Field(description="fields whose value goes behind the old")] = None,
    replaces: Annotated[dict[str, str] | None, Field(description="fields to the part of the old text")] = None,
    if_text: IfTexts = None,
    unmodified_since: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Change fields of a record."""
    kind, at = object_called(object, write=True), record_id(id)
    known = yield from fields_of(kind)
    values = yield from _values(known, fields, run.account, creating=False)
    place = {"object": kind, "id": at}
    edits = text_edits(known, values, append or (), replaces or {}, if_text or {})
    if edits:
        now = yield from _now(place, [*edits, *(["LastModifiedDate"] if "lastmodifieddate" in known else [])])
        changed = now.pop("LastModifiedDate", None)
        unmodified_since = unmodified_since or changed
        if all([written_before(run.noted, name, now.get(name)) for name in edits]) and run.noted:
            return _updated(at, kind, values, now)
        wholes = {name: edit.of(FORM, name, now.get(name), values[name] or "", LONG) for name, edit in edits.items()}
        values |= {name: _cast(known[name.lower()], whole) for name, whole in wholes.items()}
        yield Note(note_of({name: (now.get(name), whole) for name, whole in wholes.items()}))
    headers = {"if-unmodified-since": _http_date(unmodified_since)} if unmodified_since else {}
    path = f"{DATA}/sobjects/{{object}}/{{id}}"
    try:
        yield Request("PATCH", path, at=place, json=values, headers=headers, repeat="idem")
    except Conflict:  # or the answer to our own change was lost, and it stood in the way of the second try
        now = yield from _now(place, values)
        if not all(_same(now.get(name), value) for name, value in values.items()):
            raise
        return _updated(at, kind, values, now)
    try:
        return _updated(at, kind, values, (yield from _now(place, values)))
    except DeputizeError:
        return {"id": at, "object": kind, "changed": sorted(values), "warnings": ["It is changed, but was not read."]}


def _now(place: Mapping[str, str], values: Iterable[str]) -> Asks[Json]:
    """What the record has now in these fields: Salesforce does not say it when it changes them."""
    values = list(values)
    names = ",".join(field_called(one) for one in values)
    node = yield get("/sobjects/{object}/{id}", place, {"fields": names})
    return {name: value for name, value in flat(node).items() if name in values}


def _updated(id: str, kind: str, values: Json, now: Json) -> Json:
    outside = Outside()
    fields = record_fields(now, outside, FIELDS)
    fields.pop("cut", None)
    result: Json = {"id": id, "object": kind, "changed": sorted(values), "fields": fields}
    outside.mark(result)
    return result


def _same(there: Any, wanted: Any) -> bool:
    """Whether a field holds a value, however Salesforce writes it."""
    if there in (None, "") or wanted in (None, ""):
        return there in (None, "") and wanted in (None, "")
    if isinstance(there, str) and isinstance(wanted, str):
        if newlined(there).strip() == newlined(wanted).strip():
            return True
        try:
            return _moment(there) == _moment(wanted)
        except ValueError:
            return there[:15] == wanted[:15] and is_id(there) and is_id(wanted)
    return bool(there == wanted)


def _moment(said: str) -> datetime:
    read = datetime.fromisoformat(said)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _http_date(said: str) -> str:
    try:
        moment = _moment(said.strip()).astimezone(UTC)
        return format_datetime(moment + timedelta(seconds=bool(moment.microsecond)), usegmt=True)
    except (ValueError, OverflowError):
        raise InvalidInput("unmodified_since: not a time.", hint="ISO 8601, as LastModifiedDate shows it.") from None
