"""``deputize store``: the database of a vault, and moving a vault to another store."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import open_deputy

if TYPE_CHECKING:
    from deputize.core.settings import Settings
    from deputize.core.vault.stores.postgres.address import Address

store_app = typer.Typer(help="The database of a vault that several machines share.", no_args_is_help=True)

AddressArgument = Annotated[
    str,
    typer.Argument(help="postgresql://owner@host/database, with the role that owns it. Default: DEPUTIZE_VAULT."),
]
CheckedArgument = Annotated[
    str,
    typer.Argument(help="postgresql://role@host/database, with the role that programs use. Default: DEPUTIZE_VAULT."),
]
AppRoleOption = Annotated[
    str,
    typer.Option("--app-role", help="A role that programs use: it may read and write records, and add to the audit."),
]


def _address(url: str) -> Address:
    """Return the named address, or the vault's. Raises `SettingsError` unless it is a database."""
    from deputize.core import SettingsError
    from deputize.core.settings import Settings
    from deputize.core.vault.stores import shown_url

    url = url or Settings.load().vault_url
    if url.strip().partition("://")[0] not in ("postgres", "postgresql"):
        hint = "Pass the address, or set DEPUTIZE_VAULT to postgresql://role@host/database."
        raise SettingsError(f"{shown_url(url)} is not a database.", hint=hint)
    from deputize.core.vault.stores.postgres.address import Address

    return Address.of(url)


@store_app.command()
def init(url: AddressArgument = "", app_role: AppRoleOption = "") -> None:
    """Create the tables. Programs can then run with a role that cannot create or change tables."""
    address = _address(url)
    from deputize.core.vault.stores.postgres.schema import grant_to, migrate

    before, now = migrate(address)
    show.out.print(f"The tables have version {now}." if before else f"Made the tables, version {now}.")
    if app_role:
        grant_to(address, app_role)
        show.out.print(show.plain(f"{app_role} may read and write records, and add to the audit."))


@store_app.command()
def migrate(url: AddressArgument = "", app_role: AppRoleOption = "") -> None:
    """Update the tables to this version of deputize, in one transaction. Older programs continue until they restart."""
    init(url, app_role)


@store_app.command()
def check(url: CheckedArgument = "") -> None:
    """Check whether the vault is whole: its storage, its records and its audit. Exits 1 if not.

    For a database also whether locks work, whether the tables fit, and what a crash or a failover could lose.
    """
    from deputize.core.settings import Settings

    if (url or Settings.load().vault_url).strip().partition("://")[0] in ("postgres", "postgresql"):
        _check_database(_address(url))
    if not _contents(url):
        raise typer.Exit(1)


def _check_database(address: Address) -> None:
    from deputize.core.background_loop import portal
    from deputize.core.vault.stores.postgres.checks import check as check_address
    from deputize.core.vault.stores.postgres.checks import risks

    portal().run(check_address(address))
    show.out.print("Locks hold, and the tables fit.")
    for what, todo in risks(address):
        show.out.print(show.plain(f"{what}."))
        show.note(todo)


def _contents(url: str) -> bool:
    """Print the faults in the vault's contents, if it is the vault of the settings. Return whether there are none."""
    from deputize.cli.store_check import contents
    from deputize.core.background_loop import portal
    from deputize.core.from_settings import open_vault
    from deputize.core.settings import Settings

    settings = Settings.load()
    if url and url.strip() != settings.vault_url.strip():
        show.note("Its contents were not checked: that needs the vault's address and key in the settings.")
        return True
    if settings.new_vault():
        show.out.print("No vault is there yet.")
        return True
    anchors = (
        settings.audit_anchor_file.read_text("utf-8").splitlines()
        if settings.audit_anchor_file and settings.audit_anchor_file.exists()
        else []
    )

    async def looked() -> list[tuple[bool, str, str]]:
        vault = await open_vault(settings)
        try:
            return [line async for line in contents(settings, vault, anchors)]
        finally:
            await vault.close()

    found = portal().run(looked())
    for _, what, todo in found:
        show.out.print(show.plain(f"{what}."))
        if todo:
            show.note(todo)
    return all(fine for fine, _, _ in found)


@store_app.command()
def prune_audit(
    url: AddressArgument = "",
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Days, a week at least: 400d. Default: DEPUTIZE_AUDIT_RETENTION_DAYS.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Drop old rows of all machines' audit, while programs run. The rest proves as much as before.

    Needs the address of the vault of the settings, with the role that owns it: programs cannot do this.
    """
    from deputize.core import SettingsError
    from deputize.core.settings import Settings
    from deputize.core.vault.audit_table_pruning import prune
    from deputize.core.vault.stores.postgres.audit import OwnedAudit

    settings = Settings.load()
    before = int((time.time() - _days(older_than or str(settings.audit_retention_days)) * 86400) * 1e9)
    day = time.strftime("%Y-%m-%d", time.gmtime(before / 1e9))
    if isinstance(table := settings.audit_trail, Path):  # before a vault is opened or created
        raise SettingsError(
            "The audit of the vault of the settings is in files.",
            hint="Set DEPUTIZE_VAULT to the database, too. Files are dropped after DEPUTIZE_AUDIT_RETENTION_DAYS.",
        )
    with closing(OwnedAudit(_address(url))) as owned, open_deputy() as deputy:
        if not (old := owned.older(before)):
            show.out.print(f"No row is from before {day}.")
            return
        if not yes:
            typer.confirm(f"Drop {show.counted(old, 'row')} from before {day} for good?", abort=True, err=True)
        with show.waiting("Walking the chains ..."):
            done = deputy.run(prune(deputy.vault, deputy.audit, table, owned, before))
    chains = show.counted(done.begun + done.gone, "chain")
    show.out.print(f"Dropped {show.counted(done.rows, 'row')} of {chains}; of {done.gone} nothing is left.")


def _days(said: str) -> int:
    """Return the number of days. Raises `BadParameter` unless it is at least a week."""
    days = said.removesuffix("d")
    if not (days.isascii() and days.isdecimal() and len(days) < 6 and int(days) >= 7):
        raise typer.BadParameter("Give a number of days, at least 7, such as 400d.", param_hint="--older-than")
    return int(days)


@store_app.command()
def copy(
    start: Annotated[str, typer.Argument(metavar="FROM", help="The vault's address now: a path, or postgresql://...")],
    to: Annotated[str, typer.Argument(metavar="TO", help="Where it is to lie. A database needs its tables first.")],
) -> None:
    """Move a vault and its audit to another store, unchanged. Stop its programs first; the old one is moved aside."""
    from deputize.core import SettingsError
    from deputize.core.background_loop import portal
    from deputize.core.settings import Settings
    from deputize.core.vault.migrate import copy_records
    from deputize.core.vault.missing_vault import clear_moved_mark
    from deputize.core.vault.stores import open_store, shown_url, store_type

    settings = Settings.load()
    if start.strip() == to.strip():
        raise SettingsError("Both addresses are the same.")
    source = open_store(start, create=False)
    try:
        target = open_store(to, create=True)
        try:
            rows, left = _copied_audit(settings, start, to)
            count = portal().run(copy_records(source, target))
            _copy_key_list(settings, start, to)
        finally:
            portal().run(target.close())
    finally:
        portal().run(source.close())
    show.out.print(f"Copied {show.counted(count, 'record')}, {show.counted(rows, 'row')} of the audit. The key stays.")
    ending = time.strftime("moved-%Y%m%dT%H%M%SZ", time.gmtime())
    aside = store_type(start).set_aside
    if aside is None:
        show.note("Never use both: a token that is rotated in one is dead in the other. Empty the old one.")
    for path in [*(aside(start, ending) if aside else ()), *clear_moved_mark(to)]:
        show.note(f"Moved aside: {path}")
    if left:  # after its vault: a program could still use that, and miss its audit
        show.note(f"Moved aside: {left.rename(left.with_name(f'{left.name}.{ending}'))}")
    if settings.vault_url != to.strip():
        show.note(f"The vault is in {shown_url(to)} now: set DEPUTIZE_VAULT to that.")


def _copy_key_list(settings: Settings, start: str, to: str) -> None:
    """Copy the list of wrapped root keys to its new location, if there is one and it is elsewhere."""
    from deputize.core import SettingsError

    source, target = settings.key_list(start), settings.key_list(to)
    if source == target or (text := source.read()) is None:
        return
    if target.read() != text and not target.replace(target.read(), text):
        raise SettingsError("The list of wrapped keys changed meanwhile.", hint="Run the command again.")


def _copied_audit(settings: Settings, start: str, to: str) -> tuple[int, Path | None]:
    """Copy the audit to its new location. Return the number of rows, and the folder that is no longer needed."""
    from deputize.core.audit.copy_trail import copy_rows
    from deputize.core.vault.stores import store_type

    folder = settings.audit_folder
    source, target = store_type(start).audit, store_type(to).audit
    if settings.audit_files or not (source or target):
        return 0, None
    if source is None and not folder.is_dir():
        return 0, None
    rows = copy_rows(source(start) if source else folder, target(to) if target else folder)
    return rows, folder if source is None else None
