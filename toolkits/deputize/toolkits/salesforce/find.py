"""Salesforce: the user, search, and lists of records."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from deputize.core import Request, Run, Steps, TimeZone
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import (
    API,
    DATA,
    KNOWN_BY,
    SALESFORCE,
    Asks,
    Json,
    get,
    object_name,
    record_id,
    rows_of,
)
from deputize.toolkits.salesforce.describe import Described, field_in, fields_of, owner_id
from deputize.toolkits.salesforce.filters import Filter, with_zone
from deputize.toolkits.salesforce.filters import condition_of as filtered
from deputize.toolkits.salesforce.paging import after_cursor, order, page_of, sorts
from deputize.toolkits.salesforce.rows import DETAIL, NAME, record_row
from deputize.toolkits.salesforce.soql import like, select, text


@SALESFORCE.tool(needs=[KNOWN_BY, API], aliases=["Salesforce.WhoAmI"])
def whoami() -> Steps:
    """Who I am in Salesforce, the org, and API usage left."""
    told, limits = yield [Request("GET", "/oauth2/userinfo"), get("/limits")]
    if told.get("zoneinfo"):
        yield TimeZone(str(told["zoneinfo"]))
    daily = limits.get("DailyApiRequests") or {}
    outside = Outside()
    return {
        "user_id": told.get("user_id"),
        "name": outside.line(str(told.get("name") or ""), 80),
        "email": told.get("email"),
        "username": told.get("preferred_username"),
        "org_id": told.get("organization_id"),
        "time_zone": told.get("zoneinfo"),
        "api_left": daily.get("Remaining"),
    }


_SEARCHED: Final = ("Account", "Contact", "Lead", "Opportunity", "Case")


@SALESFORCE.tool(needs=[API])
def search(
    query: Annotated[str, Field(min_length=2, max_length=200)],
    objects: Annotated[list[str] | None, Field(description="API names")] = None,
    limit: Limit = 20,
) -> Steps:
    """Find records by words across objects."""
    kinds = [object_name(one) for one in objects or _SEARCHED]
    body = {
        "q": query,
        "in": "ALL",
        "overallLimit": limit,
        "defaultLimit": limit,
        "sobjects": [{"name": kind, "fields": ["Id", NAME.get(kind, "Name"), *DETAIL.get(kind, ())]} for kind in kinds],
    }
    answer = yield Request("POST", f"{DATA}/parameterizedSearch", json=body, repeat="read")
    hits = list(answer.get("searchRecords") or ())
    rows = Rows()
    taken = sum(1 for one in hits if rows.add(_hit(one)))
    return {"items": rows.items, "truncated": taken < len(hits) or len(hits) >= limit}


def _hit(one: Json) -> Json:
    kind = str((one.get("attributes") or {}).get("type") or "")
    outside = Outside()
    detail = [str(one[name]) for name in DETAIL.get(kind, ()) if one.get(name) not in (None, "")]
    row: Json = {
        "object": kind,
        "id": one.get("Id"),
        "name": outside.line(str(one.get(NAME.get(kind, "Name")) or ""), 80),
        "detail": outside.line(", ".join(detail), 80),
    }
    outside.mark(row)
    return row


_PARENTS: Final = {"001": "AccountId", "003": "ContactId", "006": "OpportunityId", "500": "CaseId"}


@SALESFORCE.tool(
    needs=[API],
)
def list_records(
    object: Annotated[str, Field(description="Account, Lead, Opportunity, Task, Case or API name")],
    query: Annotated[str | None, Field(description="words in the name")] = None,
    filters: list[Filter] | None = None,
    owner: Annotated[str | None, Field(description="me, name or id")] = None,
    related_to: Annotated[str | None, Field(description="record id")] = None,
    fields: Annotated[list[str] | None, Field(description="to show")] = None,
    sort: Annotated[str, Field(description="field, or -field for descending")] = "-CreatedDate",
    overdue_only: Annotated[bool, Field(description="tasks")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Records of one object by filter, newest first."""
    kind = object_name(object)
    chosen = [(one.field, one.op, one.value, one.values) for one in filters or ()]
    bound = (
        "salesforce_list_records",
        run.account.subject,
        kind,
        query,
        chosen,
        owner,
        related_to,
        fields,
        sort,
        overdue_only,
    )
    known = yield from fields_of(kind)
    run = yield from with_zone(known, filters or (), run)
    where = [filtered(known, one, run) for one in filters or ()]
    name = NAME.get(kind, "Name")
    if query and name == "Id":
        raise InvalidInput(f"query: cannot be used for {kind}, which has no name.", hint="Use filters.")
    where += [f"{name} LIKE {like(word)}" for word in (query or "").split()[:10]]
    if owner:
        field = field_in(known, "OwnerId", "owner")["name"]
        where.append(f"{field} = {text((yield from owner_id(owner, run.account)))}")
    if related_to:
        where.append(_relation_condition(kind, known, record_id(related_to, "related_to")))
    if overdue_only:
        where += _overdue(kind)
    by, type = _sort_field(known, sort.removeprefix("-"))
    way = "DESC" if sort.startswith("-") else "ASC"
    if cursor:
        where.append((yield from after_cursor(bound, cursor, kind, by, type, way)))
    shown = [str(field_in(known, one, "fields")["name"]) for one in fields or DETAIL.get(kind, ())]
    records = yield from rows_of(select(("Id", name, *shown, by), kind, where, order(by, way), limit + 1))
    return page_of(records, limit, bound, by, lambda one: record_row(kind, one, (name, *shown)))


def _sort_field(known: Described, wanted: str) -> tuple[str, str]:
    """Return the name and type of a field by which a list can be sorted."""
    field = field_in(known, wanted, "sort")
    name, type = str(field["name"]), str(field.get("type") or "string")
    if field.get("sortable") is False or not sorts(type):
        raise InvalidInput(
            f"sort: {name} cannot be sorted by.", hint="Sort by a time, number or text field, such as -CreatedDate."
        )
    return name, type


def _relation_condition(kind: str, known: Described, id: str) -> str:
    """Return the condition that selects this object's records related to the record."""
    if kind in ("Task", "Event"):
        return f"{'WhoId' if id.startswith(('003', '00Q')) else 'WhatId'} = {text(id)}"
    name = _PARENTS.get(id[:3], "")
    if name.lower() not in known:
        raise InvalidInput(
            f"related_to: {kind} has no field that refers to such a record.", hint="Use filters on a field."
        )
    return f"{name} = {text(id)}"


def _overdue(kind: str) -> list[str]:
    if kind != "Task":
        raise InvalidInput("overdue_only: only for object=Task.", hint="Use object=Task.")
    return ["IsClosed = FALSE", "ActivityDate < TODAY"]


def find_by_name(kind: str, wanted: str) -> Asks[list[Json]]:
    """Return the records with exactly this name, or else the records whose names contain it."""
    name = NAME.get(kind, "Name")
    if name == "Id":
        raise InvalidInput(f"record: a {kind} has no name to find it by.", hint="Use its id.")
    exact = yield from rows_of(select(("Id", name), kind, [f"{name} = {text(wanted)}"], ("Id",), 6))
    if exact:
        return exact
    return (yield from rows_of(select(("Id", name), kind, [f"{name} LIKE {like(wanted)}"], (name, "Id"), 6)))
