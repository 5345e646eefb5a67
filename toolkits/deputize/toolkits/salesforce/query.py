"""Salesforce: queries that the model writes."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Run, Steps
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import API, SALESFORCE, Json, flat, get, soql
from deputize.toolkits.salesforce.rows import record_fields
from deputize.toolkits.salesforce.soql import check_query

ROW: Final = 1_000  # tokens of one row
_RECORD: Final = re.compile(r"/sobjects/(\w+)/([A-Za-z0-9]{15,18})\Z")
_BATCH: Final = re.compile(r"/query/([A-Za-z0-9]{15,18}-[0-9]{1,9})\Z")


@SALESFORCE.tool(needs=[API], toolset="expert")
def query(
    soql_: Annotated[str, Field(min_length=1, max_length=10_000)],
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Run a read-only SOQL query."""
    bound = ("salesforce_query", run.account.subject, soql_)
    batch, start = read_cursor(bound, cursor, (str, int)) if cursor else ("", 0)
    text, _ = check_query(soql_)
    answer = yield get("/query/{batch}", {"batch": batch}) if batch else soql(text)
    records = list(answer.get("records") or ())
    rows = Rows()
    taken = sum(1 for _ in takewhile(lambda one: rows.add(_row(one), whole=True), records[start : start + limit]))
    place = [batch, start + taken] if start + taken < len(records) else _next_batch(answer)
    return {
        "items": rows.items,
        "total": answer.get("totalSize", len(records)),
        "next": write_cursor(bound, place) if place else None,
        "truncated": place is not None and taken < limit,
    }


def _next_batch(answer: Json) -> list[str | int] | None:
    """Return the position of the next batch. Salesforce chooses the size of batches."""
    found = _BATCH.search(str(answer.get("nextRecordsUrl") or ""))
    return [found[1], 0] if found else None


def _row(record: Json) -> Json:
    """Return a record, with the calls that continue its texts if the response names the record."""
    outside = Outside()
    source = _RECORD.search(str((record.get("attributes") or {}).get("url") or ""))
    kind, id = (source[1], source[2]) if source else ("", "")
    row = record_fields(kind, id, flat(record), outside, ROW)
    outside.mark(row)
    return row
