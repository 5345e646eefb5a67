"""Salesforce: an org's objects and fields, and the owners and types of records."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Account, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.people import id_elsewhere
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import (
    API,
    OBJECTS,
    SALESFORCE,
    Asks,
    Json,
    get,
    is_id,
    object_name,
    own_id,
    rows_of,
)
from deputize.toolkits.salesforce.paging import after_cursor, order, page_of
from deputize.toolkits.salesforce.soql import like, select, text

Described = dict[str, Json]


def fields_of(kind: str) -> Asks[Described]:
    """Return an object's fields by their names in lower case."""
    answer = yield get("/sobjects/{object}/describe", {"object": kind})
    return {str(one["name"]).lower(): one for one in answer.get("fields") or ()}


def field_in(fields: Described, wanted: str, argument: str) -> Json:
    """Return the field of this API name. Raises `InvalidInput` with near names."""
    one = fields.get(wanted.strip().lower())
    if one is None:
        names = [str(field["name"]) for field in fields.values()]
        near = get_close_matches(wanted[:80], names, 5, 0.5)
        hint = f"Near: {', '.join(near)}." if near else "salesforce_describe lists them."
        raise InvalidInput(f"{argument}: no field {wanted[:80]!r}, or not visible to this user.", hint=hint)
    return one


@SALESFORCE.tool(needs=[API])
def describe(
    object: Annotated[str | None, Field(description="API name; none lists objects")] = None,
    query: Annotated[str | None, Field(description="part of a name or label")] = None,
    writable_only: bool = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Objects of the org, or fields, picklists and required fields of one."""
    bound = ("salesforce_describe", run.account.subject, object, query, writable_only)
    (start,) = read_cursor(bound, cursor, (int,)) if cursor else (0,)
    if object is None:
        answer = yield get("/sobjects")
        every = [_object(one) for one in answer.get("sobjects") or () if _is_listed(one)]
    else:
        fields = yield from fields_of(object_name(object))
        every = [_field(one) for one in fields.values() if not writable_only or one.get("updateable")]
    said = (query or "").casefold()
    wanted = [one for one in every if said in f"{one['name']} {one.get('label', '')}".casefold()]
    rows = Rows()
    taken = sum(1 for one in wanted[start : start + limit] if rows.add(one))
    more = write_cursor(bound, [start + taken]) if start + taken < len(wanted) else None
    name = "objects" if object is None else "fields"
    return {name: rows.items, "next": more, "total": len(wanted), "truncated": taken < limit and more is not None}


def _is_listed(one: Json) -> bool:
    name = str(one.get("name") or "")
    return name in OBJECTS or name.endswith("__c")


def _object(one: Json) -> Json:
    outside = Outside()
    return {
        "name": one.get("name"),
        "label": outside.line(str(one.get("label") or ""), 60),
        "key_prefix": one.get("keyPrefix"),
        "custom": one.get("custom"),
    }


def _field(one: Json) -> Json:
    outside = Outside()
    values = [str(v.get("value")) for v in one.get("picklistValues") or () if v.get("active", True)]
    return {
        "name": one.get("name"),
        "label": outside.line(str(one.get("label") or ""), 60),
        "type": one.get("type"),
        "required": is_required(one),
        "updateable": one.get("updateable"),
        "picklist": [outside.line(v, 40) for v in values[:20]],
        "refers_to": (one.get("referenceTo") or [])[:3],
    }


def is_required(field: Json) -> bool:
    """True if a new record must have a value for this field."""
    return bool(field.get("createable") and not field.get("nillable") and not field.get("defaultedOnCreate"))


Kind = Literal["users", "queues", "record_types"]


@SALESFORCE.tool(needs=[API])
def list_org(
    kind: Kind,
    query: str | None = None,
    object: Annotated[str | None, Field(description="of record types")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Users, queues and record types: values for owner and record type."""
    bound = ("salesforce_list_org", run.account.subject, kind, query, object)
    source, fields, where = _people(kind, object)
    if query:
        where.append(f"Name LIKE {like(query)}")
    if cursor:
        where.append((yield from after_cursor(bound, cursor, source, "Name", "string", "ASC")))
    records = yield from rows_of(select(fields, source, where, order("Name", "ASC"), limit + 1))
    return page_of(records, limit, bound, "Name", _row)


def _people(kind: Kind, object: str | None) -> tuple[str, Sequence[str], list[str]]:
    if kind == "record_types":
        where = [f"SobjectType = {text(object_name(object))}"] if object else []
        return "RecordType", ("Id", "Name", "SobjectType", "IsActive"), where
    if object:
        raise InvalidInput(
            "object: only together with kind=record_types.", hint="Add kind=record_types, or leave out object."
        )
    if kind == "queues":
        return "Group", ("Id", "Name"), ["Type = 'Queue'"]
    return "User", ("Id", "Name", "Email", "IsActive"), []


def _row(one: Json) -> dict[str, Any]:
    outside = Outside()
    row: Json = {
        "id": one.get("Id"),
        "name": outside.line(str(one.get("Name") or ""), 80),
        "email": one.get("Email"),
        "active": one.get("IsActive"),
    }
    if one.get("SobjectType"):
        row["object"] = one["SobjectType"]
    outside.mark(row)
    return row


def owner_id(wanted: str, account: Account) -> Asks[str]:
    """Return the id of an owner: ``me``, an id, or the exact name or address of one user or queue."""
    said = wanted.strip()
    if said.lower() in ("me", "@me"):
        return own_id(account)
    if is_id(said):
        return said
    same = f"(Name = {text(said)} OR Email = {text(said)})"
    users = yield from rows_of(select(("Id", "Name"), "User", [same, "IsActive = TRUE"], limit=6))
    queues = yield from rows_of(select(("Id", "Name"), "Group", ["Type = 'Queue'", f"Name = {text(said)}"], limit=6))
    if len(users) + len(queues) == 1:
        return str((users + queues)[0]["Id"])
    if users or queues:
        told = ", ".join(f"{one['Id']} ({Outside().line(str(one['Name']), 60)})" for one in (users + queues)[:5])
        raise InvalidInput("owner: several users have this name.", hint=f"Use an id: {told}.")
    if said and (id := (yield from id_elsewhere(said, "owner", "salesforce"))):
        return id
    near = yield from rows_of(
        select(("Name",), "User", [f"Name LIKE {like(said.split()[0])}"] if said else [], limit=5)
    )
    names = ", ".join(Outside().line(str(one["Name"]), 60) for one in near)
    hint = f"Near: {names}." if names else "salesforce_list_org(kind=users) lists them, kind=queues the queues."
    raise InvalidInput(f"owner: no user {Outside().line(said, 60)!r}.", hint=hint)
