"""A toolkit whose tools perform any steps a test gives them, and the answers to each step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from deputize.core import Call, Deputy, Effect, Steps, Toolkit, allow_all, any_of
from deputize.sandbox import Sandbox
from tests.support.faults import Line
from tests.support.gmail_toolkit import READ
from tests.support.sandbox_deputy import build, connect

PROBE = Toolkit("probe", provider="google", api="gmail")
_steps: list[Callable[[], Steps]] = []


@PROBE.tool(needs=[any_of(READ)])
def read(n: int = 0) -> Steps:
    """Do what the test says, reading."""
    return (yield from _steps[-1]())


@PROBE.tool(needs=[any_of(READ)], effect=Effect.WRITES, shows=False)
def write(n: int = 0) -> Steps:
    """Do what the test says, writing."""
    return (yield from _steps[-1]())


class Probe:
    """A deputy with these tools, the transport to the provider, and the answer to each step."""

    def __init__(self, deputy: Deputy, line: Line) -> None:
        self.deputy, self.line, self.sent = deputy, line, list[Any]()

    async def run(self, *steps: Any, tool: str = "read", user: str = "alice", call: Call | None = None) -> Any:
        """Act with these steps; return the answer to the last."""

        def body() -> Steps:
            for step in steps:
                self.sent.append((yield step))
            return None

        await self.script(body, tool=tool, user=user, call=call)
        return self.sent[-1]

    async def script(
        self, body: Callable[[], Steps], *, tool: str = "read", user: str = "alice", call: Call | None = None
    ) -> Any:
        """Act with this generator as the tool's body; return the act's result."""
        _steps.append(body)
        try:
            return await self.deputy.act(f"probe_{tool}", {}, user=user, call=call)
        finally:
            _steps.pop()


@asynccontextmanager
async def probing(kits: Sequence[Toolkit] = (), **more: Any) -> AsyncIterator[Probe]:
    """Build a probe over the sandbox, with Alice connected. ``kits``: more toolkits."""
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await build(sandbox, toolkits=[PROBE, *kits], transport=line, policy=allow_all, **more)
    await connect(deputy, sandbox, "readonly")
    line.seen.clear()
    line.sent.clear()
    yield Probe(deputy, line)
    await deputy.close()
