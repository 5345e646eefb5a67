"""Times of Linear and Salesforce are in the user's time zone: in results, arguments and previews."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.salesforce.seed import record_id

LATE = "2026-06-30T22:30:15.250Z"  # the first of July in Berlin
OPPORTUNITY = record_id("Opportunity", 1)


@pytest.fixture(params=["linear", "salesforce"])
async def berlin(alice: Deputy, request: pytest.FixtureRequest) -> Deputy:
    """Alice's deputy, after one of the two providers has reported her zone."""
    assert (await act(alice, f"{request.param}_whoami"))["time_zone"] == "Europe/Berlin"
    return alice


async def act(deputy: Deputy, tool: str, **arguments: Any) -> Any:
    return await deputy.act(tool, arguments, user="alice")


async def test_linear_times_are_shown_and_read_in_berlin(berlin: Deputy, sandbox: Sandbox) -> None:
    store = sandbox._world.services["linear"]
    for row in (store["issues"][0], store["comments"][0], store["documents"][0]):
        row |= {"createdAt": LATE, "updatedAt": LATE}
    found = await act(berlin, "linear_get_issue", issue="ENG-1", include=["comments"])
    assert found["updated"] == "2026-07-01T00:30:15+02:00" and found["time_zone"] == "Europe/Berlin"
    assert found["comments"][0]["time"] == "2026-07-01 00:30"
    listed = await act(berlin, "linear_list_issues", query="last row")
    assert listed["items"][0]["updated"] == "2026-07-01 00:30" and listed["time_zone"] == "Europe/Berlin"
    for after, found in (("2026-07-01", 1), ("2026-07-01T00:31", 0)):
        asked = {"query": "last row", "created_after": after}
        assert len((await act(berlin, "linear_list_issues", **asked))["items"]) == found
    store["issues"][0]["dueDate"] = "2026-11-30"
    for before, found in (("2026-12-01", 1), ("2026-11-30", 0)):
        asked = {"query": "last row", "due_before": before}
        assert len((await act(berlin, "linear_list_issues", **asked))["items"]) == found


async def test_displayed_document_time_is_valid_for_unmodified_since(berlin: Deputy, sandbox: Sandbox) -> None:
    document = stable_id("document", "design")
    sandbox._world.services["linear"]["documents"][0]["updatedAt"] = LATE
    read = await act(berlin, "linear_get_document", document=document)
    assert read["updated"] == "2026-07-01T00:30:15+02:00"
    await act(berlin, "linear_save_document", document=document, title="New", unmodified_since=read["updated"])


async def test_salesforce_times_are_shown_and_read_in_berlin(berlin: Deputy, sandbox: Sandbox) -> None:
    row = sandbox._world.services["salesforce"]["records"]["Opportunity"][0]
    row |= {"CreatedDate": "2026-06-30T22:30:15.000+0000", "LastModifiedDate": "2026-06-30T22:30:15.000+0000"}
    one = await act(berlin, "salesforce_get_record", object="Opportunity", record=OPPORTUNITY)
    assert one["fields"]["CreatedDate"] == "2026-07-01T00:30:15+02:00" and one["time_zone"] == "Europe/Berlin"
    for day, found in (("2026-07-01", 1), ("2026-06-30", 0)):
        asked = [{"field": "CreatedDate", "op": "eq", "value": day}]
        listed = await act(berlin, "salesforce_list_records", object="Opportunity", filters=asked)
        assert len(listed["items"]) == found
    change = {"object": "Opportunity", "id": OPPORTUNITY, "unmodified_since": one["fields"]["LastModifiedDate"]}
    await act(berlin, "salesforce_update_record", **change, fields={"Name": "New", "CloseDate": "+1d"})
    event = {"kind": "event", "subject": "Meet", "start": "2026-12-01T10:00", "duration_minutes": 30}
    await act(berlin, "salesforce_log_activity", **event)
    made = sandbox._world.services["salesforce"]["records"]["Event"][-1]
    assert made["StartDateTime"] == "2026-12-01T09:00:00+00:00"
    two = {"Subject": "Two", "StartDateTime": "2026-12-01T10:00", "EndDateTime": "2026-12-01T11:00:00+01:00"}
    await act(berlin, "salesforce_create_record", object="Event", fields=two)
    made = sandbox._world.services["salesforce"]["records"]["Event"][-1]
    assert made["StartDateTime"] == "2026-12-01T09:00:00+00:00" and made["EndDateTime"] == "2026-12-01T10:00:00+00:00"


async def test_changed_fields_are_reported_by_argument_name(alice: Deputy) -> None:
    done = await act(alice, "linear_update_issue", issues=["ENG-1"], state="Done", assignee="bob", add_labels=["Flaky"])
    assert done["changed"] == ["add_labels", "assignee", "state"]


FAULTS: Final[list[tuple[int, Any]]] = [
    *[(status, {}) for status in (401, 403, 429, 500)],
    (200, []),
    *[
        (200, {"zoneinfo": name, "data": {"viewer": {"timezone": name}}})
        for name in ("../../etc/passwd", "x" * 10**6, 7)
    ],
]
READS: Final[dict[str, tuple[str, str, str, dict[str, Any]]]] = {
    "linear": ("/graphql", "POST", "linear_list_issues", {"created_after": "2026-12-01T10:00"}),
    "salesforce": (
        "/services/oauth2/userinfo",
        "GET",
        "salesforce_list_records",
        {"object": "Opportunity", "filters": [{"field": "CreatedDate", "op": "gt", "value": "2026-12-01T10:00"}]},
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:30])
@pytest.mark.parametrize("provider", READS)
async def test_read_uses_utc_when_the_provider_gives_no_zone(
    alice: Deputy, sandbox: Sandbox, provider: str, fault: tuple[int, Any]
) -> None:
    path, method, tool, arguments = READS[provider]
    status, body = fault
    again = {401: 2, 429: 3, 500: 3}.get(status, 1)  # a refused token is refreshed, a failure is tried again
    sandbox.switches.faults[method, path] = [(status, {}, body)] * again
    assert (await act(alice, tool, **arguments))["time_zone"] == "UTC"
    assert not sandbox.switches.faults[method, path]
    counts = [len(sandbox.requests)]
    for _ in range(2):
        assert (await act(alice, tool, **arguments)).get("time_zone") != "UTC"
        counts.append(len(sandbox.requests))
    assert counts[1] - counts[0] == counts[2] - counts[1] + 1, "the zone is asked for again, and then no more"


async def test_users_zone_is_not_used_for_the_same_id_in_another_tenant(alice: Deputy, sandbox: Sandbox) -> None:
    other = User("alice", "acme")
    give_grant(sandbox, alice, other, ["read"], provider="linear", email="alice@example.test")  # type: ignore[arg-type]
    assert (await act(alice, "linear_whoami"))["time_zone"] == "Europe/Berlin"
    sandbox.switches.faults["POST", "/graphql"] = [(403, {}, {})]
    found = await alice.act("linear_list_issues", {"created_after": "2026-12-01T10:00"}, user=other)
    assert found["time_zone"] == "UTC"
