"""The token cost of every toolkit's results, counted by a real tokenizer of the o200k family.

An ordinary result of each tool is its example's. The largest honest one is a full page of rows, or a long text, in each
of several scripts; Gmail's and GitHub's have files of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import pytest

from deputize.adapters.model_messages import as_text
from deputize.core import Call, allow_all
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant, new_deputy
from deputize.sandbox.linear.seed import stable_id as linear_id
from deputize.sandbox.salesforce.seed import record_id
from tests.counterparts.crowded import ENG, FILE, SCRIPTS, crowded
from tests.counterparts.test_token_budgets import counted
from tests.support.examples import EXAMPLES, Use, arguments
from tests.support.examples import FILE as UPLOAD
from tests.toolkits.slack_world import EVERYTHING

pytestmark = pytest.mark.counterpart
ORDINARY: Final = 600
MOST: Final = 4_000


def costs_of(results: Mapping[str, Any]) -> dict[str, int]:
    """Return tokens by the result's name, the most expensive first."""
    costs = dict(zip(results, counted([as_text(one) for one in results.values()]), strict=True))
    return dict(sorted(costs.items(), key=lambda one: -one[1]))


# ----------------------------------------------------------------- ordinary results

FURTHER: Final = {"contacts": {"contacts_search": {"query": "bob"}, "contacts_get": {"id": "people/c2"}}}
ROWS: Final = EXAMPLES | FURTHER


@contextmanager
def acting(sandbox: Sandbox) -> Iterator[Use]:
    """Acts for Alice, who has granted every scope of the tools."""
    deputy = new_deputy(sandbox)
    deputy.policy = allow_all
    for tool in deputy.tools(*(f"{kit}:all" for kit in ROWS)):
        scopes = [need.ask for need in tool.usual_needs(tool.provider)]
        scopes += EVERYTHING if tool.provider == "slack" else ()
        give_grant(sandbox, deputy, "alice", scopes, provider=tool.provider, email="alice@example.test")
    calls = count()
    yield lambda tool, args: deputy.run(
        deputy.act(tool, dict(args), user="alice", call=Call("t", "m", str(next(calls))))
    )
    deputy.run(deputy.close())


def results_of_examples() -> dict[str, Any]:
    """Return by tool what Alice's model reads. Stored files are read as well."""
    with acting(Sandbox()) as use:
        found = {tool: use(tool, arguments(row, use)) for kit in ROWS.values() for tool, row in kit.items()}
        found["files_write"] = use("files_write", {"name": "costs.xlsx", "rows": [["Item", "Price"], ["Rent", 1200]]})
        return found | {"files_read": use("files_read", {"file": found["slack_get_file"]["handle"]})}


def test_ordinary_result_of_every_tool_costs_at_most_six_hundred_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    costs = costs_of(results_of_examples())
    kits = find_toolkits()
    with capsys.disabled():
        for name, kit in kits.items():
            mine = {tool: cost for tool, cost in costs.items() if tool in kit.tools}
            print(
                f"\n{name}:\n  " + ", ".join(f"{tool.removeprefix(f'{name}_')} {cost}" for tool, cost in mine.items())
            )
    assert set(costs) == {tool for kit in kits.values() for tool in kit.tools}
    assert {tool: cost for tool, cost in costs.items() if cost > ORDINARY} == {}


# ----------------------------------------------------------------- the largest results

Calls = Sequence[tuple[str, dict[str, Any]]]
WEEK: Final = {"after": "2026-11-30", "before": "2026-12-08", "limit": 100}
EVENT: Final = "9vjfruhtfn6vns5p3g6qdoa000"
PEOPLE: Final = [f"somebody.with.a.long.name.{n}@example.test" for n in range(10)]
ACCOUNT, CONTACT = record_id("Account", 1), record_id("Contact", 1)
PROJECT, INITIATIVE = linear_id("project", "import"), linear_id("initiative", "reliability")
ROWS_OF: Final = ("issues", "projects", "documents", "all")
LARGEST: Final[dict[str, Calls]] = {
    "calendar": (
        ("list_events", WEEK),
        ("list_calendars", {"limit": 100, "sharing": True}),
        ("list_rooms", {}),
        ("get_event", {"event_id": EVENT}),
        ("get_event", {"event_id": EVENT, "raw": True}),
        *(("get_event", {"event_id": EVENT, "part": part}) for part in ("title", "location", "people")),
        ("find_times", {"duration": "15m", "before": "+30d", "other_zones": ["Asia/Tokyo", "America/New_York"]}),
    ),
    "contacts": (
        ("search", {"query": "Zoe", "limit": 100}),
        ("search", {"limit": 100}),
        ("get", {"id": "people/c10"}),
    ),
    "drive": (
        ("search_files", {"limit": 100}),
        ("search_files", {"where": "shared_drives", "limit": 100}),
        ("get_file", {"file": "crowd", "history": True}),
        ("read_file", {"file": "crowd"}),
        ("read_file", {"file": "crowd", "find": "a"}),
        ("list_comments", {"file": "crowd", "limit": 100}),
        ("list_comments", {"file": "crowd", "comment": "k1"}),
    ),
    "slack": (
        ("list_conversations", {"limit": 500}),
        ("get_conversation", {"conversation": ENG, "include": ["members", "pins", "bookmarks"], "limit": 500}),
        ("get_messages", {"conversation": ENG, "limit": 100}),
        ("get_messages", {"conversation": ENG, "ts": "{ts}"}),
        ("search", {"query": "deploy", "kinds": ["messages", "files", "channels", "users"]}),
        ("find_users", {"limit": 500}),
        ("list_user_groups", {"limit": 100}),
        ("list_scheduled", {"limit": 100}),
        ("list_scheduled", {"scheduled_id": "Q1000000005"}),
        ("list_files", {"limit": 100}),
        ("get_file", {"file_id": FILE}),
    ),
    "linear": (
        *(("lookup", {"kind": kind, "limit": 100}) for kind in ("users", "labels", "views", "templates", "customers")),
        ("lookup", {"kind": "cycles", "team": "ENG", "limit": 100}),
        *(("search", {"query": "{word}", "kind": kind, "limit": 100, "include_comments": True}) for kind in ROWS_OF),
        ("list_issues", {"limit": 100}),
        *(("get_issue", {"issue": "ENG-1", "include": blocks}) for blocks in ([], ["comments"], ["attachments"])),
        ("get_issue", {"issue": "ENG-1", "include": ["comments", "attachments", "relations", "children"]}),
        ("get_issue", {"issue": "ENG-1", "raw": True}),
        ("get_issue", {"issue": "ENG-1", "offset": 1}),
        ("list_comments", {"target": "ENG-1", "limit": 100}),
        ("list_comments", {"target": "ENG-1", "comment_id": linear_id("comment", "1")}),
        ("get_team", {"team": "ENG"}),
        ("get_cycle", {"team": "ENG", "cycle": linear_id("cycle", "2"), "limit": 100}),
        ("list_projects", {"limit": 100}),
        ("get_project", {"project": "{project}", "include": ["content", "milestones", "updates", "issues"]}),
        ("get_project", {"project": "{project}", "offset": 1}),
        ("list_updates", {"project": "{project}", "limit": 100}),
        ("list_initiatives", {"limit": 100}),
        ("get_initiative", {"initiative": "{initiative}", "include": ["content", "projects", "updates"]}),
        ("list_documents", {"limit": 100}),
        ("get_document", {"document": linear_id("document", "design")}),
        ("list_notifications", {"limit": 100}),
        ("list_customer_needs", {"customer": linear_id("customer", "1"), "limit": 100}),
        ("get_file", {"url": UPLOAD}),
    ),
    "salesforce": (
        *(("list_records", {"object": kind, "limit": 100}) for kind in ("Account", "Contact", "Opportunity", "Task")),
        ("list_records", {"object": "Contact", "fields": ["Name", "Title", "Description", "Phone"], "limit": 100}),
        ("query", {"soql": "SELECT Id, Name, Owner.Name, Description, Title FROM Contact", "limit": 100}),
        ("describe", {"object": "Opportunity", "limit": 100}),
        ("describe", {"limit": 100}),
        ("get_record", {"object": "Account", "record": ACCOUNT}),
        ("get_record", {"object": "Account", "record": ACCOUNT, "related": True, "related_limit": 50}),
        ("get_record", {"object": "Account", "record": ACCOUNT, "fields": ["Description"]}),
        ("search", {"query": "northwind", "limit": 100}),
        *(("list_org", {"kind": kind, "limit": 100}) for kind in ("users", "queues", "record_types")),
        ("run_report", {"limit": 2000}),
        ("run_report", {"report": "Open opportunities", "limit": 2000}),
        ("list_files", {"record": CONTACT, "limit": 100}),
        ("get_file", {"file": record_id("ContentDocument", 1)}),
    ),
}


def results_of(script: str) -> dict[str, Any]:
    """Return results by toolkit, tool and number of the call."""
    sandbox = crowded(SCRIPTS[script])
    last = sandbox.service("slack")["channels"][ENG]["messages"][-1]["ts"]
    words = {"{ts}": last, "{word}": "numbers", "{project}": PROJECT, "{initiative}": INITIATIVE}
    with acting(sandbox) as use:
        return {
            f"{kit} {n} {tool}": use(
                f"{kit}_{tool}", {name: words.get(str(value), value) for name, value in given.items()}
            )
            for kit, calls in LARGEST.items()
            for n, (tool, given) in enumerate(calls)
        }


@pytest.mark.parametrize("script", SCRIPTS)
def test_largest_results_cost_at_most_four_thousand_tokens(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    costs = costs_of(results_of(script))
    with capsys.disabled():
        print(f"\n{script}, the largest of {len(costs)}: {list(costs.items())[:4]}")
    assert {name: cost for name, cost in costs.items() if cost > MOST} == {}
