"""Types of arguments from a description's schemas, in Python's terms.

An object inside an argument is a dict, whose members are described in words, because a tool has one level of arguments,
and its schema has no references. The API itself checks everything beyond type, choice and range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard

from deputize.openapi.description import CannotTranslate, Description, Json

DEEPEST: Final = 4
MAX_MEMBERS: Final = 8
"""Members of an object that are described in words."""
MAX_VALUES: Final = 60
LONGEST_VALUE: Final = 80
MAX_PARTS: Final = 30
"""Parts of an ``allOf``, ``oneOf`` or ``anyOf``."""
_SCALARS: Final = {"string": "str", "integer": "int", "number": "Number", "boolean": "bool"}
OBJECT: Final = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an argument accepts.

    ``type``: as Python writes it, with ``{}`` for the choice of ``values``. ``null``: True if it may be null.
    ``bounds``: keywords of a `Field`. ``inside``: an object's members, in words.
    """

    type: str
    values: tuple[str | int | bool, ...] = ()
    null: bool = False
    bounds: tuple[tuple[str, float | int], ...] = ()
    inside: str = ""

    @property
    def is_text(self) -> bool:
        """True if each value is a string."""
        return self.type == "str" or (self.type == "{}" and all(isinstance(one, str) for one in self.values))

    @property
    def item_type(self) -> str:
        """The type of a list's items, "" if it is not a list."""
        return self.type[5:-1] if self.type.startswith("list[") else ""


def kind_of(description: Description, schema: Any, depth: int = 0) -> Kind:
    """Return the values that a schema allows. Raises `CannotTranslate` for a reference to a missing part."""
    if schema is True or schema is None or schema == {}:
        return Kind("Any")
    found = description.resolve(schema)
    types = _types(found)
    null = found.get("nullable") is True or "null" in types or None in _enum(found)
    types = [one for one in types if one != "null"]
    if depth > DEEPEST:
        return Kind("Any", null=null)
    if values := _choice(found):
        return Kind("{}", values, null)
    parts = _parts(found)
    if parts and "properties" not in found and (not types or types == ["object"] or "allOf" not in found):
        kind = _kind_of_parts(description, found, depth)
        return replace(kind, null=kind.null or null)
    if len(types) > 1:
        return replace(_union([kind_of(description, {**found, "type": one}, depth + 1) for one in types]), null=null)
    return replace(_single(description, found, types[0] if types else "", depth), null=null)


def _single(description: Description, found: Json, type: str, depth: int) -> Kind:
    if found.get("format") == "binary" or found.get("contentMediaType") == "application/octet-stream":
        raise CannotTranslate("it takes a file")
    if type in _SCALARS:
        return Kind(_SCALARS[type], bounds=tuple(_range(found)) if type in ("integer", "number") else ())
    if type == "array":
        return _list(description, found, depth)
    if type == "object":
        return _object(description, found)
    return Kind("Any")


def _types(found: Json) -> list[str]:
    told = found.get("type")
    if isinstance(told, str):
        return [told]
    if isinstance(told, list):
        return [one for one in told if isinstance(one, str)]
    guess = {"properties": "object", "additionalProperties": "object", "items": "array"}
    return [type for name, type in guess.items() if name in found][:1]


def _enum(found: Json) -> list[Any]:
    if "const" in found:
        return [found["const"]]
    values = found.get("enum")
    return values if isinstance(values, list) else []


def _choice(found: Json) -> tuple[str | int | bool, ...]:
    """Return the values of an enumeration if a `Literal` can express them, else ()."""
    values = [one for one in _enum(found) if one is not None]
    if not values or len(values) > MAX_VALUES or not all(map(_is_literal, values)):
        return ()
    unique: list[str | int | bool] = []
    for one in values:
        if not any(type(one) is type(old) and one == old for old in unique):
            unique.append(one)
    return tuple(unique)


def _is_literal(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE and value.isascii() and value.isprintable() and value not in _FLAGGED
    return isinstance(value, bool | int) and abs(value) < 1 << 53


_FLAGGED: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # linters would report a server's address


def _range(found: Json) -> Iterator[tuple[str, float | int]]:
    for name, exclusive, strict, closed in (
        ("minimum", "exclusiveMinimum", "gt", "ge"),
        ("maximum", "exclusiveMaximum", "lt", "le"),
    ):
        bound, other = found.get(name), found.get(exclusive)
        if _is_number(other):
            yield strict, other
        elif _is_number(bound):
            yield (strict if other is True else closed), bound


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value)


def _list(description: Description, found: Json, depth: int) -> Kind:
    item = kind_of(description, found.get("items"), depth + 1)
    bounds = [
        (ours, found[theirs])
        for theirs, ours in (("minItems", "min_length"), ("maxItems", "max_length"))
        if isinstance(found.get(theirs), int) and not isinstance(found[theirs], bool) and 0 <= found[theirs] < 10_000
    ]
    inner = "Any" if item.null else item.type
    return Kind(f"list[{inner}]", () if item.null else item.values, bounds=tuple(bounds), inside=item.inside)


def _object(description: Description, found: Json) -> Kind:
    members = description.objects("properties", found)
    required = found.get("required") if isinstance(found.get("required"), list) else []
    names = sorted(members, key=lambda name: name not in (required or []))
    named = [f"{name} ({_word(description, members[name])})" for name in names[:MAX_MEMBERS] if name.isprintable()]
    return Kind(OBJECT, inside=", ".join([*named, *(["..."] if len(names) > MAX_MEMBERS else [])]))


def _word(description: Description, schema: Any) -> str:
    try:
        found = description.resolve(schema) if isinstance(schema, dict) else {}
    except CannotTranslate:
        return "any"
    types = [one for one in _types(found) if one != "null"]
    return types[0] if types and types[0] in (*_SCALARS, "array", "object") else "any"


# ----------------------------------------------------------------- combined schemas


def _parts(found: Json) -> list[Any]:
    return [
        part
        for name in ("allOf", "oneOf", "anyOf")
        if isinstance(found.get(name), list)
        for part in found[name][:MAX_PARTS]
    ]


def _kind_of_parts(description: Description, found: Json, depth: int) -> Kind:
    if isinstance(found.get("allOf"), list):
        kinds = [kind_of(description, part, depth + 1) for part in found["allOf"][:MAX_PARTS]]
        known = [one for one in kinds if one.type != "Any"]
        if len({one.type for one in known}) > 1:
            return Kind("Any")
        inside = ", ".join(one.inside for one in known if one.inside)
        return replace(known[0], inside=inside, null=all(one.null for one in known)) if known else Kind("Any")
    return _union([kind_of(description, part, depth + 1) for part in _parts(found)])


def _union(kinds: Sequence[Kind]) -> Kind:
    null = any(one.null for one in kinds)
    some = [one for one in dict.fromkeys(replace(one, null=False) for one in kinds) if one.type != "None"]
    if not some:
        return Kind("Any")
    if len(some) == 1:
        return replace(some[0], null=null)
    inside = "; or ".join(dict.fromkeys(one.inside for one in some if one.inside))
    if all(one.type == "{}" for one in some):
        return Kind("{}", tuple(dict.fromkeys(value for one in some for value in one.values)), null)
    types = list(dict.fromkeys("str" if one.is_text else one.type for one in some))
    if "Any" in types or any("{}" in one for one in types) or len(types) > 4:
        return Kind("Any", null=null, inside=inside)
    return Kind(" | ".join(types), null=null, inside=inside)


# ----------------------------------------------------------------- objects whose members are arguments


def members_of(description: Description, schema: Any, depth: int = 0) -> tuple[dict[str, Any], frozenset[str]] | None:
    """Return an object's members by name, and the required ones; None if it has no members of its own.

    An ``allOf`` has the members of all its parts. Alternatives have none, because no single list of arguments expresses
    them.
    """
    found = description.resolve(schema)
    types = [one for one in _types(found) if one != "null"]
    if depth > DEEPEST or types not in ([], ["object"]):
        return None
    members = dict(description.objects("properties", found))
    required = {one for one in found.get("required") or () if isinstance(one, str)}
    for part in found.get("allOf") or ():
        inner = members_of(description, part, depth + 1)
        if inner is None:
            return None
        members |= inner[0]
        required |= inner[1]
    choice = found.get("oneOf") or found.get("anyOf")
    if choice and not members:
        return None
    return (members, frozenset(required)) if members else None


def other_members(description: Description, schema: Any, members: Mapping[str, Any]) -> Iterator[str]:
    """Yield descriptions, for the operator, of the other members that an object may have."""
    found = description.resolve(schema)
    parts = [part for name in ("oneOf", "anyOf") if isinstance(found.get(name), list) for part in found[name]]
    some = [description.objects("properties", description.resolve(part)) for part in parts[:MAX_PARTS]]
    if more := sorted({name for one in some for name in one} - members.keys()):
        yield f"members of some forms of its body only: {', '.join(more)[:120]}"
    if isinstance(found.get("additionalProperties"), dict):
        yield "members of its body that are not named in the description"
