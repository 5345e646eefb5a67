"""Hostile tool lists: what is offered of a foreign definition, under which name, and what counts as a change."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from deputize.core.errors import SettingsError
from deputize.core.mcp_client.definitions import (
    LeftOut,
    check_schema_shape,
    clean_text,
    digest_of,
    header_paths,
    own_name,
    shown_schema,
)
from deputize.core.mcp_client.pins import Pin, effect_of, repeat_of
from deputize.core.mcp_client.schemas import faults_of
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from deputize.core.mcp_client.tools import foreign_toolkit, reason_left_out
from tests.support.foreign_mcp import URL, definition

SERVER = McpServer("other", URL)


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


DOUBLING = {c: {"allOf": [{"$ref": f"#/$defs/{chr(ord(c) + 1)}"}] * 2} for c in "abcdefghijklmnop"}
BAD_SCHEMAS: dict[str, Any] = {
    "no object": {"type": "array"},
    "nothing": None,
    "a text": "object",
    "another document": object_of(a={"$ref": "https://evil.example/schema"}),
    "a file": object_of(a={"$ref": "file:///etc/passwd"}),
    "itself": {"type": "object", "properties": {"a": {"$ref": "#"}}},
    "a circle": {**object_of(a={"$ref": "#/$defs/n"}), "$defs": {"n": object_of(b={"$ref": "#/$defs/n"})}},
    "doubling": {**object_of(a={"$ref": "#/$defs/a"}), "$defs": DOUBLING | {"q": {"type": "integer"}}},
    "doubling below a property called definitions": {
        **object_of(definitions={"$ref": "#/$defs/a"}),
        "$defs": DOUBLING | {"q": {"type": "integer"}},
    },
    "a circle below a property called definitions": object_of(
        definitions={"allOf": [{"$ref": "#/properties/definitions"}]}
    ),
    "a circle of dynamic references": {
        **object_of(a={"$dynamicRef": "#/$defs/n"}),
        "$defs": {"n": {"allOf": [{"$dynamicRef": "#/$defs/n"}]}},
    },
    "nowhere": object_of(a={"$ref": "#/$defs/none"}),
    "an id": {**object_of(), "$id": "https://other.example/x"},
    "an anchor": {**object_of(a={"$dynamicAnchor": "x"})},
    "too long": object_of(a={"description": "x" * 40_000}),
    "too wide": object_of(**{f"a{n}": {} for n in range(600)}),
    "too deep": json.loads('{"type":"object","properties":{"a":' * 20 + "{}" + "}}" * 20),
    "far too deep": json.loads('{"properties":{"a":' * 300 + "{}" + "}}" * 300),
    "a mark on an object": object_of(a={"type": "object", "x-mcp-header": "A"}),
    "a mark in a list": object_of(a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
    "a mark that is no token": object_of(a={"type": "string", "x-mcp-header": "A\r\nAuthorization"}),
    "an empty mark": object_of(a={"type": "string", "x-mcp-header": ""}),
    "a mark twice": object_of(a={"type": "string", "x-mcp-header": "A"}, b={"type": "string", "x-mcp-header": "a"}),
    "a mark at the top": {**object_of(), "x-mcp-header": "A"},
    "no type": {"type": "object", "properties": {"a": {"type": "nonsense"}}},
}


@pytest.mark.parametrize("name", BAD_SCHEMAS)
def test_tool_with_an_unsafe_schema_is_left_out_quickly(name: str) -> None:
    began = time.process_time()
    assert reason_left_out(SERVER, definition("t") | {"inputSchema": BAD_SCHEMAS[name]})
    assert time.process_time() - began < 1


@pytest.mark.parametrize("support", ["required", "optional", "forbidden", None, 7])
def test_task_only_tool_is_left_out(support: Any) -> None:
    plain, tool = definition("t"), definition("t") | {"execution": {"taskSupport": support}}
    only = support == "required"
    assert reason_left_out(SERVER, tool) == (
        "it runs as a task only (taskSupport: required), which is not supported" if only else ""
    )
    assert len(foreign_toolkit(SERVER, {"t": Pin(tool)}).tools) == (0 if only else 1)
    assert (digest_of(tool) != digest_of(plain)) == only, "a tool that becomes one is looked at again"
    assert not reason_left_out(SERVER, definition("t") | {"execution": ["required"]})


def test_plain_schema_is_offered_with_its_references_resolved() -> None:
    schema = {**object_of(a={"$ref": "#/$defs/n"}, b={"$ref": "#/$defs/n"}), "$defs": {"n": {"type": "integer"}}}
    assert reason_left_out(SERVER, definition("t", schema)) == ""
    assert faults_of(check_schema_shape(schema), {"a": 1, "b": "x"}) == ['b: the value is not of type "integer"']


def test_catastrophic_pattern_is_evaluated_quickly() -> None:
    began = time.process_time()
    assert faults_of(object_of(a={"type": "string", "pattern": "^(a+)+$"}), {"a": "a" * 5000 + "!"})
    assert time.process_time() - began < 1


@pytest.mark.parametrize("pattern", [r"^(a|aa)+\1$", r"(?:a|aa)*(?=b)(x)\1"])
def test_backtracking_pattern_is_time_limited(pattern: str) -> None:
    schema, many = object_of(a={"items": {"pattern": pattern}}), ["a" * 60 + "c"] * 300
    began = time.process_time()
    assert faults_of(schema, {"a": many})
    assert time.process_time() - began < 2


def test_common_email_patterns_are_supported() -> None:
    email = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
    schema = object_of(a={"type": "string", "pattern": email})
    assert faults_of(schema, {"a": "alice.b@example.com"}) == []
    assert faults_of(schema, {"a": "alice..b@example.com"})


def test_schema_faults_contain_no_value() -> None:
    schema = object_of(a={"enum": ["x"]}, b={"maxLength": 3}, c={"format": "email"}, d={"const": 1})
    faults = faults_of(schema, dict.fromkeys("abcd", "s3cret"))
    assert len(faults) >= 3 and "s3cret" not in " ".join(faults)


@pytest.mark.parametrize("name", ["", "bad name", "é", "a/b", "x" * 129, None, 7, "a\n"])
def test_tool_with_an_invalid_name_is_left_out(name: Any) -> None:
    assert "name has characters" in reason_left_out(SERVER, definition(name))


def test_tool_names_are_prefixed_short_and_unique() -> None:
    assert own_name("linear-mcp", "issues.create") == "linear-mcp_issues__create"
    long = own_name("other", "x" * 128)
    assert len(long) == 64 and long != own_name("other", "x" * 127)
    pins = {name: Pin(definition(name)) for name in ("a.b", "a__b")}
    made = list(foreign_toolkit(SERVER, pins).tools)
    assert made[0] == "other_a__b" and made[1].startswith("other_a__b_") and len(made) == 2
    with pytest.raises(LeftOut):
        own_name("other", "a__b", [own_name("other", "a__b"), made[1]])


def test_description_is_cleaned_and_cut_at_a_sentence() -> None:
    hidden = "Send.\u200b\u202e\U000e0041\x1b[31m It e\u0301"
    assert clean_text(hidden, 100) == "Send.[31m It é"
    assert clean_text("One sentence here. " * 10, 60) == "One sentence here. One sentence here. One sentence here."
    assert clean_text("x" * 100, 10) == "x" * 9 + "…"
    assert clean_text(None, 10) == clean_text(["x"], 10) == ""


def test_schema_texts_are_cleaned_and_values_are_kept() -> None:
    schema = object_of(
        title={"type": "string", "title": "T", "description": "A\u202e title. " + "x" * 300},
        enum={"enum": ["a\u200bb"], "examples": [1], "default": "a\u200bb"},
    )
    shown = shown_schema(schema)["properties"]
    assert shown["enum"] == {"enum": ["a\u200bb"], "default": "a\u200bb"}
    assert shown["title"].keys() == {"type", "description"} and len(shown["title"]["description"]) <= 200


def test_definition_digest_covers_everything_that_matters() -> None:
    one = definition("t", outputSchema={"type": "object"}, readOnlyHint=True)
    same = {**one, "title": "T", "icons": [], "_meta": {"x": 1}}
    assert digest_of(one) == digest_of(same) == digest_of(dict(reversed(list(one.items()))))
    for key, value in (("description", "x"), ("annotations", {}), ("outputSchema", None), ("inputSchema", {})):
        assert digest_of({**one, key: value}) != digest_of(one)


@pytest.mark.parametrize(
    "hints, trusted, effect, repeat",
    [
        ({}, False, "sends", "write"),
        ({"readOnlyHint": True, "idempotentHint": True}, False, "sends", "write"),
        ({"readOnlyHint": True}, True, "reads", "read"),
        ({"destructiveHint": True}, False, "destructive", "write"),
        ({"destructiveHint": True}, True, "destructive", "write"),
        ({"destructiveHint": False, "openWorldHint": False}, True, "sends", "write"),
        ({"idempotentHint": True}, True, "sends", "idem"),
        ({"readOnlyHint": "true"}, True, "sends", "write"),
    ],
)
def test_annotations_lower_no_effect_unless_trusted(hints: Any, trusted: bool, effect: str, repeat: str) -> None:
    server, pin = McpServer("other", URL, trust_hints=trusted), Pin(definition("t") | {"annotations": hints})
    assert effect_of(server, pin) == effect
    assert repeat_of(server, pin, effect_of(server, pin)) == repeat


def test_operator_setting_overrides_annotations() -> None:
    pin = Pin(definition("t", destructiveHint=True), effect="writes")
    assert effect_of(SERVER, pin) == "writes"
    server = McpServer("other", URL, tools={"t": ToolOverride(effect="reads")})
    assert (effect_of(server, pin), repeat_of(server, pin, "reads")) == ("reads", "read")


def test_write_tool_cannot_be_declared_repeatable() -> None:
    server = McpServer("other", URL, tools={"t": ToolOverride(repeat="read")})
    with pytest.raises(SettingsError, match=r"mcp\.other\.tools\.t\] repeat"):
        repeat_of(server, Pin(definition("t")), "sends")


def test_only_the_tools_named_by_the_operator_are_offered() -> None:
    pins = {name: Pin(definition(name)) for name in ("a", "b")}
    assert list(foreign_toolkit(McpServer("other", URL, only=("b",)), pins).tools) == ["other_b"]


def test_header_arguments_are_found_by_their_path() -> None:
    schema = object_of(a={"type": "object", "properties": {"b": {"type": "integer", "x-mcp-header": "B"}}})
    assert header_paths(schema) == {"B": ("a", "b")}
