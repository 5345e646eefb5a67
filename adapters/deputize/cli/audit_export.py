"""``deputize audit export`` and ``deputize audit ship``: rows for other systems."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from deputize.cli import show
from deputize.core.audit.export_formats import LINE_FORMATS, LineFormat

MAX_CURSOR_FILE_BYTES: Final = 1 << 20
ROWS_AT_ONCE: Final = 1000
BYTES_AT_ONCE: Final = 1 << 20


def export(
    form: Annotated[LineFormat, typer.Option("--format", help="The row as it is, an OCSF 1.8 event, or RFC 5424.")],
    since: Annotated[str, typer.Option(help="The cursor that the last export printed. Default: all rows.")] = "",
    cursor_file: Annotated[
        Path | None, typer.Option(help="Read the cursor from this file, and write the next one to it.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Rows of this tenant only, without those of the vault itself.")] = "",
) -> None:
    """Print rows for another system on stdout, one a line, and then the next cursor on stderr.

    Users are pseudonyms. Each row has an id that is never used again: metadata.uid of OCSF, or writer and seq. A row
    may be printed again if the cursor of the last export was lost, so the receiver drops an id that it has.
    """
    from deputize.core.audit import read
    from deputize.core.audit.cursor import NewRows, pack_cursor, unpack_cursor
    from deputize.core.audit.rows import Key
    from deputize.core.background_loop import portal
    from deputize.core.from_settings import open_vault
    from deputize.core.settings import Settings

    if since and cursor_file:
        raise typer.BadParameter("Pass --since or --cursor-file.")
    positions = unpack_cursor(_cursor_in(cursor_file) if cursor_file else since, tenant)
    settings = Settings.load()
    next(read(settings.audit_trail), None)  # without an audit, fail here, and create no vault
    vault = portal().run(open_vault(settings))
    try:
        rows = NewRows(settings.audit_trail, [Key(key) for key in vault.keys.audits], positions)
    finally:
        portal().run(vault.close())
    write, out = LINE_FORMATS[form], sys.stdout.buffer
    while found := rows.read(ROWS_AT_ONCE, BYTES_AT_ONCE):
        for made in found:
            if not tenant or made.row.get("tenant") == tenant:
                out.write(write(made) + b"\n")
    out.flush()
    cursor = pack_cursor(rows.positions, tenant)
    if cursor_file:
        _write_cursor(cursor_file, cursor)
    else:
        show.note(f"next cursor: {cursor}")
    tell_left_out(rows.strange, rows.damaged)


def ship(
    names: Annotated[list[str] | None, typer.Argument(help="Collectors of the settings. Default: all.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Ship what is there, and end.")] = False,
) -> None:
    """Ship rows to the collectors of the settings, as every long-running program of deputize does by itself.

    For machines where only short programs run: as a service, or with --once as a timer. Another program that ships to
    a collector keeps doing so; this one then stands by.
    """
    import asyncio

    from deputize.core import DeputizeError
    from deputize.core.background_loop import portal
    from deputize.core.errors import SettingsError
    from deputize.core.from_settings import open_vault
    from deputize.core.settings import Settings
    from deputize.core.vault.audit_shipping import Shipper, Shipping, exports_of

    settings = Settings.load()
    wanted = {name: one for name, one in settings.audit_export.items() if not names or name in names}
    if unknown := [name for name in names or () if name not in wanted]:
        raise SettingsError(f"The settings have no collector {unknown[0]!r}.", hint="Add [audit_export.NAME].")
    if not wanted:
        raise SettingsError("The settings name no collector.", hint="Add a table [audit_export.NAME] with a url.")
    exports = exports_of(wanted)

    async def run() -> bool:
        vault, failed = await open_vault(settings), False
        try:
            shippers = [Shipper(vault, settings.audit_trail, export) for export in exports]
            if not once:
                shipping = Shipping(shippers)
                await shipping.start()
                try:
                    await asyncio.Event().wait()
                finally:
                    await shipping.stop()
            for shipper in shippers:
                name = shipper.export.name
                try:
                    show.note(f"{name}: {show.counted(await shipper.ship(once=True), 'row')} acknowledged.")
                except TimeoutError:
                    show.note(f"{name}: another program ships to it.")
                except DeputizeError as error:
                    show.error(error)
                    failed = True
                finally:
                    await shipper.export.collector.close()
        finally:
            await vault.close()
        return failed

    if portal().run(run()):
        raise typer.Exit(1)


def tell_left_out(strange: int, damaged: set[str]) -> None:
    """Tell the operator about lines that were not exported."""
    if strange:
        show.note(f"{show.counted(strange, 'line')} left out that deputize did not write: deputize audit verify", "red")
    for name in sorted(damaged):
        show.note(f"{name} is damaged and left out: deputize audit verify", "red")


def _cursor_in(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return content.read(MAX_CURSOR_FILE_BYTES).decode("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {type(error).__name__}.") from None


def _write_cursor(file: Path, cursor: str) -> None:
    """Replace the file as a whole, once it is on disk."""
    part = file.with_name(f"{file.name}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as to:
            to.write(f"{cursor}\n")
            to.flush()
            os.fsync(to.fileno())
        part.replace(file)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.") from None
