"""The interface of key sources, which provide the root keys of a vault and may let deputize change them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from deputize.core.errors import DeputizeError, StoreUnavailable


class KeySource(Protocol):
    """A source of root keys. deputize may call any method from any thread, and never on an event loop, because a method
    may take seconds.

    A source raises `SettingsError` if an operator must act, for example because a key is missing or malformed, and
    `StoreUnavailable` if it may succeed later, for example because a service is down. No message contains a key.
    """

    @property
    def name(self) -> str:
        """The name in messages: a path, a variable. Not a secret."""
        ...

    def exists(self) -> bool:
        """Return whether the source is expected to have keys, without reading any."""
        ...

    def read_keys(self) -> list[bytes]:
        """Return all root keys, 32 bytes each, newest first."""
        ...


@runtime_checkable
class ChangeableKeySource(KeySource, Protocol):
    """A source whose keys deputize may change. The keys of other sources are changed by the operator only.

    Every change is durable on return. A method that raises has changed nothing.
    """

    def make_key(self) -> list[bytes]:
        """Create the first key and return it in a list. Raises `SettingsError` if there are keys already."""
        ...

    def add_key(self) -> list[bytes]:
        """Add a new key in front, and return all keys, newest first."""
        ...

    def remove_key(self, id: str) -> str:
        """Remove the older key with this id, and return the location of its copy.

        The caller has checked that no vault needs the key. Raises `SettingsError` if there is no such key, or if it is
        the newest.
        """
        ...


@runtime_checkable
class PartialKeySource(KeySource, Protocol):
    """A source that may know more keys than it can read, and that others could add keys to: see `WrappedKeys`."""

    def closed_keys(self) -> Mapping[str, DeputizeError]:
        """Return the ids of the keys that the last `read_keys` could not read, with the reasons."""
        ...

    def unproven_keys(self, trusted: Collection[str]) -> list[str]:
        """Return the ids of the keys, as last read, for which no ``trusted`` key vouches. A vault refuses them."""
        ...


class KeyList(Protocol):
    """The text that lists the wrapped root keys of a vault: a file, or a row of its database. Its methods block."""

    @property
    def name(self) -> str:
        """The name in messages."""
        ...

    @property
    def is_shared(self) -> bool:
        """True if every program of the vault reads this list, whatever machine it runs on."""
        ...

    def read(self) -> str | None:
        """Return the text, or None if there is none."""
        ...

    def replace(self, old: str | None, new: str) -> bool:
        """Replace ``old`` by ``new``, durably. Return False if the list is no longer ``old``."""
        ...


def read_keys(source: KeySource) -> list[bytes]:
    """Return the root keys of a source. Any exception except a `DeputizeError` becomes `StoreUnavailable`."""
    try:
        return source.read_keys()
    except DeputizeError:
        raise
    except Exception as error:  # its text may contain a key
        raise StoreUnavailable(
            f"The root keys cannot be read from {source.name}: {type(error).__name__}.",
            hint="Check that it is there and lets this program read. Nothing was changed.",
        ) from None
