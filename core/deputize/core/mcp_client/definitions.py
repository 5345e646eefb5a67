"""A foreign tool's definition: the parts that are offered, the tool's name here, and the detection of changes.

The server's operator writes the definition and may change it any time, so no part is trusted. Names get a prefix,
descriptions are untrusted content, and a schema must be checkable with bounded work and without a request (JSON Schema
2020-12; https://modelcontextprotocol.io/specification/2026-07-28/server/tools, "security considerations").
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from deputize.core.visible_text import without_hidden

MAX_SCHEMA_CHARACTERS: Final = 32_768
MAX_SCHEMA_DEPTH: Final = 12
MAX_NODES: Final = 500
MAX_WRITTEN_OUT: Final = 2000
"""Parts of a schema with each reference replaced by its target."""
MAX_MODEL_NAME_CHARACTERS: Final = 64
"""Characters of a tool's name that models' APIs accept."""
MAX_DESCRIPTION_CHARACTERS: Final = 600
MAX_TITLE_CHARACTERS: Final = 100
MAX_ARGUMENT_CHARACTERS: Final = 200
MAX_SERVER_NAME_CHARACTERS: Final = 128
"""Characters of a tool's name at its server."""
_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_SERVER_NAME_CHARACTERS}}}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_SENTENCE: Final = re.compile(r"[.!?](?=\s)|\n\n")
REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_VALUES: Final = ("enum", "const", "default", "examples")
_DROPPED: Final = frozenset(("title", "$schema", "$comment", "examples", "x-mcp-header", "deprecated", "readOnly"))
_COMPARED: Final = ("name", "description", "inputSchema", "outputSchema", "annotations")


class LeftOut(Exception):
    """A tool is not offered. The message is the reason, as the end of a sentence about the tool."""


def clean_text(text: Any, most: int) -> str:
    """Return untrusted text for a model: composed, without invisible characters, cut at the end of a sentence."""
    if not isinstance(text, str):
        return ""
    whole = without_hidden(unicodedata.normalize("NFC", text[: 20 * most])).strip()
    if len(whole) <= most:
        return whole
    ends = [found.end() for found in _SENTENCE.finditer(whole[:most]) if found.end() > most // 2]
    return whole[: ends[-1]].rstrip() if ends else whole[: most - 1].rstrip() + "…"


def digest_of(definition: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all parts that affect a model or deputize, without titles, icons and the order of keys."""
    kept = {name: definition.get(name) for name in _COMPARED}
    if is_task_only(definition):
        kept["execution"] = "task"
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(b"deputize-mcp-tool-1" + text.encode()).hexdigest()


def is_task_only(definition: Mapping[str, Any]) -> bool:
    """Return True if a tool can only be called as a task (2025-11-25, Tasks: ``execution.taskSupport``)."""
    execution = definition.get("execution")
    return isinstance(execution, Mapping) and execution.get("taskSupport") == "required"


def own_name(server: str, name: Any, taken: Container[str] = ()) -> str:
    """Return deputize's name of a tool: ``linear_create_issue``; a dot becomes two underscores. If the name is too long
    or taken, it ends in eight digits of its hash. Raises `LeftOut`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LeftOut("its name has characters that no tool's name may have")
    made = f"{server}_{name.replace('.', '__')}"
    if len(made) > MAX_MODEL_NAME_CHARACTERS or made in taken:
        made = f"{made[: MAX_MODEL_NAME_CHARACTERS - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if made in taken:
        raise LeftOut("another tool has its name")
    return made


# ----------------------------------------------------------------- schemas


def check_schema_shape(schema: Any) -> dict[str, Any]:
    """Return a usable schema of arguments: an object, bounded, self-contained, without cycles. Raises `LeftOut`."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise LeftOut("its arguments are not an object")
    try:
        if len(json.dumps(schema)) > MAX_SCHEMA_CHARACTERS:
            raise LeftOut("its schema is too long")
    except RecursionError:
        raise LeftOut("its schema is too deep") from None
    for number, (node, depth) in enumerate(_nodes(schema, 0)):
        if depth > MAX_SCHEMA_DEPTH or number >= MAX_NODES:
            raise LeftOut("its schema is too deep or has too many parts")
        _check_node(node)
    _Sizes(schema).of(schema, frozenset())
    header_paths(schema)
    return schema


def _nodes(value: Any, depth: int) -> Iterator[tuple[Any, int]]:
    yield value, depth
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if depth <= MAX_SCHEMA_DEPTH:
            yield from _nodes(one, depth + 1)


def _check_node(node: Any) -> None:
    if not isinstance(node, dict):
        return
    for key in REFERENCES:
        if key in node and not (isinstance(node[key], str) and node[key].startswith("#/")):
            raise LeftOut("its schema refers to itself or to another document")
    if not node.keys().isdisjoint(("$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor")):
        raise LeftOut("its schema names parts of its own")


class _Sizes:
    """Counter of a schema's parts with references expanded, which must neither form cycles nor multiply."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root, self.known = root, dict[int, int]()

    def of(self, node: Any, under: frozenset[int]) -> int:
        if not isinstance(node, dict | list):
            return 0
        if id(node) in under:
            raise LeftOut("its schema contains itself")
        if id(node) not in self.known:
            self.known[id(node)] = self._count_parts(node, under | {id(node)})
        return self.known[id(node)]

    def _count_parts(self, node: dict[str, Any] | list[Any], under: frozenset[int]) -> int:
        parts = node if isinstance(node, list) else list(node.values())
        if node is self.root and isinstance(node, dict):  # below the root, these may be names of properties
            parts = [part for key, part in node.items() if key not in ("$defs", "definitions")]
        total = 1 + sum(self.of(one, under) for one in parts)
        refs = [node.get(key) for key in REFERENCES] if isinstance(node, dict) else []
        total += sum(self.of(self._target(ref), under) for ref in refs if isinstance(ref, str))
        if total > MAX_WRITTEN_OUT:
            raise LeftOut("its schema has too many parts when it is written out")
        return total

    def _target(self, ref: str) -> Any:
        found: Any = self.root
        for part in ref.removeprefix("#/").split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise LeftOut("its schema refers to nothing")
        return found


def header_paths(schema: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the paths of arguments that are also sent in headers, by header. Raises `LeftOut` for an invalid mark."""
    found: dict[str, tuple[str, ...]] = {}
    for node, path in _marked_parts(schema, ()):
        name = node["x-mcp-header"]
        if not path or not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise LeftOut("an x-mcp-header of its schema has a bad name or place")
        twice = name.lower() in {header.lower() for header in found}
        if twice or node.get("type") not in ("string", "integer", "boolean"):
            raise LeftOut("an x-mcp-header of its schema is of a bad type, or there twice")
        found[name] = path
    return found


def _marked_parts(
    node: Any, path: tuple[str, ...] | None
) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...] | None]]:
    """Yield the marked parts with their paths. The path is None for a part that properties alone do not reach."""
    if isinstance(node, list):
        for one in node:
            yield from _marked_parts(one, None)
    if not isinstance(node, Mapping):
        return
    if "x-mcp-header" in node:
        yield node, path
    for key, value in node.items():
        if key == "properties" and isinstance(value, Mapping):
            for name, one in value.items():
                yield from _marked_parts(one, None if path is None else (*path, name))
        elif key not in _VALUES:
            yield from _marked_parts(value, None)


def shown_schema(schema: Any, *, names: bool = False) -> Any:
    """Return the schema for a model: texts cleaned and shortened, without parts that only cost tokens. ``names``: True
    if the keys are names of properties."""
    if isinstance(schema, list):
        return [shown_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {name: shown_schema(one) for name, one in schema.items()}
    shown: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _VALUES and key not in _DROPPED:
            shown[key] = value
        elif key == "description":
            shown |= {key: words} if (words := clean_text(value, MAX_ARGUMENT_CHARACTERS)) else {}
        elif key not in _DROPPED:
            shown[key] = shown_schema(value, names=key in ("properties", "$defs", "definitions"))
    return shown


def moved_schema(schema: Any, to: str) -> Any:
    """Return a schema with its references changed for a place in another schema: ``to`` is that place, as
    ``#/$defs/data``."""
    if isinstance(schema, list):
        return [moved_schema(one, to) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: to + value[1:] if key in REFERENCES and isinstance(value, str) else moved_schema(value, to)
        for key, value in schema.items()
    }


# ----------------------------------------------------------------- arguments


def shown_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a person: complete, and none in a form that `Preview` displays specially. Anybody may
    have chosen the names, so each is one line, and unique."""
    return {
        f"argument {json.dumps(name, ensure_ascii=False)[1:-1]}": _shown_value(arguments[name]) for name in arguments
    }


def _shown_value(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return value
    return json.dumps(value, ensure_ascii=False)
