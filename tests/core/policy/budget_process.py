"""A process that begins as many acts as a budget allows. Its arguments: the vault, a name and the number of tries."""

from __future__ import annotations

import asyncio
import sys

from deputize.core.policy.budgets import Counters
from deputize.core.policy.rules import parse_rules
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.core.policy.test_budgets import BUDGET, NOW, act, quiet_audit


async def main(place: str, name: str, tries: int) -> None:
    """Try to begin acts, and print how many were counted."""
    vault = await Vault.open(open_store(place, create=False), [b"k" * 32], begin=False)
    [budget] = parse_rules(BUDGET).budgets
    counters = Counters(vault, quiet_audit(vault), lambda: NOW, 86400.0)
    acts = [act(f"{name}-{number}") for number in range(tries)]
    begun = await asyncio.gather(*(counters.spend(counters.use_of(budget, one), one) for one in acts))
    print(sum(begun))
    await vault.close()


if __name__ == "__main__":
    sys.stdin.readline()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
