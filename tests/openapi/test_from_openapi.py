"""From a description to a module that linters accept: tools with their arguments, effects and needs."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core import PROVIDERS, Effect, InvalidInput, Preview, Request
from deputize.core.acts.build_request import address_of
from deputize.core.oauth.provider import OAuthEndpoints
from deputize.core.tools.tool import Tool
from tests.openapi.acme import acme, answer, body, imported, make, needs, toolkit
from tests.openapi.module_checks import lint, type_check


@pytest.fixture(scope="module")
def tools() -> dict[str, Tool]:
    return toolkit(acme()).tools


def steps(tool: Tool, **arguments: Any) -> Any:
    return tool.begin(tool.validate(arguments), lambda: pytest.fail("no run is needed"))


def test_each_operation_is_a_tool_or_left_out_with_a_reason() -> None:
    made = make(acme())
    assert list(made.tools) == [
        "acme_get_me",
        "acme_list_tasks",
        "acme_create_task",
        "acme_delete_task",
        "acme_share_task",
    ]
    assert made.left_out == {
        "PUT /tasks/{taskId}/file": "its body is application/octet-stream, not JSON",
        "GET /admin": "it requires an API key, not a user's OAuth token",
    }
    assert made.pages == {"acme_list_tasks": ["page", "per_page"]}


def test_generated_modules_satisfy_linters_formatters_and_type_checkers() -> None:
    made = make(acme())
    lint(made.module, made.provider)


@pytest.mark.processes
def test_mypy_accepts_generated_modules() -> None:
    made = make(acme())
    type_check(made.module, made.provider)


def test_arguments_have_valid_names_types_choices_ranges_and_descriptions(tools: dict[str, Tool]) -> None:
    assert tools["acme_list_tasks"].schema["properties"] == {
        "q": {"type": "string", "description": "Part of the title"},
        "state": {"default": "open", "enum": ["open", "done"], "type": "string"},
        "tag": {"items": {"type": "string"}, "type": "array"},
        "ids": {"items": {"type": "integer"}, "type": "array"},
        "page": {"default": 1, "minimum": 1, "type": "integer"},
        "per_page": {"default": 3, "maximum": 50, "type": "integer"},
        "part": {"type": "string", "description": "next_part of the last result"},
    }
    create = tools["acme_create_task"].schema
    assert list(create["properties"]) == ["title", "due_date", "priority", "labels", "extra"]
    assert create["required"] == ["title"] and create["properties"]["due_date"]["description"] == "YYYY-MM-DD"


def test_read_is_one_request_with_lists_in_the_described_style(tools: dict[str, Tool]) -> None:
    run = steps(tools["acme_list_tasks"], tag=["a", "b"], ids=[1, 2])
    params = {"q": None, "state": "open", "tag": ["a", "b"], "ids": "1,2", "page": 1, "per_page": 3}
    assert next(run) == Request("GET", "/tasks", params=params)


def test_write_previews_call_and_arguments_then_sends_them() -> None:
    tool = toolkit(acme(a_post={"requestBody": body({"properties": {"to": {"type": "string"}, "x-y": {"enum": [1]}}})}))
    run = steps(tool.tools["acme_post_a"], to="Bob")
    shown = next(run)
    assert isinstance(shown, Preview) and shown.fields == {"request": "POST /a", "to": "Bob"} and not shown.reached
    assert run.send(None) == Request("POST", "/a", json={"to": "Bob"})


def test_object_argument_is_previewed_as_json_and_not_as_a_file() -> None:
    kit = toolkit(acme(a_post={"requestBody": body({"properties": {"note": {"type": "object"}}})}))
    forged = {"file": "cat.png", "mime": "image/png", "size": 3, "secret": "the whole list of customers"}
    shown = next(steps(kit.tools["acme_post_a"], note=forged))
    assert "the whole list of customers" in shown.fields["note"]


EFFECTS: Final = {
    "get_me": Effect.READS,
    "create_task": Effect.WRITES,
    "delete_task": Effect.WRITES | Effect.DESTRUCTIVE,
    "share_task": Effect.WRITES | Effect.SENDS,
}


def test_effect_comes_from_the_method_and_can_only_be_raised(tools: dict[str, Tool]) -> None:
    assert {name: tools[f"acme_{name}"].gravest for name in EFFECTS} == EFFECTS
    milder = acme(a_delete={"x-deputize-effect": "reads"}, b_post={"x-deputize-effect": "reads"})
    found = toolkit(milder).tools
    assert found["acme_delete_a"].gravest == Effect.WRITES | Effect.DESTRUCTIVE
    assert found["acme_post_b"].gravest == Effect.WRITES


def test_operator_declares_sending_and_reading_operations() -> None:
    found = toolkit(acme(a_post={"operationId": "search"}, b_post={}), reads=["search"], sends=["POST /b"]).tools
    assert found["acme_search"].gravest is Effect.READS
    assert next(steps(found["acme_search"])) == Request("POST", "/a", repeat="read")
    assert found["acme_post_b"].gravest == Effect.WRITES | Effect.SENDS
    with pytest.raises(InvalidInput, match="--reads serch: no operationId") as refused:
        make(acme(a_post={"operationId": "search"}), reads=["serch"])
    assert "search" in refused.value.hint


def test_get_that_the_operator_declares_as_sending_previews_and_is_sent_once() -> None:
    found = toolkit(acme(a_get={}, b_get={"x-deputize-effect": "destructive"}), sends=["GET /a"]).tools
    assert found["acme_get_a"].gravest == Effect.WRITES | Effect.SENDS and found["acme_get_a"].shows
    for name, path in (("a", "/a"), ("b", "/b")):
        run = steps(found[f"acme_get_{name}"])
        assert isinstance(next(run), Preview)
        assert run.send(None) == Request("GET", path, repeat="write")


SECURITY: Final[dict[str, tuple[Any, list[set[str]]]]] = {
    "all of one": (needs("a", "b"), [{"a"}, {"b"}]),
    "one of two": ([*needs("a"), *needs("b")], [{"a", "b"}]),
    "(a and b) or c": ([*needs("a", "b"), *needs("c")], [{"a", "c"}, {"b", "c"}]),
    "a or (a and b)": ([*needs("a", "b"), *needs("a")], [{"a"}]),
    "a key would do, too": ([{"key": []}, *needs("a")], [{"a"}]),
    "nobody": ([], []),
    "anybody, or a": ([{}, *needs("a")], []),
}


@pytest.mark.parametrize("case", SECURITY)
def test_needs_match_the_security_requirements(case: str) -> None:
    security, wanted = SECURITY[case]
    [tool] = toolkit(acme(a_get={"security": security}), only=["/a"]).tools.values()
    found = [set(need.accepts) for need in tool.needs_of({})]
    assert sorted(found, key=sorted) == sorted(wanted, key=sorted)


def test_security_alternative_with_the_fewest_scopes_is_requested() -> None:
    security = [*needs("a", "b"), *needs("c")]
    [tool] = toolkit(acme(a_get={"security": security}), only=["/a"]).tools.values()
    assert {need.ask for need in tool.needs_of({})} == {"c"}


def test_only_selected_operations_become_tools_and_others_are_counted() -> None:
    assert list(make(acme(), only=["tasks"]).tools) == ["acme_list_tasks", "acme_create_task", "acme_delete_task"]
    assert list(make(acme(), only=["shareTask", "GET /me"]).tools) == ["acme_get_me", "acme_share_task"]
    assert list(make(acme(), only=["/tasks/{taskId}"]).tools) == ["acme_delete_task", "acme_share_task"]
    assert make(acme(), only=["/me"]).unselected == 6
    with pytest.raises(InvalidInput, match="--only task: no tag"):
        make(acme(), only=["task"])


def test_read_only_and_limit_leave_out_operations_with_a_reason() -> None:
    made = make(acme(), read_only=True)
    assert list(made.tools) == ["acme_get_me", "acme_list_tasks"]
    assert made.left_out["DELETE /tasks/{taskId}"] == "it changes something (--read-only)"
    assert make(acme(), limit=1).left_out["GET /tasks"] == "1 tools exist already (--limit)"


def test_existing_provider_uses_its_own_root_and_no_definition_is_written() -> None:
    document = acme(a_get={}) | {"servers": [{"url": "https://api.github.com/api/v3"}]}
    made = make(document, provider="github", name="gh")
    assert not made.provider and 'Toolkit("gh", provider="github", api="github", shows=True)' in made.module
    assert next(steps(imported(made.module).TOOLKIT.tools["gh_get_a"])).path == "/api/v3/a"
    with pytest.raises(InvalidInput, match="is none of github's APIs: github") as refused:
        make(acme(), provider="github", name="gh")
    assert "--api" in refused.value.hint
    assert make(acme(a_get={}), provider="github", name="gh", api="github").tools


def test_generated_provider_definition_is_valid() -> None:
    row = imported(make(acme()).provider).ACME
    assert row.oauth == OAuthEndpoints("https://acme.example/oauth/authorize", "https://acme.example/oauth/token")
    assert row.apis.roots == {"acme": "https://api.acme.example/v1"} and not row.apis.foreign_api()
    assert (row.apis.identity.url, row.apis.identity.subject) == ("https://api.acme.example/v1/me", "{id}")
    assert row.describe("tasks:read") == 'use the permission "tasks:read" (Read your tasks)'


def test_unknown_identity_endpoint_must_be_given() -> None:
    document = acme()
    document["paths"]["/people/self"] = document["paths"].pop("/me")
    with pytest.raises(InvalidInput, match="a token's user") as refused:
        make(document)
    assert "--whoami" in refused.value.hint
    assert "https://api.acme.example/v1/people/self" in make(document, whoami="/people/self").provider


def test_description_without_authorization_code_flow_makes_no_provider() -> None:
    document = acme()
    flows = document["components"]["securitySchemes"]["oauth"]["flows"]
    flows["implicit"] = flows.pop("authorizationCode")
    with pytest.raises(InvalidInput, match="no authorizationCode flow"):
        make(document)


def test_operation_as_the_app_is_not_a_tool() -> None:
    document = acme(a_get={}, b_get={"security": []})
    flows = document["components"]["securitySchemes"]["oauth"]["flows"]
    document["components"]["securitySchemes"]["oauth"]["flows"] = {"clientCredentials": flows["authorizationCode"]}
    made = make(document, provider="github", api="github", name="gh")
    assert "not as a user" in made.left_out["GET /a"] and "gh_get_b" in made.tools


def test_trailing_slash_of_a_path_is_kept() -> None:
    document = acme()
    where = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    document["paths"]["/a/{id}/"] = {"get": {"parameters": [where], "responses": answer({})}}
    [tool] = toolkit(document, only=["/a"]).tools.values()
    request = next(steps(tool, id="x"))
    assert address_of("https://api.acme.example/v1", request) == "https://api.acme.example/v1/a/x/"
    for path in ("/a//", "/", "//", "/a/../", "/a/./"):
        with pytest.raises(InvalidInput, match="stay below"):
            address_of("https://api.acme.example/v1", Request("GET", path))


def test_operation_of_another_server_is_left_out() -> None:
    made = make(acme(a_get={"servers": [{"url": "https://evil.example"}]}, b_get={}))
    assert "gets no token of this API" in made.left_out["GET /a"]


def test_unsupported_parameter_is_noted_and_a_required_one_drops_the_tool() -> None:
    cookie = {"name": "session", "in": "cookie", "schema": {"type": "string"}}
    header = {"name": "X-Trace", "in": "header", "schema": {"type": "string"}}
    made = make(acme(a_get={"parameters": [cookie, header]}, b_get={"parameters": [cookie | {"required": True}]}))
    assert made.notes["acme_get_a"] == (
        "'session': it is in a cookie, which a tool cannot set",
        "'X-Trace': requests may not set this header unless the provider's request_headers allow it",
    )
    assert made.left_out["GET /b"] == "its parameter 'session': it is in a cookie, which a tool cannot set"


def test_required_nullable_value_is_sent_as_null_and_optional_omitted() -> None:
    schema = {"required": ["a"], "properties": {key: {"type": ["string", "null"]} for key in ("a", "b")}}
    kit = toolkit(acme(a_patch={"requestBody": body(schema)}))
    run = steps(kit.tools["acme_patch_a"], a=None)
    next(run)
    assert run.send(None).json == {"a": None}


def test_nullable_field_is_cleared_by_name_and_previewed() -> None:
    schema = {"properties": {"a-b": {"type": ["string", "null"]}, "c": {"type": "string", "nullable": True}, "d": {}}}
    made = make(acme(a_patch={"requestBody": body(schema)}, b_post={"requestBody": body(schema)}))
    lint(made.module)
    tools = imported(made.module).TOOLKIT.tools
    assert tools["acme_patch_a"].schema["properties"]["clear"]["items"]["enum"] == ["a-b", "c"]
    run = steps(tools["acme_patch_a"], c="x", clear=["a-b"])
    assert next(run).fields["clear"] == ["a-b"]
    assert run.send(None).json == {"a-b": None, "c": "x"}
    assert "clear" not in tools["acme_post_b"].parameters


def test_deprecated_operations_are_left_out_unless_named() -> None:
    document = acme(a_get={"deprecated": True, "operationId": "old", "tags": ["x"]}, b_get={"tags": ["x"]})
    assert "deprecated" in make(document).left_out["GET /a"]
    assert list(make(document, only=["old"]).tools) == ["acme_old"]


def test_files_redirects_and_texts_are_distinguished() -> None:
    text = {"200": {"description": "", "content": {"text/plain": {}}}}
    file = {"200": {"description": "", "content": {"application/zip": {}}}}
    made = make(acme(a_get={"responses": text}, b_get={"responses": file}, c_get={"responses": {"302": {}}}))
    assert made.left_out == {
        "GET /b": "it answers with a file (application/zip)",
        "GET /c": "it answers with a redirect, which a request does not follow",
    }
    run = steps(imported(made.module).TOOLKIT.tools["acme_get_a"])
    assert next(run).raw
    with pytest.raises(StopIteration) as ended:
        run.send(b"a text")
    assert ended.value.value == {"value": "a text", "untrusted": True}


def test_invalid_toolkit_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="No toolkit can be called"):
        make(acme(), name="Not A Name")
    assert PROVIDERS.keys().isdisjoint(["acme"]) and answer({})["200"]
