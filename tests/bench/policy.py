"""What a policy file of ten rules costs on a governed read: ``python -m tests.bench.policy``."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from deputize.core import policy_file
from deputize.core.http import FastTransport
from tests.bench.__main__ import Work, cpu, deputy, server

EXAMPLE = Path(__file__).parents[2] / "examples" / "policy" / "policy.toml"


TURNS, CALLS = int(os.environ.get("BENCH_BLOCKS", "14")) * 20, 32


async def costs(works: Sequence[Work], concurrency: int) -> list[float]:
    """CPU seconds a call of each work: the lowest twentieth of many short blocks, in turns. Other programs on the
    machine only make a block dearer, so that this repeats within two percent where medians do not."""

    async def some() -> None:
        for _ in range(CALLS // concurrency):
            await work()

    found: list[list[float]] = [[] for _ in works]
    for turn in range(-10, TURNS):
        gc.collect(0)
        for step in range(len(works)):
            work = works[at := (turn + step) % len(works)]
            before = cpu()
            await asyncio.gather(*(some() for _ in range(concurrency)))
            if turn >= 0:
                found[at].append((cpu() - before) / CALLS)
    return [sorted(one)[len(one) // 20] for one in found]


async def reads() -> None:
    """A governed read under the example's ten rules, over one under the default policy. One rule asks which account
    acts, so the rules are asked twice. ``noise``: the default policy over itself."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder, "policy.toml")
        path.write_text(EXAMPLE.read_text().replace('["acme.example"] } }', '["example.test"] } }'))
        path.chmod(0o600)
        base = await stack.enter_async_context(server())
        policies: list[dict[str, Any]] = [{}, {"policy": policy_file(path)}, {}]
        made = [await stack.enter_async_context(deputy(base, FastTransport, **more)) for more in policies]

        def read(one: Any) -> Work:
            return lambda: one.act("gmail_list_emails", {"query": "from:bob"}, user="alice")

        gc.disable()
        for concurrency in (1, 32):
            plain, ruled, again = await costs([read(one) for one in made], concurrency)
            figure = "read under ten rules of a file over the default policy"
            told = {"figure": figure, "ratio": round(ruled / plain, 3), "noise": round(again / plain, 3), "goal": 1.05}
            print(json.dumps(told | {"concurrency": concurrency}), flush=True)


if __name__ == "__main__":
    asyncio.run(reads())
