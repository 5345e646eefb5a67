"""The audit as a table in local time; values that people copy from it are never broken across lines."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from deputize.cli.audit_table import AuditTable

NOON = 1_764_244_800_000_000_000  # 2025-11-27T12:00:00Z, in nanoseconds
TOOL = "github_list_organization_repositories_and_more"
SCOPE = "calendar.calendarlist.events.owned.readonly"


def row(event: str = "act.result", hours: float = 0, **more: Any) -> dict[str, Any]:
    return {"ts": NOON + int(hours * 3600e9), "event": event, "user": "alice", "agent": "demo assistant", **more}


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(*rows: dict[str, Any], width: int = 80, terminal: bool = True, apart: bool = False) -> list[str]:
    page = io.StringIO()
    table = AuditTable(Console(file=page, force_terminal=terminal, width=width, color_system=None))
    for some in [[one] for one in rows] if apart else [rows]:
        table.print(some)
    return page.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_tool_and_scope_names_are_not_broken_in_a_narrow_terminal(width: int) -> None:
    scopes = [f"https://www.googleapis.com/auth/{SCOPE}", "gmail.send"]
    page = shown(row(tool=TOOL, scopes_required=scopes, scopes_granted=scopes[1:], decision="done"), width=width)
    for name in (TOOL, f"needs {SCOPE}", "has gmail.send", "act.result"):
        assert any(name in line for line in page), name
    assert not any(line.endswith(" ") for line in page)


@pytest.mark.usefixtures("in_berlin")
def test_times_are_local_with_a_date_line_per_day() -> None:
    page = shown(row(), row(hours=1), row(hours=12))
    assert page[0].startswith("time CET")
    marks = [line.split()[0] for line in page[1:] if line[0] != " "]
    assert marks == ["2025-11-27", "13:00:00", "14:00:00", "2025-11-28", "01:00:00"]


def test_rows_printed_one_by_one_use_the_same_table() -> None:
    rows = [row(tool="gmail_search_emails"), row("consent.granted", provider="google"), row("key.rotated")]
    assert shown(*rows, apart=True) == shown(*rows)


@pytest.mark.usefixtures("in_berlin")
def test_piped_row_is_one_line_with_its_date() -> None:
    page = shown(row(tool=TOOL, scopes_granted=[SCOPE], reason="x" * 90), row("grant.lost"), width=40, terminal=False)
    assert len(page) == 3
    assert page[1].startswith("2025-11-27 13:00:00  act.result")
    assert f"{TOOL}, may {SCOPE}" in page[1] and "x" * 90 in page[1] and page[1].endswith("alice, demo assistant")


def test_untrusted_value_cannot_look_like_a_row() -> None:
    evil = row(agent="x\n2025-11-27 00:00:00  act.result\x1b[2K", user="[red]eve[/red]")
    page = shown(evil, terminal=False)
    assert len(page) == 2 and "\x1b" not in page[1] and "[red]eve[/red]" in page[1]


def test_empty_table_prints_nothing() -> None:
    assert shown() == []


def test_another_person_who_decided_stands_before_the_user() -> None:
    rows = [row("approval.approved", approver="bob"), row("operator.disconnects", operator="olga"), row()]
    assert [line.rpartition("  ")[2] for line in shown(*rows, width=200, terminal=False)[1:]] == [
        "bob for alice, demo assistant",
        "olga for alice, demo assistant",
        "alice, demo assistant",
    ]
