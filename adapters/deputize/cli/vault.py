"""``deputize vault``: back up and restore the vault."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import open_deputy

if TYPE_CHECKING:
    from deputize.core.settings import Settings

vault_app = typer.Typer(help="Backups of the vault.", no_args_is_help=True)


@vault_app.command()
def backup(to: Annotated[Path, typer.Argument(help="A file that is not there yet.")]) -> None:
    """Copy the vault while it is in use. The copy is as sealed as the vault: keep the key, but elsewhere."""
    from deputize.core.audit.events import VaultCopied
    from deputize.core.paths import usable_path
    from deputize.core.vault.backup import back_up

    with open_deputy() as deputy:
        deputy.run(back_up(deputy.vault, usable_path(to).absolute(), time.time()))
        deputy.audit.write(VaultCopied())
    show.out.print(show.plain(f"Copied to {to}."))
    show.note("Without its key it opens to nobody, you included. Never keep the two together.")


@vault_app.command()
def restore(backup: Annotated[Path, typer.Argument(help="What deputize vault backup made.")]) -> None:
    """Restore a backup, while programs run or after a loss. Each grant in it is confirmed before it is used.

    If the vault still opens, its newer tokens, outcomes and queued revocations stay.
    """
    from deputize.core.paths import usable_path
    from deputize.core.settings import Settings
    from deputize.core.vault.backup import restore as put_back
    from deputize.core.vault.missing_vault import refuse_new

    settings = Settings.load()
    if settings.new_vault():
        refuse_new(settings.vault_url, begun=False)
        _restore_as_new(settings, usable_path(backup))
        return
    with open_deputy() as deputy:
        folder, enqueue = settings.audit_trail, deputy.revocation_queue.enqueue_in
        work = put_back(deputy.vault, usable_path(backup), deputy.audit, folder, enqueue)
        done = deputy.run(work)
    show.out.print(
        f"Restored. {show.counted(done.doubted, 'grant')} to be confirmed when next used, or asked for anew; "
        f"{done.kept} with newer tokens of the vault that it replaced, whose outcomes and queued revocations stay, too."
    )
    if done.unread:
        show.note(f"{show.counted(done.unread, 'grant')} of the replaced vault did not open: their tokens may live on.")


@vault_app.command()
def new(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False) -> None:
    """Create a new vault after the old one is lost. Says what is lost with it, and moves its remains aside."""
    from deputize.core import SettingsError, VaultError
    from deputize.core.audit.events import VaultRecreated
    from deputize.core.background_loop import portal
    from deputize.core.settings import Settings
    from deputize.core.vault.missing_vault import refuse_new

    settings = Settings.load()
    if settings.new_vault():
        refuse_new(settings.vault_url, begun=False)  # a moved vault is not lost, and its audit may still be here
    with suppress(VaultError):
        portal().run(_close(settings))
        raise SettingsError("There is a vault, and it opens.", hint="deputize revoke --all ends what it grants.")
    show.note("Lost with the old vault: every grant, approval and link in it. Its tokens live on at the providers,")
    show.note("until their users remove the access there. Its audit can be read, but no longer be proven.")
    if not yes:
        typer.confirm("Begin a new vault?", abort=True, err=True)
    for path in settings.set_aside(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())):
        show.note(f"Moved aside: {path}")
    with open_deputy() as deputy:
        deputy.audit.write(VaultRecreated())
    show.out.print("A new vault has begun.")


async def _close(settings: Settings) -> None:
    """Open the vault and close it. Raises `VaultError` if it cannot be decrypted."""
    from deputize.core.from_settings import open_vault

    vault = await open_vault(settings)
    await vault.close()


def _restore_as_new(settings: Settings, backup: Path) -> None:
    """Make the backup the vault, if the existing key decrypts it. Creates no key and no empty vault first."""
    from deputize.core import SettingsError, VaultError
    from deputize.core.audit.events import RestoreAccepted
    from deputize.core.vault.backup import backups_at

    backups = backups_at(settings.vault_url)
    if not (source := settings.key_source).exists():
        raise SettingsError("There is no key.", hint=f"Put the backup's key into {source.name} first.")
    backups.put_in_place(backup)
    try:
        with open_deputy() as deputy:  # marks its grants for confirmation, as any start does
            deputy.audit.write(RestoreAccepted("deputize vault restore"))
            show.out.print("Restored. What it grants is confirmed when it is next used, or asked for anew.")
    except VaultError:
        backups.remove()
        raise
