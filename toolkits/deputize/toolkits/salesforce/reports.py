"""Salesforce: reports (developer.salesforce.com/docs/atlas.en-us.api_analytics.meta/api_analytics)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from deputize.core import Request, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.page import Rows, tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import API, DATA, SALESFORCE, Json, get, is_id

_COLUMN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.$]{0,200}")
_MOST: Final = 3_000  # tokens of rows


class ReportFilter(BaseModel):
    """One comparison."""

    model_config = ConfigDict(extra="forbid")

    field: str
    op: Literal["equals", "notEqual", "lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual", "contains"]
    value: str


@SALESFORCE.tool(needs=[API], toolset="expert")
def run_report(
    report: Annotated[str | None, Field(description="id or name; none lists")] = None,
    filters: Annotated[list[ReportFilter] | None, Field(max_length=20)] = None,
    limit: Annotated[int, Field(ge=1, le=2000)] = 50,
) -> Steps:
    """List my reports, or run one with filters."""
    listed = yield get("/analytics/reports")
    every = [_report(one) for one in listed or ()]
    if report is None:
        rows = Rows()
        taken = sum(1 for one in every[:limit] if rows.add(one))
        return {"reports": rows.items, "total": len(every), "truncated": taken < len(every)}
    id = _chosen(every, report.strip())
    described = yield get("/analytics/reports/{id}/describe", {"id": id})
    asked = dict(described.get("reportMetadata") or {})
    if filters:
        asked["reportFilters"] = [*(asked.get("reportFilters") or ()), *(_filter(one) for one in filters)]
    path = f"{DATA}/analytics/reports/{{id}}"
    body = {"reportMetadata": asked}
    answer = yield Request("POST", path, at={"id": id}, params={"includeDetails": True}, json=body, repeat="read")
    return _table(answer, limit)


def _report(one: Json) -> Json:
    outside = Outside()
    row: Json = {"id": one.get("id"), "name": outside.line(str(one.get("name") or ""), 80)}
    outside.mark(row)
    return row


def _chosen(every: list[Json], said: str) -> str:
    if is_id(said):
        return said
    same = [one for one in every if str(one["name"]).casefold() == said.casefold()]
    if len(same) != 1:
        near = ", ".join(str(one["name"]) for one in every if said.casefold() in str(one["name"]).casefold())[:300]
        raise InvalidInput(
            "report: not exactly one report has this name.", hint=f"Near: {near}." if near else "List them."
        )
    return str(same[0]["id"])


def _filter(one: ReportFilter) -> Json:
    if not _COLUMN.fullmatch(one.field):
        raise InvalidInput("filters: not an API name of a column of this report.", hint="Such as AMOUNT.")
    return {"column": one.field, "operator": one.op, "value": one.value}


def _table(answer: Json, limit: int) -> Json:
    """Columns and rows: a report is wide, and names in every row would cost half of it."""
    outside = Outside()
    told = (answer.get("reportExtendedMetadata") or {}).get("detailColumnInfo") or {}
    names = (answer.get("reportMetadata") or {}).get("detailColumns") or list(told)
    columns = [outside.line(str((told.get(name) or {}).get("label") or name), 60) for name in names]
    facts = answer.get("factMap") or {}
    rows: list[list[Any]] = []
    totals = [outside.line(str(one.get("label") or ""), 60) for one in (facts.get("T!T") or {}).get("aggregates") or ()]
    left, cut = _MOST - tokens(columns) - tokens(totals), False
    for fact in facts.values():
        for one in fact.get("rows") or ():
            row = [outside.line(str(cell.get("label") or ""), 120) for cell in one.get("dataCells") or ()]
            left -= tokens(row)
            if len(rows) >= limit or left < 0:
                cut = True
                break
            rows.append(row)
    result: Json = {"columns": columns, "rows": rows, "totals": totals, "all_data": answer.get("allData", True)}
    result["truncated"] = cut
    outside.mark(result)
    return result
