"""``deputize vault``: copies of the vault, and back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.common import opened

vault_app = typer.Typer(help="Backups of the vault.", no_args_is_help=True)


@vault_app.command()
def backup(to: Annotated[Path, typer.Argument(help="A file that is not there yet.")]) -> None:
    """Copy the vault while it is in use. The copy is as sealed as the vault: keep the key, but elsewhere."""
    from deputize.core.vault.backup import back_up

    with opened() as deputy:
        deputy.run(back_up(deputy.vault, to.expanduser().absolute(), time.time()))
        deputy.audit.write("vault.copied")
    show.out.print(show.plain(f"Copied to {to}."))
    show.note("Without its key it opens to nobody, you included. Never keep the two together.")


@vault_app.command()
def restore(backup: Annotated[Path, typer.Argument(help="What deputize vault backup made.")]) -> None:
    """Put a backup back, while programs go on. What it grants is confirmed with the providers before it is used."""
    from deputize.core.settings import Settings
    from deputize.core.vault.backup import restore as put_back

    settings = Settings.load()
    with opened() as deputy:
        folder, owe = settings.audit_folder, deputy.outbox.owe_in
        work = put_back(deputy.vault, backup.expanduser(), settings.keys(), deputy.audit, folder, owe)
        doubted = deputy.run(work)
    show.out.print(f"Restored. {doubted} grants are confirmed when they are next used, or asked for anew.")
