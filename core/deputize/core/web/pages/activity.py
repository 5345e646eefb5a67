"""The user's history of acts, with undo.

    GET   /activity        activity   activity.html; ?q= searches, ?reads=1 includes read-only acts
    POST  /activity/undo   undo       back to /activity; undo.html if the policy asks first

It needs no storage of its own, because the audit has a row for each call. The audit names users by pseudonyms, so a
history is read by the user's own pseudonym and contains no rows of other users.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, Final, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.audit.tail import Newest, read_newest
from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import ApprovalRequired, Conflict, ConsentRequired, NotFound, PolicyDenied
from deputize.core.idempotency.undo import Undoable
from deputize.core.tools.preview_values import instant
from deputize.core.tools.tool import Tool
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.pseudonyms import Pseudonyms, fallback_pseudonym
from deputize.core.web.pages import texts
from deputize.core.web.pages.reading_order import arrange_rows
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path, note

MAX_QUERY_CHARACTERS: Final = 100
ACTS_PER_PAGE: Final = 50
"""The number of acts on one page."""
ASKED: Final = frozenset({"consent_required", "approval_required", "reconsent_required"})
"""Outcomes of calls that only asked the user."""


@frozen
class Entry(ValueObject):
    """One act. ``outcome``: the style of its outcome, as for a consent. ``undo``: its id if it can be undone now."""

    what: str
    where: str
    tool: str
    account: str
    agent: str
    when: str
    said: str
    outcome: str
    undo: str

    def contains(self, words: list[str]) -> bool:
        """Return True if the entry contains each of these words."""
        text = " ".join((self.what, self.where, self.tool, self.account, self.agent, self.when, self.said)).lower()
        return all(word in text for word in words)


@frozen
class History(ValueObject):
    """Acts, newest first. ``older``: start of the next page, 0 on the last page. ``whole``: True if the record was read
    to its start."""

    entries: list[Entry]
    older: int
    whole: bool


@frozen
class Use(ValueObject):
    """When an account was connected and last used, and by which agent; "" if the record starts later."""

    since: str = ""
    last: str = ""
    agent: str = ""


async def history_of(
    deputy: BaseDeputy, user: User, *, before: int = 0, query: str = "", reads: bool = False, most: int = ACTS_PER_PAGE
) -> History:
    """Return the acts of this user's agents before a row's time (nanoseconds) that contain all words of ``query``.

    ``reads``: include read-only acts.
    """
    found = await _own_rows(deputy, user)
    undone = {row["undoes"] for row in found.rows if row.get("undoes") and row.get("decision") == "done"}
    told = await _Teller.of(deputy, user, undone)
    return await asyncio.to_thread(_page, found, told, before, query.lower().split(), reads, most)


def _page(found: Newest, told: _Teller, before: int, words: list[str], reads: bool, most: int) -> History:
    """Return a page of the rows. Tens of thousands of rows take a second, so never call this on the event loop."""
    entries, seen, last = list[Entry](), set[str](), 0
    for row in found.rows:
        if not _is_act(row, reads=reads) or (key := row.get("act_id") or str(row["ts"])) in seen:
            continue
        seen.add(key)  # a repeated call has a row each time; the newest one counts
        if (before and row["ts"] >= before) or not (entry := told.entry(row)).contains(words):
            continue
        if len(entries) == most:
            return History(entries, last, found.whole)
        entries.append(entry)
        last = row["ts"]
    return History(entries, 0, found.whole)


async def uses_of(deputy: BaseDeputy, user: User) -> Mapping[str, Use]:
    """Return the uses by connection id, from the newest consent and the newest call of each account."""
    rows = (await _own_rows(deputy, user)).rows
    names, zone = cast("Pseudonyms", deputy.audit.names), await deputy.engine.zones.of(user)
    found = {}
    for grant in await deputy.vault.list_grants(user):
        own = names.account(user.tenant, user.id, grant.account.subject)
        mine = [row for row in rows if (row.get("account_hash"), row.get("app")) == (own, grant.app)]
        since = next((row for row in mine if row["event"] in ("consent.granted", "consent.partial")), None)
        last = next((row for row in mine if row["event"] == "act.result"), None)
        found[grant.connection_id] = Use(
            _minute(since, zone) if since else "",
            _minute(last, zone) if last else "",
            texts.agent_words(last.get("agent", "")) if last else "",
        )
    return found


def _is_act(row: Mapping[str, Any], *, reads: bool) -> bool:
    return row["event"] == "act.result" and row["decision"] not in ASKED and (reads or row.get("effect") != "reads")


async def _own_rows(deputy: BaseDeputy, user: User) -> Newest:
    """Return the rows of this user. A user without a pseudonym gets none: reading changes nothing."""
    names = cast("Pseudonyms", deputy.audit.names)
    users = {fallback_pseudonym(deputy.vault, user).name}
    if await names.has_key(user.tenant, user.id):
        await names.learn(user.tenant, user.id)
        users.add(names.user(user.tenant, user.id))
    return await asyncio.to_thread(_read, deputy, users)


def _read(deputy: BaseDeputy, users: set[str]) -> Newest:
    if trail := deputy.audit.trail:
        deputy.audit.flush()
        return read_newest(trail, users, deputy.audit.ring)
    return Newest([row for row in reversed(deputy.audit.rows()) if row.get("user") in users], whole=True)


def _minute(row: Mapping[str, Any], zone: tzinfo | None) -> str:
    return instant(row["ts"] // 60_000_000_000 * 60, zone)


def _sentence(description: str) -> str:
    """Return the first sentence of a tool's description for models, or its beginning."""
    return re.split(r"[.;:](?:\s|$)|\n", description.strip(), maxsplit=1)[0].replace("`", "")


class _Teller:
    """A writer of sentences for audit rows, with the accounts and undoable acts from the vault."""

    def __init__(
        self, zone: tzinfo | None, tools: Iterable[Tool], accounts: Mapping[str, str], undone: set[str]
    ) -> None:
        self.zone, self.accounts, self.undone = zone, accounts, undone
        self.tools = {tool.name: tool.description for tool in tools}
        self.undo: Mapping[str, Undoable] = {}

    @classmethod
    async def of(cls, deputy: BaseDeputy, user: User, undone: set[str]) -> _Teller:
        names = cast("Pseudonyms", deputy.audit.names)
        grants = await deputy.vault.list_grants(user)
        accounts = {names.account(user.tenant, user.id, one.account.subject): one.account.name for one in grants}
        teller = cls(await deputy.engine.zones.of(user), await asyncio.to_thread(deputy.tools), accounts, undone)
        teller.undo = {one.id: one for one in await deputy.undoable(user)}
        return teller

    def entry(self, row: Mapping[str, Any]) -> Entry:
        tool, act_id = row["tool"], row.get("act_id", "")
        can = self.undo.get(act_id)
        what = can.what if can else _sentence(self.tools.get(tool) or tool)
        said, outcome = texts.outcome_label(row["decision"])
        if act_id and act_id in self.undone:
            said, outcome, can = "Undone since", "declined", None
        return Entry(
            what=f"Undo: {what}" if row.get("undoes") else what,
            where=can.where if can else "",
            tool=tool,
            account=self.accounts.get(row.get("account_hash", ""), ""),
            agent=texts.agent_words(row.get("agent", "")),
            when=_minute(row, self.zone),
            said=said,
            outcome=outcome,
            undo=act_id if can else "",
        )


async def activity(site: Site, request: Request) -> Response:
    """Show a page of acts, newest first."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/activity")
    asked, path = request.query_params, current_path(request)
    query, reads = asked.get("q", "")[:MAX_QUERY_CHARACTERS], asked.get("reads") == "1"
    before = asked.get("before", "")
    found = await history_of(
        site.deputy,
        user,
        before=int(before) if before.isdecimal() and len(before) < 20 else 0,
        query=query,
        reads=reads,
    )
    chosen = {"q": query} | ({"reads": "1"} if reads else {})
    return await site.with_forms(
        request,
        "activity.html",
        user,
        "'self'",
        found=found,
        query=query,
        reads=reads,
        path=path,
        above=path.removesuffix("/activity"),
        older=f"{path}?{urlencode({**chosen, 'before': found.older})}" if found.older else "",
        began=not before,
    )


async def undo(site: Site, request: Request) -> Response:
    """Undo an act. If the policy asks first, show the preview of the undo, and accept an approval of exactly that."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/activity")
    fields = await site.form(request, user)
    act, back = fields.get("act", ""), current_path(request).removesuffix("/undo")
    try:
        if (agreed := fields.get("approval")) and not await _record_decision(
            site, user, agreed, fields.get("sure") == "yes"
        ):
            return see_other(back)
        await site.deputy.undo(user, act, agent=texts.PAGE_AGENT)
    except ApprovalRequired as asked:
        return await _ask(site, request, user, act, asked)
    except ConsentRequired as asked:
        return see_other(asked.consent.link)
    except NotFound:
        return site.message_page(request, 409, texts.TOO_LATE_TO_UNDO)
    except (Conflict, PolicyDenied) as e:
        # its hint is for agents
        return site.message_page(request, 409, texts.Message(texts.NOT_UNDONE, texts.failure(e)))
    return see_other(back)


async def _record_decision(site: Site, user: User, approval: str, sure: bool) -> bool:
    """Record the decision about an undo, and return it. A second decision is ignored; the page shows the state."""
    try:
        await site.deputy.decide(approval, "approve" if sure else "reject", by=user)
    except (Conflict, NotFound) as e:
        note(e, "POST /activity/undo")
    return sure


async def _ask(site: Site, request: Request, user: User, act: str, asked: ApprovalRequired) -> Response:
    return await site.with_forms(
        request,
        "undo.html",
        user,
        "'self'",
        action=current_path(request),
        act=act,
        approval=asked.approval,
        reading=arrange_rows(asked.approval),
    )


PAGES: Final = (
    Page("GET", "/activity", activity, own=True),
    Page("POST", "/activity/undo", undo, own=True),
)
