"""If a model has to give every argument, null means "not given": in its schema, and for every tool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deputize.core import InvalidInput, Tool
from deputize.core.tools.strict_schema import as_meant, strict_schema
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy
from tests.support.openai_strict_rules import breaches, objects_in

TOOLS = new_deputy(Sandbox()).tools()
BY_NAME = {tool.name: tool for tool in TOOLS}


def optional_in(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return each optional property of the schema, at any depth."""
    for one in objects_in(schema):
        yield from ((n, p) for n, p in one.get("properties", {}).items() if n not in one.get("required", ()))


def outcome(tool: Tool, arguments: dict[str, Any]) -> Any:
    try:
        return tool.validate(arguments)
    except InvalidInput as wrong:
        return str(wrong)


def test_strict_schemas_are_valid_with_nullable_optional_arguments() -> None:
    assert len(TOOLS) > 160 and sum(1 for tool in TOOLS for _ in optional_in(tool.schema)) > 500
    for tool in TOOLS:
        assert list(breaches(tool.strict_schema)) == [], tool.name
        before = sorted(name for name, _ in optional_in(tool.schema))
        shown = [(n, p) for one in objects_in(tool.strict_schema) for n, p in one["properties"].items()]
        nullable = sorted(name for name, one in shown if {"type": "null"} in one.get("anyOf", ()))
        assert nullable == before, tool.name


def test_null_equals_absent_for_every_optional_argument() -> None:
    for tool in TOOLS:
        nulls = {name: None for name in tool.schema["properties"] if name not in tool.schema.get("required", ())}
        assert outcome(tool, nulls) == outcome(tool, {}), tool.name
        for name in nulls:
            assert outcome(tool, {name: None}) == outcome(tool, {}), (tool.name, name)


def test_null_equals_absent_inside_arguments() -> None:
    """The tools whose arguments contain objects with optional parts."""
    nested = {
        tool.name: [n for n, p in tool.schema["properties"].items() if list(optional_in(p.get("items", {})))]
        for tool in TOOLS
    }
    calls: dict[str, dict[str, Any]] = {
        "github_commit_files": {"repo": "a/b", "branch": "x", "message": "m", "files": [{"path": "a", "content": "b"}]},
        "github_review_pull": {"repo": "a/b", "number": 1, "comments": [{"path": "a", "body": "b"}]},
        "salesforce_list_records": {"object": "Lead", "filters": [{"field": "Name", "op": "eq", "value": "x"}]},
    }
    assert {name for name, found in nested.items() if found} == calls.keys()
    for name, call in calls.items():
        [argument] = nested[name]
        parts = BY_NAME[name].schema["properties"][argument]["items"]["properties"]
        filled = [{**dict.fromkeys(parts), **one} for one in call[argument]]
        assert outcome(BY_NAME[name], {**call, argument: filled}) == BY_NAME[name].validate(call)


def test_null_for_a_required_argument_is_refused() -> None:
    with pytest.raises(InvalidInput, match="to: "):
        BY_NAME["gmail_send_email"].validate({"to": None, "subject": "s", "body": "b"})
    with pytest.raises(InvalidInput, match="nobody: there is no such argument"):
        BY_NAME["gmail_search_emails"].validate({"query": "x", "nobody": None})


def test_free_form_object_is_a_string_in_the_strict_schema_and_an_object_in_the_call() -> None:
    free = {
        tool.name
        for tool in TOOLS
        for one in objects_in(tool.schema)
        if "properties" not in one or one.get("additionalProperties")
    }
    assert free == {
        "github_run_workflow",
        "github_save_gist",
        "github_update_project_item",
        "salesforce_create_record",
        "salesforce_update_record",
        "slack_send_message",
    }
    create = BY_NAME["salesforce_create_record"]
    assert create.strict_schema["properties"]["fields"]["type"] == "string"
    fields = {"Name": "Acme", "Phone": ""}
    plain = {"object": "Account", "fields": fields}
    assert outcome(create, {**plain, "fields": json.dumps(fields)}) == outcome(create, plain)
    for wrong in ("Name=Acme", "[1]", "{", ""):
        with pytest.raises(InvalidInput, match="fields"):
            create.validate({**plain, "fields": wrong})
    blocks = [{"type": "divider"}]
    given = {"conversation": "#general", "text": "x"}
    send = BY_NAME["slack_send_message"]
    texts = [json.dumps(one) for one in blocks]
    assert outcome(send, {**given, "blocks": texts}) == outcome(send, {**given, "blocks": blocks})


FOREIGN: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Place": {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}},
        "Kind": {"enum": ["a", None]},
        "Self": {"$ref": "#/$defs/Self"},
    },
    "properties": {
        "at": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
        "kind": {"$ref": "#/$defs/Kind"},
        "size": {"type": ["integer", "null"], "format": "int32"},
        "name": {"type": "string", "maxLength": 3, "default": "x", "pattern": "^(?!a)"},
        "list": {"type": "array"},
        "whatever": {},
        "loop": {"$ref": "#/$defs/Self"},
        "also": {"allOf": [{"type": "string"}]},
        "one": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "none": {"type": "object", "additionalProperties": False},
    },
    "required": ["name"],
}


def test_foreign_schema_becomes_as_strict_as_possible() -> None:
    assert list(breaches(strict_schema(FOREIGN))) == []
    assert strict_schema({"type": "object"}) == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_words_without_a_type_stay_in_the_strict_schema() -> None:
    words = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": "z"}, "c": {}}}
    kept = strict_schema({**words, "required": ["a", "b", "c"]})["properties"]
    assert (kept["a"], kept["b"]) == ({"enum": ["x", "y"]}, {"const": "z"}) and "enum" not in kept["c"]


def test_null_allowed_by_a_foreign_schema_is_kept() -> None:
    given = {"at": {"city": "Rome", "zip": None}, "kind": None, "size": None, "one": None, "list": [None], "name": None}
    meant = {"at": {"city": "Rome"}, "kind": None, "size": None, "list": [None], "name": None}
    assert as_meant(given, FOREIGN) == meant
    for kept in ({"at": None}, {"whatever": None}, {"loop": None}, {"also": None}, {"unknown": None}):
        assert as_meant(kept, FOREIGN) == kept
    assert as_meant({"none": None}, FOREIGN) == {}


def test_alternatives_beside_a_type_restrict_it() -> None:
    """As servers write "one of these is required", and the format of a string."""
    either: dict[str, Any] = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "url": {"type": "string", "anyOf": [{"format": "uri"}, {}]}},
        "anyOf": [{"required": ["id"]}],
    }
    schema = {**either, "properties": {**either["properties"], "place": either}}
    text = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert strict_schema(schema)["properties"]["url"] == text
    assert strict_schema(schema)["properties"]["place"]["anyOf"][0]["properties"] == {"id": text, "url": text}
    assert as_meant({"id": "a", "url": None, "place": {"id": "b", "url": None}}, schema) == {
        "id": "a",
        "place": {"id": "b"},
    }


def test_interpretation_of_arguments_is_idempotent() -> None:
    """The core interprets again what an adapter has interpreted: both are one act."""
    given = {"at": json.dumps({"city": "Rome", "zip": None}), "name": "x"}
    assert as_meant(given, FOREIGN) == {"at": {"city": "Rome"}, "name": "x"}
    assert as_meant(as_meant(given, FOREIGN), FOREIGN) == as_meant(given, FOREIGN)
