"""Salesforce: a query of the model's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deputize.core.act.toolkit import Steps
from deputize.core.vault.grant import Account
from deputize.toolkits._arguments import Cursor, Limit
from deputize.toolkits._page import Rows, read_cursor, write_cursor
from deputize.toolkits._salesforce.base import API, SALESFORCE, flat, soql
from deputize.toolkits._salesforce.rows import record_fields
from deputize.toolkits._salesforce.soql import checked


@SALESFORCE.tool(needs=[API], toolset="expert")
def query(
    soql_: Annotated[str, Field(min_length=1, max_length=10_000)],
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    account: Account,
) -> Steps:
    """Run a read-only SOQL query."""
    bound = ("salesforce_query", account.subject, soql_)
    (start,) = read_cursor(bound, cursor, (int,)) if cursor else (0,)
    text, _ = checked(soql_)
    answer = yield soql(text)
    records = [flat(one) for one in answer.get("records") or ()]
    rows = Rows()
    taken = 0
    for one in records[start : start + limit]:
        fields, outside = record_fields(one)
        outside.mark(fields)
        if not rows.add(fields):
            break
        taken += 1
    more = write_cursor(bound, [start + taken]) if start + taken < len(records) else None
    return {
        "items": rows.items,
        "total": answer.get("totalSize", len(records)),
        "next": more,
        "truncated": more is not None and taken < limit,
    }
