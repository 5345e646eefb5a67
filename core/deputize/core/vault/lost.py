"""A vault that is gone: what tells that there was one, and how a new one gets its place."""

from __future__ import annotations

from pathlib import Path

from deputize.core.audit.trail import Trail, is_there, shown_trail
from deputize.core.errors import SettingsError
from deputize.core.vault.stores import store_type


def has_begun(url: str, trail: Trail) -> bool:
    """Whether there has been a vault at this address: it has left an audit. Raises as `AuditTable` says."""
    if not store_type(url).durable:
        return False
    return is_there(trail) and (not isinstance(trail, Path) or any(trail.iterdir()))


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
