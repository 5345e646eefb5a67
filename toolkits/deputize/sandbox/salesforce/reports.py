"""Reports: list, describe, run."""

from __future__ import annotations

from deputize.sandbox.http_types import Reply, in_json
from deputize.sandbox.salesforce.call import LIMIT, Call, Json, failed
from deputize.sandbox.salesforce.seed import REPORT


def reports(call: Call) -> Reply:
    return in_json([{"id": REPORT, "name": "Open opportunities"}], headers=[LIMIT], changes=False)


def report(call: Call, id: str) -> Reply:
    if id != REPORT:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    told = {"id": REPORT, "detailColumns": ["OPPORTUNITY_NAME", "AMOUNT"], "reportFilters": []}
    return in_json({"reportMetadata": told}, headers=[LIMIT], changes=False)


def run(call: Call, id: str) -> Reply:
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
