"""Filters of Salesforce's lists: relative dates, numbers, values with commas, and unknown values."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deputize.core import Deputy, InvalidInput, NotFound
from deputize.sandbox import Sandbox
from deputize.sandbox.salesforce.seed import record_id
from deputize.toolkits.salesforce import TOOLKIT
from deputize.toolkits.salesforce.soql import relative


@pytest.fixture
def deals(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Create one deal created and closing on each of the days around today, named by it: -40, -1, 0, 1, 40."""
    rows: list[dict[str, Any]] = sandbox._world.services["salesforce"]["records"]["Opportunity"]
    [first] = rows
    rows.clear()
    now = datetime.fromtimestamp(sandbox._world.clock(), UTC)
    for number, days in enumerate((-40, -1, 0, 1, 40), 1):
        at = now + timedelta(days=days)
        made = at.replace(hour=9, minute=30).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        new = {"Id": record_id("Opportunity", number), "Name": str(days), "CloseDate": at.date().isoformat()}
        rows.append({**first, **new, "CreatedDate": made, "Amount": 1000.0 * number})
    return rows


async def found(deputy: Deputy, *filters: dict[str, Any]) -> set[str]:
    asked = {"object": "Opportunity", "filters": list(filters)}
    return {row["name"] for row in (await deputy.act("salesforce_list_records", asked, user="alice"))["items"]}


@pytest.mark.parametrize(
    ("field", "op", "value", "names"),
    [
        ("CloseDate", "eq", "today", {"0"}),
        ("CloseDate", "gte", "TODAY", {"0", "1", "40"}),
        ("CloseDate", "lt", "today", {"-40", "-1"}),
        ("CloseDate", "eq", "LAST_N_DAYS:7", {"-1", "0"}),
        ("CloseDate", "eq", "last 7 days", {"-1", "0"}),
        ("CloseDate", "eq", "next_n_days:2", {"1"}),
        ("CloseDate", "gt", "-7d", {"-1", "0", "1", "40"}),
        ("CreatedDate", "eq", "yesterday", {"-1"}),
        ("CreatedDate", "gte", "-2d", {"-1", "0", "1", "40"}),
        ("Amount", "gt", 3000, {"1", "40"}),
        ("Amount", "eq", 1000.0, {"-40"}),
        ("Name", "in", "0, 1", {"0", "1"}),
        ("Name", "in", ["0", "1"], {"0", "1"}),
    ],
)
async def test_filter_comparison_finds_the_expected_records(
    alice: Deputy, deals: list[dict[str, Any]], field: str, op: str, value: Any, names: set[str]
) -> None:
    assert await found(alice, {"field": field, "op": op, "value": value}) == names


async def test_compared_day_covers_all_its_hours(alice: Deputy, deals: list[dict[str, Any]]) -> None:
    day = deals[2]["CreatedDate"][:10]
    expected = {
        "eq": {"0"},
        "ne": {"-40", "-1", "1", "40"},
        "lt": {"-40", "-1"},
        "lte": {"-40", "-1", "0"},
        "gt": {"1", "40"},
        "gte": {"0", "1", "40"},
    }
    for op, names in expected.items():
        assert await found(alice, {"field": "CreatedDate", "op": op, "value": day}) == names, op
    days = [day, deals[4]["CreatedDate"][:10]]
    assert await found(alice, {"field": "CreatedDate", "op": "in", "values": days}) == {"0", "40"}


async def test_value_may_contain_a_comma(alice: Deputy, deals: list[dict[str, Any]]) -> None:
    deals[0]["Name"] = "Fox, Inc"
    assert await found(alice, {"field": "Name", "op": "in", "values": ["Fox, Inc", "0"]}) == {"Fox, Inc", "0"}
    with pytest.raises(InvalidInput, match="values is only for op=in"):
        await found(alice, {"field": "Name", "op": "eq", "values": ["Fox, Inc"]})
    for key, none in (("values", []), ("value", " , ")):
        with pytest.raises(InvalidInput, match="must have 1 to 200 values"):
            await found(alice, {"field": "Name", "op": "in", key: none})


@pytest.mark.parametrize("word", ["THIS_MONTH", "this month", "LAST_90_DAYS", "N_DAYS_AGO:3", "THIS_FISCAL_QUARTER"])
def test_salesforce_date_words_are_known(word: str) -> None:
    assert relative(word) == word.upper().replace(" ", "_")


@pytest.mark.parametrize("word", ["LAST_N_DAYS", "LAST_N_DAYS:0", "TODAY OR Id != NULL", "THIS_DAY", "LAST_N_DAYS:7)"])
def test_unknown_date_word_is_none(word: str) -> None:
    assert relative(word) == ""


async def test_impossible_field_value_is_refused_with_the_possible_ones(alice: Deputy) -> None:
    for op, value in (("eq", "Wonn"), ("in", "Closed Won,Wonn"), ("ne", "Wonn")):
        with pytest.raises(InvalidInput, match="StageName has no value 'Wonn'") as refused:
            await found(alice, {"field": "StageName", "op": op, "value": value})
        assert "Closed Won" in refused.value.hint
    assert await found(alice, {"field": "StageName", "op": "eq", "value": "negotiation"}) == {"Northwind renewal"}
    for field, value in (("CloseDate", "soon"), ("CreatedDate", "2026-13-40"), ("Amount", "much")):
        with pytest.raises(InvalidInput) as refused:
            await found(alice, {"field": field, "op": "eq", "value": value})
        assert field in refused.value.message and refused.value.hint


async def test_missing_object_error_names_the_tool_that_finds_it(alice: Deputy) -> None:
    lead = record_id("Lead", 99)
    for tool, arguments, says, hint in (
        ("get_record", {"object": "Lead", "record": "Zorro"}, "no Lead 'Zorro'", "salesforce_search"),
        ("get_record", {"object": "Lead", "record": lead}, f"no Lead '{lead}'", "salesforce_search"),
        ("update_record", {"object": "Lead", "id": lead, "fields": {"Phone": "1"}}, "no Lead", "salesforce_search"),
    ):
        with pytest.raises(NotFound, match=says) as missing:
            await alice.act(f"salesforce_{tool}", arguments, user="alice")
        assert hint in missing.value.hint
    for tool, arguments, hint in (
        ("list_records", {"object": "Lead", "owner": "zorro"}, "salesforce_list_org(kind=users)"),
        ("run_report", {"report": "Nope"}, "There are: Open opportunities."),
    ):
        with pytest.raises(InvalidInput) as refused:
            await alice.act(f"salesforce_{tool}", arguments, user="alice")
        assert hint in refused.value.hint


def test_schemas_contain_no_references() -> None:
    for tool in TOOLKIT.tools.values():
        assert "$ref" not in json.dumps(tool.schema) and "$defs" not in tool.schema
