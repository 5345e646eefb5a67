"""Delivery of anchors to a function that stores them, and a file of anchors that must belong to this account."""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from deputize.core.audit.rows import parse_row
from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.value_object import ValueObject, frozen

ANCHOR_INTERVAL_SECONDS: Final = 60.0
"""Between two anchors of a process that writes."""
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_log = logging.getLogger("deputize.core.audit")
_FIRST: Final = 4096  # bytes: longer is no anchor


def deliver_anchors(anchors: deque[str], keep: Callable[[str], None] | None) -> None:
    """Hand over the waiting anchors. An anchor that is refused is dropped, because the next one proves more rows."""
    while keep and anchors:
        try:
            keep(anchors.popleft().rstrip())
        except Exception as error:
            _log.error("An audit anchor could not be kept: %s", type(error).__name__)


@frozen
class AnchorFile(ValueObject):
    """A file of anchors, one a line. Made by `open`."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file. Creates it with mode 0600 if it is missing.

        Raises `SettingsError` unless it is a regular file of this account that nobody else may write, and is empty or
        begins with an anchor: a setting that names the wrong file must not damage it.
        """
        file = cls(path)
        os.close(file._open_descriptor())
        return file

    def __call__(self, line: str) -> None:
        """Add a line. Raises `StoreUnavailable` if the file has been replaced by an unsuitable one."""
        try:
            descriptor = self._open_descriptor()
        except SettingsError as error:
            raise StoreUnavailable(error.message, hint=error.hint) from None
        with open(descriptor, "w", encoding="ascii") as to:
            to.write(f"{line}\n")

    def _open_descriptor(self) -> int:
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
        except OSError as error:
            raise self._unfit(error.strerror or "it cannot be opened") from None
        try:
            self._check(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise self._unfit("it is not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unfit("others may write to it")
        first = os.pread(descriptor, _FIRST, 0).partition(b"\n")[0]
        row = parse_row(first + b"\n") if first else None
        if status.st_size and (row is None or row["event"] != "chain.anchor"):
            raise self._unfit("it is not a file of anchors")

    def _unfit(self, reason: str) -> SettingsError:
        return SettingsError(
            f"The file for anchors cannot be used: {reason}.", hint=f"{self.path}: name a file that does not exist yet."
        )
