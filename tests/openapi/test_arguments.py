"""What an argument of a generated tool must not be, or contain: the acting user, unsent values, ambiguous values."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import InvalidInput
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Tool
from tests.openapi.acme import acme, answer, body, imported, make

Json = dict[str, Any]


def tool(document: Json, name: str) -> Tool:
    found: Tool = imported(make(document).module).TOOLKIT.tools[name]
    return found


def query(name: str, **more: Any) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string"}} | more


def test_credential_parameters_are_not_arguments() -> None:
    """A token beside the user's own would act as any account the model names."""
    names = ("access_token", "API_KEY", "private_token", "k", "q")
    document = acme(
        a_get={"parameters": [query(name) for name in names]},
        b_post={"parameters": [query("access_token", required=True)]},
    )
    document["components"]["securitySchemes"]["inQuery"] = {"type": "apiKey", "in": "query", "name": "K"}
    made = make(document)
    assert list(imported(made.module).TOOLKIT.tools["acme_get_a"].parameters) == ["q", "part"]
    assert len(made.notes["acme_get_a"]) == 4 and "the user is not an argument" in made.notes["acme_get_a"][0]
    assert "it is a credential" in made.left_out["POST /b"]


def test_path_argument_is_never_null() -> None:
    """``DELETE /n/None`` would address another object than the previewed one."""
    document = acme()
    nullable = [
        {"name": name, "in": "path", "required": True, "schema": {"type": [kind, "null"]}}
        for name, kind in (("id", "integer"), ("key", "string"))
    ]
    document["paths"]["/n/{id}/{key}"] = {"delete": {"parameters": nullable, "responses": answer({})}}
    with pytest.raises(InvalidInput):
        tool(document, "acme_delete_n_id_key").validate({"id": None, "key": None})


def test_cleared_field_cannot_also_have_a_value() -> None:
    schema = {"properties": {"a": {"type": ["string", "null"]}, "b": {"type": ["string", "null"]}}}
    patch = tool(acme(a_patch={"requestBody": body(schema)}), "acme_patch_a")
    run = patch.steps(a="kept", b="b", clear=["b"])
    next(run)
    with pytest.raises(InvalidInput, match="clear: b has a value"):
        run.send(None)


def test_argument_cannot_imitate_the_acting_for_line() -> None:
    shows = tool(acme(a_post={"requestBody": body({"properties": {"acting_for": {}}})}), "acme_post_a")
    shown = next(shows.steps(acting_for_value="x"))
    assert isinstance(shown, Preview) and shown.fields.keys() == {"request", "acting_for_value"}


def test_bearer_scheme_beside_oauth_keeps_oauth_scopes() -> None:
    document = acme(
        a_post={"security": [{"bearer": [], "oauth": ["tasks:write"]}]},
        b_post={"security": [{"bearer": []}]},
        c_post={"security": [{"oauth": [f"s{n}" for n in range(25)]}]},
    )
    document["components"]["securitySchemes"]["bearer"] = {"type": "http", "scheme": "bearer"}
    made = make(document)
    assert made.tools["acme_post_a"].needs == (("tasks:write",),)
    assert made.tools["acme_post_b"].needs == ()
    assert made.left_out["POST /c"] == "it needs more than 24 scopes"


def test_body_members_without_an_argument_are_reported() -> None:
    forms: list[Json] = [{"properties": {"bb": {}, "name": {}}}, {"properties": {"aa": {}}}]
    schema = {"properties": {"name": {"type": "string"}}}
    made = make(
        acme(
            a_post={"requestBody": body(schema | {"oneOf": forms})},
            b_post={"requestBody": body(schema | {"additionalProperties": {"type": "string"}})},
            c_post={"requestBody": body({"oneOf": forms})},
        )
    )
    assert made.notes["acme_post_a"] == ("members of some forms of its body only: aa, bb",)
    assert made.notes["acme_post_b"] == ("members of its body that are not named in the description",)
    [argument] = made.tools["acme_post_c"].arguments
    assert argument.about == "bb (any), name (any); or aa (any)"


@pytest.mark.parametrize("name", ["gmail", "gmail_mine", "github"])
def test_built_in_toolkit_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="beside the built-in"):
        make(acme(), name=name)
    assert make(acme(), name=f"my_{name}").tools


@pytest.mark.parametrize("provider", ["../x", "a/b", "", "A", "a b", "a\n"])
def test_misleading_provider_name_is_refused(provider: str) -> None:
    with pytest.raises(InvalidInput, match="No provider can be called"):
        make(acme(), provider=provider, name="ok")
