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


def has(name: str) -> bool:
    """True if there is a tool, or an argument of a tool: ``slack_send_message.send_at``."""
    tool, _, argument = name.partition(".")
    found = next((one for one in Catalog().tools() if one.name == tool), None)
    return found is not None and (not argument or argument in found.schema["properties"])


def missing(task: dict[str, Any], has: Callable[[str], bool] = has) -> list[str]:
    return [name for name in task["tools"] if not has(name)]


def problem(task: dict[str, Any], has: Callable[[str], bool] = has) -> str:
    """Return what is wrong with a golden task: not run although it can be, or run before it can."""
    scripted = task["id"] in TASKS
    if waits := missing(task, has):
        return f"{task['id']} waits for {waits}, and is scripted" if scripted else ""
    if scripted and TASKS[task["id"]].asked != task["asked"]:
        return f"{task['id']} asks for something else than its script's task"
    if not scripted:
        return f"{task['id']}: all its tools are there. Write its script in tests/tasks/families"
    return ""


def test_every_golden_task_is_complete() -> None:
    ids = [task["id"] for task in GOLDEN]
    assert len(ids) == len({*ids}) == 60
    assert sum(id.partition(".")[0] in {"docs", "drive", "files", "sheets"} for id in ids) == 25
    for task in GOLDEN:
        assert [*task] == FIELDS, task["id"]
        assert all(task.values()), task["id"]


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
