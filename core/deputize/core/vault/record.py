"""Decrypted records of the vault, typed records, and the list of record kinds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, field, fields
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, get_args, get_origin, get_type_hints

from deputize.core.errors import VaultError
from deputize.core.value_object import Frozen, ValueObject, frozen
from deputize.core.vault.data_key import DataKey
from deputize.core.vault.encoding import decode
from deputize.core.vault.grant import SecretBytes

EXPIRING = (
    *("consent", "asked", "ticket", "state", "approval", "act", "browser", "mandate", "outside", "call", "session"),
    *("obtaining", "session_names", "logged_out", "erased", "contacts", "budget", "roles", "role_approval"),
    *("chat_card", "chat_link", "assertion"),
)
"""Kinds of records that are swept once their ``expires`` (Unix seconds) has passed, if they have one."""
LASTING: Final = (
    *("meta", "grant", "intent", "received", "outbox", "chosen", "file", "filepart", "person", "zone", "mcp_pins"),
    *("shipped", "offboarding", "scim_user", "scim_name", "data_key"),
)
KINDS = (*LASTING, *EXPIRING)
"""All kinds of records. Other kinds are refused, because a key rotation would leave them behind."""
OF_TENANTS: Final = frozenset(
    {
        *("grant", "received", "chosen", "file", "filepart", "person", "zone", "offboarding", "scim_user"),
        *("consent", "approval", "act", "mandate", "outside", "call", "session", "contacts", "budget", "roles"),
        *("chat_link", "assertion"),
    }
)
"""Kinds of records that the tenant's data key encrypts. The other kinds hold no data of a user, except queued
revocations, which must outlive the tenant."""
PAGE: Final = 100
"""Records to open between two turns of the event loop: about two milliseconds."""
FIRST: Final = ("meta", "vault")
"""Kind and key of the first record, which holds the vault's own keys."""

MARK: Final = 16

Content: TypeAlias = SecretBytes | bytes | dict[str, Any]
"""The content of a record: JSON, which may contain `Secret` values, or bytes."""


@frozen
class Record(Frozen):
    """One decrypted record, with its encrypted bytes, which a swap compares with the stored ones. ``data_key``: the key
    of its tenant, if that encrypted it."""

    kind: str
    key: str
    generation: int
    plain: SecretBytes = field(repr=False)
    sealed: bytes = field(repr=False)
    data_key: DataKey | None = field(default=None, repr=False)
    _content: dict[str, Any] | None = field(default=None, init=False, repr=False)

    @property
    def json(self) -> dict[str, Any]:
        """The content as JSON, for records with JSON content; `encoding` lists the fields that are never printed. It is
        decoded once, so its nested values must not be changed."""
        content = self._content
        if content is None:
            content = decode(self.kind, self.plain)
            object.__setattr__(self, "_content", content)
        return {**content}

    @property
    def mark(self) -> bytes:
        """Bytes that identify this version of the record: see `mark_of`."""
        return mark_of(self.sealed)


def mark_of(sealed: bytes) -> bytes:
    """Return the AES-GCM tag of a record: 16 bytes that identify this version of it."""
    return sealed[-MARK:]


class StoredRecord(ValueObject):
    """A record of one kind with typed fields. A subclass declares the fields by their names in the JSON, each with a
    default if older versions did not write it, and the fields ``more`` and ``row``. It has no slots, because copying a
    dict is faster.

    ``more``: fields that only a newer version knows, and that a save preserves. ``row``: the encrypted record that was
    read, and that a save compares with the stored one; None before the first save.
    """

    KIND: ClassVar[str]
    more: Mapping[str, Any]
    row: Record | None

    @classmethod
    def of(cls, row: Record) -> Self:
        """Return the typed record. Raises `VaultError` if a field is missing or has a value of another type."""
        kind: Any = cls
        content = cls.upgrade(row.json)
        try:
            facts = take_fields(kind, content)
        except ValueError as e:
            raise VaultError(
                f"A record of the kind {row.kind!r} in the vault has a form this version does not know: {e}.",
                hint="Run the newest version of deputize in every process that opens this vault.",
            ) from None
        made = object.__new__(cls)
        object.__setattr__(made, "__dict__", {**_stored_fields(kind).defaults, **facts, "more": content, "row": row})
        return made

    @classmethod
    def read_all(cls, rows: Iterable[Record]) -> Iterator[Self]:
        """Yield these records as typed ones, except those in a form that this version does not know."""
        for row in rows:
            with suppress(VaultError):
                yield cls.of(row)

    @staticmethod
    def upgrade(content: dict[str, Any]) -> dict[str, Any]:
        """Return the content with fields that older versions omitted and that no default can provide."""
        return content

    def pack(self) -> dict[str, Any]:
        """Return the content as JSON for the vault."""
        kind: Any = type(self)
        return self.pack_fields(_stored_fields(kind).defaults)

    def pack_fields(self, always: Collection[str]) -> dict[str, Any]:
        """Return as JSON the fields that differ from their defaults, and the fields in ``always``."""
        kind: Any = type(self)
        values, found = vars(self), {**self.more}
        for name, default in _stored_fields(kind).defaults.items():
            value = values[name]
            if (value is not default and value != default) or name in always:
                found[name] = value
        return found

    def copy_with(self, **values: Any) -> Self:
        """Return a copy with these values, like `dataclasses.replace` in a tenth of its time."""
        made, before = object.__new__(type(self)), vars(self)
        if not values.keys() <= before.keys():
            raise TypeError(f"A record of the kind {self.KIND!r} has no {', '.join(values.keys() - before)}.")
        object.__setattr__(made, "__dict__", before | values)
        return made

    @property
    def place(self) -> Record:
        """The encrypted record that was read. Raises `RuntimeError` if the record was not read from a vault."""
        if self.row is None:
            raise RuntimeError(f"This {self.KIND} record was not read from a vault.")
        return self.row


def take_fields(kind: Any, content: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of a class's fields from JSON and return them. None counts as missing. Raises `ValueError`."""
    stored, facts, name = _stored_fields(kind), dict[str, Any](), ""
    try:
        for name, reader in stored.readers:
            if (value := content.pop(name, None)) is not None:
                facts[name] = _value(reader, value)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"the value of its field {name!r}") from None
    if not facts.keys() >= stored.required:
        raise ValueError(f"it has no {', '.join(sorted(stored.required - facts.keys()))}")
    return facts


Reader: TypeAlias = tuple[tuple[type, ...], Callable[[Any], Any] | None]
"""The types that a value may have in JSON, and its conversion from JSON."""


class _StoredFields:
    """The fields of a class that its JSON contains."""

    def __init__(self, kind: Any) -> None:
        hints, own = get_type_hints(kind), [one for one in fields(kind) if one.name not in ("more", "row")]
        self.readers = [(one.name, _reader(hints[one.name])) for one in own]
        self.defaults = {
            one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in own
        }
        self.required = {name for name, value in self.defaults.items() if value is MISSING}


_stored_fields: Final = cache(_StoredFields)


def _reader(hint: Any) -> Reader:
    """Return the JSON reader for a type hint."""
    kind, args = get_origin(hint) or hint, get_args(hint)
    if NoneType in args:
        return _reader(args[0])
    if kind is Any:
        return (dict, list, str, int, float, bool, NoneType), None
    if kind is Literal:
        return (str,), dict(zip(args, args, strict=True)).__getitem__
    if kind in (tuple, frozenset):
        item = _reader(args[0])
        return (list,), lambda value: kind(_value(item, one) for one in value)
    if issubclass(kind, Mapping):
        item = _reader(args[1])
        return (dict,), None if args[1] is Any else lambda value: {key: _value(item, one) for key, one in value.items()}
    if issubclass(kind, Enum):
        return (str, int), {one.value: one for one in kind}.__getitem__
    if issubclass(kind, Frozen):
        return (dict, str), getattr(kind, "unpack", None) or (lambda value: kind(**take_fields(kind, {**value})))
    return (float, int) if kind is float else (kind,), None


def _value(reader: Reader, value: Any) -> Any:
    types, convert = reader
    if type(value) not in types:
        raise TypeError
    return convert(value) if convert else value
