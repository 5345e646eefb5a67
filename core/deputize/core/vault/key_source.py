"""What a key source is: it gives the root keys of a vault, and may let deputize change them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from deputize.core.errors import DeputizeError, StoreUnavailable


class KeySource(Protocol):
    """Gives root keys. deputize may call any method from any thread, and never on an event loop: it may take seconds.

    A source raises `SettingsError` if an operator must act, such as for a missing or malformed key, and
    `StoreUnavailable` if it may succeed later, such as for a service that is down. No message holds a key.
    """

    @property
    def name(self) -> str:
        """What messages call it: a path, a variable. Not a secret."""
        ...

    def exists(self) -> bool:
        """Whether keys can be expected there. Reads no key."""
        ...

    def read_keys(self) -> list[bytes]:
        """All root keys as they are now, 32 bytes each, newest first."""
        ...


@runtime_checkable
class ChangeableKeySource(KeySource, Protocol):
    """A source whose keys deputize may change. Of any other source, only the operator changes the keys.

    Every change is durable when it returns, and has changed nothing if it raises.
    """

    def make_key(self) -> list[bytes]:
        """Make the first key; the list with it alone. Raises `SettingsError` if there are keys already."""
        ...

    def add_key(self) -> list[bytes]:
        """Put a new key in front; all keys, newest first."""
        ...

    def remove_key(self, id: str) -> str:
        """Remove the older key with this id; where a copy of it lies. The caller knows whether a vault needs it.

        Raises `SettingsError` if there is no such key, or if it is the newest.
        """
        ...


def read_keys(source: KeySource) -> list[bytes]:
    """The root keys of a source. Raises `SettingsError` or `StoreUnavailable`, whatever the source raises."""
    try:
        return source.read_keys()
    except DeputizeError:
        raise
    except Exception as error:  # without its words, which may hold a key
        raise StoreUnavailable(
            f"The root keys cannot be read from {source.name}: {type(error).__name__}.",
            hint="Check that it is there and lets this program read. Nothing was changed.",
        ) from None
