"""Strict schemas of arguments, for models whose output must contain every property of the schema ("strict").

    strict_schema   in a strict schema, null means "not given"; an object with arbitrary names becomes a JSON string;
                    constraints that a strict schema cannot express are left to validation
    as_meant        converts such arguments to those that the plain schema describes

The keywords are those that OpenAI accepts with ``strict`` (Structured Outputs, "Supported schemas"). It rejects others,
such as ``default``, and requires that every property is required and ``additionalProperties`` is false.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems")
FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
DEFINED: Final = ("$defs", "definitions")
NULL: Final = {"type": "null"}
SCALAR: Final = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
"""Replacement for a schema without a type."""
AS_TEXT: Final = "a JSON object, as text"
_OBJECT: Final = (dict, Mapping)
"""Types of an object. Nearly all are a dict, so that the slower test for a Mapping is not needed."""
_AS_IT_IS: Final = frozenset((int, float, bool, type(None)))
MAX_STEPS: Final = 20
"""Maximum references to follow from one schema."""


def strict_schema(schema: Schema) -> dict[str, Any]:
    """Return the strict form of a tool's argument schema."""
    named = {key: {name: _strict(one) for name, one in schema[key].items()} for key in DEFINED if key in schema}
    return {**_object(schema), **named}


def _strict(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return dict(SCALAR)
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    said = {"description": schema["description"]} if schema.get("description") else {}
    kind, some = schema.get("type"), schema.get("anyOf") or schema.get("oneOf")
    if some and _is_union(schema):
        return {"anyOf": [_strict(one) for one in some], **said}
    if isinstance(kind, list) and "enum" not in schema:
        alone = {key: value for key, value in schema.items() if key != "description"}
        return {"anyOf": [_strict({**alone, "type": one}) for one in kind], **said}
    if kind == "object" and (schema.get("properties") or schema.get("additionalProperties") is False):
        return {**_object(schema), **said}
    if kind == "object":
        return {"type": "string", "description": _append(schema.get("description", ""), AS_TEXT)}
    if kind is None and not schema.keys() & {"enum", "const"}:
        return {**SCALAR, **said}
    items = {"items": _strict(schema.get("items"))} if kind == "array" else {}
    return {**({"type": kind} if kind else {}), **items, **_constraints(schema), **said}


def _is_union(schema: Schema) -> bool:
    """Return True if the alternatives of a schema define its value. In a schema with a type, they only add constraints:
    properties that must be given together, or the format of a string."""
    return schema.get("type") in (None, "object") and not schema.get("properties")


def _constraints(schema: Schema) -> dict[str, Any]:
    """Return the constraints that a strict schema can express."""
    kept = {key: schema[key] for key in ("enum", "const", *BOUNDS) if key in schema}
    if schema.get("format") in FORMATS:
        kept["format"] = schema["format"]
    if "(?" not in schema.get("pattern", "(?"):
        kept["pattern"] = schema["pattern"]
    return kept


def _object(schema: Schema) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    shown = {name: _strict(one) if name in required else _nullable(one) for name, one in properties.items()}
    return {"type": "object", "properties": shown, "required": [*shown], "additionalProperties": False}


def _nullable(schema: Any) -> dict[str, Any]:
    """Return an optional argument's schema, extended by null. The description states the default."""
    shown = _strict(schema)
    words = shown.pop("description", "")
    default = schema.get("default") if isinstance(schema, Mapping) else None
    if default not in (None, "", [], {}):
        words = _append(words, f"default {json.dumps(default, ensure_ascii=False)}")
    options = shown["anyOf"] if shown.keys() == {"anyOf"} else [shown]
    return {"anyOf": [*(one for one in options if one != NULL), NULL], **({"description": words} if words else {})}


def _append(words: str, more: str) -> str:
    return f"{words} ({more})" if words else more


def as_meant(value: Any, schema: Any, root: Any = None) -> Any:
    """Return the arguments without nulls for "not given", and with objects in place of their JSON strings.

    A null is removed if the schema has the argument, does not require it and does not allow null. Other values are
    unchanged and left to validation.
    """
    if type(value) in _AS_IT_IS or (type(value) is str and not value.lstrip().startswith("{")):
        return value  # no schema changes such a value
    root = schema if root is None else root
    schema = _dereference(schema, root)
    kinds = schema.get("type") if isinstance(schema.get("type"), list) else [schema.get("type")]
    if isinstance(value, str):
        found = _object_in(value) if "object" in kinds and "string" not in kinds else value
        return found if found is value else as_meant(found, schema, root)
    if isinstance(value, list) and isinstance(schema.get("items"), _OBJECT):
        return [as_meant(one, schema["items"], root) for one in value]
    known, required = schema.get("properties"), schema.get("required", ())
    if not isinstance(value, _OBJECT) or not isinstance(known, _OBJECT):
        return value
    meant = {}
    for name, one in value.items():
        if one is not None:
            meant[name] = as_meant(one, known[name], root) if name in known else one
        elif name not in known or name in required or _knows_null(known[name], root):
            meant[name] = None
    return meant


def _dereference(schema: Any, root: Any) -> Schema:
    """Return the schema that this one refers to, or its only alternative besides null, or itself."""
    for _ in range(MAX_STEPS):
        if not isinstance(schema, _OBJECT):
            return {}
        options = schema.get("anyOf") or schema.get("oneOf")
        if options and len(some := [one for one in options if one != NULL]) == 1 and _is_union(schema):
            schema = some[0]
        elif isinstance(reference := schema.get("$ref"), str):
            schema = _look_up(reference, root)
        else:
            return schema
    return {}


def _look_up(reference: str, root: Any) -> Any:
    for part in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#") else [""]:
        root = root.get(part.replace("~1", "/").replace("~0", "~")) if part and isinstance(root, Mapping) else None
    return root


def _knows_null(schema: Any, root: Any, steps: int = MAX_STEPS) -> bool:
    """Return True if the schema allows null. A schema without types allows any value."""
    if not isinstance(schema, Mapping) or not steps:
        return True
    if (some := schema.get("anyOf") or schema.get("oneOf")) and _is_union(schema):
        return any(_knows_null(one, root, steps - 1) for one in some)
    if isinstance(reference := schema.get("$ref"), str):
        return _knows_null(_look_up(reference, root), root, steps - 1)
    if "enum" in schema:
        return None in schema["enum"]
    kind = schema.get("type")
    return kind is None or "null" in (kind if isinstance(kind, list) else [kind])


def _object_in(text: str) -> Any:
    """Return the object in this JSON text, or the text if it is not one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text
