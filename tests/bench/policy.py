"""What a policy file of ten rules costs on a governed read: ``python -m tests.bench.policy``."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from deputize.core import policy_file
from deputize.core.http import FastTransport
from tests.bench.__main__ import Work, deputy, paired, say, server

EXAMPLE = Path(__file__).parents[2] / "examples" / "policy" / "policy.toml"


async def reads() -> None:
    """A governed read under the example's ten rules, over one under the default policy. One rule asks which account
    acts, so the rules are asked twice."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder, "policy.toml")
        path.write_text(EXAMPLE.read_text().replace('["acme.example"] } }', '["example.test"] } }'))
        path.chmod(0o600)
        base = await stack.enter_async_context(server())
        plain = await stack.enter_async_context(deputy(base, FastTransport))
        ruled = await stack.enter_async_context(deputy(base, FastTransport, policy=policy_file(path)))

        def read(one: Any) -> Work:
            return lambda: one.act("gmail_list_emails", {"query": "from:bob"}, user="alice")

        for concurrency in (1, 32):
            ratios = await paired([read(plain), read(ruled)], concurrency)
            say("read under ten rules of a file over the default policy", ratios[1], 1.05, concurrency=concurrency)


if __name__ == "__main__":
    asyncio.run(reads())
