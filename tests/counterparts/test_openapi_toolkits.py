"""Toolkits generated from GitHub's own description: each call of each tool is valid by the description.

Arguments are made from the description's schemas, which the generator reads as well; requests are judged by
`tests.support.openapi`, which is independent of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import httpx
import pytest

from deputize.core import PROVIDERS, ApprovalRequired, Call, Deputy, Preview, Request, Run
from deputize.core.acts.build_request import address_of, headers_and_body
from deputize.core.tools.plugins import PLUGINS
from deputize.core.tools.tool import Tool
from deputize.openapi.description import Description, read
from deputize.openapi.generate import Made, Wanted, generate_modules
from deputize.openapi.operations import Operation
from deputize.sandbox.pytest_plugin import Granting
from tests.openapi.acme import imported
from tests.openapi.module_checks import lint, type_check
from tests.support.counterparts import require_openapi
from tests.support.openapi import OpenApi
from tests.support.packages import install

pytestmark = pytest.mark.counterpart
TAGS: Final = ("issues", "gists", "actions")
Json = dict[str, Any]


@cache
def github() -> Description:
    """GitHub's description, as the generator reads it."""
    return read(require_openapi())


@cache
def made(tag: str) -> Made:
    return generate_modules(github(), Wanted("github", name=f"gh_{tag}", only=(tag,), limit=500), PROVIDERS)


def sample(schema: Any, name: str = "", depth: int = 0) -> Any:
    """Return a value that a schema allows; with every member of an object on request."""
    found = github().resolve(schema)
    for parts in ("oneOf", "anyOf"):
        if found.get(parts) and "properties" not in found:
            return sample(found[parts][0], name, depth + 1)
    if "allOf" in found:
        return {k: v for part in found["allOf"] for k, v in dict(sample(part, name, depth + 1)).items()}
    if found.get("enum"):
        return next(one for one in found["enum"] if one is not None)
    kinds = found.get("type", "object" if "properties" in found else "string")
    match kinds if isinstance(kinds, str) else next(one for one in kinds if one != "null"):
        case "integer" | "number":
            return max(found.get("minimum", 1), 1)
        case "boolean":
            return True
        case "array":
            return [sample(found.get("items", {}), name, depth + 1)] * max(found.get("minItems", 1), 1)
        case "object":
            return _object(found, depth)
    return {"date-time": "2026-01-02T03:04:05Z", "date": "2026-01-02", "uri": "https://a.example/x"}.get(
        found.get("format", ""), _text(found)
    )


def _text(found: Json) -> str:
    if pattern := found.get("pattern"):
        return next(one for one in _TEXTS if re.search(str(pattern), one))
    return "x" * int(max(found.get("minLength", 1), 1))


_TEXTS: Final = ("1", "1.0", "1.0.0", "x", "abc-1", "c2VjcmV0")


def _object(found: Json, depth: int) -> Json:
    names = found.get("required", ()) if depth > 2 else found.get("properties", {})
    return {name: sample(found["properties"][name], name, depth + 1) for name in names}


def arguments(operation: Operation, everything: bool) -> Json:
    """Return arguments of a tool, from the schemas of its operation: the required ones, or all."""
    method, _, path = operation.key.partition(" ")
    item = github().root["paths"][path]
    spec = item[method.lower()]
    schemas: dict[tuple[str, str], Any] = {}
    for one in map(github().resolve, [*item.get("parameters", ()), *spec.get("parameters", ())]):
        schemas[one["in"], one["name"]] = one["schema"]
    content = github().resolve(spec["requestBody"])["content"] if "requestBody" in spec else {}
    body = github().resolve(content["application/json"]["schema"]) if content else {}
    for name, schema in body.get("properties", {}).items():
        schemas["body", name] = schema
    schemas["whole", "body"] = body
    return {
        one.name: list(one.kind.values) if one.place == "clear" else sample(schemas[one.place, one.wire], one.wire)
        for one in operation.arguments
        if one.required or everything
    }


def calls(operation: Operation, everything: bool) -> Iterator[Json]:
    """Return the arguments of a call; for a tool that can clear values, of two: one that sets them, one that clears
    them."""
    given = arguments(operation, everything)
    emptied = {one.name: given.pop(one.name) for one in operation.arguments if one.place == "clear" and everything}
    yield given
    if emptied:
        yield {one.name: given[one.name] for one in operation.arguments if one.required} | emptied


def sent(tool: Tool, given: Json) -> Iterator[Request]:
    """Return the request of a tool for these arguments, as a model would pass them; check that each word was
    previewed."""
    run = tool.begin(tool.validate(given), lambda: pytest.fail(f"{tool.name} wants a {Run}"))
    step = next(run)
    if isinstance(step, Preview):
        assert set(given) <= {*step.fields}, tool.name
        step = run.send(None)
    assert isinstance(step, Request)
    yield step


@pytest.mark.parametrize("everything", [False, True], ids=["required", "all"])
@pytest.mark.parametrize("tag", TAGS)
def test_every_generated_call_is_described_by_github(
    tag: str, everything: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    api, kit, checked = OpenApi.of_github(), imported(made(tag).module, f"gh_{tag}").TOOLKIT, 0
    for name, operation in made(tag).tools.items():
        for request in (one for given in calls(operation, everything) for one in sent(kit.tools[name], given)):
            headers, content = headers_and_body(request)
            url = address_of("https://api.github.com", request)
            assert api.check(httpx.Request(request.method, url, headers=headers, content=content)).name == operation.key
        checked += 1
    with capsys.disabled():
        print(f"\n| {tag} | {len(kit.tools)} tools | {checked} requests | {len(made(tag).left_out)} left out |")
    assert checked == len(kit.tools) > 15


def test_omitted_github_operations_cannot_be_tools() -> None:
    reasons = {why for tag in TAGS for why in made(tag).left_out.values()}
    assert reasons <= {"it answers with a redirect, which a request does not follow"} | {
        why for why in reasons if "deprecated" in why
    }


def test_linters_and_type_checkers_accept_the_generated_modules() -> None:
    lint(*(made(tag).module for tag in TAGS))
    type_check(made("gists").module)


def test_whole_github_description_is_translated_in_seconds() -> None:
    whole = generate_modules(github(), Wanted("github", name="gh", limit=2000), PROVIDERS)
    assert len(whole.tools) > 1100 and all(len(name) <= 64 for name in whole.tools)
    lint(whole.module)


def test_generated_toolkit_lists_and_creates_an_issue_as_alice(
    deputy: Deputy, grant: Granting, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"deputize.toolkits": ["gh_issues = gh_issues_made:TOOLKIT"]}
    install(tmp_path, monkeypatch, "gh-issues", points, gh_issues_made=made("issues").module)
    PLUGINS.forget()
    try:
        grant("alice", "repo", provider="github")
        where = {"owner": "alice", "repo": "garden"}
        found = deputy.run(deputy.act("gh_issues_list_for_repo", where, user="alice"))
        assert found["rows"] and {"number", "title", "state", "user.login"} <= found["rows"][0].keys()
        call, given = Call(id="1", thread="t"), {**where, "title": "Made from a description", "labels": ["bug"]}
        with pytest.raises(ApprovalRequired) as asked:
            deputy.run(deputy.act("gh_issues_create", given, user="alice", call=call))
        assert asked.value.approval.preview["title"] == "Made from a description"
        deputy.run(deputy.decide(asked.value.approval, "approve", by="alice"))
        created = deputy.run(deputy.act("gh_issues_create", given, user="alice", call=call))
        again = deputy.run(deputy.act("gh_issues_create", given, user="alice", call=call))
        assert created == again and created["title"] == "Made from a description"
        titles = [
            row["title"] for row in deputy.run(deputy.act("gh_issues_list_for_repo", where, user="alice"))["rows"]
        ]
        assert titles.count("Made from a description") == 1
    finally:
        monkeypatch.undo()
        PLUGINS.forget()
