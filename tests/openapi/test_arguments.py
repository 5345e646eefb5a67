"""What an argument of a generated tool must not be, or say: who acts, what is not sent, what an API would misread."""

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


def test_no_argument_is_a_credential() -> None:
    """A token beside the user's own would act as whoever the model names."""
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


def test_a_place_in_a_path_is_never_null() -> None:
    """``DELETE /n/None`` would be another thing than was shown."""
    document = acme()
    nullable = [
        {"name": name, "in": "path", "required": True, "schema": {"type": [kind, "null"]}}
        for name, kind in (("id", "integer"), ("key", "string"))
    ]
    document["paths"]["/n/{id}/{key}"] = {"delete": {"parameters": nullable, "responses": answer({})}}
    with pytest.raises(InvalidInput):
        tool(document, "acme_delete_n_id_key").validate({"id": None, "key": None})


def test_what_is_emptied_has_no_value_beside_it_that_a_person_would_believe() -> None:
    schema = {"properties": {"a": {"type": ["string", "null"]}, "b": {"type": ["string", "null"]}}}
    patch = tool(acme(a_patch={"requestBody": body(schema)}), "acme_patch_a")
    run = patch.steps(a="kept", b="b", clear=["b"])
    next(run)
    with pytest.raises(InvalidInput, match="clear: b has a value"):
        run.send(None)


def test_nothing_passes_for_the_line_that_says_whom_an_act_is_for() -> None:
    shows = tool(acme(a_post={"requestBody": body({"properties": {"acting_for": {}}})}), "acme_post_a")
    shown = next(shows.steps(acting_for_value="x"))
    assert isinstance(shown, Preview) and shown.fields.keys() == {"request", "acting_for_value"}


def test_a_bearer_token_beside_oauth_takes_none_of_its_scopes_away() -> None:
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


def test_what_of_a_body_has_no_argument_is_told() -> None:
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
def test_no_toolkit_takes_the_name_of_one_that_is_built_in(name: str) -> None:
    with pytest.raises(InvalidInput, match="beside the built-in"):
        make(acme(), name=name)
    assert make(acme(), name=f"my_{name}").tools


@pytest.mark.parametrize("provider", ["../x", "a/b", "", "A", "a b", "a\n"])
def test_no_provider_has_a_name_that_leads_elsewhere(provider: str) -> None:
    with pytest.raises(InvalidInput, match="No provider can be called"):
        make(acme(), provider=provider, name="ok")
