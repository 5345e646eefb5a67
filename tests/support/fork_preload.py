"""Modules that every process of a long table of processes imports late, imported once by the server that forks them.

A fork server's ``set_forkserver_preload`` names this module: it imports the store's, HTTP's and LangChain's modules
that the product leaves to the first use, which is most of what such a process does otherwise.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Final

LATE: Final = (
    "anyio._backends._asyncio",
    "deputize.core.vault.stores.sqlite.store",
    "deputize.core.vault.stores.sqlite.store",
    "deputize.core.vault.stores.sqlite.backup",
    "h2.connection",
    "httpcore",
)
LATE_IN_LANGCHAIN: Final = (
    "langchain_core.messages.block_translators.langchain_v0",
    "langchain_core.tracers.context",
    "langchain_core.tracers.run_collector",
    "langchain_core.tracers.stdout",
)

for name in LATE + (LATE_IN_LANGCHAIN if "langchain_core" in sys.modules else ()):
    importlib.import_module(name)
gc.freeze()  # no process goes through what all of them share
