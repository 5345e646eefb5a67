"""``deputize audit``: what was done, provably."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from deputize.cli import show
from deputize.cli.audit_table import AuditTable
from deputize.cli.common import JsonOption, opened

audit_app = typer.Typer(help="Who did what, for whom, by whose consent.", invoke_without_command=True)


@audit_app.callback()
def audit(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is written.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many of the newest rows.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who did what, for whom, by whose consent: the newest rows, or with --follow all, and what comes."""
    if context.invoked_subcommand:
        return
    from deputize.core.audit import read
    from deputize.core.settings import Settings

    rows: Iterable[dict[str, Any]] = read(Settings.load().audit_folder, follow=follow)
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
    from deputize.core.audit import verify as walk
    from deputize.core.settings import Settings

    settings = Settings.load()
    folder = settings.audit_folder
    lines = _lines(anchors or settings.anchors)
    next(read(folder), None)  # where there is none, say so, and make no vault for it
    with opened() as deputy:
        keys = deputy.vault.keys.audits
    with show.waiting("Walking the chains ..."):
        report = walk(folder, keys, anchors=lines)
    for finding in report.findings:
        show.out.print(show.plain(f"{finding.kind}  {finding.writer} row {finding.seq}: {finding.detail}"))
    for row in report.orphans:
        at = datetime.fromtimestamp(row["ts"] / 1e9, UTC).astimezone()
        show.out.print(show.plain(f"no outcome  {row.get('tool')} for {row.get('user')} at {at:%Y-%m-%d %H:%M:%S %Z}"))
    size = f"{show.counted(report.rows, 'row')}, {show.counted(report.writers, 'chain')}"
    show.out.print(f"{size}: {'whole' if report.ok else 'NOT whole'}.")
    raise typer.Exit(0 if report.ok else 1)


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
