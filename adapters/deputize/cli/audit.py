"""``deputize audit``: what was done, provably."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.audit_table import AuditTable
from deputize.cli.common import JsonOption, opened

if TYPE_CHECKING:
    from deputize.core.audit import Report
    from deputize.core.settings import Settings

OF_ITSELF: Final = ("chain.anchor", "chain.closed")
"""Events that tell of nothing but the audit's chains."""

audit_app = typer.Typer(help="Who did what, for whom, by whose consent.", invoke_without_command=True)


@audit_app.callback()
def audit(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is written.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many of the newest rows.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who did what, for whom, by whose consent: the newest rows, or with --follow all, and what comes.

    Without the rows that only hold chains together; the files have those, too.
    """
    if context.invoked_subcommand:
        return
    from deputize.core.audit import read
    from deputize.core.settings import Settings

    written = read(Settings.load().audit_folder, follow=follow)
    rows: Iterable[dict[str, Any]] = (row for row in written if row["event"] not in OF_ITSELF)
    wanted, table = rows if follow else deque(rows, maxlen=last), AuditTable()
    if as_json:
        for row in wanted:
            print(json.dumps(row), flush=True)
    elif follow:
        for row in wanted:
            table.print([row])
    else:
        table.print(wanted)


@audit_app.command()
def verify(
    anchors: Annotated[
        Path | None, typer.Option(help="File with anchors that were kept elsewhere. Default: that of the settings.")
    ] = None,
) -> None:
    """Prove that no row was changed, removed or moved. Exits 1 if one was."""
    from deputize.core.audit import read
    from deputize.core.portal import portal
    from deputize.core.settings import Settings

    settings = Settings.load()
    lines = _lines(anchors or settings.anchors)
    if settings.new_vault():
        next(read(settings.audit_folder), None)  # where there is none either, say so, and make no vault for it
    with show.waiting("Walking the chains ..."):
        report = portal().run(_proven(settings, lines))
    for finding in report.findings:
        where = f"{finding.writer} row {finding.seq}" if finding.writer else str(settings.audit_folder)
        show.out.print(show.plain(f"{finding.kind}  {where}: {finding.detail}"))
    for row in report.orphans:
        at = datetime.fromtimestamp(row["ts"] / 1e9, UTC).astimezone()
        show.out.print(show.plain(f"no outcome  {row.get('tool')} for {row.get('user')} at {at:%Y-%m-%d %H:%M:%S %Z}"))
    size = f"{show.counted(report.rows, 'row')}, {show.counted(report.writers, 'chain')}"
    size += f", {len(report.open)} without an end (running, or killed)" if report.open else ""
    show.out.print(f"{size}: {'whole' if report.ok else 'NOT whole'}.")
    raise typer.Exit(0 if report.ok else 1)


async def _proven(settings: Settings, anchors: list[str]) -> Report:
    """The vault is opened and nothing else: whoever starts more writes rows, and a folder for them."""
    from deputize.core.start import open_vault
    from deputize.core.vault.chain_heads import prove

    vault = await open_vault(settings)
    try:
        return await prove(vault, settings.audit_folder, anchors)
    finally:
        await vault.close()


@audit_app.command()
def rekey() -> None:
    """Give the audit a new key, where the old one may be known to others. Old rows stay proven by the old one.

    Chains under the old key are closed at once, and again at each start: restart the programs that still write.
    """
    with opened() as deputy:
        deputy.run(deputy.vault.renew_audit_key())
    with opened():  # closes the chains of the old key
        show.out.print("The audit has a new key. Restart the programs that use this vault.")


def _lines(file: Path | None) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as e:
        raise typer.BadParameter(f"{file} cannot be read: {type(e).__name__}.") from None
