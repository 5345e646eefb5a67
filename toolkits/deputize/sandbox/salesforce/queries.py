"""SOQL queries, single or in a batch, and search over all fields."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from deputize.sandbox.http_types import Refused, Reply, in_json
from deputize.sandbox.salesforce.call import LIMIT, Call, Json, attributes, failed, field, find_type, spell_field
from deputize.sandbox.salesforce.objects import FIELDS
from deputize.sandbox.salesforce.seed import stamp
from deputize.sandbox.salesforce.soql import Malformed, Select, plain, read

CHILDREN = {"Contacts": ("Contact", "AccountId"), "Opportunities": ("Opportunity", "AccountId")}


def query(call: Call) -> Reply:
    return in_json(_result(call, call.ask.one("q")), headers=[LIMIT], changes=False)


def _result(call: Call, text: str) -> Json:
    try:
        select = read(text, stamp(call.world.clock())[:10])
    except (Malformed, ValueError) as malformed:
        raise failed(400, "MALFORMED_QUERY", f"unexpected token: {malformed}") from None
    kind = find_type(select.kind, "INVALID_TYPE")
    rows = _select(call, kind, select, call.rows(kind))
    if select.fields == ["COUNT()"]:
        return {"totalSize": len(rows), "done": True, "records": []}
    return {"totalSize": len(rows), "done": True, "records": [_record(call, kind, row, select) for row in rows]}


def _select(call: Call, kind: str, select: Select, rows: list[Json]) -> list[Json]:
    for name in [*(name for name in select.fields if name != "COUNT()"), *(name for name, _ in select.order)]:
        field(kind, {}, name, call)
    for name in select.compared:
        field(kind, {}, name, call)
        if FIELDS[kind].get(spell_field(kind, name) if "." not in name else "") == "textarea":
            raise failed(400, "INVALID_FIELD", f"field '{name}' can not be filtered in a query call")
    rows = [row for row in rows if select.where(lambda name, row=row: field(kind, row, name, call))]  # type: ignore[misc]
    for name, descends in reversed(select.order):
        values = {row["Id"]: field(kind, row, name, call) for row in rows}
        present = [row for row in rows if values[row["Id"]] is not None]
        present.sort(key=lambda row: plain(values[row["Id"]]), reverse=descends)
        rows = present + [row for row in rows if values[row["Id"]] is None]
    return rows[: select.limit] if select.limit is not None else rows


def _record(call: Call, kind: str, row: Json, select: Select) -> Json:
    record = attributes(kind, row["Id"])
    for name in select.fields:
        if "." in name:
            first, rest = name.split(".", 1)
            record.setdefault(first, {})[rest] = field(kind, row, name, call)
        else:
            record[spell_field(kind, name)] = field(kind, row, name, call)
    for child in select.children:
        source, by = CHILDREN.get(child.kind, ("", ""))
        if not source:
            raise failed(400, "INVALID_TYPE", f"Didn't understand relationship '{child.kind}' in field path.")
        rows = _select(call, source, child, [one for one in call.rows(source) if one.get(by) == row["Id"]])
        records = [_record(call, source, one, child) for one in rows]
        record[child.kind] = {"totalSize": len(rows), "done": True, "records": records}
    return record


def search(call: Call) -> Reply:
    """Run parameterizedSearch: find records with all words, in any field."""
    asked = call.ask.content()
    words = str(asked.get("q") or "").casefold().split()
    hits: list[Json] = []
    for one in asked.get("sobjects") or []:
        kind = find_type(str(one["name"]), "INVALID_TYPE")
        names = [spell_field(kind, name) for name in one.get("fields") or ["Id"]]
        for row in call.rows(kind):
            text = " ".join(str(value) for value in row.values() if isinstance(value, str)).casefold()
            if all(word in text for word in words):
                hits.append(attributes(kind, row["Id"]) | {name: field(kind, row, name, call) for name in names})
    return in_json({"searchRecords": hits[: int(asked.get("overallLimit") or 200)]}, headers=[LIMIT], changes=False)


def batch(call: Call) -> Reply:
    """Run composite/batch, which accepts queries only."""
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
