"""Slight mistakes of a model: unknown names, numbers, one value where a list is expected."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deputize import toolkits
from deputize.core import Deputy, InvalidInput, NotFound, errors
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.linear.seed import stable_id


async def act(deputy: Deputy, tool: str, /, **arguments: Any) -> Any:
    return await deputy.act(tool, arguments, user="alice")


# ----------------------------------------------------------------- lists of Linear


@pytest.mark.parametrize(
    ("arguments", "says", "hints"),
    [
        ({"state": "doing"}, "state: nothing has the name 'doing'", ["Todo", "started", "completed"]),
        ({"state": "Don"}, "state: nothing has the name 'Don'", ["Near: Done"]),
        ({"state": "Nope", "team": "ENG"}, "state", ["In Progress"]),
        ({"labels": ["Bug", "nope"]}, "labels: nothing has the name 'nope'", ["Bug", "Flaky"]),
        ({"labels": "Buug"}, "labels: nothing has the name 'Buug'", ["Near: Bug"]),
        ({"assignee": "zorro"}, "assignee: nothing has the name 'zorro'", ["bob"]),
        ({"assignee": "zorro@example.test"}, "assignee", ["bob"]),
        ({"involving": "zorro"}, "involving", ["alice"]),
    ],
)
async def test_unknown_name_is_refused_instead_of_an_empty_list(
    alice: Deputy, arguments: dict[str, Any], says: str, hints: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await act(alice, "linear_list_issues", **arguments)
    assert says in refused.value.message and all(one in refused.value.hint for one in hints), refused.value.hint


async def test_projects_and_initiatives_of_an_unknown_person_are_refused(alice: Deputy) -> None:
    for tool, arguments in (
        ("linear_list_projects", {"status": "nearly"}),
        ("linear_list_projects", {"lead": "zorro"}),
        ("linear_list_initiatives", {"owner": "zorro"}),
    ):
        with pytest.raises(InvalidInput, match="nothing has the name"):
            await act(alice, tool, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"state": "Canceled"},
        {"state": "triage"},
        {"labels": ["Area/Import", "Flaky"]},
        {"assignee": "me", "state": "Done"},
        {"assignee": "none", "state": "Done"},
        {"assignee": stable_id("user", "bob"), "query": "nothing of the kind"},
        {"query": "nothing of the kind"},
    ],
)
async def test_empty_list_for_known_names_is_empty(alice: Deputy, arguments: dict[str, Any]) -> None:
    if arguments.get("assignee") == stable_id("user", "bob"):
        arguments = arguments | {"assignee": "bob"}
    assert (await act(alice, "linear_list_issues", **arguments))["items"] == []


async def test_nonempty_list_sends_no_further_request(alice: Deputy, sandbox: Sandbox) -> None:
    before = len(sandbox.requests)
    assert (await act(alice, "linear_list_issues", state="Todo", assignee="bob"))["items"]
    assert len(sandbox.requests) == before + 1


async def test_unknown_name_among_many_gets_similar_ones_and_the_listing_tool(alice: Deputy, sandbox: Sandbox) -> None:
    labels = sandbox._world.services["linear"]["labels"]
    labels += [
        {"id": stable_id("l", str(n)), "name": f"Label {n}", "color": "#000000", "team": None} for n in range(30)
    ]
    with pytest.raises(InvalidInput) as refused:
        await act(alice, "linear_update_issue", issues="ENG-1", add_labels=["Flakey"])
    assert refused.value.message == "add_labels: nothing has the name 'Flakey'."
    assert refused.value.hint == "Near: Flaky. linear_lookup(kind=labels) lists all."


@pytest.mark.parametrize(
    ("tool", "arguments", "says", "hints"),
    [
        ("list_issues", {"labels": ["Area"]}, "'Area' is a group", "Its labels: Import."),
        ("list_issues", {"view": "zz"}, "view: nothing has the name 'zz'", "There are: What we do now."),
        ("list_notifications", {"category": "mail"}, "category: there is none 'mail'", "mentions"),
        ("lookup", {"kind": "states", "type": "open"}, "type: there is none of states 'open'", "unstarted"),
        ("lookup", {"kind": "project_statuses", "type": "open"}, "type: there is none", "paused"),
    ],
)
async def test_unknown_filter_value_error_lists_known_ones(
    alice: Deputy, tool: str, arguments: dict[str, Any], says: str, hints: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await act(alice, f"linear_{tool}", **arguments)
    assert says in refused.value.message and hints in refused.value.hint, refused.value.hint


@pytest.mark.parametrize(
    ("tool", "arguments", "says", "hints"),
    [
        ("get_issue", {"issue": "ENG-999"}, "issue: no issue 'ENG-999'", "linear_search"),
        ("get_issue", {"issue": "alice/no-such-branch"}, "issue: no issue", "linear_search"),
        ("update_issue", {"issues": "ENG-999", "title": "x"}, "issues: no issue 'ENG-999'", "linear_search"),
        ("get_document", {"document": "nope"}, "document: no document 'nope'", "linear_list_documents"),
        ("get_cycle", {"cycle": stable_id("no such")}, "cycle: no cycle", "kind=cycles"),
        ("list_issues", {"team": "OPS", "cycle": "active"}, "cycle: the team has no active cycle", "kind=cycles"),
        ("list_issues", {"view": stable_id("no such")}, "view: no view", "kind=views"),
        ("write_comment", {"target": "ENG-999", "body": "x"}, "target: no issue 'ENG-999'", "linear_search"),
    ],
)
async def test_missing_object_error_names_the_tool_that_finds_it(
    alice: Deputy, tool: str, arguments: dict[str, Any], says: str, hints: str
) -> None:
    with pytest.raises(NotFound) as missing:
        await act(alice, f"linear_{tool}", **arguments)
    assert missing.value.message.startswith(says) and hints in missing.value.hint


def test_not_found_error_says_what_to_do() -> None:
    assert "lists or searches" in NotFound("GitHub: not found, or not visible to this user.").hint
    assert NotFound("x", hint="Look there.").hint == "Look there."


# ----------------------------------------------------------------- lists and numbers

LISTS = [
    (tool, name)
    for kit in find_toolkits().values()
    for tool in kit.tools.values()
    for name, one in tool.schema.get("properties", {}).items()
    if one.get("type") == "array" and one.get("items", {}).get("type") == "string" and "enum" not in one["items"]
]


@pytest.mark.parametrize(("tool", "name"), LISTS, ids=[f"{tool.name}-{name}" for tool, name in LISTS])
def test_single_string_for_a_list_is_a_list_of_one(tool: Any, name: str) -> None:
    """Whatever else is wrong with the call, a single value gets the same error as a list with it."""

    def said(value: Any) -> str:
        try:
            return repr(tool.validate({name: value}))
        except InvalidInput as refused:
            return refused.message

    assert said("bob@example.test") == said(["bob@example.test"])
    assert f"{name}: " in said(7) and f"{name}: " in said({"a": "b"})


def test_single_strings_are_accepted_for_recipients_attendees_and_issues() -> None:
    found = {f"{tool.name}.{name}" for tool, name in LISTS}
    assert {"gmail_send_email.to", "calendar_create_event.attendees", "linear_update_issue.issues"} <= found


@pytest.mark.parametrize(("value", "written"), [(15000, 15000.0), (1.5, 1.5), ("12.5", 12.5), (2e6, 2_000_000.0)])
async def test_number_is_accepted_as_a_field_value(alice: Deputy, sandbox: Sandbox, value: Any, written: float) -> None:
    fields = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2027-01-31", "Amount": value}
    made = await act(alice, "salesforce_create_record", object="Opportunity", fields=fields)
    row = sandbox._world.services["salesforce"]["records"]["Opportunity"][-1]
    assert row["Id"] == made["id"] and row["Amount"] == written
    await act(alice, "salesforce_update_record", object="Opportunity", id=made["id"], fields={"Amount": None})
    assert row["Amount"] is None


async def test_list_or_object_is_refused_as_a_field_value(alice: Deputy) -> None:
    for wrong in ([1], {"a": 1}):
        with pytest.raises(InvalidInput, match=r"fields\.Name"):
            await act(alice, "salesforce_create_record", object="Account", fields={"Name": wrong})


def test_validation_error_omits_pydantics_wording() -> None:
    tool = find_toolkits("github")["github"].tools["github_merge_pull"]
    with pytest.raises(InvalidInput) as refused:
        tool.validate({"repo": "a/b", "number": 1, "head_sha": "abc"})
    assert "Value error" not in refused.value.message and "head_sha: a whole sha" in refused.value.message
    assert "anyOf" not in json.dumps(tool.schema)


# ----------------------------------------------------------------- every refusal

ERRORS = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.DeputizeError)}
FOLDER = Path(toolkits.__file__).parent


def test_every_error_of_a_toolkit_has_a_hint() -> None:
    found, without = 0, list[str]()
    for file in sorted(FOLDER.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS):
                continue
            found += 1
            given = {argument.arg for argument in call.keywords}
            if not given & {"hint", None} and not (isinstance(call.args[0], ast.Constant) and call.args[0].value == ""):
                without.append(f"{file.relative_to(FOLDER)}:{call.lineno}: {ast.unparse(call)[:80]}")
    assert found > 500 and without == []


def test_every_tool_that_a_hint_names_is_there() -> None:
    known = {tool.name for kit in find_toolkits().values() for tool in kit.tools.values()}
    names = re.compile(rf"\b(?:{'|'.join(find_toolkits())})_[a-z_]+\b")
    for file in sorted(FOLDER.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS:
                told = [ast.unparse(argument.value) for argument in call.keywords if argument.arg == "hint"]
                assert {*names.findall(" ".join(told))} <= known, f"{file.name}:{call.lineno}"
