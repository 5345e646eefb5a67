"""Golden tasks: each is done by a script, or waits for a tool that is not there yet."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core.tools.catalog import Catalog
from tests.tasks import families
from tests.tasks.task import TASKS

GOLDEN: Final[list[dict[str, Any]]] = tomllib.loads(Path(__file__).with_name("golden.toml").read_text("utf-8"))["task"]
FIELDS: Final = ["id", "asked", "before", "end", "read", "never", "unwanted", "tools"]
TOOLKITS: Final = {"calendar", "contacts", "drive", "files", "find", "github", "gmail", "linear", "salesforce", "slack"}
"""The toolkits whose tools `golden.toml` was compared with."""
UNSCRIPTED: Final = {
    "chat.message_link_in_a_mail",
    "chat.unanswered_questions",
    "files.docx_attached",
    "files.xlsx_attached",
    "github_reviews.comment_the_cause",
    "github_reviews.since_when_red",
    "github_reviews.why_is_it_red",
    "linear.next_cycle",
    "linear.overdue_of_the_team",
    "long_texts.find_in_a_pdf",
    "mail_reading.table_in_a_mail",
    "mail_writing.table_into_a_mail",
    "names.linear_by_name",
    "names.mails_of_a_person",
    "names.reviewer_by_name",
    "names.slack_by_full_name",
    "names.two_who_match",
    "salesforce.last_activity_by_name",
    "time_zones.an_hour_before",
    "time_zones.end_of_next_week",
    "time_zones.since_this_morning",
}
"""Tasks whose tools are there and whose script is still to be written. The two of ``files`` came with `files_write`."""


def has(name: str) -> bool:
    """True if there is a tool, or an argument of a tool: ``slack_send_message.send_at``."""
    tool, _, argument = name.partition(".")
    found = next((one for one in Catalog().tools() if one.name == tool), None)
    return found is not None and (not argument or argument in found.schema["properties"])


def missing(task: dict[str, Any], has: Callable[[str], bool] = has) -> list[str]:
    return [name for name in task["tools"] if not has(name)]


def problem(task: dict[str, Any], has: Callable[[str], bool] = has) -> str:
    """Return what is wrong with a golden task: not run although it can be, or listed in a wrong place."""
    scripted, unscripted = task["id"] in TASKS, task["id"] in UNSCRIPTED
    if waits := missing(task, has):
        return f"{task['id']} waits for {waits}, and is scripted or listed" if scripted or unscripted else ""
    if scripted and TASKS[task["id"]].asked != task["asked"]:
        return f"{task['id']} asks for something else than its script's task"
    if scripted == unscripted:
        return f"{task['id']}: all its tools are there. Write its script in tests/tasks/families"
    return ""


def test_every_golden_task_is_complete() -> None:
    ids = [task["id"] for task in GOLDEN]
    assert len(ids) == len({*ids}) == 60
    assert sum(id.partition(".")[0] in {"docs", "drive", "files", "sheets"} for id in ids) == 25
    for task in GOLDEN:
        assert [*task] == FIELDS, task["id"]
        assert all(task.values()), task["id"]
    assert {*ids} >= UNSCRIPTED


def test_golden_task_is_run_unless_it_waits_for_a_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert families.FAMILIES, "the families register their tasks"
    waiting: dict[str, list[str]] = {}
    for task in GOLDEN:
        for name in missing(task):
            waiting.setdefault(name, []).append(task["id"])
    with capsys.disabled():
        print(f"\ngolden tasks: {len({id for ids in waiting.values() for id in ids})} not yet expressible")
        for name, ids in sorted(waiting.items()):
            print(f"  {name}: {', '.join(ids)}")
    assert [found for task in GOLDEN if (found := problem(task))] == []


def test_golden_task_fails_when_its_tools_arrive_and_it_is_not_run() -> None:
    waiting = [task for task in GOLDEN if missing(task)]
    assert waiting
    for task in waiting:
        assert problem(task, lambda name: True).endswith("Write its script in tests/tasks/families")
    assert all(problem(task, lambda name: False) for task in GOLDEN if not missing(task))


def test_new_toolkit_is_compared_with_the_golden_tasks() -> None:
    known = {tool.toolkit for tool in Catalog().tools()}
    assert known == TOOLKITS, "name its tools in golden.toml as it calls them, then list it in TOOLKITS"
