"""Storage of the rows of all writers: files in a folder of one machine, or a table that machines share.

A store that can hold rows beside its records offers an `AuditTable` (`deputize.core.vault.stores.protocol.StoreType`).
Readers and `verify` accept either: a chain is files in order, or one `TableChain`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from deputize.core.errors import VaultError


class ChainTaken(VaultError):
    """Error for a chain to which another program has written: this process can add no more rows to it."""


class Sink(Protocol):
    """Stores the rows of one writer, in order. All methods except `sync` are for one thread at a time."""

    @property
    def at_once(self) -> bool:
        """True if `add` takes microseconds. Otherwise only `sync` stores rows outside this process."""
        ...

    @property
    def in_doubt(self) -> bool:
        """True if a failed `sync` may have stored rows, so that the same rows must be synced again."""
        ...

    def turn(self) -> bool:
        """End a file that is full or missing, durably. Return whether a file was ended."""
        ...

    def append(self, data: bytes) -> None:
        """Store whole lines. After an exception call `take_back`."""
        ...

    def add(self, data: bytes) -> bool:
        """Make whole lines outlive this process at once, or return False and store none."""
        ...

    def mark(self) -> int:
        """Return the amount of data stored so far, as the argument of `sync`."""
        ...

    def sync(self, mark: int) -> None:
        """Make all lines up to a mark durable. After an exception call `take_back`. Raises `ChainTaken` if that can
        never succeed; some lines may be durable then."""
        ...

    def take_back(self) -> bool:
        """Forget lines that are not durable; the caller passes them again. Return False, forgetting nothing, if in
        doubt."""
        ...

    def ends_after(self, size: int) -> bool:
        """Return whether ``size`` more bytes fill the file."""
        ...

    def close(self) -> None:
        """Close open files. Later rows open them again."""
        ...


class TableChain(Protocol):
    """The rows of one writer in a table, ordered by number. Not verified."""

    def lines(self, at: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield lines from number ``at`` on, each with the next number. Raises `StoreUnavailable`."""
        ...

    def last(self) -> bytes:
        """Return the last line, or empty bytes. Raises `StoreUnavailable`."""
        ...


class AuditTable(Protocol):
    """The rows of all writers of all machines. Methods block, and raise `StoreUnavailable` or `VaultError`."""

    @property
    def address(self) -> str:
        """The address, safe to display."""
        ...

    def holds_rows(self) -> bool:
        """Return whether the table has any row."""
        ...

    def chains(self) -> Mapping[str, TableChain]:
        """Return the chain of each writer."""
        ...

    def ends(self) -> Mapping[str, int]:
        """Return the number of the last row of each chain."""
        ...

    def newest(self, users: Collection[str], most_bytes: int) -> tuple[list[bytes], bool]:
        """Return lines of these users, newest first, and whether they are all."""
        ...

    def sink(self, writer: str) -> Sink:
        """Return the sink for a writer of this process."""
        ...

    def take_over(self, writer: str, lines: Sequence[bytes]) -> int:
        """Add lines of a chain from elsewhere, under their own numbers. Return the number of added lines."""
        ...


Trail: TypeAlias = Path | AuditTable
"""Storage of the rows of all writers; a path is their folder."""
Part: TypeAlias = Path | TableChain
"""A file of a chain, or a whole chain in a table."""


def is_there(trail: Trail) -> bool:
    """Return whether there is an audit. Raises `StoreUnavailable` if a table cannot be read."""
    return trail.is_dir() if isinstance(trail, Path) else trail.holds_rows()


def shown_trail(trail: Trail) -> str:
    """Return the location of the trail as text for people."""
    return str(trail) if isinstance(trail, Path) else f"the table deputize_audit in {trail.address}"


def whole_lines(data: Iterable[bytes]) -> list[bytes]:
    """Return the complete lines, without one that a crash cut off."""
    return [line for line in data if line.endswith(b"\n")]
