"""Child process of `deputize.core.tools.parser_sandbox`, in which one module parses untrusted bytes.

It imports nothing of deputize, so that it starts fast and holds no secrets. Before it parses, it limits itself to half
a gigabyte of memory and ten seconds of processor time, and gives up the right to write files, start processes and use
the network. Python reads no files except its modules.

    Linux      all limits; the kernel (seccomp) blocks network and processes if the machine supports it
    macOS      no limit of memory (its kernel has none); Python's audit hook blocks network and processes
    Windows    no limit of memory and processor; Python's audit hook blocks network and processes, the parent limits
    time
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
from functools import cache
from typing import Any, Final

MAX_MEMORY_BYTES: Final = 512 * 2**20
"""Bytes of address space beyond those that Python takes itself."""
MAX_CPU_SECONDS: Final = 10
"""Seconds of processor time."""
_FORBIDDEN: Final = (
    *("socket.", "subprocess.", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.startfile", "os.kill", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod"),
    *("os.chown", "os.truncate", "os.putenv", "shutil.", "ftplib.", "http.client.", "urllib.Request", "smtplib."),
    *("ctypes.", "pickle.find_class", "webbrowser.open", "winreg.", "_winapi."),
)
_WRITES: Final = frozenset("wax+")
_READ: Final = frozenset({"/proc/self/statm", "/dev/null", "/dev/urandom"})
"""Allowed files besides modules: by name, because /proc/self/root leads everywhere, and /dev/shm holds files."""


def main() -> None:
    """Read one line with the question, then the content. Write ``{"answer": ...}``, or nothing if parsing failed."""
    ask = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    sys.path += [one for one in ask["path"] if one not in sys.path]
    module = importlib.import_module(sys.argv[1])
    _limit()
    _deny_in_kernel()
    sys.addaudithook(_audit)
    try:
        answer = module.parse(ask["question"], content)
        said = json.dumps({"answer": answer}).encode()
    except (MemoryError, RecursionError):
        return  # no answer means that the file was too complex
    sys.stdout.buffer.write(said)
    sys.stdout.buffer.flush()


def _limit() -> None:
    """Set the kernel's resource limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_AS: _used_address_space() + MAX_MEMORY_BYTES,
        resource.RLIMIT_CPU: MAX_CPU_SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, most in wanted.items():
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (ValueError, OSError):  # macOS knows some by name only
            continue


def _used_address_space() -> int:
    """Return the bytes of address space in use, including mapped libraries."""
    try:
        with open("/proc/self/statm", "rb") as said:
            return int(said.read().split()[0]) * 4096
    except (OSError, ValueError, IndexError):
        return 512 * 2**20


def _audit(event: str, given: tuple[Any, ...]) -> None:
    """Audit hook (PEP 578): raise `PermissionError` for forbidden events."""
    if event == "open":
        path, mode, flags = given
        if (isinstance(mode, str) and not _WRITES.isdisjoint(mode)) or (isinstance(flags, int) and flags & 0b11):
            raise PermissionError("files cannot be written here")
        if not isinstance(path, int) and (name := os.path.abspath(os.fsdecode(path))) not in _READ:
            if not name.startswith(_roots()):
                raise PermissionError("only Python's own files can be read here")
    elif event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event}: not allowed here")


@cache
def _roots() -> tuple[str, ...]:
    """Return the folders from which Python loads modules."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path}
    return tuple(os.path.abspath(one).rstrip(os.sep) + os.sep for one in places if one)


# ----------------------------------------------------------------- seccomp


def _deny_in_kernel() -> None:
    """Block sockets, new processes and access to other processes by seccomp(2), for Python and native code.

    A blocked system call fails with EPERM. Does nothing on other kernels and machine types.
    """
    numbers = _numbers()
    if not numbers:
        return
    import ctypes

    rules = _filter(*numbers)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        program = (ctypes.c_char * len(rules)).from_buffer_copy(rules)
        head = struct.pack("@HP", len(rules) // 8, ctypes.addressof(program))
        if libc.prctl(38, 1, 0, 0, 0) == 0:  # PR_SET_NO_NEW_PRIVS
            libc.prctl(22, 2, head, 0, 0)
    except (OSError, AttributeError):
        return


def _numbers() -> tuple[int, tuple[int, ...]] | None:
    """Return the kernel's number of the machine type and the numbers of the system calls to block, or None."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    found = _REFUSED.get(os.uname().machine)
    return (found[0], found[1] + _REFUSED_EVERYWHERE) if found else None


_REFUSED_EVERYWHERE: Final = (425, 426, 427, 434, 435, 438)  # io_uring_*, pidfd_open, clone3, pidfd_getfd
_REFUSED: Final = {
    "x86_64": (
        0xC000003E,
        (
            *(41, 42, 44, 49, 50, 53),  # socket connect sendto bind listen socketpair
            *(56, 57, 58, 59, 322),  # clone fork vfork execve execveat
            *(62, 234, 101, 310, 311),  # kill tgkill ptrace process_vm_readv process_vm_writev
            *(76, 77, 82, 83, 84, 86, 87, 88),  # truncate ftruncate rename mkdir rmdir link unlink symlink
            *(258, 263, 264, 265, 266, 316),  # mkdirat unlinkat renameat linkat symlinkat renameat2
            *(90, 91, 92, 93, 268, 165, 272, 308),  # chmod fchmod chown fchown fchmodat mount unshare setns
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(198, 203, 206, 200, 201, 199),  # as above, as far as it has them
            *(220, 221, 281),
            *(129, 131, 117, 270, 271),
            *(45, 46, 34, 35, 38, 37, 36, 276),
            *(52, 53, 54, 55, 40, 97, 268),
        ),
    ),
}


def _filter(machine: int, refused: tuple[int, ...]) -> bytes:
    """Return a BPF program that refuses the listed calls and calls of another machine type, and allows all others."""

    def rule(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    load, equal, least, end = 0x20, 0x15, 0x35, 0x06
    allow, fail = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
    lines = [rule(load, 0, 0, 4), rule(equal, 1, 0, machine), rule(end, 0, 0, fail), rule(load, 0, 0, 0)]
    left = len(refused) + 1
    lines.append(rule(least, left, 0, 0x40000000))  # another way to number the same calls (x32)
    left -= 1
    for number in refused:
        lines.append(rule(equal, left, 0, number))
        left -= 1
    return b"".join([*lines, rule(end, 0, 0, allow), rule(end, 0, 0, fail)])


if __name__ == "__main__":
    main()
