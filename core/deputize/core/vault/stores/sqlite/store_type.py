"""Store type of vaults in SQLite files: a path, or an address such as ``sqlite:///absolute/path``."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.vault.stores.protocol import Store, StoreType
from deputize.core.vault.stores.sqlite.store import SqliteStore, backup_at

_HINT: Final = "Write memory:, sqlite:///absolute/path or a plain path."


def path_of(url: str) -> Path:
    """Return the path of the vault's file. Raises `SettingsError` for an address that names none."""
    url = url.strip()
    if "://" not in url:
        if not url or url.endswith("/"):
            raise SettingsError("The vault's address names no file.", hint=_HINT)
        return Path(url).expanduser()
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.strip("/"):
        raise SettingsError("The vault's address names no file, or more than one.", hint=_HINT)
    return Path("/" + path.lstrip("/"))


def _open(url: str, create: bool) -> Store:
    return SqliteStore.open(path_of(url), create=create)


def _exists(url: str) -> bool:
    return path_of(url).exists()


def _set_aside(url: str, ending: str) -> list[Path]:
    path = path_of(url)
    left = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    return [file.rename(file.with_name(f"{file.name}.{ending}")) for file in left if file.exists()]


def _moved(url: str) -> Path | None:
    path = path_of(url)
    return max(path.parent.glob(f"{escape(path.name)}.moved-*Z"), default=None)


STORE: Final = StoreType(
    "sqlite",
    open=_open,
    exists=_exists,
    backup=lambda url: backup_at(path_of(url)),
    set_aside=_set_aside,
    moved=_moved,
)
