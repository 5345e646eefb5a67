"""Where the rows of all writers lie: files in a folder of one machine, or a table that machines share.

A store that can hold rows beside its records offers a `AuditTable` (`deputize.core.vault.stores.protocol.StoreType`).
What reads and proves takes either: a chain is files in order, or one `TableChain`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from deputize.core.errors import VaultError


class ChainTaken(VaultError):
    """Another has written under this writer's name: nothing can follow its last durable row any more."""


class Sink(Protocol):
    """Takes the rows of one writer, in order. All but `sync` is for one thread at a time."""

    @property
    def at_once(self) -> bool:
        """Whether `add` takes microseconds; else rows leave this process by `sync` only."""
        ...

    @property
    def in_doubt(self) -> bool:
        """Whether rows may be durable of which a failed `sync` could not tell: they have to be synced as they are."""
        ...

    def turn(self) -> bool:
        """End a file that is full or gone, durably; whether there was one."""
        ...

    def append(self, data: bytes) -> None:
        """Take whole lines; or raise, then see `take_back`."""
        ...

    def add(self, data: bytes) -> bool:
        """Let whole lines outlive this process, at once; False, and none of them, where that cannot be."""
        ...

    def mark(self) -> int:
        """How much was taken; see `sync`."""
        ...

    def sync(self, mark: int) -> None:
        """Make durable what had been taken at a mark; or raise, then see `take_back`. `ChainTaken` where this never can
        be; some of it may be durable then."""
        ...

    def take_back(self) -> bool:
        """Forget what is not durable, so that it is given again; False, and nothing forgotten, where it is in doubt."""
        ...

    def ends_after(self, size: int) -> bool:
        """Whether a file ends once so many bytes more are in it."""
        ...

    def close(self) -> None:
        """Let go of what is open. Rows that come later open it again."""
        ...


class TableChain(Protocol):
    """The rows that a table has under one writer, in order of their numbers there. Nothing of it is believed."""

    def lines(self, at: int = 0) -> Iterator[tuple[int, bytes]]:
        """Lines from number ``at`` on, each with the number behind its own. Raises `StoreUnavailable`."""
        ...

    def last(self) -> bytes:
        """The last line; empty where there is none. Raises `StoreUnavailable`."""
        ...


class AuditTable(Protocol):
    """Rows of all writers of all machines. Methods wait, and raise `StoreUnavailable` or `VaultError`."""

    @property
    def address(self) -> str:
        """Where it is, as it may be shown."""
        ...

    def holds_rows(self) -> bool:
        """Whether there is any."""
        ...

    def chains(self) -> Mapping[str, TableChain]:
        """The chain of each writer."""
        ...

    def newest(self, users: Collection[str], most_bytes: int) -> tuple[list[bytes], bool]:
        """Lines that are filed under these users, newest first, and whether these are all."""
        ...

    def sink(self, writer: str) -> Sink:
        """Takes the rows of a writer of this process."""
        ...

    def take_over(self, writer: str, lines: Sequence[bytes]) -> int:
        """Add lines of a chain that lay elsewhere, each where its number says; how many were not there yet."""
        ...


Trail: TypeAlias = Path | AuditTable
"""Where the rows of all writers lie; a path: their folder."""
Part: TypeAlias = Path | TableChain
"""A file of a chain, or the whole of one in a table."""


def is_there(trail: Trail) -> bool:
    """Whether there is an audit at all. Raises `StoreUnavailable` where a table cannot be asked."""
    return trail.is_dir() if isinstance(trail, Path) else trail.holds_rows()


def shown_trail(trail: Trail) -> str:
    """Where it is, for people."""
    return str(trail) if isinstance(trail, Path) else f"the table deputize_audit in {trail.address}"


def whole_lines(data: Iterable[bytes]) -> list[bytes]:
    """Those that a crash has not cut off."""
    return [line for line in data if line.endswith(b"\n")]
