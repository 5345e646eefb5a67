"""Missing vaults: traces of an earlier vault, vaults moved to another store, and a new vault in the same place."""

from __future__ import annotations

from pathlib import Path

from deputize.core.audit.trail import Trail, is_there, shown_trail
from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault.bootstrap import LOST
from deputize.core.vault.stores import shown_url, store_type


def has_begun(url: str, trail: Trail) -> bool:
    """Return whether there was a vault at this address, as its audit proves. Raises the errors of `AuditTable`."""
    if not store_type(url).durable:
        return False
    return is_there(trail) and (not isinstance(trail, Path) or any(trail.iterdir()))


def refuse_new(url: str, *, begun: bool) -> None:
    """Raise `VaultError` if the vault is missing and must not be created: it was moved to another store, or is lost.

    ``begun``: the result of `has_begun` before the vault was found missing, as another process may create one since.
    """
    store = store_type(url)
    if store.moved and (moved := store.moved(url)):
        raise VaultError(
            f"The vault was moved to another store, and its file aside: {moved}.",
            hint="Set DEPUTIZE_VAULT to its new address. To start another one here, rename that file.",
        )
    if begun:
        raise VaultError(f"The vault is gone: {shown_url(url)}.", hint=LOST)


def clear_moved_mark(url: str) -> list[Path]:
    """Rename the mark of a moved vault, because there is a vault at this address again. Return the new paths.
    Otherwise, if that vault is lost later, it would count as moved."""
    moved, renamed = store_type(url).moved, list[Path]()
    while moved and (old := moved(url)):
        renamed.append(old.rename(old.with_name(f"{old.name}.before")))
    return renamed


def set_aside(url: str, trail: Trail, folder: Path, stamp: str) -> list[Path]:
    """Move away the remains of a lost vault, including ``folder``, for a new one. Return the new paths.

    Raises `SettingsError` if a store cannot move the remains; nothing was moved then.
    """
    store = store_type(url)
    if store.set_aside is None and store.exists(url):
        raise SettingsError(
            f"The remains of the vault cannot be moved aside: the store {store.name} does not support that.",
            hint="Move or empty it with the tools of that database, then run this again.",
        )
    if not isinstance(trail, Path) and trail.holds_rows():
        raise SettingsError(
            f"The audit of the lost vault cannot be moved aside: {shown_trail(trail)}.",
            hint="Use another database, or rename that table with the owner's role and make an empty one like it.",
        )
    moved = [folder.rename(folder.with_name(f"{folder.name}.lost-{stamp}"))] if folder.exists() else []
    return moved + (store.set_aside(url, f"lost-{stamp}") if store.set_aside else [])
