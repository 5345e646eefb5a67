"""Many concurrent acts that lack the same scope: one consent, and work that is linear in their number."""

from __future__ import annotations

import asyncio
from collections import Counter

from deputize.core import Call, ReconsentRequired
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import gmail
from tests.support.sandbox_deputy import build, connect

ACTS = 60


class FarStore(MemoryStore):
    """A store that yields to other tasks, as a server does; counts the writes of consents."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = Counter[bool]()

    async def get(self, kind: str, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return await super().get(kind, key)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        await asyncio.sleep(0)
        done = await super().swap(kind, key, old, new)
        if kind == "consent":
            self.tried[done] += 1
        return done


async def test_concurrent_acts_with_a_lost_grant_all_get_the_same_consents() -> None:
    sandbox, store = Sandbox(), FarStore()
    async with await build(sandbox, vault=await Vault.open(store, [b"k" * 32]), toolkits=[gmail]) as deputy:
        await connect(deputy, sandbox, "readonly")
        sandbox.reset()
        store.tried.clear()
        acts = (deputy.act("gmail_search", {}, user="alice", call=Call("t", f"{n}", "c")) for n in range(ACTS))
        ended = await asyncio.gather(*acts, return_exceptions=True)
        assert {one.consent.id for one in ended if isinstance(one, ReconsentRequired)} == {
            one.id for one in await deputy.pending("alice")
        }
        assert len(ended) == ACTS and store.tried == {True: ACTS}
