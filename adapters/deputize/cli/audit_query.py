"""``deputize audit query``: the rows that match. Also reads rows for the other commands about the audit."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.audit_table import AuditTable
from deputize.cli.common import JsonOption

if TYPE_CHECKING:
    from deputize.core.settings import Settings

OF_ITSELF: Final = ("chain.anchor", "chain.closed")
"""Events that only concern the audit's chains."""
ID_FIELDS: Final = ("act_id", "call_id", "approval_id", "mandate_id", "consent_id", "answered_by", "undoes", "entry")
ID_FIELDS_OF_APPLICATION: Final = ("thread", "run", "trace_id", "span_id")
OUTCOME_FIELDS: Final = ("decision", "reason", "upstream")
_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Row = Mapping[str, Any]


def query(
    user: Annotated[str, typer.Option(help="By id or pseudonym.")] = "",
    tenant: Annotated[str, typer.Option(help="Rows of this tenant only.")] = "",
    agent: Annotated[str, typer.Option(help="By the agent's name.")] = "",
    tool: Annotated[str, typer.Option(help="By the tool's name; gmail_* for all that begin so.")] = "",
    event: Annotated[str, typer.Option(help="By the event: act.result; grant.* for all that begin so.")] = "",
    outcome: Annotated[str, typer.Option(help="done, or the code of an error or reason: policy_denied.")] = "",
    act: Annotated[str, typer.Option(help="All rows of one act, by the id of the act or of its call.")] = "",
    id: Annotated[str, typer.Option("--id", help="Any id that begins so: of an approval, a thread, a run, ...")] = "",
    since: Annotated[str, typer.Option(help="From then on: 2026-12-01, 2026-12-01T08:30, or 24h for a day ago.")] = "",
    until: Annotated[str, typer.Option(help="Before this time, in the same forms.")] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="So many of the newest rows; 0: all.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Find rows: all filters must match. Prints a table, or with --json one row a line."""
    from deputize.core.audit import read
    from deputize.core.settings import Settings

    begin, end = time_option(since, "--since"), time_option(until, "--until")
    settings = Settings.load()
    next(read(settings.audit_trail), None)  # without an audit, fail here, and create no vault
    fields = {"tenant": tenant, "agent": agent, "tool": tool, "event": event}
    filters: list[Callable[[Row], bool]] = [
        lambda row: not user or user in (row.get("user"), row.get("pseudonym")),
        lambda row: all(_matches(row.get(name, ""), wanted) for name, wanted in fields.items() if wanted),
        lambda row: not outcome or outcome in (row.get(name) for name in OUTCOME_FIELDS),
        lambda row: not act or act in (row.get("act_id"), row.get("call_id"), row.get("undoes")),
        lambda row: not id or any(_begins(row, name, id) for name in ID_FIELDS + ID_FIELDS_OF_APPLICATION),
        lambda row: (not begin or row["ts"] >= begin) and (not end or row["ts"] < end),
        lambda row: bool(event) or row["event"] not in OF_ITSELF or "unproven" in row,
    ]
    found = (row for row in read_rows(settings) if all(keep(row) for keep in filters))
    print_rows(deque(found, maxlen=last) if last else found, as_json=as_json)


def _matches(value: object, wanted: str) -> bool:
    if wanted.endswith("*"):
        return isinstance(value, str) and value.startswith(wanted[:-1])
    return value == wanted


def _begins(row: Row, name: str, wanted: str) -> bool:
    value = row.get(name)
    return isinstance(value, str) and value.startswith(wanted)


def time_option(text: str, option: str) -> int:
    """Return the time that an option names, UTC ns; 0 if it is empty. A date without a zone is local time."""
    if not text:
        return 0
    try:
        ago = _AGO.fullmatch(text)
        span = timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else None
        at = datetime.now(UTC) - span if span else datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        message = f"{text[:40]!r} is no time: write 2026-12-01, 2026-12-01T08:30+01:00, or 24h."
        raise typer.BadParameter(message, param_hint=option) from None
    return int(at.timestamp() * 1_000_000) * 1000


def print_rows(rows: Iterable[Row], *, as_json: bool, at_once: bool = False) -> None:
    """Print rows as a table or as JSON lines. ``at_once``: each row as it comes."""
    if as_json:
        for row in rows:
            print(json.dumps(row), flush=at_once)
        return
    table = AuditTable()
    for part in ([row] for row in rows) if at_once else [rows]:
        table.print(part)


def read_rows(settings: Settings, *, follow: bool = False) -> Iterator[dict[str, Any]]:
    """Yield all rows, with user ids if the vault opens, else pseudonyms. Rows made with other keys are marked."""
    from deputize.core import DeputizeError
    from deputize.core.audit import read
    from deputize.core.audit.rows import Key
    from deputize.core.background_loop import portal
    from deputize.core.from_settings import open_vault
    from deputize.core.vault.pseudonyms import People

    with ExitStack() as stack:
        try:
            vault = portal().run(open_vault(settings))
            stack.callback(lambda: portal().run(vault.close()))
            people = portal().run(People.of(vault))
        except DeputizeError as e:
            show.note(f"Users are shown by their pseudonyms: {e.message}")
            yield from read(settings.audit_trail, follow=follow)
            return
        strangers, ring = set[str](), [Key(key) for key in vault.keys.audits]
        for row in read(settings.audit_trail, follow=follow, ring=ring):
            if "unproven" in row:
                yield row
                continue
            if people.is_unresolvable(row) and row["user"] not in strangers:  # a new user, or an erased one
                strangers.add(row["user"])
                people = portal().run(People.of(vault))
            yield people.resolve_row(row)
