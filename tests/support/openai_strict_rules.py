"""OpenAI's rules for the parameters of a function with ``strict: true`` (Structured Outputs, "Supported schemas")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

KEYWORDS: Final = {
    *("type", "description", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf"),
    *("$ref", "$defs", "definitions", "pattern", "format", "minItems", "maxItems"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
TYPED: Final = {"type", "anyOf", "$ref", "enum", "const"}
DEEPEST, MAX_PROPERTIES, MAX_VALUES = 10, 5000, 1000


def nodes(schema: Any, depth: int = 0) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield each schema in this one, and in how many objects it is nested."""
    if not isinstance(schema, Mapping):
        return
    yield schema, depth
    inner = depth + (schema.get("type") == "object")
    for key in ("properties", "$defs", "definitions"):
        for one in schema.get(key, {}).values():
            yield from nodes(one, inner)
    for one in [schema.get("items"), *schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
        yield from nodes(one, inner)


def objects_in(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each object that a schema describes, including itself."""
    return (one for one, _ in nodes(schema) if one.get("type") == "object")


def breaches(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what OpenAI would refuse in these parameters."""
    found = list(nodes(schema))
    if schema.get("type") != "object" or "anyOf" in schema:
        yield "the root is no object"
    if max(depth for _, depth in found) > DEEPEST:
        yield "too deep"
    if sum(len(one.get("properties", ())) for one, _ in found) > MAX_PROPERTIES:
        yield "too many properties"
    if sum(len(one.get("enum", ())) for one, _ in found) > MAX_VALUES:
        yield "too many values"
    for one, _ in found:
        if unknown := one.keys() - KEYWORDS:
            yield f"keywords {sorted(unknown)}"
        if not one.keys() & TYPED:
            yield f"no type: {one}"
        if "$ref" in one and len(one) > 1:
            yield f"beside a reference: {one}"
        if "(?" in one.get("pattern", ""):
            yield f"a pattern that looks around: {one}"
        if one.get("type") == "array" and not isinstance(one.get("items"), Mapping):
            yield f"a list of nothing known: {one}"
        if one.get("type") == "object":
            if one.get("additionalProperties") is not False:
                yield f"any names: {one}"
            if list(one.get("required", ["?"])) != list(one.get("properties", ["??"])):
                yield f"not all required: {one}"
