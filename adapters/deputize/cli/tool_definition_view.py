"""A foreign tool's definition as lines for the operator who pins it: all text that a model would read.

Some servers describe a tool harmlessly and put instructions into the description of an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core.mcp_client.definitions import shown_schema

_VALUES: Final = ("enum", "const", "default", "required", "type")
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords whose value maps names to schemas."""


def words_of(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the description, each argument, and the server's hints on the tool's effect."""
    yield from str(definition.get("description") or "").splitlines()
    yield from _parts(shown_schema(definition.get("inputSchema")), "takes")
    hints = definition.get("annotations")
    if isinstance(hints, dict) and hints:
        yield f"says of itself: {_facts(hints)}"


def _parts(schema: Any, path: str) -> Iterator[str]:
    """Yield each part of a schema on one line, whatever its names contain."""
    if not isinstance(schema, dict):
        return
    plain = {key: value for key, value in schema.items() if key in _VALUES or not isinstance(value, dict | list)}
    words = str(plain.pop("description", ""))
    if line := ". ".join(one for one in (_facts(plain), words) if one):
        yield " ".join(f"{path}: {line}".split())
    for key, value in schema.items():
        if key in plain:
            continue
        if isinstance(value, list):
            for number, one in enumerate(value):
                yield from _parts(one, f"{path} {key} {number + 1}")
        elif key in _NAMED and isinstance(value, dict):
            for name, one in value.items():
                yield from _parts(one, f"{path} {name}" if key == "properties" else f"{path} {key} {name}")
        else:
            yield from _parts(value, f"{path} {key}")


def _facts(plain: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items())
