"""Stores: where sealed records lie. `open_store` finds one by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.vault.stores.protocol import Store

__all__ = ["Store", "open_store"]

_ADDRESSES = "Write memory:, sqlite:///absolute/path or a plain path."


def open_store(url: str, *, create: bool) -> Store:
    """The store at ``memory:``, ``sqlite:///absolute/path`` or a plain path; ``create`` where there is none.

    Raises `SettingsError` for another address, and what the store raises when it is opened.
    """
    scheme, colon, rest = url.strip().partition(":")
    if colon and scheme == "memory" and not rest:
        from deputize.core.vault.stores.memory import MemoryStore

        return MemoryStore()
    if scheme in ("postgres", "postgresql") and colon:
        raise SettingsError("Postgres is not part of this version.", hint=_ADDRESSES)
    from deputize.core.vault.stores.sqlite import SqliteStore

    return SqliteStore.open(_path(url.strip()), create=create)


def _path(url: str) -> Path:
    if "://" not in url:
        if not url or url.endswith("/"):
            raise SettingsError("The vault's address names no file.", hint=_ADDRESSES)
        return Path(url).expanduser()
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not path.strip("/"):
        raise SettingsError("The vault's address is none that this version knows.", hint=_ADDRESSES)
    return Path("/" + path.lstrip("/"))
