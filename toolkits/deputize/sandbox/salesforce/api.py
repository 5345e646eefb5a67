"""An org's REST API: versions, SOQL, search, records described, read, made, changed and deleted, reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.people import Person
from deputize.sandbox.salesforce import objects
from deputize.sandbox.salesforce.objects import FIELDS, REQUIRED
from deputize.sandbox.salesforce.seed import PRIVATE, REPORT, record_id, stamp, user_id
from deputize.sandbox.salesforce.soql import Malformed, Select, plain, read
from deputize.sandbox.world import World

Json = dict[str, Any]
VERSION = "64.0"
LIMIT = ("sforce-limit-info", "api-usage=18/15000")
OWNERS_ONLY = ("Account", "Opportunity", "Case")  # who may delete them
CHILDREN = {"Contacts": ("Contact", "AccountId"), "Opportunities": ("Opportunity", "AccountId")}


@dataclass(frozen=True)
class Call:
    """One request, and who sends it."""

    ask: Ask
    world: World
    person: Person

    @property
    def me(self) -> str:
        """The id of the person."""
        return user_id(self.person.sub)

    def all(self, kind: str) -> list[Json]:
        """The records of a type; a list to add to."""
        found: list[Json] = self.world.services["salesforce"]["records"].setdefault(kind, [])
        return found

    @property
    def bin(self) -> list[str]:
        """The ids of what was deleted; a list to add to."""
        ids: list[str] = self.world.services["salesforce"].setdefault("deleted", [])
        return ids

    def rows(self, kind: str) -> list[Json]:
        """The records of a type that this person may see."""
        return [row for row in self.all(kind) if kind not in PRIVATE or row["OwnerId"] == self.me]


def failed(status: int, code: str, message: str, fields: list[str] | None = None) -> Refused:
    """A list of one error."""
    error: Json = {"message": message, "errorCode": code}
    return Refused(in_json([error if fields is None else error | {"fields": fields}], status, [LIMIT]))


def answer(ask: Ask, world: World) -> Reply:
    """Without a token only the list of versions."""
    if ask.path.rstrip("/") == "/services/data":
        return in_json([{"label": "Summer '25", "url": f"/services/data/v{VERSION}", "version": VERSION}])
    call = _call(ask, world)
    found = re.fullmatch(r"/services/data/v\d\d\.0/(.*?)/?", ask.path)
    for pattern, does in ROUTES:
        if found and (parts := re.fullmatch(pattern, f"{ask.method} {found[1]}")):
            return does(call, *(unquote(part) for part in parts.groups()))
    raise failed(404, "NOT_FOUND", "The requested resource does not exist")


def _call(ask: Ask, world: World) -> Call:
    token = world.access(ask.bearer(), "salesforce")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise failed(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if not {"api", "full"} & set(token.scopes):
        raise failed(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
    return Call(ask, world, person)


def _kind(name: str, code: str = "NOT_FOUND") -> str:
    kind = next((one for one in FIELDS if one.lower() == name.lower()), None)
    if kind is None:
        status = 404 if code == "NOT_FOUND" else 400
        raise failed(status, code, f"sObject type '{name}' is not supported.")
    return kind


# ----------------------------------------------------------------- queries


def query(call: Call) -> Reply:
    """GET query?q=."""
    return in_json(_result(call, call.ask.one("q")), headers=[LIMIT], changes=False)


def _result(call: Call, text: str) -> Json:
    try:
        select = read(text, stamp(call.world.clock())[:10])
    except (Malformed, ValueError) as malformed:
        raise failed(400, "MALFORMED_QUERY", f"unexpected token: {malformed}") from None
    kind = _kind(select.kind, "INVALID_TYPE")
    rows = _selected(call, kind, select, call.rows(kind))
    if select.fields == ["COUNT()"]:
        return {"totalSize": len(rows), "done": True, "records": []}
    return {"totalSize": len(rows), "done": True, "records": [_shown(call, kind, row, select) for row in rows]}


def _selected(call: Call, kind: str, select: Select, rows: list[Json]) -> list[Json]:
    for name in [*(name for name in select.fields if name != "COUNT()"), *(name for name, _ in select.order)]:
        _field(kind, {}, name, call)
    for name in select.compared:
        _field(kind, {}, name, call)
        if FIELDS[kind].get(_spelt(kind, name) if "." not in name else "") == "textarea":
            raise failed(400, "INVALID_FIELD", f"field '{name}' can not be filtered in a query call")
    rows = [row for row in rows if select.where(lambda name, row=row: _field(kind, row, name, call))]  # type: ignore[misc]
    for name, descends in reversed(select.order):
        values = {row["Id"]: _field(kind, row, name, call) for row in rows}
        present = [row for row in rows if values[row["Id"]] is not None]
        present.sort(key=lambda row: plain(values[row["Id"]]), reverse=descends)
        rows = present + [row for row in rows if values[row["Id"]] is None]
    return rows[: select.limit] if select.limit is not None else rows


def _shown(call: Call, kind: str, row: Json, select: Select) -> Json:
    record = _about(kind, row["Id"])
    for name in select.fields:
        if "." in name:
            first, rest = name.split(".", 1)
            record.setdefault(first, {})[rest] = _field(kind, row, name, call)
        else:
            record[_spelt(kind, name)] = _field(kind, row, name, call)
    for child in select.children:
        source, by = CHILDREN.get(child.kind, ("", ""))
        if not source:
            raise failed(400, "INVALID_TYPE", f"Didn't understand relationship '{child.kind}' in field path.")
        rows = _selected(call, source, child, [one for one in call.rows(source) if one.get(by) == row["Id"]])
        records = [_shown(call, source, one, child) for one in rows]
        record[child.kind] = {"totalSize": len(rows), "done": True, "records": records}
    return record


def _about(kind: str, id: str) -> Json:
    return {"attributes": {"type": kind, "url": f"/services/data/v{VERSION}/sobjects/{kind}/{id}"}}


def _spelt(kind: str, name: str) -> str:
    known = {known.lower(): known for known in FIELDS[kind]}
    if name.lower() not in known:
        raise failed(400, "INVALID_FIELD", f"No such column '{name}' on entity '{kind}'.")
    return known[name.lower()]


def _field(kind: str, row: Json, name: str, call: Call) -> Any:
    """A field, or one of what it leads to: ``Owner.Name``."""
    if "." in name:
        first, rest = name.split(".", 1)
        source = objects.REFERS.get(f"{first}Id", "")
        if not source:
            raise failed(400, "INVALID_FIELD", f"Didn't understand relationship '{first}' in field path.")
        other = next((one for one in call.rows(source) if one["Id"] == row.get(f"{first}Id")), {})
        return _field(source, other, rest, call)
    name = _spelt(kind, name)
    if name == "Name" and kind in ("Contact", "Lead") and row:
        return " ".join(filter(None, (row.get("FirstName"), row.get("LastName"))))
    if name == "IsClosed" and kind == "Task":
        return row.get("Status") == "Completed"
    if name == "CaseNumber" and row:
        return row["Id"][7:15]
    return row.get(name)


def search(call: Call) -> Reply:
    """POST parameterizedSearch: every word, in any field."""
    asked = call.ask.content()
    words = str(asked.get("q") or "").casefold().split()
    hits: list[Json] = []
    for one in asked.get("sobjects") or []:
        kind = _kind(str(one["name"]), "INVALID_TYPE")
        names = [_spelt(kind, name) for name in one.get("fields") or ["Id"]]
        for row in call.rows(kind):
            text = " ".join(str(value) for value in row.values() if isinstance(value, str)).casefold()
            if all(word in text for word in words):
                hits.append(_about(kind, row["Id"]) | {name: _field(kind, row, name, call) for name in names})
    return in_json({"searchRecords": hits[: int(asked.get("overallLimit") or 200)]}, headers=[LIMIT], changes=False)


def batch(call: Call) -> Reply:
    """POST composite/batch: queries only."""
    results = []
    for one in call.ask.content().get("batchRequests") or []:
        _, _, asked = str(one.get("url")).partition("/query?")
        try:
            result: Any = _result(call, parse_qs(asked)["q"][0])
            results.append({"statusCode": 200, "result": result})
        except Refused as refused:
            results.append({"statusCode": refused.reply.status, "result": []})
    failures = any(one["statusCode"] != 200 for one in results)
    return in_json({"hasErrors": failures, "results": results}, headers=[LIMIT], changes=False)


# ----------------------------------------------------------------- records


def every_object(call: Call) -> Reply:
    """GET sobjects."""
    return in_json({"sobjects": [objects.about(kind) for kind in FIELDS]}, headers=[LIMIT], changes=False)


def describe(call: Call, kind: str) -> Reply:
    """GET sobjects/X/describe."""
    return in_json(objects.described(_kind(kind)), headers=[LIMIT], changes=False)


def _row(call: Call, kind: str, id: str) -> Json:
    row = next((row for row in call.rows(kind) if id in (row["Id"], row["Id"][:15])), None)
    if row is None:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    return row


def one(call: Call, kind: str, id: str) -> Reply:
    """GET sobjects/X/id, all fields or those that are named."""
    kind = _kind(kind)
    row = _row(call, kind, id)
    asked = call.ask.one("fields")
    names = [_spelt(kind, name) for name in asked.split(",")] if asked else list(FIELDS[kind])
    shown = {name: _field(kind, row, name, call) for name in names}
    return in_json(_about(kind, row["Id"]) | {"Id": row["Id"]} | shown, headers=[LIMIT], changes=False)


def _checked(kind: str, given: Json) -> Json:
    for name in given:
        if name not in FIELDS[kind] or name in objects.READ_ONLY:
            raise failed(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
    return given


def create(call: Call, kind: str) -> Reply:
    """POST sobjects/X. The same name twice is a duplicate, unless the header lets it pass."""
    kind, given = _kind(kind), call.ask.content()
    if missing := [name for name in REQUIRED.get(kind, ()) if not given.get(name)]:
        shown = f"Required fields are missing: [{', '.join(missing)}]"
        raise failed(400, "REQUIRED_FIELD_MISSING", shown, missing)
    same = [row for row in call.all(kind) if kind == "Account" and row.get("Name") == given.get("Name")]
    if kind == "ContentDocumentLink":
        _linked(call, given)
    if same and "allowSave=true" not in call.ask.headers.get("sforce-duplicate-rule-header", ""):
        raise failed(400, "DUPLICATES_DETECTED", "Use one of these records?")
    return in_json({"id": _new(call, kind, _checked(kind, given)), "success": True, "errors": []}, 201, [LIMIT])


def _linked(call: Call, given: Json) -> None:
    """A document is on a record once, and both are there."""
    ends = ("ContentDocumentId", "LinkedEntityId")
    for name in ends:
        if not any(row["Id"] == given.get(name) for kind in FIELDS for row in call.rows(kind)):
            raise failed(400, "FIELD_INTEGRITY_EXCEPTION", f"{name}: id value of incorrect type", [name])
    if any(all(row.get(name) == given[name] for name in ends) for row in call.all("ContentDocumentLink")):
        raise failed(400, "DUPLICATE_VALUE", "duplicate value found", [])


def _new(call: Call, kind: str, given: Json) -> str:
    rows = call.all(kind)
    used = [row["Id"] for row in rows] + [id for id in call.bin if id.startswith(objects.PREFIXES[kind])]
    numbers = [int(id[3:15]) for id in used if id[3:15].isdecimal()]
    id, at = record_id(kind, max(numbers, default=0) + 1), stamp(call.world.clock())
    by = {"OwnerId": call.me, "CreatedById": call.me}
    rows.append({"Id": id, **by, "CreatedDate": at, "LastModifiedDate": at} | given)
    return id


def update(call: Call, kind: str, id: str) -> Reply:
    """PATCH sobjects/X/id, only if unmodified since where the header says so."""
    kind = _kind(kind)
    row = _row(call, kind, id)
    if since := call.ask.headers.get("if-unmodified-since", ""):
        changed = stamp(parsedate_to_datetime(since).timestamp())
        if row["LastModifiedDate"] > changed:
            raise failed(412, "PRECONDITION_FAILED", "The record was changed.")
    row |= _checked(kind, call.ask.content()) | {"LastModifiedDate": stamp(call.world.clock())}
    return Reply(204, (LIMIT,), b"", changes=True)


def upsert(call: Call, kind: str, name: str, value: str) -> Reply:
    """PATCH sobjects/X/field/value."""
    kind = _kind(kind)
    found = [row for row in call.rows(kind) if str(row.get(_spelt(kind, name))) == value]
    given = _checked(kind, call.ask.content())
    if not found:
        id = _new(call, kind, given | {name: value})
        return in_json({"id": id, "success": True, "errors": [], "created": True}, 201, [LIMIT])
    found[0] |= given
    return in_json({"id": found[0]["Id"], "success": True, "errors": [], "created": False}, 200, [LIMIT])


def delete(call: Call, kind: str, id: str) -> Reply:
    """DELETE sobjects/X/id."""
    kind = _kind(kind)
    if any(id in (one, one[:15]) for one in call.bin):
        raise failed(404, "ENTITY_IS_DELETED", "entity is deleted", [])
    row = _row(call, kind, id)
    if row["OwnerId"] != call.me and kind in OWNERS_ONLY:
        raise failed(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", [])
    call.all(kind).remove(row)
    call.bin.append(row["Id"])
    return Reply(204, (LIMIT,), b"", changes=True)


# ----------------------------------------------------------------- the rest


def limits(call: Call) -> Reply:
    """GET limits."""
    return in_json({"DailyApiRequests": {"Max": 15000, "Remaining": 14982}}, headers=[LIMIT], changes=False)


def reports(call: Call) -> Reply:
    """GET analytics/reports."""
    return in_json([{"id": REPORT, "name": "Open opportunities"}], headers=[LIMIT], changes=False)


def report(call: Call, id: str) -> Reply:
    """GET analytics/reports/X/describe."""
    if id != REPORT:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    told = {"id": REPORT, "detailColumns": ["OPPORTUNITY_NAME", "AMOUNT"], "reportFilters": []}
    return in_json({"reportMetadata": told}, headers=[LIMIT], changes=False)


def run(call: Call, id: str) -> Reply:
    """POST analytics/reports/X."""
    report(call, id)
    asked = call.ask.content()["reportMetadata"]
    rows = [row for row in call.rows("Opportunity") if all(_passes(row, one) for one in asked["reportFilters"])]
    cells = [{"dataCells": [{"label": row["Name"]}, {"label": f"${row['Amount']:,.2f}"}]} for row in rows]
    total = sum(row["Amount"] for row in rows)
    labels = {"OPPORTUNITY_NAME": {"label": "Opportunity Name"}, "AMOUNT": {"label": "Amount"}}
    told = {
        "reportMetadata": asked,
        "reportExtendedMetadata": {"detailColumnInfo": labels},
        "factMap": {"T!T": {"aggregates": [{"label": f"${total:,.2f}"}], "rows": cells}},
        "allData": True,
    }
    return in_json(told, headers=[LIMIT], changes=False)


def _passes(row: Json, one: Json) -> bool:
    value = {"OPPORTUNITY_NAME": row["Name"], "AMOUNT": row["Amount"]}[one["column"]]
    if one["operator"] == "contains":
        return str(one["value"]).lower() in str(value).lower()
    return bool(value > float(one["value"])) if one["operator"] == "greaterThan" else str(value) == one["value"]


ROUTES: tuple[tuple[str, Callable[..., Reply]], ...] = (
    (r"GET query", query),
    (r"GET limits", limits),
    (r"POST parameterizedSearch", search),
    (r"POST composite/batch", batch),
    (r"GET sobjects", every_object),
    (r"GET sobjects/(\w+)/describe", describe),
    (r"POST sobjects/(\w+)", create),
    (r"GET sobjects/(\w+)/(\w+)", one),
    (r"PATCH sobjects/(\w+)/(\w+)", update),
    (r"DELETE sobjects/(\w+)/(\w+)", delete),
    (r"PATCH sobjects/(\w+)/(\w+)/([^/]+)", upsert),
    (r"GET analytics/reports", reports),
    (r"GET analytics/reports/(\w+)/describe", report),
    (r"POST analytics/reports/(\w+)", run),
)
