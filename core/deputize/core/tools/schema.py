"""Argument models of tools, made from function signatures, with their schemas and validation messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from deputize.core.errors import SettingsError, instead
from deputize.core.tools.steps import Steps

if TYPE_CHECKING:  # pydantic is imported when the first tool is declared: a third of what the core would cost to import
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


def signature(name: str, steps: Callable[..., Steps]) -> tuple[type[BaseModel], dict[str, str], bool]:
    """Return a tool function's argument model, a map of public argument names to parameters, and if it takes a `Run`.

    A parameter ``from_`` has the public name "from", because a public name may be a Python keyword.
    """
    from pydantic import BeforeValidator, ConfigDict, create_model

    hints = get_type_hints(steps, include_extras=True)
    arguments: dict[str, Any] = {}
    parameters: dict[str, str] = {}
    keywords = set[str]()
    for p in inspect.signature(steps).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            keywords.add(p.name)
            continue
        outer = p.name.rstrip("_")
        parameters[outer] = p.name
        hint = Annotated[hints[p.name], BeforeValidator(_as_list)] if _is_list(hints[p.name]) else hints[p.name]
        arguments[outer] = (hint, ... if p.default is p.empty else p.default)
    if unknown := keywords - {"run"}:
        asked = ", ".join(sorted(unknown))
        raise SettingsError(f"{name} has the keyword-only parameter {asked}. The only one allowed is run: Run.")
    config = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())
    return create_model(name, __config__=config, **arguments), parameters, "run" in keywords


def _is_list(hint: Any) -> bool:
    """Return True if the type of an argument is a list, or a list or None."""
    if get_origin(hint) is Annotated:
        return _is_list(get_args(hint)[0])
    return get_origin(hint) is list or (
        get_origin(hint) in (Union, UnionType) and any(_is_list(one) for one in get_args(hint))
    )


def _as_list(value: Any) -> Any:
    """Return a string as a list with this string, because models pass one instead of a list. Other values are
    unchanged."""
    return [value] if isinstance(value, str) else value


def faults(tool: str, error: ValidationError, known: Iterable[str]) -> str:
    """Return a message that names the invalid arguments and their errors, without values. ``known``: valid names."""
    names = list(known)
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return f"{tool}: " + "; ".join(_fault(fault, names) for fault in found[:5])


def _fault(fault: ErrorDetails, known: list[str]) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "arguments"
    if fault["type"] == "extra_forbidden":
        there = instead(where, known) if len(fault["loc"]) == 1 else ""
        return f"{where}: there is no such argument. {there}".strip()
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def lean(schema: Any, *, names: bool = False) -> Any:
    """Return the schema without titles, null alternatives and defaults that are null, false, zero or empty.

    ``names``: True if the keys are property names.
    """
    if isinstance(schema, list):
        return [lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    short = {k: lean(v, names=k in ("properties", "$defs") and not names) for k, v in schema.items()}
    if names:
        return short
    short.pop("title", None)
    if "default" in short and not short["default"]:
        short.pop("default")
    some = [part for part in short.get("anyOf", []) if part != {"type": "null"}]
    if len(some) == 1:
        short.pop("anyOf")
        short = {**some[0], **short}
    return short
