"""Untrusted files are parsed in a process that holds no secrets, has no rights, and ends."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from deputize.core import InvalidInput, ParseFile, ProviderUnavailable, RateLimited
from deputize.core.tools import parser_sandbox as parsing
from deputize.core.tools.parser_sandbox import parse_in_sandbox
from deputize.core.tools.parser_sandbox_child import _audit

PROBE = "tests.support.parse_probe"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of it")


def asked(do: str, content: bytes = b"", **more: Any) -> ParseFile:
    """Return a request to do this in the parser process."""
    return ParseFile(PROBE, {"do": do, **more}, content)


async def test_parser_gets_only_the_question_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_KEYS", "a root key")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    kept_open = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(kept_open, True)
    try:
        told = await parse_in_sandbox(asked("tell", b"x" * 3_000_000, words="é \ud800"))
    finally:
        os.close(kept_open)
    assert told["size"] == 3_000_000 and told["question"]["words"] == "é \ud800"
    assert (
        set(told["environment"]) <= {"LC_CTYPE", *parsing.KEPT_VARIABLES}
        and told["ours"] == []
        and told["folder"] == "/"
    )
    assert set(told["files"]) <= {"0", "1", "2", "3"}  # the last is the list of them itself


@pytest.mark.parametrize(
    "do",
    [
        "import socket; socket.socket()",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('example.test', 80)",
        "import subprocess; subprocess.run(['true'])",
        "os.fork()",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.kill(1, 0)",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
async def test_parser_reaches_no_network_or_process(do: str) -> None:
    assert await parse_in_sandbox(asked(do)) == "PermissionError"


@pytest.mark.parametrize("do", ["open({0!r}, 'w')", "os.remove({0!r})", "os.rename({0!r}, {0!r})", "os.open({0!r}, 1)"])
async def test_parser_cannot_change_files(do: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"kept")
    assert await parse_in_sandbox(asked(do.format(str(there)))) == "PermissionError"
    assert there.read_bytes() == b"kept"


@LINUX
def test_opening_a_python_file_for_writing_is_refused_without_flags() -> None:
    for name in (os.__file__, "/dev/null", "/dev/urandom"):
        _audit("open", (name, "rb", 0))
    with pytest.raises(PermissionError, match="cannot be written"):
        _audit("open", (os.__file__, "wb", 0))


@pytest.mark.parametrize(
    "do",
    [
        "open({0!r})",
        "open({0!r}, 'rb')",
        "os.open({0!r}, 0)",
        "open('/etc/passwd')",
        "open('/proc/self/root/etc/passwd')",
        "open('/proc/self/cwd/pyproject.toml')",
        "open('/proc/self/environ')",
        "open('/dev/shm/key')",
    ],
)
async def test_parser_reads_only_its_modules(do: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("elsewhere") / "key"
    there.write_bytes(b"a key")
    assert await parse_in_sandbox(asked(do.format(str(there)))) == "PermissionError"
    assert await parse_in_sandbox(asked("import colorsys, wave, json.tool")) == "done"


@LINUX
@pytest.mark.parametrize("do", ["socket.socket()", "os.fork()", "os.execv('/bin/true', ['true'])", "os.kill(0, 0)"])
def test_kernel_refuses_what_python_does_not_check(do: str) -> None:
    code = (
        "import os, socket\nfrom deputize.core.tools.parser_sandbox_child import _deny_in_kernel\n_deny_in_kernel()\n"
        f"try:\n    {do}\nexcept PermissionError:\n    print('refused')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "refused\n"


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the numbers of this machine type"
)
def test_kernel_refuses_each_listed_system_call_of_the_parser() -> None:
    numbers = (
        *(41, 42, 44, 49, 50, 53),  # socket connect sendto bind listen socketpair
        *(56, 57, 58, 59, 322, 435),  # clone fork vfork execve execveat clone3
        *(62, 234, 101, 310, 311, 434, 438),  # kill tgkill ptrace process_vm_readv process_vm_writev pidfd_open _getfd
        *(76, 77, 82, 83, 84, 86, 87, 88),  # truncate ftruncate rename mkdir rmdir link unlink symlink
        *(258, 263, 264, 265, 266, 316),  # mkdirat unlinkat renameat linkat symlinkat renameat2
        *(90, 91, 92, 93, 268, 165, 272, 308),  # chmod fchmod chown fchown fchmodat mount unshare setns
        *(425, 426, 427),  # io_uring_setup io_uring_enter io_uring_register
    )
    code = (
        "import ctypes, errno\nfrom deputize.core.tools.parser_sandbox_child import _deny_in_kernel\n"
        "_deny_in_kernel()\ncall = ctypes.CDLL(None, use_errno=True).syscall\n"
        f"print([one for one in {(39, *numbers)} if call(one, *[-1] * 6) != -1 or ctypes.get_errno() != errno.EPERM])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[39]\n"  # getpid


@pytest.mark.parametrize("do", ["memory", "end", "raise", "nest"])
async def test_parser_without_an_answer_is_an_error_without_the_content(do: str) -> None:
    with pytest.raises(InvalidInput) as e:
        await parse_in_sandbox(asked(do, b"a secret of the file"))
    assert e.value.reason == "too_complex" and "secret" not in f"{e.value} {e.value.hint}"


@pytest.mark.processes
async def test_parser_has_ten_seconds_of_cpu() -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidInput):
        await parse_in_sandbox(asked("loop"))
    assert time.monotonic() - begun < parsing.PARSE_TIMEOUT_SECONDS + 5


@pytest.mark.processes
async def test_parser_has_a_wall_clock_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "PARSE_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(InvalidInput):
        await parse_in_sandbox(asked("sleep", seconds=60))


async def test_parser_answer_length_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_ANSWER_BYTES", 5_000)
    assert len(await parse_in_sandbox(asked("talk", size=4_000))) == 4_000
    with pytest.raises(InvalidInput):
        await parse_in_sandbox(asked("talk", size=5_000_000))


@pytest.mark.processes
async def test_concurrent_parsers_are_limited_and_the_loop_keeps_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "QUEUE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(parsing, "MAX_PROCESSES", 1)
    monkeypatch.setattr(parsing, "_turns", WeakKeyDictionary())
    reads = [asyncio.create_task(parse_in_sandbox(asked("sleep", seconds=2))) for _ in range(2)]
    ticks = 0
    while not all(one.done() for one in reads):
        await asyncio.sleep(0.02)
        ticks += 1
    ended = await asyncio.gather(*reads, return_exceptions=True)
    assert ticks > 30 and ended.count("slept") == 1
    assert [type(one) for one in ended if one != "slept"] == [RateLimited]


async def test_parser_that_cannot_start_is_provider_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ProviderUnavailable):
        await parse_in_sandbox(asked("tell"))
