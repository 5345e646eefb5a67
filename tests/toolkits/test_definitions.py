"""The definition of each tool as a model reads it: short, closed, cheap, and without names of people."""

from __future__ import annotations

import json
from typing import Any, Final

from deputize.core import Tool
from deputize.core.tools.plugins import find_toolkits

KITS: Final = find_toolkits()
NOT_ARGUMENTS: Final = frozenset(
    "user user_id account token access_token tenant act_as key granted noted now host base_url url_base".split()
)
"""The acting user and account are never arguments."""
MOST_TOKENS: Final = 350
MOST_ON_AVERAGE: Final = {"calendar": 180, "github": 165, "linear": 160}
"""By a rough count; of other toolkits 150."""
BEYOND_CORE: Final[dict[str, dict[str, str]]] = {
    "calendar": {"more": "manage_calendar share_calendar"},
    "github": {
        "actions": "control_run get_artifact get_run list_runs run_workflow",
        "code": "list_activity",
        "discussions": "list_discussions write_discussion",
        "gists": "list_gists save_gist",
        "inbox": "list_notifications set_star update_notifications",
        "projects": "list_project_items list_projects update_project_item",
        "releases": "list_releases save_release",
        "repos": "create_repo save_label save_milestone",
        "security": "list_alerts",
    },
    "gmail": {
        "more": "delete_draft get_settings list_changes list_drafts manage_filter manage_label set_signature "
        "set_vacation unsubscribe"
    },
    "linear": {
        "admin": "create_project_status save_label",
        "customers": "create_customer_need list_customer_needs",
        "documents": "get_document list_documents save_document",
        "inbox": "list_notifications update_notifications",
    },
    "salesforce": {"expert": "query run_report"},
    "slack": {
        "more": "create_channel delete_message list_files list_scheduled list_user_groups manage_members mark_read pin "
        "set_status update_channel update_message write_canvas"
    },
}


def tokens_of(tool: Tool) -> int:
    """Return a quarter of the bytes, a little more than the tokens counted by
    `tests/counterparts/test_token_budgets.py`."""
    whole = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return len(json.dumps(whole, separators=(",", ":"))) // 4


def test_definition_costs_few_tokens() -> None:
    for kit, found in KITS.items():
        costs = {name: tokens_of(tool) for name, tool in found.tools.items()}
        assert max(costs.values()) <= MOST_TOKENS, costs
        assert sum(costs.values()) / len(costs) <= MOST_ON_AVERAGE.get(kit, 150), costs


def test_definition_is_short_closed_and_names_no_user() -> None:
    for kit, found in KITS.items():
        for name, tool in found.tools.items():
            arguments: dict[str, Any] = tool.schema.get("properties", {})
            assert len(name) <= 40 and (name.startswith(f"{kit}_") or kit == "contacts"), name
            assert 0 < len(tool.description.split()) <= 20, name
            assert tool.schema["additionalProperties"] is False, name
            assert not NOT_ARGUMENTS & set(arguments), name
            assert "anyOf" not in json.dumps(tool.schema), name
            assert not any("title" in one for one in (tool.schema, *arguments.values())), name
            assert "$ref" not in json.dumps(tool.schema), name
            assert kit != "salesforce" or "documentation" in tool.remark, name


def test_toolset_beyond_core_has_exactly_the_listed_tools() -> None:
    for kit, found in KITS.items():
        others: dict[str, set[str]] = {}
        for name, tool in found.tools.items():
            if tool.toolset != "core":
                others.setdefault(tool.toolset, set()).add(name.removeprefix(f"{kit}_"))
        listed = BEYOND_CORE.get(kit, {})
        assert others == {toolset: set(tools.split()) for toolset, tools in listed.items()}, kit


SELF_EXPLAINING: Final = frozenset(
    "add_attendees add_labels add_teams artifact_id bcc body branch calendar call_result category cc color comment "
    "comment_id comments content delete_paths description draft_id duration_minutes end_line event event_id file_id "
    "files filters gist_id head_sha id initiative inputs issue labels language limit link_title link_url location "
    "message message_id message_ids milestone name notification_ids number offset optional_attendees org owner path "
    "priority project pull purpose query related related_limit remove_assignees remove_attendees remove_labels "
    "remove_members remove_projects remove_reviewers remove_teams resolving_comment_id run_id soql start_line status "
    "subject tag tail_lines team thread_ids time_zone title to topic ts url".split()
)
"""Names that need no description: people know what is in them, or where the id stands."""
ONCE: Final = {
    "calendar_manage_calendar.if_text": "as in each tool that edits a text",
    "calendar_find_times.hours": "its default shows the form",
    "github_get_commit.ref": "as Git calls it",
    "github_get_my_work.days": "how far back",
    "github_list_activity.ref": "as Git calls it",
    "gmail_manage_filter.from": "as in a mail",
    "salesforce_log_activity.end": "beside start",
}


def test_parameter_is_described_or_explains_itself() -> None:
    for kit in KITS.values():
        for tool in kit.tools.values():
            for name, one in tool.schema["properties"].items():
                choices = "enum" in one or "enum" in one.get("items", {}) or one.get("type") == "boolean"
                said = choices or one.get("description") or name in SELF_EXPLAINING or f"{tool.name}.{name}" in ONCE
                assert said, f"{tool.name}.{name}: describe it"


def test_definitions_cost_150_tokens_on_average() -> None:
    costs = [tokens_of(tool) for kit in KITS.values() for tool in kit.tools.values()]
    assert sum(costs) / len(costs) <= 150
