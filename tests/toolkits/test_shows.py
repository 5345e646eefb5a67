"""Which writing tools show what they will do. That no word leaves that was not shown is in the toolkits' own files."""

from __future__ import annotations

from typing import Final

from deputize.core import Effect
from deputize.core.act.toolkit import find_toolkits

NOT_YET: Final = {
    "github": (
        "control_run create_pull create_repo run_workflow save_release set_star update_notifications update_pull "
        "write_discussion"
    ),
    "salesforce": "create_record delete_record log_activity update_record",
}
"""Writing tools that show their arguments only. A tool is taken out when it shows, and none is ever put in."""


def writing(shows: bool) -> set[str]:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    return {tool.name for tool in tools if tool.gravest is not Effect.READS and tool.shows is shows}


def test_every_writing_tool_shows_but_those_that_do_not_yet() -> None:
    listed = {f"{kit}_{name}" for kit, names in NOT_YET.items() for name in names.split()}
    assert writing(shows=False) == listed, "new tools show what they will do; those that learnt it leave the list"


def test_no_tool_that_reads_says_that_it_shows() -> None:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    assert [tool.name for tool in tools if tool.shows and tool.gravest is Effect.READS] == []
