"""A vault that is gone: what tells that there was one, where it is, and how a new one gets its place."""

from __future__ import annotations

from pathlib import Path

from deputize.core.audit.trail import Trail, is_there, shown_trail
from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault.bootstrap import LOST
from deputize.core.vault.stores import shown_url, store_type


def has_begun(url: str, trail: Trail) -> bool:
    """Whether there has been a vault at this address: it has left an audit. Raises as `AuditTable` says."""
    if not store_type(url).durable:
        return False
    return is_there(trail) and (not isinstance(trail, Path) or any(trail.iterdir()))


def refuse_new(url: str, *, begun: bool) -> None:
    """Raise `VaultError` where no vault is and yet none must be made: it was moved to another store, or is lost.

    ``begun``: as `has_begun` said before it was seen that none is there; another process may have begun one since.
    """
    store = store_type(url)
    if store.moved and (moved := store.moved(url)):
        raise VaultError(
            f"The vault was moved to another store, and its file aside: {moved}.",
            hint="Set DEPUTIZE_VAULT to where it is now. To begin another one here, rename that file.",
        )
    if begun:
        raise VaultError(f"The vault is gone: {shown_url(url)}.", hint=LOST)


def moved_back(url: str) -> list[Path]:
    """Rename what was moved away from there, now that a vault lies there again: else one that is lost later would be
    called moved. Where it is now."""
    moved, renamed = store_type(url).moved, list[Path]()
    while moved and (old := moved(url)):
        renamed.append(old.rename(old.with_name(f"{old.name}.before")))
    return renamed


def set_aside(url: str, trail: Trail, folder: Path, stamp: str) -> list[Path]:
    """Move away what is left of a vault that is lost, ``folder`` for one, so that a new one can begin; where it is now.

    Raises `SettingsError` where something is left in a store that cannot move it, and has moved nothing then.
    """
    store = store_type(url)
    if store.set_aside is None and store.exists(url):
        raise SettingsError(
            f"What is left of the vault cannot be moved aside: its store ({store.name}) has no way to.",
            hint="Move or empty it with the means of that database, then say this again.",
        )
    if not isinstance(trail, Path) and trail.holds_rows():
        raise SettingsError(
            f"The audit of the lost vault cannot be moved aside: {shown_trail(trail)}.",
            hint="Begin in another database, or rename that table with the owner's role and make an empty one like it.",
        )
    moved = [folder.rename(folder.with_name(f"{folder.name}.lost-{stamp}"))] if folder.exists() else []
    return moved + (store.set_aside(url, f"lost-{stamp}") if store.set_aside else [])
