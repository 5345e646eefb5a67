"""Parsing of untrusted bytes in a separate process, without secrets and permissions.

A compromised parser must not run in the process that holds the keys. So a `ParseFile` starts `parser_sandbox_child.py`
by its path, in isolated mode, without deputize's environment, files or sockets. The child answers with JSON of limited
length.

    parent   at most three processes, 20 seconds each, an answer of at most 8 MiB; then the process is killed
    child    limits memory, processor time, new files, new processes and the network: see
             `deputize.core.tools.parser_sandbox_child`
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast
from weakref import WeakKeyDictionary

from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput, ProviderUnavailable, RateLimited
from deputize.core.tools import parser_sandbox_child as child
from deputize.core.tools.steps import MIB, ParseFile

MAX_PROCESSES: Final = 3
"""Processes that parse at the same time."""
QUEUE_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that a call waits for a free process."""
PARSE_TIMEOUT_SECONDS: Final = 20.0
"""Maximum seconds of one process."""
MAX_ANSWER_BYTES: Final = 8 * MIB
"""Maximum bytes of an answer."""
KEPT_VARIABLES: Final = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which some Pythons do not start."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def parse_in_sandbox(step: ParseFile) -> Any:
    """Parse a file in the sandbox and return the answer. The process completes even if the caller is cancelled.

    Raises `InvalidInput` with the reason ``too_complex`` if parsing takes too much time or memory or the answer is too
    long; `RateLimited` if too many files are being parsed; `ProviderUnavailable` if no process can be started.
    """
    return await portal().hop(lambda: _run_in_turn(step))


async def _run_in_turn(step: ParseFile) -> Any:
    turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_PROCESSES))
    try:
        await asyncio.wait_for(turns.acquire(), QUEUE_TIMEOUT_SECONDS)
    except TimeoutError:
        raise RateLimited("Too many files are being read at once.", retry_after=QUEUE_TIMEOUT_SECONDS) from None
    try:
        return await asyncio.to_thread(_run, step)
    finally:
        turns.release()


def _run(step: ParseFile) -> Any:
    """Start the process, send it the question and the content, and return its answer."""
    try:
        process = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-I", str(Path(child.__file__)), step.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            cwd=os.path.abspath(os.sep),
            start_new_session=True,
        )
    except (OSError, ValueError):
        raise ProviderUnavailable("The process that parses the file could not be started.") from None
    clock = threading.Timer(PARSE_TIMEOUT_SECONDS, process.kill)
    clock.daemon = True
    clock.start()
    try:
        with process:
            said = _talk(process, step)
            process.kill()  # it has answered, or its answer is too long
    finally:
        clock.cancel()
    return _result(said)


def _talk(process: subprocess.Popen[bytes], step: ParseFile) -> bytes:
    given, said = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    question = {"path": [one for one in sys.path if os.path.isabs(one)], "question": dict(step.question)}
    _hand(given, json.dumps(question).encode() + b"\n", step.content)
    return said.read(MAX_ANSWER_BYTES + 1)


def _hand(given: IO[bytes], *pieces: bytes) -> None:
    with suppress(OSError):  # it ended before it read everything: its answer says why
        for piece in pieces:
            given.write(piece)
    with suppress(OSError):
        given.close()


def _result(said: bytes) -> Any:
    if len(said) <= MAX_ANSWER_BYTES:
        with suppress(ValueError, RecursionError):
            answer = json.loads(said)
            if isinstance(answer, dict) and "answer" in answer:
                return answer["answer"]
    raise InvalidInput(
        "The file is too large or too complex: parsing took too much time or memory.",
        reason="too_complex",
        hint="Ask for a smaller file, or for a part of it.",
    )
