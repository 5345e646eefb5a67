"""The auditor's page: the audit of the tenant, and its export.

    GET  /audit          show_audit     audit.html, newest first; ?before= is the next page
    GET  /audit/export   export_audit   the same rows as JSON lines, at most `MAX_EXPORTED_ROWS`

Rows contain no content of acts: the encrypted summaries, which only their user may read, are left out. The rows are
those of users whose pseudonyms the vault can resolve; `deputize audit` has all others. Reading is audited.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import AuditViewed
from deputize.core.audit.rows import Row
from deputize.core.audit.tail import read_newest
from deputize.core.base_deputy import BaseDeputy
from deputize.core.roles import Role
from deputize.core.vault.grant import User
from deputize.core.vault.pseudonyms import People
from deputize.core.web.pages.rendering import json_of
from deputize.core.web.pages.site import Page, Site, current_path

ROWS_PER_PAGE: Final = 100
MAX_EXPORTED_ROWS: Final = 10_000
_INTERNAL: Final = frozenset({"sealed", "mac", "v", "args_mac", "record", "kept"})
"""Fields that are left out: encrypted summaries, and proofs that only `deputize audit verify` can use."""


async def rows_of_tenant(deputy: BaseDeputy, tenant: str, before: int, most: int) -> tuple[list[Row], int]:
    """Return rows of the tenant's users before a time (UTC nanoseconds), newest first, and the ``before`` of the next
    page, 0 on the last one."""
    people = await People.of(deputy.vault)
    return await asyncio.to_thread(_read, deputy, people, tenant, before, most)


def _read(deputy: BaseDeputy, people: People, tenant: str, before: int, most: int) -> tuple[list[Row], int]:
    users = people.names_in(tenant)
    if trail := deputy.audit.trail:
        deputy.audit.flush()
        rows = read_newest(trail, users, deputy.audit.ring).rows
    else:
        rows = [row for row in reversed(deputy.audit.rows()) if row.get("user") in users]
    fit = (row for row in rows if row.get("tenant", "") == tenant and (not before or row["ts"] < before))
    found = list(islice(fit, most + 1))
    shown = [{name: value for name, value in row.items() if name not in _INTERNAL} for row in found[:most]]
    return [people.resolve_row(row) for row in shown], found[most - 1]["ts"] if len(found) > most else 0


async def show_audit(site: Site, request: Request) -> Response:
    """Show a page of the tenant's audit."""
    user = await site.user_with_role(request, Role.AUDITOR)
    if user is None:
        return site.redirect_to_sign_in(request, "/audit")
    path, before = current_path(request), _before(request)
    rows, more = await rows_of_tenant(site.deputy, user.tenant, before, ROWS_PER_PAGE)
    await _record(site, user, len(rows))
    return await site.with_forms(
        request,
        "audit.html",
        user,
        "",
        path=path,
        above=path.removesuffix("/audit"),
        rows=[_entry(row) for row in rows],
        more=more,
        export=f"{path}/export" + (f"?before={before}" if before else ""),
    )


async def export_audit(site: Site, request: Request) -> Response:
    """Return rows of the tenant's audit as JSON lines."""
    user = await site.user_with_role(request, Role.AUDITOR)
    if user is None:
        return site.redirect_to_sign_in(request, "/audit")
    rows, _ = await rows_of_tenant(site.deputy, user.tenant, _before(request), MAX_EXPORTED_ROWS)
    await _record(site, user, len(rows))
    answer = json_of("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))
    answer.headers["content-type"] = "application/x-ndjson"
    answer.headers["content-disposition"] = 'attachment; filename="audit.jsonl"'
    return answer


async def _record(site: Site, user: User, rows: int) -> None:
    await site.deputy.audit.record(AuditViewed(OfUser(tenant=user.tenant, user=user.id), rows))


def _before(request: Request) -> int:
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _entry(row: Row) -> dict[str, Any]:
    """Return a row for the template. ``facts``: its other fields, by name."""
    head = ("ts", "event", "user", "writer", "seq", "tenant", "pseudonym")
    return {
        "when": f"{datetime.fromtimestamp(row['ts'] / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "event": row["event"],
        "user": row.get("user", ""),
        "facts": [(name, _text(value)) for name, value in row.items() if name not in head],
    }


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


PAGES: Final = (
    Page("GET", "/audit", show_audit, own=True),
    Page("GET", "/audit/export", export_audit, own=True),
)
