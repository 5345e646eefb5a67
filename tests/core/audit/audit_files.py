"""What the audit's tests share: keys, a disk that can fail, and short words for folders, files and rows."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize.core.audit import Audit, Report
from deputize.core.audit.sinks import Memory

KEY, OLD, OLDER = b"k" * 32, b"o" * 32, b"p" * 32
CANARY = "canary-token-alice"
Make = Callable[..., Audit]


class Disk:
    """The disk under the audit's files, which can be slowed, counted, filled and broken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.room: int | None = None  # bytes until it is full
        self.sync_fails = False
        self.open = threading.Event()
        self.open.set()
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, fd: int, data: bytes) -> int:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return self._write(fd, data)
        assert self.open.wait(10)
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(fd, data[: self.room])
        self.room -= done
        return done

    def fsync(self, fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            self.syncs += 1
            if self.sync_fails:
                raise OSError(errno.EIO, "Input/output error")
        self._fsync(fd)


def files(folder: Path) -> list[Path]:
    """Return the files, oldest first, for a writer with few files."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: int(path.stem.rpartition(".")[2]))


def lines(folder: Path) -> list[bytes]:
    return [line for path in files(folder) for line in path.read_bytes().splitlines(keepends=True)]


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def write(audit: Audit, count: int, **facts: Any) -> None:
    for n in range(count):
        audit._append("token.refreshed", n=n, **facts)


def run(code: str, *arguments: object, complaints: str = "") -> str:
    """Return the output of another Python process, if it has no other errors than this."""
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(code)]
    done = subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60)
    assert complaints in done.stderr and bool(complaints) == bool(done.stderr)
    return done.stdout


def imitate(key: bytes, writer: str, prev: str, seq: int, count: int, **facts: Any) -> list[bytes]:
    """Add rows to a writer's chain, as an attacker with the key."""
    audit = Audit(None, key)
    audit.writer, audit._prev, audit._seq = writer, prev, seq
    write(audit, count, **facts)
    assert isinstance(audit._sink, Memory)
    return list(audit._sink.lines)
