"""The table of all writing tools in docs/toolkits.md, made from the tools: ``python -m tests.docs.writing_tools``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deputize.core.tools.tool import Tool
from tests.support.harmful_calls import writing_tools
from tests.support.preview_coverage import words
from tests.toolkits.shown_rows import AUDIENCES

PAGE: Final = Path(__file__).parents[2] / "docs" / "toolkits.md"
BEGIN: Final = "<!-- writing tools: made by python -m tests.docs.writing_tools -->\n"
END: Final = "<!-- end of writing tools -->\n"

NEVER_LOSES: Final = frozenset(
    {"github_set_star", "github_update_notifications", "linear_update_notifications", "slack_mark_read"}
)
"""Tools whose effect only the user sees, and which lose nothing."""
HIDES: Final = frozenset({"gmail_manage_filter", "gmail_update_emails"})
"""Tools that can hide emails from the user."""
ALWAYS_LOSES: Final = frozenset({"calendar_delete_event", "gmail_delete_draft", "slack_delete_message"})
"""Tools that lose something, whoever sees it."""


def table() -> str:
    """Return every writing tool with the readers of its effect, and the default policy's verdict."""
    rows = [f"| `{tool.name}` | {AUDIENCES[tool.name]} | {by_default(tool)} |" for tool in writing_tools()]
    return "\n".join(["| tool | who sees it | by default |", "|---|---|---|", *rows]) + "\n"


def by_default(tool: Tool) -> str:
    """Return the verdict of `ask_before_sending`, by readers and possible loss."""
    seen = words(AUDIENCES[tool.name]) & {"self", "people", "organisation", "public", "unknown"}
    if "self" not in seen or tool.name in ALWAYS_LOSES:
        return "asks"
    if seen == {"self"}:
        losing = "asks where something is lost or hidden" if tool.name in HIDES else "asks where something is lost"
        return "runs" if tool.name in NEVER_LOSES else losing
    return "asks where others see it or something is lost"


def written(page: str) -> str:
    """Return the page with the current table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
