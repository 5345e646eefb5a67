"""The user's history of acts, with undo.

    GET   /activity        activity   activity.html; ?q= searches, ?all=1 includes reads and refused calls
    POST  /activity/undo   undo       back to /activity; undo.html if the policy asks first

It needs no storage of its own, because the audit has a row for each call. The audit names users by pseudonyms, so a
history is read by the user's own pseudonym and contains no rows of other users. A row of a write contains the act's
summary, encrypted under the user's key.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from functools import partial
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.audit.events import ActResult
from deputize.core.audit.tail import Newest, read_newest
from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import ApprovalRequired, Conflict, ConsentRequired, NotFound, PolicyDenied
from deputize.core.idempotency.undo import Undoable
from deputize.core.tools.preview_values import instant
from deputize.core.tools.summary import NO_SUMMARY, Summary
from deputize.core.tools.tool import Tool
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.pseudonyms import Pseudonyms, fallback_pseudonym
from deputize.core.web.pages import texts
from deputize.core.web.pages.approval_lines import arrange_rows
from deputize.core.web.pages.rendering import root_of, see_other
from deputize.core.web.pages.site import Page, Site, current_path, note

MAX_QUERY_CHARACTERS: Final = 100
ACTS_PER_PAGE: Final = 50
"""The number of acts on one page."""
ASKED: Final = frozenset({"consent_required", "approval_required", "reconsent_required"})
"""Outcomes of calls that only asked the user."""
MAX_BUTTON_CHARACTERS: Final = 60


@frozen
class Entry(ValueObject):
    """One act. ``parts``: whom it reached, what it changed, and where. ``link``: the page of its object at the
    provider, ``site``: the host of that page. ``outcome``: the style of its outcome, as for a consent. ``undo``: its id
    if it can be undone now."""

    what: str
    parts: tuple[str, ...]
    link: str
    site: str
    tool: str
    account: str
    agent: str
    when: str
    said: str
    outcome: str
    undo: str

    def contains(self, words: list[str]) -> bool:
        """Return True if the entry contains each of these words."""
        texts = (self.what, *self.parts, self.tool, self.account, self.agent, self.when, self.said)
        text = " ".join(texts).lower()
        return all(word in text for word in words)

    @property
    def title(self) -> str:
        """What the act changed, for its button and its link. Acts of a tool differ in their objects."""
        named = next((part for part in self.parts if "“" in part), "")
        text = named or ": ".join((self.what, *self.parts[:1]))
        return text if len(text) <= MAX_BUTTON_CHARACTERS else f"{text[: MAX_BUTTON_CHARACTERS - 1]}…"


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
    deputy: BaseDeputy,
    user: User,
    *,
    before: int = 0,
    query: str = "",
    everything: bool = False,
    most: int = ACTS_PER_PAGE,
) -> History:
    """Return the acts of this user's agents before a row's time (nanoseconds) that contain all words of ``query``.

    ``everything``: include reads, and calls that were refused before they could write.
    """
    found = await _own_rows(deputy, user)
    told = await _Teller.of(deputy, user)
    return await asyncio.to_thread(_page, found, told, before, query.lower().split(), everything, most)


def _page(found: Newest, told: _Teller, before: int, words: list[str], everything: bool, most: int) -> History:
    """Return a page of the rows. Tens of thousands of rows take a second, so never call this on the event loop."""
    told.read(found.rows)
    entries, seen, last = list[Entry](), set[str](), 0
    for row in found.rows:
        if not (everything or told.may_have_written(row)) or not _is_result(row):
            continue
        if (key := row.get("act_id") or f"{row['writer']} {row['seq']}") in seen:
            continue
        seen.add(key)  # a repeated call has a row each time; the newest one counts
        if (before and row["ts"] >= before) or not (entry := told.entry(row)).contains(words):
            continue
        if len(entries) == most:
            return History(entries, last, found.whole)
        entries.append(entry)
        last = row["ts"]
    return History(entries, 0, found.whole)


def _is_result(row: Mapping[str, Any]) -> bool:
    return row["event"] == ActResult.event and row["decision"] not in ASKED


async def uses_of(deputy: BaseDeputy, user: User) -> Mapping[str, Use]:
    """Return the uses by connection id, from the newest consent and the newest call of each account."""
    rows = (await _own_rows(deputy, user)).rows
    names, zone = cast("Pseudonyms", deputy.audit.names), await deputy.services.zones.of(user)
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
    """A writer of sentences for audit rows, with the accounts and undoable acts from the vault.

    ``unseal``: decrypts the summary of an act for its user.
    """

    def __init__(
        self,
        zone: tzinfo | None,
        tools: Iterable[Tool],
        accounts: Mapping[str, str],
        unseal: Callable[[str, str], str],
    ) -> None:
        self.zone, self.accounts, self.unseal = zone, accounts, unseal
        self.tools = {tool.name: tool.description for tool in tools}
        self.undo: Mapping[str, Undoable] = {}
        self.undone, self.begun = set[str](), set[str]()
        self.sealed, self.tool_of = dict[str, str](), dict[str, str]()

    def read(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Collect facts about acts from all rows of the user, newest first. A call that is repeated has a row each
        time, and only the row of the run that wrote has a summary."""
        for row in rows:
            act_id = row.get("act_id")
            if row.get("undoes") and row.get("decision") == "done":
                self.undone.add(row["undoes"])
            if act_id and row.get("answered_by"):  # nothing is written before the act has an answer
                self.begun.add(act_id)
                self.tool_of.setdefault(act_id, row["tool"])
            if act_id and row.get("sealed"):
                self.sealed.setdefault(act_id, row["sealed"])

    @classmethod
    async def of(cls, deputy: BaseDeputy, user: User) -> _Teller:
        names = cast("Pseudonyms", deputy.audit.names)
        grants = await deputy.vault.list_grants(user)
        accounts = {names.account(user.tenant, user.id, one.account.subject): one.account.name for one in grants}
        tools = await asyncio.to_thread(deputy.tools)
        unseal = partial(names.unseal, user.tenant, user.id)
        teller = cls(await deputy.services.zones.of(user), tools, accounts, unseal)
        teller.undo = {one.id: one for one in await deputy.undoable(user)}
        return teller

    def may_have_written(self, row: Mapping[str, Any]) -> bool:
        """Return True unless the call only read, or was refused before it could write."""
        begun = row.get("act_id") in self.begun or row.get("decision") == "outcome_unknown"
        return begun and row.get("effect") != "reads"

    def _summary(self, act_id: str, tool: str) -> Summary:
        """Return the summary of an act. Without one, its sentence is that of the tool."""
        sealed = self.sealed.get(act_id)
        found = Summary.unpack(self.unseal(act_id, sealed)) if sealed else NO_SUMMARY
        return found if found.what else Summary(_sentence(self.tools.get(tool) or tool), found.parts, found.link)

    def entry(self, row: Mapping[str, Any]) -> Entry:
        tool, act_id, undoes = row["tool"], row.get("act_id", ""), row.get("undoes", "")
        can = self.undo.get(act_id)
        did = self._summary(undoes, self.tool_of[undoes]) if undoes in self.tool_of else self._summary(act_id, tool)
        said, outcome, link = *texts.outcome_label(row["decision"]), "" if undoes else did.link
        if act_id and act_id in self.undone:  # what it made is gone, so that its link leads nowhere
            said, outcome, can, link = "Undone since", "declined", None, ""
        return Entry(
            what=f"Undo: {did.what}" if undoes else did.what,
            parts=did.parts,
            link=link,
            site=urlsplit(link).netloc,
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
    query, everything = asked.get("q", "")[:MAX_QUERY_CHARACTERS], asked.get("all") == "1"
    before = asked.get("before", "")
    found = await history_of(
        site.deputy,
        user,
        before=int(before) if before.isdecimal() and len(before) < 20 else 0,
        query=query,
        everything=everything,
    )
    chosen = {"q": query} | ({"all": "1"} if everything else {})
    return await site.with_forms(
        request,
        "activity.html",
        user,
        "'self'",
        found=found,
        query=query,
        everything=everything,
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
        agreed, sure = fields.get("approval"), fields.get("sure") == "yes"
        if agreed and sure and await site.step_up_link(request, user, agreed):
            return see_other(f"{root_of(request)}/approve/{quote(agreed, safe='')}")
        if agreed and not await _record_decision(site, user, agreed, sure):
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
    if asked.approval.approvers:
        said = f"The undo waits for somebody with the role {asked.approval.approvers}."
        return site.message_page(request, 409, texts.Message(texts.NOT_UNDONE, said, "Try again after the decision."))
    undone = next((one for one in await site.deputy.undoable(user) if one.id == act), None)
    return await site.with_forms(
        request,
        "undo.html",
        user,
        "'self'",
        action=current_path(request),
        act=act,
        undone=undone,
        approval=asked.approval,
        reading=arrange_rows(asked.approval),
    )


PAGES: Final = (
    Page("GET", "/activity", activity, own=True),
    Page("POST", "/activity/undo", undo, own=True),
)
