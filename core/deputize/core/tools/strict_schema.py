"""A tool's arguments where a model's every answer has to fit the schema, and each property of it be given ("strict").

    strict_schema   an optional argument may be null, which stands for "not given"; what no strict schema can say is
                    left to the check that follows, and an object of any names is the text of one, in JSON
    as_meant        the arguments that come of it, as they would have come without

Keywords: those that OpenAI takes where ``strict`` is true (Structured Outputs, "Supported schemas"); it refuses others,
among them ``default``, and wants every property required and ``additionalProperties`` false.
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
"""In the place of a schema that says nothing."""
AS_TEXT: Final = "a JSON object, as text"
_OBJECT: Final = (dict, Mapping)
"""An object; nearly always the first, and then the second, which takes longer to tell, is not asked."""
_AS_IT_IS: Final = frozenset((int, float, bool, type(None)))
MAX_STEPS: Final = 20
"""From a schema to the one that it refers to."""


def strict_schema(schema: Schema) -> dict[str, Any]:
    """The schema of a tool's arguments, as a strict one."""
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
        return {"type": "string", "description": _and(schema.get("description", ""), AS_TEXT)}
    if kind is None and not schema.keys() & {"enum", "const"}:
        return {**SCALAR, **said}
    items = {"items": _strict(schema.get("items"))} if kind == "array" else {}
    return {**({"type": kind} if kind else {}), **items, **_kept(schema), **said}


def _is_union(schema: Schema) -> bool:
    """Whether its alternatives say what a value is. Beside a type of its own they only say more of it: which of its
    properties are given together, how a text is written."""
    return schema.get("type") in (None, "object") and not schema.get("properties")


def _kept(schema: Schema) -> dict[str, Any]:
    """What a strict schema can say of a value."""
    kept = {key: schema[key] for key in ("enum", "const", *BOUNDS) if key in schema}
    if schema.get("format") in FORMATS:
        kept["format"] = schema["format"]
    if "(?" not in schema.get("pattern", "(?"):
        kept["pattern"] = schema["pattern"]
    return kept


def _object(schema: Schema) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    shown = {name: _strict(one) if name in required else _or_null(one) for name, one in properties.items()}
    return {"type": "object", "properties": shown, "required": [*shown], "additionalProperties": False}


def _or_null(schema: Any) -> dict[str, Any]:
    """An optional argument: as it is, or null. What is taken without one, a strict schema can only say in words."""
    shown = _strict(schema)
    words = shown.pop("description", "")
    default = schema.get("default") if isinstance(schema, Mapping) else None
    if default not in (None, "", [], {}):
        words = _and(words, f"default {json.dumps(default, ensure_ascii=False)}")
    options = shown["anyOf"] if shown.keys() == {"anyOf"} else [shown]
    return {"anyOf": [*(one for one in options if one != NULL), NULL], **({"description": words} if words else {})}


def _and(words: str, more: str) -> str:
    return f"{words} ({more})" if words else more


def as_meant(value: Any, schema: Any, root: Any = None) -> Any:
    """The arguments without what stands for "not given", and with objects in the place of their texts.

    A null is left out where the schema has the argument, does not require it and knows no null. All else is as it was:
    what is wrong with it, the check that follows says.
    """
    if type(value) in _AS_IT_IS or (type(value) is str and not value.lstrip().startswith("{")):
        return value  # nothing that a schema makes something else of
    root = schema if root is None else root
    schema = _followed(schema, root)
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


def _followed(schema: Any, root: Any) -> Schema:
    """The schema that this one refers to, or is but for a null."""
    for _ in range(MAX_STEPS):
        if not isinstance(schema, _OBJECT):
            return {}
        options = schema.get("anyOf") or schema.get("oneOf")
        if options and len(some := [one for one in options if one != NULL]) == 1 and _is_union(schema):
            schema = some[0]
        elif isinstance(reference := schema.get("$ref"), str):
            schema = _referred(reference, root)
        else:
            return schema
    return {}


def _referred(reference: str, root: Any) -> Any:
    for part in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#") else [""]:
        root = root.get(part.replace("~1", "/").replace("~0", "~")) if part and isinstance(root, Mapping) else None
    return root


def _knows_null(schema: Any, root: Any, steps: int = MAX_STEPS) -> bool:
    """Whether null is a value of this schema. One that says nothing of types knows every value."""
    if not isinstance(schema, Mapping) or not steps:
        return True
    if (some := schema.get("anyOf") or schema.get("oneOf")) and _is_union(schema):
        return any(_knows_null(one, root, steps - 1) for one in some)
    if isinstance(reference := schema.get("$ref"), str):
        return _knows_null(_referred(reference, root), root, steps - 1)
    if "enum" in schema:
        return None in schema["enum"]
    kind = schema.get("type")
    return kind is None or "null" in (kind if isinstance(kind, list) else [kind])


def _object_in(text: str) -> Any:
    """The object that this text is, in JSON; the text where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text
