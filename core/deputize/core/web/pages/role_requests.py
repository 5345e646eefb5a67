"""Acts of other users in the tenant that a policy asks the user's role for.

    GET   /others              list_others   others.html, oldest first; ?after= is the next page
    GET   /others/{approval}   ask           approve.html as the requester sees it; approval_result.html afterwards
    POST  /others/{approval}   decide        back to the same address

The role is read from the session at each request. Whoever lacks it gets the answer to every unusable link, and so does
the requester. In local mode nobody signs in, so nobody is asked there.
"""

from __future__ import annotations

from typing import Any, Final, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.approvals.service import Decision
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.approval_lines import arrange_rows, first_line
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.request_summary import Step
from deputize.core.web.pages.site import Page, Site, current_path, note

MAX_TIME: Final = 2.0**53


async def list_others(site: Site, request: Request) -> Response:
    """Show the pending approvals of other users that the user's roles are asked for."""
    user = await _signed_in(site, request)
    if user is None:
        return site.redirect_to_sign_in(request, "/others")
    path = current_path(request)
    approvals, more = await site.deputy.approvals.list_for_approver(user, _time(request.query_params.get("after", "")))
    return await site.with_forms(
        request,
        "others.html",
        user,
        "'self'",
        path=path,
        above=path.removesuffix("/others"),
        approvals=approvals,
        more=repr(more) if more else "",
        first_line=first_line,
    )


async def ask(site: Site, request: Request) -> Response:
    """Show an act of another user that waits for approval, or the decision about it."""
    user = await _signed_in(site, request)
    if user is None:
        return site.redirect_to_sign_in(request, _path(request))
    act = await _act(site, request, user)
    owner = User(act.requester, user.tenant)
    facts: dict[str, Any] = {
        "step": Step(""),
        "step_link": "",
        "act": act,
        "requester": act.requester,
        "reading": arrange_rows(act),
        "head": texts.approval_head(act, await site.deputy.services.zones.of(owner)),
        "effect": texts.EFFECTS.get(act.effect, act.effect),
        "back": current_path(request).rpartition("/")[0],
        "mandates": [],
        "step_up": await site.step_up_link(request, user, act.id) if act.status == "pending" else "",
        "left": texts.minutes(act.expires_at - site.deputy.clock()),
    }
    template = "approve.html" if act.status == "pending" else "approval_result.html"
    action = f"{facts['back']}/{act.id}"  # whose id says what the page shows
    return await site.with_forms(request, template, user, "'self'", action=action, **facts)


async def decide(site: Site, request: Request) -> Response:
    """Record the decision of a member of the role. After another decision, that one is shown."""
    user = await _signed_in(site, request)
    if user is None:
        return site.redirect_to_sign_in(request, _path(request))
    decision, act = (await site.form(request, user)).get("decision", ""), await _act(site, request, user)
    if decision not in ("approve", "reject"):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    if decision == "approve" and await site.step_up_link(request, user, act.id):
        return see_other(current_path(request))  # which links to the new sign-in
    try:
        await site.deputy.decide(request.path_params["approval"], cast("Decision", decision), by=user)
    except Conflict as e:
        note(e, "POST /others/{approval}")
    return see_other(current_path(request))


async def _signed_in(site: Site, request: Request) -> User | None:
    """Return the user. Raises `NotFound` in local mode, where nobody proves to be another person."""
    if site.local:
        raise NotFound("Nobody is asked about other users' acts in local mode.")
    return await site.user(request)


async def _act(site: Site, request: Request, user: User) -> Approval:
    found = await site.deputy.approvals.get_for_approver(request.path_params["approval"], user)
    if found is None or found.expires_at <= site.deputy.clock():
        raise NotFound("No such approval waits for a role of this user.")
    return found


def _path(request: Request) -> str:
    return f"/others/{quote(request.path_params['approval'], safe='')}"


def _time(text: str) -> float:
    """Return the time in the address of a further page, or 0.0 for anything else."""
    try:
        found = float(text or 0)
    except ValueError:
        return 0.0
    return found if 0 <= found < MAX_TIME else 0.0


PAGES: Final = (
    Page("GET", "/others", list_others, own=True),
    Page("GET", "/others/{approval}", ask, own=True),
    Page("POST", "/others/{approval}", decide, own=True),
)
