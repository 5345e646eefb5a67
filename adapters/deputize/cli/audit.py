"""``deputize audit``: the record of all acts, and its proof."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.audit_export import export, ship
from deputize.cli.audit_query import OF_ITSELF, print_rows, query, read_rows
from deputize.cli.common import JsonOption, open_deputy

if TYPE_CHECKING:
    from deputize.core.audit import Report
    from deputize.core.settings import Settings
    from deputize.core.vault.pseudonyms import People

audit_app = typer.Typer(help="Who did what, for whom, by whose consent.", invoke_without_command=True)


@audit_app.callback()
def audit(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is written.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many of the newest rows.")] = 50,
    user: Annotated[str, typer.Option(help="Rows of this user only, by id or pseudonym.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show who did what, for whom, by whose consent: the newest rows, or with --follow all, and new ones as they come.

    Users are shown by id, or by pseudonym if the vault no longer maps it to an id. Rows that only hold chains together
    are left out.
    """
    if context.invoked_subcommand:
        return
    from deputize.core.audit import read
    from deputize.core.settings import Settings

    settings = Settings.load()
    next(read(settings.audit_trail), None)  # without an audit, fail here, and create no vault
    written = (row for row in read_rows(settings, follow=follow) if row["event"] not in OF_ITSELF or "unproven" in row)
    wanted = (row for row in written if not user or user in (row.get("user"), row.get("pseudonym")))
    print_rows(wanted if follow else deque(wanted, maxlen=last), as_json=as_json, at_once=follow)


audit_app.command()(query)
audit_app.command()(export)
audit_app.command()(ship)


@audit_app.command()
def verify(
    anchors: Annotated[
        Path | None,
        typer.Option(help="File with anchors, or with what a collector received. Default: the settings'."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Check each row, also of files that a checkpoint proves.")
    ] = False,
) -> None:
    """Prove that no row was changed, removed or moved, and that each act had a permission. Exits 1 if not.

    An approval is for one act. A mandate is for some acts, until a time, with its agent, tools and targets. No act may
    follow a rejection or a disconnect.

    The program that compressed a file had checked its rows, and left a checkpoint under the audit's key. If that proves
    every byte of the file, its rows are not checked again.
    """
    from deputize.core.audit import read
    from deputize.core.audit.trail import shown_trail
    from deputize.core.background_loop import portal
    from deputize.core.settings import Settings

    settings = Settings.load()
    lines = _lines(anchors or settings.audit_anchor_file)
    if settings.new_vault():
        next(read(settings.audit_trail), None)  # without an audit, fail here, and create no vault
    with show.waiting("Walking the chains ..."):
        report, people, until = portal().run(_prove(settings, lines, full=full))
    for finding in report.findings:
        where = f"{finding.writer} row {finding.seq}" if finding.writer else shown_trail(settings.audit_trail)
        show.out.print(show.plain(f"{finding.kind}  {where}: {finding.detail}"))
    for one, what in report.judged_acts():
        show.out.print(show.plain(f"{what}  {one.detail}."), soft_wrap=True)
    for row in report.orphans:
        at = datetime.fromtimestamp(row["ts"] / 1e9, UTC).astimezone()
        whose = people.resolve_row(row).get("user")
        show.out.print(show.plain(f"no outcome  {row.get('tool')} for {whose} at {at:%Y-%m-%d %H:%M:%S %Z}"))
    for row in report.accepted:
        at = datetime.fromtimestamp(row["ts"] / 1e9, UTC).astimezone()
        gone = f", without {show.counted(len(row['gaps']), 'part')} that it removed" if row.get("gaps") else ""
        show.out.print(
            show.plain(f"A restore was accepted at {at:%Y-%m-%d %H:%M:%S %Z}{gone}: {row.get('justification')}")
        )
    size = f"{show.counted(report.rows, 'row')}, {show.counted(report.writers, 'chain')}"
    size += f", {len(report.open)} without an end (running, or killed)" if report.open else ""
    show.out.print(f"{size}: {'whole' if report.whole else 'NOT whole'}.")
    if report.misuses:
        show.out.print(f"{show.counted(len(report.misuses), 'act')} without a permission that counted.")
    if report.by_checkpoint:
        show.out.print(f"Checkpoints of compressed files proved {show.counted(report.by_checkpoint, 'row')}.")
    replayed = [one for one in report.misuses if one.replayed]
    if replayed or any(one.gap or one.kind == "restored" for one in report.findings):
        show.note("If you restored the vault or the audit: deputize audit accept-restore --reason TEXT.")
    if until:
        show.out.print(f"Rows from before {datetime.fromtimestamp(until / 1e9, UTC):%Y-%m-%d} were dropped, being old.")
    raise typer.Exit(0 if report.ok else 1)


async def _prove(settings: Settings, anchors: list[str], *, full: bool) -> tuple[Report, People, int]:
    """Verify the audit with the keys of the vault. Only the vault is opened, because a whole deputy would write audit
    rows."""
    from deputize.core.from_settings import open_vault
    from deputize.core.vault.chain_heads import DROPPED, read_dropped, verify_audit
    from deputize.core.vault.pseudonyms import People

    vault = await open_vault(settings)
    try:
        until = read_dropped(await vault.get(*DROPPED)).until
        report = await verify_audit(vault, settings.audit_trail, anchors, full=full)
        return report, await People.of(vault), until
    finally:
        await vault.close()


@audit_app.command()
def explain(
    act: Annotated[str, typer.Argument(help="A call's id, an approval's, an act's, or the beginning of a digest.")],
    as_json: JsonOption = False,
) -> None:
    """Tell the story of one act: who asked, what was shown, what let it start, how it ended.

    It ends with whether the approved act is the one that was done. Exits 1 if it is not.
    """
    from deputize.core.audit.explain import DISPROVED, VERDICTS, stories, write_sentences
    from deputize.core.audit.explain import as_json as facts
    from deputize.core.errors import NotFound
    from deputize.core.settings import Settings

    settings = Settings.load()
    found = stories(lambda: (row for row in read_rows(settings) if "unproven" not in row), act)
    if not found:
        raise NotFound(f"No row of the audit tells of {act}.", hint="deputize audit --json shows ids and digests.")
    if as_json:
        show.data([facts(one) | {"sentences": [said for _, said in write_sentences(one)]} for one in found])
    for one in found if not as_json else ():
        who = f"{one.first('tool')} for {one.first('user')} by {one.first('agent')}"
        show.out.print(show.plain(who, "bold"), soft_wrap=True)
        for ts, said in write_sentences(one):
            at = datetime.fromtimestamp(ts / 1e9, UTC).astimezone()
            show.out.print(show.plain(f"  {at:%Y-%m-%d %H:%M:%S}  {said}"), soft_wrap=True)
        show.out.print(show.plain(f"  {VERDICTS[one.verdict]}", "bold"), soft_wrap=True)
        for misuse in (*one.misuses, *one.accepted):
            unsure = "" if misuse.proven else "Not proved, because a clock was set back: "
            show.out.print(show.plain(f"  {unsure}{misuse.detail}."), soft_wrap=True)
    if not as_json:
        show.note("As far as no row was changed: deputize audit verify proves that.")
    raise typer.Exit(1 if any(one.verdict in DISPROVED for one in found) else 0)


@audit_app.command()
def accept_restore(
    reason: Annotated[str, typer.Option(help="Why, for the audit: 'disk failed, backup of 1 May'.")],
    anchors: Annotated[
        Path | None,
        typer.Option(help="File with anchors, or with what a collector received. Default: the settings'."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Accept a restore that you made, so that the audit is whole again except for what the restore removed.

    Shows what is accepted, and records exactly that. Altered rows are never accepted.
    """
    from deputize.core.settings import Settings
    from deputize.core.vault.accept_restore import accept_restore as accept
    from deputize.core.vault.accept_restore import find_acceptable

    if not reason.strip():
        raise typer.BadParameter("Say why.", param_hint="--reason")
    settings = Settings.load()
    trail, lines = settings.audit_trail, _lines(anchors or settings.audit_anchor_file)
    with open_deputy() as deputy:
        found = deputy.run(find_acceptable(deputy.vault, trail, lines))
        if found.empty:
            show.out.print("There is no restore to accept: the audit is whole, and the vault is not older.")
            return
        for gap in found.gaps:
            show.out.print(show.plain(f"gone      {gap.writer} rows {gap.first} to {gap.last}"))
        for act in found.replayed:
            show.out.print(show.plain(f"replayed  {act.detail}"), soft_wrap=True)
        for one in found.restored:
            show.out.print(show.plain(f"restored  {one.writer} row {one.seq}: {one.detail}"))
        if found.older:
            show.out.print(f"older     {show.counted(len(found.older), 'grant')} than the audit saw them")
        if not yes:
            typer.confirm("Did a restore of yours do that?", abort=True, err=True)
        enqueue = deputy.revocation_queue.enqueue_in
        deputy.run(accept(deputy.vault, deputy.audit, trail, enqueue, found, reason.strip(), time.time()))
    show.out.print("Accepted, and recorded in the audit.")


@audit_app.command("import")
def take_over(
    folder: Annotated[Path, typer.Argument(help="A folder of audit files, as earlier versions kept on each machine.")],
) -> None:
    """Add a machine's audit files to the table in the vault's database, unchanged. Verify proves them there.

    Files of another vault are refused, because rows of the table cannot be removed.
    """
    from deputize.core.audit.copy_trail import copy_rows, refuse_strange
    from deputize.core.errors import SettingsError
    from deputize.core.settings import Settings

    trail = Settings.load().audit_trail
    if isinstance(trail, Path):
        hint = "Verify reads all *.jsonl and *.jsonl.gz files in it: copy them there."
        raise SettingsError(f"This audit is kept in files: {trail}.", hint=hint)
    with open_deputy() as deputy:
        refuse_strange(folder, deputy.vault.keys.audits)
    show.out.print(f"{show.counted(copy_rows(folder, trail), 'row')} added.")


@audit_app.command()
def rekey() -> None:
    """Give the audit a new key, if others may know the old one. The old key still proves old rows.

    Chains under the old key are closed now, and again at each start: restart the programs that still write.
    """
    with open_deputy() as deputy:
        deputy.run(deputy.vault.renew_audit_key())
    with open_deputy():  # closes the chains of the old key
        show.out.print("The audit has a new key. Restart the programs that use this vault.")


def _lines(file: Path | None) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as e:
        raise typer.BadParameter(f"{file} cannot be read: {type(e).__name__}.") from None
