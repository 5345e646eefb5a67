"""``deputize retention``: what is stored, for how long, by which setting, and how many records there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deputize.cli import show
from deputize.cli.common import JsonOption, open_deputy

if TYPE_CHECKING:
    from deputize.core.settings import Settings
    from deputize.core.vault.vault import Vault

HOUR: Final = 3600.0
DAY: Final = 86400.0
FORGOTTEN: Final = "until the user is forgotten"


class Kept(NamedTuple):
    """A row of the report. ``kinds``: kinds of vault records. ``how_long``: the period as text. ``setting``: the
    setting that changes the period."""

    what: str
    kinds: tuple[str, ...]
    how_long: str
    setting: str = ""


def retention_rows(settings: Settings) -> list[Kept]:
    """Return the rows for all that a vault stores. Each kind of record is in exactly one row."""
    from deputize.core.acts import call_dedup as recognizing
    from deputize.core.acts import erase
    from deputize.core.approvals.record import APPROVAL_TTL
    from deputize.core.consent import record
    from deputize.core.grants.sources import inflight_requests as under_way
    from deputize.core.policy.budgets import KEPT_SECONDS
    from deputize.core.provenance import contacts
    from deputize.core.provenance import store as outside_record
    from deputize.core.vault.sweeper import UNUSED_APPROVAL_TTL
    from deputize.core.web.pages import local_links
    from deputize.core.web.signin import sign_in_sessions

    return [
        Kept("grants", ("grant",), f"until disconnected; that there was one, and whose account, {FORGOTTEN}"),
        Kept(
            "outcomes of acts",
            ("act",),
            format_duration(settings.outcome_retention_seconds),
            "outcome_retention_seconds",
        ),
        Kept("files", ("file",), format_duration(settings.file_retention_seconds), "file_retention_seconds"),
        Kept(
            "approvals, questions",
            ("approval", "role_approval"),
            f"{format_duration(APPROVAL_TTL)}, of unattended runs "
            f"{format_duration(settings.unattended_approval_seconds)}, or as long as the tool asks; "
            f"{format_duration(UNUSED_APPROVAL_TTL)} more if no act used it",
            "unattended_approval_seconds",
        ),
        Kept("mandates", ("mandate",), "until they end"),
        Kept("budgets", ("budget",), f"{format_duration(KEPT_SECONDS)} after their period; keyed digests"),
        Kept("consents", ("consent",), format_duration(record.CONSENT_TTL)),
        Kept("links", ("asked", "ticket", "state", "browser"), f"{format_duration(local_links.BINDING_TTL)} at most"),
        Kept(
            "sign-in sessions",
            ("session", "session_names", "logged_out", "assertion"),
            f"{format_duration(sign_in_sessions.IDLE_SECONDS)} without a page, "
            f"{format_duration(sign_in_sessions.MAX_SESSION_SECONDS)} at most",
        ),
        Kept("links to chat accounts", ("chat_link",), f"until unlinked, offboarded or {FORGOTTEN}"),
        Kept("cards in chats", ("chat_card",), "a day after the question expires; the text is not stored"),
        Kept(
            "roles of the last sign-in",
            ("roles",),
            format_duration(settings.role_max_age_seconds),
            "role_max_age_seconds",
        ),
        Kept(
            "what others' texts named",
            ("outside",),
            f"{format_duration(outside_record.CONVERSATION_TTL)}, "
            f"or {format_duration(outside_record.CARRIED_TTL)} if an agent wrote it somewhere",
        ),
        Kept(
            "people the user knows",
            ("contacts",),
            f"{format_duration(contacts.CONTACTS_TTL)} after the last was added; keyed digests, "
            f"{contacts.MAX_CONTACTS:,} of a user at most",
        ),
        Kept("calls without an id", ("call",), format_duration(recognizing.CALL_TTL)),
        Kept(
            "tokens on their way",
            ("received", "intent", "obtaining"),
            f"{format_duration(under_way.MARK_TTL)}, or until settled",
        ),
        Kept("revocations to be sent", ("outbox",), "until the provider has taken them"),
        Kept("chosen accounts, time zones", ("chosen", "zone"), FORGOTTEN),
        Kept(
            "marks of forgotten users",
            ("erased",),
            f"{format_duration(erase.ERASURE_MARK_TTL)} at most; in Postgres only",
        ),
        Kept("offboardings in progress", ("offboarding",), "until completed"),
        Kept(
            "users that an identity provider named by SCIM",
            ("scim_user", "scim_name"),
            f"until it deletes them, or {FORGOTTEN}",
        ),
        Kept("keys of pseudonyms", ("person",), FORGOTTEN),
        Kept("data keys of tenants", ("data_key",), "until the tenant is erased; then its name and the time"),
        Kept("pins of MCP servers", ("mcp_pins",), "until the server is removed"),
        Kept("how far the audit was exported", ("shipped",), "until the rows are deleted"),
        Kept("the vault's own records", ("meta",), "as long as the vault"),
    ]


def format_duration(seconds: float) -> str:
    """Return a duration as text."""
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (60.0, "minute")):
        if seconds >= unit and seconds % unit == 0:
            return show.counted(int(seconds // unit), name)
    return f"{seconds:g} seconds"


async def numbers(vault: Vault) -> Mapping[str, int]:
    """Return the number of records of each kind. Reads all of them, a page at a time, and decrypts none."""
    from deputize.core.vault.record import KINDS, PAGE

    found = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        after = ""
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            found[kind], after = found[kind] + len(page), page[-1][0]
    return found


def audit_life(settings: Settings) -> str:
    """Return how long audit rows are kept, as text."""
    return show.counted(settings.audit_retention_days, "day") if settings.audit_retention_days else "for ever"


def audit_kept(settings: Settings) -> dict[str, Any]:
    """Return the row of the audit. In a database its rows stay until ``deputize store prune-audit``."""
    row: dict[str, Any] = {"what": "audit", "kept": audit_life(settings), "setting": "audit_retention_days"}
    trail = settings.audit_trail
    if not isinstance(trail, Path):
        return row | {"kept": f"{row['kept']}, by deputize store prune-audit", "number": None}
    from deputize.core.audit.compressed_file import stored_status
    from deputize.core.audit.reader import files_of, lines_of
    from deputize.core.audit.rows import parse_row

    chains = list(files_of(trail).values()) if trail.is_dir() else []
    found = (stored_status(path) for paths in chains for path in paths)
    sizes = [status.st_size for status in found if status and status.st_size]
    firsts = (next((parse_row(line) for _, line in lines_of(paths[0])), None) for paths in chains)
    oldest = min((int(first["ts"]) for first in firsts if first), default=0)
    since = datetime.fromtimestamp(oldest / 1e9, UTC).strftime("%Y-%m-%d") if oldest else ""
    return row | {"number": len(sizes), "bytes": sum(sizes), "since": since}


def retention(as_json: JsonOption = False) -> None:
    """Show what is stored, for how long, by which setting, and how much of it there is now.

    Expired records are ignored, and deleted within minutes while any program runs. deputize erase deletes all data
    about one user.
    """
    from deputize.core.settings import Settings

    settings = Settings.load()
    with open_deputy() as deputy:
        there = deputy.run(numbers(deputy.vault))
        deputy.audit.flush()
        audit = audit_kept(settings)
    rows: list[dict[str, Any]] = [
        {"what": one.what, "kept": one.how_long, "setting": one.setting, "number": sum(there[k] for k in one.kinds)}
        for one in retention_rows(settings)
    ]
    if as_json:
        show.data([*rows, audit])
        return
    for row in [*rows, audit]:
        line = _line(row)
        show.out.print(show.plain(wrapped(line, show.out.width) if show.out.is_terminal else line), soft_wrap=True)


def wrapped(line: str, width: int) -> str:
    """Return a row wrapped for a terminal of this width. Further lines begin below the third column."""
    return fill(line, width, subsequent_indent=" " * 37, break_long_words=False, break_on_hyphens=False)


def _line(row: Mapping[str, Any]) -> str:
    setting = f"  (DEPUTIZE_{row['setting'].upper()})" if row["setting"] else ""
    files = f"  {show.counted(row['number'], 'file')}, {row['bytes']} bytes" if "bytes" in row else ""
    since = f", since {row['since']}" if row.get("since") else ""
    number = "" if "bytes" in row or row["number"] is None else str(row["number"])
    return f"{row['what']:28}{number:>7}  {row['kept']}{setting}{files}{since}"
