"""Arguments of a tool: parameters of a path, of a query and of headers, and the members of a JSON body."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from deputize.openapi.description import CannotTranslate, Description, Json
from deputize.openapi.identifiers import argument_names
from deputize.openapi.prose import plain, says_more
from deputize.openapi.schemas import MAX_VALUES, Kind, kind_of, members_of, other_members

Place = Literal["path", "query", "header", "body", "whole", "clear"]
LONGEST_NAME: Final = 80
MAX_ARGUMENTS: Final = 40
"""Arguments of a tool at most; further optional ones are left out."""
KEY_HEADER: Final = "idempotency-key"
_NOT_ARGUMENTS: Final = frozenset({"accept", "content-type", "authorization"})  # OpenAPI 3.1, 4.8.12.1
_SECRET: Final = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_FORMATS: Final = {"date": "YYYY-MM-DD", "date-time": "RFC 3339", "uri": "URL", "uuid": "UUID", "byte": "base64"}
_WORDS: Final = ("{}", "str", "int", "Number", "bool")
_SEPARATORS: Final = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument. ``wire``: its name in the description. ``place``: its place in the request; "whole" is the body
    itself, "clear" the members to set to null.

    ``separator``: joins a list that is one value of a query; "" if each item is its own value. ``default``: the value
    sent if the call gives none; None sends nothing.
    """

    name: str
    wire: str
    place: Place
    kind: Kind
    about: str
    required: bool
    default: str | int | bool | None = None
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request. ``members``: by name, if it is an object with listed members, else one ``value``."""

    members: Mapping[str, Any]
    required: frozenset[str]
    value: Any = None
    needed: bool = True


def body_of(description: Description, operation: Json, notes: list[str]) -> Body | None:
    """Return the body of an operation's request, or None. Raises `CannotTranslate` if it is not JSON."""
    if "requestBody" not in operation:
        return None
    told = description.resolve(operation["requestBody"])
    content = description.objects("content", told)
    schema = next(
        (one.get("schema") for type, one in content.items() if _is_json(type) and isinstance(one, dict)), None
    )
    if schema is None:
        if told.get("required") is True or not content:
            raise CannotTranslate(f"its body is {', '.join(sorted(content))[:80] or 'not described'}, not JSON")
        notes.append("its body, which is not JSON")
        return None
    found = members_of(description, schema)
    if found is None:
        return Body({}, frozenset(), schema, told.get("required") is True)
    notes.extend(other_members(description, schema, found[0]))
    return Body(*found)


def _is_json(type: str) -> bool:
    bare = type.partition(";")[0].strip().lower()
    return bare == "application/json" or (bare.startswith("application/") and bare.endswith("+json"))


def parameters_of(
    description: Description,
    item: Json,
    operation: Json,
    headers: frozenset[str],
    keys: frozenset[str],
    body: Body | None,
    notes: list[str],
    changes: bool = False,
) -> list[Argument]:
    """Return all arguments. ``notes``: optional ones that are left out are added to it. Raises `CannotTranslate` for a
    required one. ``keys``: names of credentials in a query. ``changes``: True if the call changes an existing object,
    so that values can be cleared."""
    told = [*_parameters(description, item, operation).values()]
    made = _build_each(told, lambda one: _parameter(description, one, headers, keys), notes)
    made += _body_arguments(description, body, notes) if body else []
    made += _clear_argument(made) if changes else []
    if len(made) > MAX_ARGUMENTS:
        notes.append(f"{len(made) - MAX_ARGUMENTS} of its optional arguments")
        made = sorted(made, key=lambda one: not one.required)[:MAX_ARGUMENTS]
        if len([one for one in made if one.required]) == MAX_ARGUMENTS:
            raise CannotTranslate(f"it has {MAX_ARGUMENTS} required arguments or more")
    names = argument_names(one.wire for one in made)
    known = f"{operation.get('summary')} {operation.get('operationId')}"[:400]
    return [
        replace(one, name=name, about=one.about if says_more(one.about, name, known) else "")
        for one, name in zip(made, names, strict=True)
    ]


def _parameters(description: Description, item: Json, operation: Json) -> dict[tuple[str, str], Json]:
    """Return the parameters of path and operation, by place and name. Those of the operation take precedence."""
    found: dict[tuple[str, str], Json] = {}
    for listed in (item.get("parameters"), operation.get("parameters")):
        for one in listed if isinstance(listed, list) else []:
            there = description.resolve(one)
            found[str(there.get("in")), str(there.get("name"))] = there
    return found


def has_key_header(description: Description, item: Json, operation: Json) -> bool:
    """Return whether a call takes an idempotency key (draft-ietf-httpapi-idempotency-key-header)."""
    return any(
        place == "header" and name.lower() == KEY_HEADER for place, name in _parameters(description, item, operation)
    )


def _build_each(told: Sequence[Json], make: Callable[[Json], Argument | None], notes: list[str]) -> list[Argument]:
    made = []
    for one in told:
        name = str(one.get("name"))
        try:
            argument = make(one)
        except CannotTranslate as e:
            if one.get("required") is True:
                raise CannotTranslate(f"its parameter {name[:60]!r}: {e}") from None
            notes.append(f"{name[:60]!r}: {e}")
            continue
        if argument:
            made.append(argument)
    return made


def _parameter(description: Description, told: Json, headers: frozenset[str], keys: frozenset[str]) -> Argument | None:
    name, place = _wire_name(told.get("name")), told.get("in")
    if place == "query" and name.lower() in keys:
        raise CannotTranslate("it is a credential, and the user is not an argument")
    if "schema" not in told and "content" in told:
        raise CannotTranslate("it is JSON inside a parameter")
    kind = kind_of(description, told.get("schema"))
    about = _describe(told, kind)
    if place == "path":
        if not _is_plain(kind):
            raise CannotTranslate("a place in a path takes one word")
        return Argument(name, name, "path", replace(kind, null=False), about, True)
    required = told.get("required") is True
    if place == "query":
        return _query_argument(name, told, kind, about, required)
    if place == "header":
        return _header_argument(name, kind, about, required, headers)
    raise CannotTranslate(f"it is in a {str(place)[:20]}, which a tool cannot set")


def _query_argument(name: str, told: Json, kind: Kind, about: str, required: bool) -> Argument:
    separator = ""
    if kind.item_type:
        if kind.item_type not in _WORDS:
            raise CannotTranslate("a list of objects in a query")
        style = str(told.get("style", "form"))
        if style not in _SEPARATORS:
            raise CannotTranslate(f"its style {style[:30]!r}")
        if not told.get("explode", style == "form"):
            separator = _SEPARATORS[style]
    elif not _is_plain(kind):
        raise CannotTranslate("it is not a plain value, and a query takes no others")
    return Argument(name, name, "query", kind, about, required, _default(told, kind), separator)


def _is_plain(kind: Kind) -> bool:
    """Return whether the value fits in a path or a query as one word."""
    return all(one in _WORDS for one in kind.type.split(" | "))


def _header_argument(name: str, kind: Kind, about: str, required: bool, headers: frozenset[str]) -> Argument | None:
    lower = name.lower()
    if lower in _NOT_ARGUMENTS:
        return None
    if lower not in headers:
        raise CannotTranslate("requests may not set this header unless the provider's request_headers allow it")
    if lower == KEY_HEADER:
        return None
    if not kind.is_text:
        raise CannotTranslate("a header takes a text")
    return Argument(name, name, "header", kind, about, required)


def _body_arguments(description: Description, body: Body, notes: list[str]) -> list[Argument]:
    if not body.members:
        kind = kind_of(description, body.value)
        return [Argument("body", "body", "whole", kind, _describe({}, kind), body.needed)]
    told = [{"name": name, "required": name in body.required, "schema": one} for name, one in body.members.items()]
    made = _build_each(told, lambda one: _member(description, one), notes)
    if missing := body.required - {one.wire for one in made}:
        raise CannotTranslate(
            f"its body needs {min(missing)[:60]!r}, which is not described, or is the server's to set"
        )
    return made


def _member(description: Description, told: Json) -> Argument | None:
    schema = description.resolve(told["schema"]) if isinstance(told["schema"], dict) else {}
    if schema.get("readOnly") is True:
        return None
    name, kind = _wire_name(told.get("name")), kind_of(description, schema)
    return Argument(name, name, "body", kind, _describe(schema, kind), told["required"])


def _clear_argument(made: Sequence[Argument]) -> list[Argument]:
    """Return the argument that lists members to set to null, because None means "not given" elsewhere."""
    names = tuple(one.wire for one in made if one.place == "body" and one.kind.null and not one.required)
    kind = Kind("list[{}]", names) if 0 < len(names) <= MAX_VALUES else None
    return [Argument("clear", "clear", "clear", kind, "to set to null", False)] if kind else []


def _wire_name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise CannotTranslate(f"its name is empty, unprintable or has more than {LONGEST_NAME} characters")
    return name


def _describe(told: Json, kind: Kind) -> str:
    """Return the description of an argument: its first sentence, its format, and an object's members."""
    schema = told.get("schema")
    inner = schema if isinstance(schema, dict) else {}
    said = plain(told.get("description")) or plain(inner.get("description"))
    form = inner.get("format", told.get("format"))
    if kind.is_text and isinstance(form, str) and (known := _FORMATS.get(form)):
        said = f"{plain(said, 70)}, {known}" if said else known
    return plain(f"{said}: {kind.inside}" if said and kind.inside else said or kind.inside)


def _default(told: Json, kind: Kind) -> str | int | bool | None:
    """Return the default of a query parameter, if it is one of the argument's values."""
    schema = told.get("schema")
    default = schema.get("default") if isinstance(schema, dict) else None
    if kind.type == "{}":
        if isinstance(default, str) and _SECRET.search(str(told.get("name"))):
            return None  # linters would report a password in the code
        return default if any(type(default) is type(one) and default == one for one in kind.values) else None
    if kind.type == "int" and type(default) is int and _is_within(default, kind):
        return default
    return default if kind.type == "bool" and isinstance(default, bool) else None


def _is_within(value: int, kind: Kind) -> bool:
    tests: Mapping[str, Callable[[float], bool]] = {
        "ge": lambda bound: value >= bound,
        "gt": lambda bound: value > bound,
        "le": lambda bound: value <= bound,
        "lt": lambda bound: value < bound,
    }
    return all(tests[name](bound) for name, bound in kind.bounds if name in tests)
