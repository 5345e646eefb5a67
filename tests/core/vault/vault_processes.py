"""Other processes that use a vault, for tests: started, told to go on, ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRELUDE = """
import asyncio, os, signal, sqlite3, sys, time
from pathlib import Path
from deputize.core.vault.stores.sqlite.store import SqliteStore

path = Path(sys.argv[1])

def say(word):
    print(word, flush=True)

def wait():
    sys.stdin.readline()

"""

LOCKING = """
db = sqlite3.connect(path, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
say("ready")
wait()
db.execute("ROLLBACK")
db.close()
"""
"""A program that holds the database's write lock until it is told to continue."""

Process = subprocess.Popen[str]


def start(body: str, path: Path, *arguments: str) -> Process:
    """Start a program with ``path``, ``say(word)`` and ``wait()`` available."""
    command = [sys.executable, "-c", _PRELUDE + body, str(path), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def heard(process: Process) -> str:
    """Return the next line of its output; empty when it has ended."""
    assert process.stdout
    return process.stdout.readline().strip()


def go_on(process: Process) -> None:
    """End its ``wait()``."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: Process) -> None:
    """Kill it if it still runs, and close its pipes."""
    process.kill()
    process.communicate(timeout=30)


@contextmanager
def running(body: str, path: Path, *arguments: str) -> Iterator[Process]:
    """Run a program that has said "ready", and end it with the block."""
    process = start(body, path, *arguments)
    try:
        assert heard(process) == "ready"
        yield process
    finally:
        end(process)
