"""The user's history of acts, with undo.

GET /activity activity activity.html; ?q= searches, ?reads=1 has what was only looked up, too POST /activity/undo undo
back to /activity; undo.html where that needs a yes
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import ApprovalRequired, Conflict, ConsentRequired, NotFound, PolicyDenied
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.history import history_of
from deputize.core.web.pages.reading_order import arrange_rows
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path, note

MAX_QUERY: Final = 100


async def activity(site: Site, request: Request) -> Response:
    """Show a page of acts, newest first."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/activity")
    asked, path = request.query_params, current_path(request)
    query, reads = asked.get("q", "")[:MAX_QUERY], asked.get("reads") == "1"
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
    """Undo an act. If the policy asks first, show what the undo will do, and take an approval of just that."""
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
    """Record the decision about an undo, and return it. A second decision is ignored: the current state is shown."""
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
