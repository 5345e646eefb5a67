"""Salesforce: creating records.

A new record has no key unless the org defines an external id. `deputize.toolkits.salesforce.idempotent_create` creates
such records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Account, Effect, Preview, Run, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits.salesforce import preview
from deputize.toolkits.salesforce.base import API, SALESFORCE, Asks, Json, object_name, rows_of
from deputize.toolkits.salesforce.change import patch, read_for, show_changes
from deputize.toolkits.salesforce.delete import AS_CREATED
from deputize.toolkits.salesforce.describe import Described, field_in, fields_of, is_required
from deputize.toolkits.salesforce.field_values import values_of
from deputize.toolkits.salesforce.idempotent_create import creation, make_once
from deputize.toolkits.salesforce.paging import sorts
from deputize.toolkits.salesforce.soql import condition, select
from deputize.toolkits.salesforce.texts import Value

_COMPARED: Final = 255  # characters of a value in a search for a record

Values = Annotated[dict[str, Value], Field(min_length=1, max_length=100, description="API names to values")]

_OWN: Final[Mapping[str, frozenset[str]]] = {  # fields of a user's own note or task on no record
    "task": frozenset(
        "subject description activitydate status priority type tasksubtype "
        "calldisposition calltype calldurationinseconds isreminderset reminderdatetime".split()
    ),
    "contentnote": frozenset({"title", "content"}),
}


def _create_effect(arguments: Arguments) -> Effect:
    """Return the effect. Without SENDS: the user's own note or task on no record. Others read everything else."""
    quiet = _is_own(str(arguments["object"]), arguments["fields"] or ()) and not arguments["external_id"]
    return Effect.WRITES if quiet else Effect.WRITES | Effect.SENDS


def _is_own(kind: str, fields: Iterable[str]) -> bool:
    """True if the fields are only those of the user's own note or task on no record."""
    own = _OWN.get(kind.strip().lower())
    return own is not None and {str(name).strip().lower() for name in fields} <= own


@SALESFORCE.tool(
    needs=[API],
    effect=_create_effect,
    gravest=Effect.WRITES | Effect.SENDS,
)
def create_record(
    object: Annotated[str, Field(description="API name, such as Contact")],
    fields: Values,
    external_id: Annotated[str | None, Field(description="Field=value: upsert")] = None,
    allow_duplicates: bool = False,
    *,
    run: Run,
) -> Steps:
    """Create an account, contact, lead, opportunity, case, task or any record."""
    kind = object_name(object, write=True)
    known = yield from fields_of(kind)
    values = yield from values_of(known, fields, run, creating=True)
    missing = [str(one["name"]) for one in known.values() if is_required(one) and one["name"] not in values]
    if external_id:
        return (yield from _upsert(kind, known, external_id, values, run))
    if missing:
        raise InvalidInput(
            f"fields: {', '.join(missing[:10])} must be set.",
            hint="Add them; salesforce_describe lists what they take.",
        )
    headers = {"sforce-duplicate-rule-header": "allowSave=true"} if allow_duplicates else {}
    request = creation(kind, values, headers=headers)
    sent = bool(run.noted and run.noted.get("sent"))
    if not sent:
        yield (yield from _show(kind, known, values, run, duplicates=allow_duplicates))
    try:
        id, existed = yield from make_once(request, _alike(known, values), run.account, run.noted, run.now)
    except Conflict as duplicate:
        raise Conflict(
            f"fields: conflict (exists): Salesforce has a similar {kind} already.",
            reason=duplicate.reason,
            hint="Search for it; allow_duplicates=true makes one more.",
        ) from None
    undo = {"object": kind, "id": id}
    if not sent:
        yield Undo("salesforce_delete_record", undo, AS_CREATED)
    told = {"tool": "salesforce_delete_record", "args": undo}
    return {"id": id, "object": kind, "created": True, "undo": told} | ({"existed": True} if existed else {})


def _show(
    kind: str, known: Described, values: Json, run: Run, *, duplicates: bool = False, key: str | None = None
) -> Asks[Preview]:
    names = yield from preview.names_of(known, values)
    return Preview(
        "Create this record",
        audience=preview.audience_of(values, run.account, own=_is_own(kind, values) and not key),
        people=preview.new_owners(values, run.account),
        where=f"a new {kind}",
        key=key,
        duplicates="it is made even if there is one like it" if duplicates else None,
        pins={"leads_to": preview.references(known, values)},
        **{name: value for name, value in preview.by_labels(known, values, names).items() if value != ""},
    )


def _alike(known: Described, values: Json) -> list[str]:
    """Return conditions that a record with these values meets, as far as the values are short enough to compare."""
    where = []
    for name, value in values.items():
        type, said = str(known[name.lower()].get("type") or "string"), str(value)
        compares = known[name.lower()].get("filterable", True) and (sorts(type) or type in ("picklist", "boolean"))
        if compares and value is not None and said.isprintable() and len(said) <= _COMPARED:
            where.append(condition(name, "eq", [said], type))
    return where[:10]


def _upsert(kind: str, known: Described, external_id: str, values: Json, run: Run) -> Asks[Json]:
    """Create or change the record with this external id. An existing record is changed by its id, as previewed. A new
    record is created only if the external id is free, so that nothing is overwritten."""
    name, _, value = external_id.partition("=")
    field = field_in(known, name, "external_id")
    value = value.strip()
    if not field.get("externalId") or not value:
        raise InvalidInput(
            "external_id: must be Field=value, for a field that the org has marked as an external id.",
            hint="salesforce_describe lists the fields.",
        )
    body = {one: given for one, given in values.items() if one != field["name"]}
    where = [condition(str(field["name"]), "eq", [value], str(field["type"]))]
    sent = bool(run.noted and run.noted.get("sent"))
    there = [] if sent else (yield from rows_of(select(("Id", *read_for(known, kind, body)), kind, where, limit=2)))
    if len(there) > 1:
        raise Conflict("external_id: several records have this key.", reason="exists", hint="Change one by its id.")
    if there:
        return (yield from _change(kind, known, there[0], body, run.account))
    if not sent:
        yield (yield from _show(kind, known, body, run, key=f"{field['name']} = {value}"))
    # no upsert: it would overwrite a record that has the key by now
    request = creation(kind, {**body, str(field["name"]): value})
    id, _ = yield from make_once(request, where, run.account, run.noted, run.now)
    return {"id": id, "object": kind, "created": True}


def _change(kind: str, known: Described, there: Json, values: Json, account: Account) -> Asks[Json]:
    place = {"object": kind, "id": str(there["Id"])}
    old = {name: there.get(name) for name in values}
    names = yield from preview.names_of(known, values, old)
    yield show_changes(known, place, there, values, names, account)
    if values:
        yield from patch(place, values, there.get("LastModifiedDate"))
    return {"id": place["id"], "object": kind, "created": False}
