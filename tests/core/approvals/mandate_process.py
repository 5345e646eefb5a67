"""A process that acts under a mandate of Alice's as often as it can.

``python -m tests.core.approvals.mandate_process VAULT NAME TRIES`` says "ready", waits for a line, and says how
many acts were done.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from deputize.core import ApprovalRequired, Call
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.core.approvals.test_mandates import KIT
from tests.support.sandbox_deputy import build

KEY = b"k" * 32


async def main(place: str, name: str, tries: int) -> None:
    """Make all tries at once. The provider accepts everything."""
    vault = await Vault.open(open_store(place, create=False), [KEY], begin=False)
    line = httpx.MockTransport(lambda request: httpx.Response(200, json={"id": "m1"}))
    async with await build(vault=vault, transport=line, toolkits=[KIT]) as deputy:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def one(n: int) -> int:
            call = Call("t", name, str(n))
            try:
                await deputy.act("gmail_tell", {"people": ["bob@acme.example"]}, user="alice", call=call)
            except ApprovalRequired:
                return 0
            return 1

        print(sum(await asyncio.gather(*map(one, range(tries)))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
