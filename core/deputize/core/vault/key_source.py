"""The interface of key sources: they give the root keys of a vault, and may let deputize change them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from deputize.core.errors import DeputizeError, StoreUnavailable


class KeySource(Protocol):
    """A source of root keys. deputize may call any method from any thread, and never on an event loop: it may take
    seconds.

    A source raises `SettingsError` if an operator must act, such as for a missing or malformed key, and
    `StoreUnavailable` if it may succeed later, such as for a service that is down. No message contains a key.
    """

    @property
    def name(self) -> str:
        """The name in messages: a path, a variable. Not a secret."""
        ...

    def exists(self) -> bool:
        """Return whether keys can be expected there. Reads no key."""
        ...

    def read_keys(self) -> list[bytes]:
        """Return all root keys as they are now, 32 bytes each, newest first."""
        ...


@runtime_checkable
class ChangeableKeySource(KeySource, Protocol):
    """A source whose keys deputize may change. Only the operator changes the keys of any other source.

    Every change is durable when it returns, and has changed nothing if it raises.
    """

    def make_key(self) -> list[bytes]:
        """Make the first key and return it in a list. Raises `SettingsError` if there are keys already."""
        ...

    def add_key(self) -> list[bytes]:
        """Put a new key first, and return all keys, newest first."""
        ...

    def remove_key(self, id: str) -> str:
        """Remove the older key with this id, and return the location of its copy. The caller knows whether a vault
        needs it.

        Raises `SettingsError` if there is no such key, or if it is the newest.
        """
        ...


def read_keys(source: KeySource) -> list[bytes]:
    """Return the root keys of a source. Raises only `DeputizeError`: any other exception becomes `StoreUnavailable`."""
    try:
        return source.read_keys()
    except DeputizeError:
        raise
    except Exception as error:  # its text may contain a key
        raise StoreUnavailable(
            f"The root keys cannot be read from {source.name}: {type(error).__name__}.",
            hint="Check that it is there and lets this program read. Nothing was changed.",
        ) from None
