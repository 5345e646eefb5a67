"""Conversion of an operation of a description to a tool, or to the reason why it cannot be a tool."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from deputize.core.acts.build_request import address_of
from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import HEADERS, Request
from deputize.openapi.arguments import KEY_HEADER, Argument, body_of, has_key_header, parameters_of
from deputize.openapi.description import CannotTranslate, Description, Json
from deputize.openapi.identifiers import snake
from deputize.openapi.kept_fields import Kept, kept_part
from deputize.openapi.prose import LONGEST_TOOL, plain
from deputize.openapi.security import Needs, keys_of, needs_of
from deputize.openapi.servers import Servers

METHODS: Final = ("get", "post", "put", "patch", "delete")
NO_TOOLS: Final = ("head", "options", "trace", "query")
LONGEST_PATH: Final = 100
KEY: Final = "x-deputize-effect"
"""The key by which a description makes a call's effect graver: ``sends`` or ``destructive``."""
_TEMPLATE: Final = re.compile(r"\{([^{}/]*)\}")

EffectName = Literal["reads", "writes", "sends", "destructive"]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as a tool. ``key``: ``GET /pets/{id}``; ``id``: its operationId, or "".

    ``path``: below the API's root, with the arguments' names as placeholders. ``effects``: empty if it only reads.
    ``once``: it accepts an idempotency key. ``notes``: the parts that the tool lacks.
    """

    key: str
    id: str
    method: str
    path: str
    about: str
    arguments: tuple[Argument, ...]
    needs: Needs
    effects: frozenset[EffectName]
    kept: Kept
    once: bool = False
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> bool:
        """True if the operation changes nothing."""
        return not self.effects

    def arguments_in(self, place: str) -> list[Argument]:
        """Return the arguments of this place."""
        return [one for one in self.arguments if one.place == place]


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation's entry in a description, not yet translated."""

    key: str
    method: str
    path: str
    item: Json = field(repr=False)
    spec: Json = field(repr=False)

    @property
    def id(self) -> str:
        """The operationId, or ""."""
        id = self.spec.get("operationId")
        return id[:200] if isinstance(id, str) else ""

    @property
    def tags(self) -> list[str]:
        """The tags of the operation."""
        tags = self.spec.get("tags")
        return [one for one in tags if isinstance(one, str)] if isinstance(tags, list) else []


def entries_of(description: Description) -> Iterator[Entry]:
    for path, there in description.objects("paths").items():
        description.begin()
        try:
            item = description.resolve(there)
        except CannotTranslate:
            item = {"get": {}}  # its translation gives the reason
        for method, spec in item.items():
            if method in METHODS or method in NO_TOOLS:
                where = f"{method.upper()} {path[:200]}"
                yield Entry(where, method.upper(), path, item, spec if isinstance(spec, dict) else {})


@dataclass(frozen=True, slots=True)
class Rulings:
    """The operator's decisions on effects: calls that send, and calls that only read whatever their method."""

    sends: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()


def operation_of(
    description: Description,
    entry: Entry,
    servers: Servers,
    rulings: Rulings,
    headers: frozenset[str] = HEADERS,
    key_schemes: Container[str] | None = None,
) -> Operation:
    """Return the operation as a tool. ``headers``: headers that a request may set. ``key_schemes``: see `needs_of`.
    Raises `CannotTranslate`."""
    if entry.method.lower() in NO_TOOLS:
        raise CannotTranslate(f"{entry.method} cannot be a tool's method")
    description.begin()
    description.resolve(description.objects("paths").get(entry.path))
    prefix = servers.prefix(entry.item, entry.spec)
    notes: list[str] = []
    whole = body_of(description, entry.spec, notes)
    changes = entry.method in ("PUT", "PATCH")
    keys = keys_of(description)
    arguments = parameters_of(description, entry.item, entry.spec, headers, keys, whole, notes, changes)
    made = Operation(
        entry.key,
        entry.id,
        entry.method,
        path_of(prefix + entry.path, arguments),
        _summary(entry),
        tuple(sorted(arguments, key=lambda one: not one.required)),
        needs_of(description, entry.spec, key_schemes),
        _effects(entry, rulings),
        kept_part(description, entry.spec),
        KEY_HEADER in headers and has_key_header(description, entry.item, entry.spec),
        tuple(notes),
    )
    if made.kept.form == "raw" and not made.reads:
        raise CannotTranslate("it changes something and answers with a text that is not JSON")
    return made


def path_of(path: str, arguments: Sequence[Argument]) -> str:
    """Return the path with the arguments' names as placeholders. Raises `CannotTranslate` for an invalid path."""
    names = {one.wire: one.name for one in arguments if one.place == "path"}
    used = _TEMPLATE.findall(path)
    if missing := [one for one in used if one not in names]:
        raise CannotTranslate(f"its path names {missing[0][:60]!r}, which is not one of its parameters")
    if unused := names.keys() - set(used):
        raise CannotTranslate(f"its path has no place for {min(unused)[:60]!r}")
    made = _TEMPLATE.sub(lambda place: f"{{{names[place[1]]}}}", path)
    if len(made) > LONGEST_PATH:
        raise CannotTranslate(f"its path has more than {LONGEST_PATH} characters")
    try:
        address_of("https://host.test", Request("GET", made, at=dict.fromkeys(names.values(), "x")))
    except InvalidInput:
        raise CannotTranslate(
            "its path could leave the API's root, or has characters that no path of a tool has"
        ) from None
    return made


def _summary(entry: Entry) -> str:
    """Return a sentence or two: the summary, else the description, else the call itself."""
    told = (entry.spec.get("summary"), entry.spec.get("description"), snake(entry.id).replace("_", " "))
    said = next((one for text in told if any(map(str.isalpha, one := plain(text, LONGEST_TOOL)))), f"Call {entry.key}")
    return plain(said[:1].upper() + said[1:], LONGEST_TOOL)


def _effects(entry: Entry, rulings: Rulings) -> frozenset[EffectName]:
    """Return the effects of the method and of the operator's rulings. The description can only make them graver."""
    named = {entry.key, entry.id} - {""}
    told = entry.spec.get(KEY)
    effects: set[EffectName] = set()
    if entry.method == "DELETE":
        effects |= {"writes", "destructive"}
    elif entry.method != "GET" and not named & rulings.reads:
        effects.add("writes")
    if named & rulings.sends or told == "sends":
        effects |= {"writes", "sends"}
    if told == "destructive":
        effects |= {"writes", "destructive"}
    return frozenset(effects)
