"""Arguments in one form: equal calls are equal text, whatever way their JSON took.

A call that is run again has been through a checkpoint, a queue or another language: ``1.0`` came back as ``1``, a tuple
as a list, names in another order. None of that makes it another call. Arguments that equal their default are left out,
so that a version of a tool with one more optional argument still knows the calls that are under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from deputize.core.errors import InvalidInput

if TYPE_CHECKING:  # as in `toolkit`: pydantic is imported when the first tool is declared
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from deputize.core.act.toolkit import Tool


def canonical(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Validated arguments of a tool as JSON, names sorted, without those that equal their default.

    Raises `InvalidInput` for an argument that JSON cannot hold.
    """
    given = {outer: arguments[inner] for outer, inner in tool.parameters.items() if inner in arguments}
    try:
        return _text(_stated(tool.model, given))
    except ValueError:  # pydantic's own for what it cannot write is one
        raise InvalidInput(f"{tool.name}: its arguments cannot be written as JSON.", fix_by="operator") from None


def _stated(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the values say beyond the model's defaults."""
    plain = {name: _plain(value) for name, value in given.items()}
    return {name: value for name, value in plain.items() if not _is_default(model.model_fields.get(name), value)}


def _is_default(field: FieldInfo | None, value: Any) -> bool:
    """Whether a value goes without saying. A tag that tells models apart never does."""
    if field is None or field.is_required() or _is_tag(field.annotation):
        return False
    return _text(_plain(field.get_default(call_default_factory=True))) == _text(value)


def _is_tag(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def _plain(value: Any) -> Any:
    """The value as JSON has it, in the one way that we write it."""
    from pydantic import BaseModel
    from pydantic_core import to_jsonable_python

    match value:
        case None | bool() | str() if not isinstance(value, Enum):
            return value
        case float() if value.is_integer():
            return int(value)
        case BaseModel():
            return _stated(type(value), dict(value))
        case Mapping():
            return {str(_plain(key)): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case set() | frozenset():
            return sorted((_plain(one) for one in value), key=_text)
        case int() | float() if not isinstance(value, Enum):
            return value
        case _:
            return _jsonable(to_jsonable_python(value))


def _jsonable(value: Any) -> Any:
    """What pydantic has made of a date, an enumeration or a dataclass."""
    return _plain(value) if isinstance(value, dict | list | float) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
