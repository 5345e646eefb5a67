"""Every tool that can write shows what it will do. That no word leaves unshown is in each toolkit's own file."""

from __future__ import annotations

from deputize.core import Effect
from deputize.core.tools.plugins import find_toolkits


def tools_that(*, write: bool, show: bool) -> list[str]:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    return [tool.name for tool in tools if (tool.gravest is not Effect.READS) is write and tool.shows is show]


def test_every_writing_tool_shows_and_no_other() -> None:
    assert tools_that(write=True, show=False) == [] and tools_that(write=False, show=True) == []
    assert len(tools_that(write=True, show=True)) >= 72
