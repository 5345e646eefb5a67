"""Code that all stores share: the place of a record, binary values, and waiting for a lock."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

from deputize.core.errors import InvalidInput

_WORD = re.compile(r"[a-z0-9._-]{1,255}")
_AFTER_ALL = "\x7f"  # sorts after every character of a key


@lru_cache(maxsize=4096)
def place(kind: str, key: str) -> str:
    """Return the text under which a record is stored. Raises `InvalidInput` for an invalid kind or key."""
    if not _WORD.fullmatch(kind) or not _WORD.fullmatch(key):
        raise InvalidInput(
            "Kind and key of a record are 1 to 255 characters of a-z, 0-9, dot, underscore, dash.", fix_by="operator"
        )
    return f"{kind}/{key}"


def kind_at(key: object) -> str:
    """Return the kind of the record at a place."""
    return str(key).partition("/")[0]


def span(kind: str, prefix: str, after: str = "") -> tuple[str, str]:
    """Return the first place and the end of the records with this key prefix and a key after ``after``."""
    begin = place(kind, prefix) if prefix else place(kind, "-").removesuffix("-")
    following = place(kind, after) + "\0" if after else ""  # the next possible key
    return max(begin, following), begin + _AFTER_ALL


def opaque(value: bytes) -> bytes:
    """Return the value if it is bytes. Raises `InvalidInput` for others."""
    if not isinstance(value, bytes):
        raise InvalidInput("A store keeps bytes only.", fix_by="operator")
    return value


class Names:
    """Names held in this process, each by one holder at a time, across tasks, threads and event loops."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._guard = threading.Lock()

    def take(self, name: str) -> bool:
        """Take the name without waiting. Return whether it was free."""
        with self._guard:
            if name in self._taken:
                return False
            self._taken.add(name)
            return True

    def release(self, name: str) -> None:
        """Release a name taken by `take`."""
        with self._guard:
            self._taken.remove(name)


async def wait_until(taken: Callable[[], Awaitable[bool]], timeout: float) -> None:
    """Call ``taken`` again until it returns True. Raises `TimeoutError` after ``timeout`` seconds. A cancelled call
    holds no lock."""
    deadline = time.monotonic() + timeout
    while not await taken():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("The lock was not free in time.")
        await asyncio.sleep(min(left, random.uniform(0.005, 0.02)))  # noqa: S311
