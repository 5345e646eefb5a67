"""Modules and names as they were called until 0.1: still found, with a `DeprecationWarning`, for one release.

An old module is the new one itself, so that classes are the same under both names. Nothing here is asked before all
other ways to find a module have failed, so what is imported by its own name costs nothing.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

MODULES: Final = {
    "deputize.adapters.delivery": "deputize.adapters.llamaindex.deliveries",
    "deputize.adapters.direct": "deputize.adapters.langgraph.fast_path",
    "deputize.adapters.human_in_the_loop": "deputize.adapters.langgraph.human_in_the_loop",
    "deputize.adapters.words": "deputize.adapters.tool_messages",
    "deputize.core.act.answers": "deputize.core.act.results",
    "deputize.core.act.asking": "deputize.core.act.missing_scopes",
    "deputize.core.act.outgoing": "deputize.core.act.build_request",
    "deputize.core.act.public": "deputize.core.act.unauthenticated",
    "deputize.core.act.send": "deputize.core.act.sender",
    "deputize.core.asks": "deputize.core.pending",
    "deputize.core.audit.closing": "deputize.core.audit.key_rotation",
    "deputize.core.failures.answers": "deputize.core.failures.parse",
    "deputize.core.failures.judging": "deputize.core.failures.classify",
    "deputize.core.failures.tables": "deputize.core.failures.rules",
    "deputize.core.failures.vocabulary": "deputize.core.failures.outcome",
    "deputize.core.failures.waits": "deputize.core.failures.retry_after",
    "deputize.core.oauth.accounts": "deputize.core.grants.accounts",
    "deputize.core.oauth.consent": "deputize.core.consent.consents",
    "deputize.core.oauth.device": "deputize.core.consent.device",
    "deputize.core.oauth.issuers": "deputize.core.oauth.metadata_cache",
    "deputize.core.oauth.outbox": "deputize.core.grants.revocation_queue",
    "deputize.core.oauth.providers": "deputize.core.providers",
    "deputize.core.oauth.records": "deputize.core.consent.record",
    "deputize.core.oauth.refresh": "deputize.core.grants.refresh",
    "deputize.core.oauth.revoke": "deputize.core.grants.revoke",
    "deputize.core.oauth.visit": "deputize.core.consent.browser",
    "deputize.core.vault.housekeys": "deputize.core.vault.vault_keys",
    "deputize.core.vault.keys": "deputize.core.vault.root_keys",
    "deputize.core.vault.private": "deputize.core.vault.private_files",
    "deputize.core.vault.restored": "deputize.core.vault.restore",
    "deputize.core.vault.stores.base": "deputize.core.vault.stores.protocol",
    "deputize.core.vault.stores.owner": "deputize.core.vault.stores.writer_thread",
    "deputize.core.vault.stores.reader": "deputize.core.vault.stores.sqlite_reader",
    "deputize.core.vault.stores.vaultfile": "deputize.core.vault.stores.sqlite_file",
    "deputize.core.vault.told": "deputize.core.vault.rollback",
    "deputize.core.web.browser": "deputize.core.web.verifier",
    "deputize.core.web.consenting": "deputize.core.web.pages.consent",
    "deputize.core.web.links": "deputize.core.web.local_links",
    "deputize.core.web.local": "deputize.core.web.local_pages",
    "deputize.core.web.loopback": "deputize.core.web.local_server",
    "deputize.core.web.own": "deputize.core.web.pages.account",
    "deputize.core.web.proof": "deputize.core.web.signing",
    "deputize.core.web.shown": "deputize.core.web.rendering",
    "deputize.core.web.words": "deputize.core.web.texts",
    "deputize.sandbox.desk": "deputize.sandbox.authorize_page",
    "deputize.sandbox.giving": "deputize.sandbox.grants",
    "deputize.sandbox.minting": "deputize.sandbox.issue_tokens",
    "deputize.sandbox.wire": "deputize.sandbox.http_types",
}
"""Old module, new module."""

NAMES: Final = {
    "deputize.core.failures": {"HICCUP": "SERVER_ERROR", "Seen": "RefusedAnswer", "say": "outcome_of"},
}
"""In these modules: old name, new name."""


class _Loader:
    def __init__(self, new: str) -> None:
        self.new = new
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its new name."""
        text = f"{spec.name} is called {self.new} now; the old name goes with the next release."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        module = importlib.import_module(self.new)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; the import system has put the old name into it."""
        module.__spec__ = self.spec


class _Finder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where an old name leads; None for every other."""
        new = MODULES.get(name)
        loader: Any = _Loader(new) if new else None  # as `importlib.abc.Loader`, whose module is slow to import
        return ModuleSpec(name, loader) if new else None


def install() -> None:
    """Let old names be found. Safe to call twice."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def renamed(module: str, name: str) -> Any:
    """What a name of this module is called now, with a warning. Raises `AttributeError` for one that never was."""
    new = NAMES[module].get(name)
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is called {new} now.", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[module], new)
