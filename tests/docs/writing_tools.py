"""The table of all writing tools in docs/toolkits.md, made from the tools: ``python -m tests.docs.writing_tools``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

from deputize.core.act.tool import Effect, Tool
from tests.support.answers import OWN, writing_tools

PAGE: Final = Path(__file__).parents[2] / "docs" / "toolkits.md"
BEGIN: Final = "<!-- writing tools: made by python -m tests.docs.writing_tools -->\n"
END: Final = "<!-- end of writing tools -->\n"


def table() -> str:
    """Every writing tool with what the default policy answers, and why."""
    rows = [f"| `{tool.name}` | {by_default(tool)} | {why(tool)} |" for tool in writing_tools()]
    return "\n".join(["| tool | by default | why |", "|---|---|---|", *rows]) + "\n"


def by_default(tool: Tool) -> str:
    """ "asks", "runs", or "asks when" and the sentence that stands beside the rule."""
    if tool.name in OWN:
        return _sentence(tool)
    grave = tool.gravest.value & (Effect.SENDS | Effect.DESTRUCTIVE).value
    return "asks" if grave else "runs"


def why(tool: Tool) -> str:
    """What the gravest call of the tool does."""
    words = {Effect.SENDS: "others see it", Effect.DESTRUCTIVE: "hides or destroys"}
    found = [said for flag, said in words.items() if flag in tool.gravest]
    return ", ".join(found) or "the user's own"


def _sentence(tool: Tool) -> str:
    """The first sentence of the rule's docstring, as "asks ..."."""
    said = " ".join((inspect.getdoc(tool.effects) or "").split()).removesuffix(".")
    assert said.startswith("Asks "), f"{tool.name}: the docstring of its effect says when it asks"
    return said[0].lower() + said[1:]


def written(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
