"""Canonical form of arguments: equal calls have equal text, however their JSON was transported.

A checkpoint, a queue or another language may change a repeated call: ``1.0`` becomes ``1``, a tuple becomes a list,
names change their order. It is still the same call. Arguments equal to their default are omitted, so a new version of a
tool with one more optional argument still recognizes calls in progress.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from deputize.core.errors import InvalidInput

if TYPE_CHECKING:  # as in `toolkit`: pydantic is imported when the first tool is declared
    from pydantic import BaseModel

    from deputize.core.tools.tool import Tool


def canonical(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return validated arguments as JSON with sorted names, without arguments that equal their default.

    Raises `InvalidInput` for an argument that JSON cannot represent.
    """
    try:
        return _text(_without_defaults(tool.model, tool.named(arguments)))
    except RecursionError:
        raise InvalidInput(f"{tool.name}: its arguments are nested too deeply.", hint="Nest them less.") from None
    except ValueError:  # pydantic's serialization error is a subclass
        raise InvalidInput(f"{tool.name}: its arguments cannot be written as JSON.", fix_by="operator") from None


def _without_defaults(model: type[BaseModel] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the model's defaults."""
    plain, defaults = {name: _plain(value) for name, value in given.items()}, _defaults(model) if model else {}
    return {name: value for name, value in plain.items() if name not in defaults or _text(value) != defaults[name]}


@lru_cache(maxsize=1024)
def _defaults(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the model's default values as text, except that of a discriminator tag, which is never omitted."""
    return {
        name: _text(_plain(field.get_default(call_default_factory=True)))
        for name, field in model.model_fields.items()
        if not field.is_required() and not _is_tag(field.annotation)
    }


def _is_tag(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def _plain(value: Any) -> Any:
    """Return the value as JSON data in canonical form."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is list or kind is tuple:
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(one) for one in value), key=_text)
    if hasattr(kind, "model_fields"):
        return _without_defaults(kind, dict(value))
    return _plain_kind(value)


_AS_IT_IS = frozenset({str, int, bool, type(None)})


def _plain_kind(value: Any) -> Any:
    """Return the canonical form of other types: subclasses of plain types, dates, enumerations, dataclasses."""
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return _plain(kind(value))
    from pydantic_core import to_jsonable_python

    return _plain(to_jsonable_python(value))


_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
