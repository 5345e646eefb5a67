"""Stores of encrypted records. The scheme of a vault's address names the type of its store.

memory:                      as long as the process
sqlite:///absolute/path      a file; a plain path means the same
postgresql://role@host/name  a database, for more than one machine; postgres:// means the same
acme://anything              the store type that another package has registered as ``acme`` under ``deputize.stores``
"""

from __future__ import annotations

import re
from typing import Final

from deputize.core.errors import SettingsError, instead
from deputize.core.plugins import Plugins
from deputize.core.vault.stores.protocol import (
    Backup,
    Batches,
    FailsOver,
    HeldLock,
    Inspects,
    Keep,
    RecordRead,
    RecordWrite,
    Store,
    StoreType,
    Tails,
    Unshared,
    Watch,
    Watches,
)

__all__ = [
    "PLUGINS",
    "Backup",
    "Batches",
    "FailsOver",
    "HeldLock",
    "Inspects",
    "Keep",
    "RecordRead",
    "RecordWrite",
    "Store",
    "StoreType",
    "Tails",
    "Unshared",
    "Watch",
    "Watches",
    "open_store",
    "shown_url",
    "store_type",
]

BUILT_IN: Final = ("memory", "sqlite", "postgres", "postgresql")
PLUGINS: Final = Plugins("deputize.stores", StoreType, noun="store", export="STORE", built_in=lambda: BUILT_IN)
"""Store types of other packages."""

_SCHEME: Final = r"([A-Za-z][A-Za-z0-9+.-]{0,30})://"


def store_type(url: str) -> StoreType:
    """Return the store type for this address. Raises `SettingsError` if its scheme is unknown or needs an extra."""
    if url.strip() == "memory:":
        from deputize.core.vault.stores.memory import STORE as MEMORY

        return MEMORY
    found = re.match(_SCHEME, url.strip())
    scheme = found[1].lower() if found else "sqlite"
    if scheme == "sqlite":
        from deputize.core.vault.stores.sqlite.store import STORE as SQLITE

        return SQLITE
    if scheme in ("postgres", "postgresql"):
        try:
            from deputize.core.vault.stores.postgres.store import STORE as POSTGRES
        except ModuleNotFoundError as missing:
            if missing.name != "psycopg":
                raise
            raise SettingsError.without(missing, "postgres") from None
        return POSTGRES
    if plugin := PLUGINS.find(scheme):
        return plugin
    known = (*BUILT_IN, *PLUGINS.names())
    written = "Write a path, sqlite:///absolute/path, postgresql://... or memory:, or install its package."
    hint = f"{instead(scheme, known)} {written}"
    raise SettingsError(f"Unknown store {scheme!r} in the vault's address.", hint=hint)


def open_store(url: str, *, create: bool) -> Store:
    """Open the store at this address. ``create``: create it if it does not exist.

    Raises `SettingsError` for an address that cannot be used, and the store's own errors.
    """
    return store_type(url).open(url, create)


def shown_url(url: str) -> str:
    """Return the address without user, password, and parameters that may contain one."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        return url.strip()
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
