"""A server that gets more connections than it has file descriptors: it logs that, and still ends."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from deputize.cli.accept_errors import rate_limit_accept_errors
from tests.support.ports import free_port


@pytest.mark.processes
def test_exhausted_descriptors_are_logged_once_and_shutdown_is_timely() -> None:
    port, few = free_port(), (24, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with ExitStack() as ends:
        server = ends.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.shutdown_child", str(port), "0"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few),
            )
        )  # fmt: skip
        ends.callback(server.kill)
        for _ in range(200):
            try:
                ends.enter_context(socket.create_connection(("127.0.0.1", port)))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        for _ in range(40):
            ends.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(2)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=30)
        assert time.monotonic() - began < 10 and server.returncode == 0
    assert said.count(b"\n") <= 3 and b"no file descriptor is left" in said, said[-2000:]


async def test_other_loop_errors_are_handled_as_before(caplog: pytest.LogCaptureFixture) -> None:
    loop, heard = asyncio.get_running_loop(), list[str]()
    rate_limit_accept_errors(loop)
    loop.call_exception_handler({"message": "something else"})
    assert "something else" in caplog.text
    loop.set_exception_handler(lambda loop, context: heard.append(context["message"]))
    rate_limit_accept_errors(loop)
    loop.call_exception_handler({"message": "once more", "exception": ValueError()})
    assert heard == ["once more"]
