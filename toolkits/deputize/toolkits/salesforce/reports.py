"""Salesforce: reports (developer.salesforce.com/docs/atlas.en-us.api_analytics.meta/api_analytics)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from deputize.core import Account, Continuation, Request, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Offset
from deputize.toolkits._shared.long_text import PART, part
from deputize.toolkits._shared.page import Rows, read_cursor, tokens, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import API, DATA, SALESFORCE, Json, get, is_id
from deputize.toolkits.salesforce.filters import inline_schema
from deputize.toolkits.salesforce.rich_text import PLAIN
from deputize.toolkits.salesforce.rows import show_value
from deputize.toolkits.salesforce.texts import Value

_COLUMN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.$]{0,200}")
_MAX_TOKENS: Final = 3_000  # tokens of rows
_FEW: Final = 12  # names that a hint lists
_CELL: Final = 300  # bytes of a cell


class ReportFilter(BaseModel):
    """One comparison."""

    model_config = ConfigDict(extra="forbid")

    field: Annotated[str, Field(description="API name of a column, such as AMOUNT")]
    op: Literal["equals", "notEqual", "lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual", "contains"]
    value: Value


Filter = Annotated[ReportFilter, inline_schema(ReportFilter)]


@SALESFORCE.tool(needs=[API], toolset="expert")
def run_report(
    report: Annotated[str | None, Field(description="id or name; none lists")] = None,
    filters: Annotated[list[Filter] | None, Field(max_length=20)] = None,
    row: Annotated[int | None, Field(ge=0, description="with column: this cell whole")] = None,
    column: Annotated[str | None, Field(description="its label")] = None,
    offset: Annotated[Offset, Field(description="into the cell")] = 0,
    limit: Annotated[int, Field(ge=1, le=2000)] = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List my reports, or run one with filters."""
    if (row is None) != (column is None) or (offset and row is None):
        raise InvalidInput(
            "row, column: give both, to read one cell; offset only with them.", hint="Such as row=2 and column=0."
        )
    listed = yield get("/analytics/reports")
    every = [_report(one) for one in listed or ()]
    if report is None:
        return _reports(every, limit, cursor, run.account)
    id = _report_id(every, report.strip())
    described = yield get("/analytics/reports/{id}/describe", {"id": id})
    asked = dict(described.get("reportMetadata") or {})
    if filters:
        asked["reportFilters"] = [*(asked.get("reportFilters") or ()), *(_filter(one) for one in filters)]
    path = f"{DATA}/analytics/reports/{{id}}"
    body = {"reportMetadata": asked}
    answer = yield Request("POST", path, at={"id": id}, params={"includeDetails": True}, json=body, repeat="read")
    table = Table.of(answer)
    if row is not None:
        more = None if filters else Continuation("salesforce_run_report", report=id, row=row, column=str(column))
        return table.cell(row, str(column), offset, more)
    bound = ("salesforce_run_report", run.account.subject, id, [one.model_dump() for one in filters or ()])
    (start,) = read_cursor(bound, cursor, (int,)) if cursor else (0,)
    page, following = table.page(start, limit, "" if filters else id)
    return page | {"next": following and write_cursor(bound, [following])}


def _reports(every: list[Json], limit: int, cursor: str | None, account: Account) -> Json:
    """Return the reports from the cursor's position on."""
    bound = ("salesforce_run_report", account.subject)
    (start,) = read_cursor(bound, cursor, (int,)) if cursor else (0,)
    rows = Rows()
    taken = len(list(takewhile(rows.add, every[start : start + limit])))
    more = write_cursor(bound, [start + taken]) if start + taken < len(every) else None
    return {"reports": rows.items, "total": len(every), "next": more, "truncated": taken < limit and more is not None}


def _report(one: Json) -> Json:
    outside = Outside()
    row: Json = {"id": one.get("id"), "name": outside.line(str(one.get("name") or ""), 80)}
    outside.mark(row)
    return row


def _report_id(every: list[Json], said: str) -> str:
    if is_id(said):
        return said
    same = [one for one in every if str(one["name"]).casefold() == said.casefold()]
    if len(same) != 1:
        names = [str(one["name"]) for one in every]
        near = [one for one in names if said.casefold() in one.casefold()][:_FEW]
        told = near or (names if len(names) <= _FEW else [])
        raise InvalidInput(
            f"report: {'several reports have' if same else 'no report has'} the name {said[:80]!r}.",
            hint=f"There are: {', '.join(told)}." if told else "salesforce_run_report without report lists them.",
        )
    return str(same[0]["id"])


def _filter(one: ReportFilter) -> Json:
    if not _COLUMN.fullmatch(one.field):
        raise InvalidInput("filters: not an API name of a column of this report.", hint="Such as AMOUNT.")
    return {"column": one.field, "operator": one.op, "value": one.value}


@dataclass(frozen=True, slots=True)
class Table:
    """A report's columns and rows. Column names in every row would double the size."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    totals: Sequence[str]
    whole: bool

    @classmethod
    def of(cls, answer: Json) -> Table:
        """Read the table from a response. ``whole``: Salesforce has returned all rows (at most 2,000)."""
        told = (answer.get("reportExtendedMetadata") or {}).get("detailColumnInfo") or {}
        names = (answer.get("reportMetadata") or {}).get("detailColumns") or list(told)
        facts = answer.get("factMap") or {}
        rows = [one.get("dataCells") or () for fact in facts.values() for one in fact.get("rows") or ()]
        totals = (facts.get("T!T") or {}).get("aggregates") or ()
        return cls(
            [Outside().line(str((told.get(name) or {}).get("label") or name), 60) for name in names],
            [[str(cell.get("label") or "") for cell in row] for row in rows],
            [str(one.get("label") or "") for one in totals],
            bool(answer.get("allData", True)),
        )

    def page(self, start: int, limit: int, report: str) -> tuple[Json, int | None]:
        """Return as many of the requested rows from ``start`` on as fit, and the next start.

        ``cut`` names the cut cells by row and column number. If the report had no filters, ``report`` is its id, and
        ``cut`` also has the calls that continue the cells.
        """
        outside = Outside()
        totals = [outside.line(one, 60) for one in self.totals]
        rows: list[list[str]] = []
        cut: list[Json] = []
        left = _MAX_TOKENS - tokens(self.columns) - tokens(totals)
        for number, every in enumerate(self.rows[start : start + limit], start):
            cells = [
                show_value(outside, one, _CELL, _reads(report, number, name))
                for one, name in zip(every, self.columns, strict=False)
            ]
            short = [
                _cut(number, name, one.more) for name, one in zip(self.columns, cells, strict=False) if not one.whole
            ]
            left -= tokens([one.value for one in cells]) + (tokens(short) if short else 0)
            if left < 0 and rows:
                break
            rows.append([one.value for one in cells])
            cut += short
        end = start + len(rows)
        result: Json = {"columns": self.columns, "rows": rows, "total_rows": len(self.rows), "totals": totals}
        result |= {"all_data": self.whole, "truncated": end < min(len(self.rows), start + limit)}
        result |= {"cut": cut, "note": "A cell is read whole by its row and column."} if cut else {}
        outside.mark(result)
        return result, end if end < len(self.rows) else None

    def cell(self, row: int, column: str, offset: int, more: Continuation | None) -> Json:
        """Return one cell from ``offset`` on. Raises `InvalidInput` with the existing columns or rows."""
        if column.strip() not in self.columns:
            names = ", ".join(self.columns[:20])
            raise InvalidInput("column: the report has no such column.", hint=f"There are: {names}.")
        if row >= len(self.rows):
            raise InvalidInput("row: beyond the end of the report.", hint=f"It has {len(self.rows)} rows, from 0 on.")
        outside = Outside()
        told = part(PLAIN, outside, self.rows[row][self.columns.index(column.strip())], PART, offset, more=more)
        told.pop("text_digest", None)  # a report is not written back
        outside.mark(told)
        return {"row": row, "column": column.strip()} | told


def _reads(report: str, row: int, column: str) -> Continuation | None:
    return Continuation("salesforce_run_report", report=report, row=row, column=column) if report else None


def _cut(row: int, column: str, more: Continuation | None) -> Json:
    return {"row": row, "column": column} | ({"more": more} if more else {})
