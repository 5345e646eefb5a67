"""Arguments of one name mean the same in every installed toolkit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import pytest

from deputize.core import Tool
from deputize.core.errors import InvalidInput
from deputize.core.tools.plugins import find_toolkits
from deputize.toolkits.calendar.base import WHOLE
from tests.toolkits.google_driver import Desk
from tests.toolkits.mailbox import MAIL, SETTINGS

TOOLS = [tool for toolkit in find_toolkits().values() for tool in toolkit.tools.values()]
LISTS = [tool for tool in TOOLS if "limit" in tool.parameters]
PAGED = [tool for tool in TOOLS if {"limit", "cursor"} <= set(tool.parameters) and tool.provider == "google"]
NEEDED: dict[str, Any] = {"thread_id": "t1", "file": "f1"}


def given(tool: Tool, **more: Any) -> dict[str, Any]:
    return {name: NEEDED[name] for name in tool.schema.get("required", ()) if name in NEEDED} | more


LARGER: Final = {
    "gmail_update_emails": 1000,
    "salesforce_run_report": 2000,
    **dict.fromkeys(("slack_find_users", "slack_get_conversation", "slack_list_conversations"), 500),
}
"""Maxima above a hundred: ids to change at once, rows of a report, and names of which a row is short."""


@pytest.mark.parametrize("tool", LISTS, ids=lambda tool: tool.name)
def test_limit_out_of_range_is_refused_and_never_clamped(tool: Tool) -> None:
    most = tool.schema["properties"]["limit"]["maximum"]
    assert most <= LARGER.get(tool.name, 100)
    for limit in (0, -1, most + 1, 10_000, "many"):
        with pytest.raises(InvalidInput, match="limit"):
            tool.validate(given(tool, limit=limit))


@pytest.mark.parametrize("tool", PAGED, ids=lambda tool: tool.name)
def test_invalid_cursor_is_refused_before_any_approval(tool: Tool) -> None:
    for cursor in ("x", "a" * 5000, "\0", "é", "=" * 40):
        desk = Desk(find_toolkits(tool.toolkit)[tool.toolkit], frozenset({MAIL, SETTINGS, WHOLE}))
        with pytest.raises(InvalidInput, match="cursor"):
            desk.run(tool.name.partition("_")[2], given(tool, cursor=cursor))
        assert desk.sent == []


@pytest.mark.parametrize("text", ["last week", "7d", "25:00", "PT30M", "2026-13-01", "-7y", "", " "])
@pytest.mark.parametrize("name", ["gmail_search_emails", "calendar_list_events", "calendar_find_times"])
def test_time_window_is_read_alike_by_every_tool(name: str, text: str) -> None:
    toolkit, _, tool = name.partition("_")
    desk = Desk(find_toolkits(toolkit)[toolkit], frozenset({MAIL, WHOLE}))
    if not text:
        desk.run(tool, {"after": text})
        return
    with pytest.raises(InvalidInput, match="after"):
        desk.run(tool, {"after": text})


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_null_for_an_optional_argument_is_accepted_or_refused_with_a_message(tool: Tool) -> None:
    for name in tool.schema.get("properties", {}):
        if name in tool.schema.get("required", ()):
            continue
        with suppress(InvalidInput):  # never another error: what else it wants, or that null is no value of it
            tool.validate(given(tool, **{name: None}))
