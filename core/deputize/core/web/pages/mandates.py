"""Mandates: created with the approval of one act, listed on the page of connections, ended there.

POST  /approve/{approval}/more    approve_with_mandate   back to /approve/{approval}
POST  /connections/mandates/end   end                    back to /connections
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.approvals.mandate_record import MAX_ACTS, Mandate, MandateOffer
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.preview import SEEN_BY
from deputize.core.tools.preview_values import instant
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path, note

PERIODS: Final = {"1": "for an hour", "24": "for a day", "168": "for a week", "720": "for 30 days"}
"""The durations of mandates on the page: hours, and their labels."""
HOUR: Final = 3600.0


async def list_mandates(site: Site, user: User, approval: str = "") -> list[dict[str, Any]]:
    """Return the user's mandates for templates, or only those created with ``approval``."""
    found = await site.deputy.mandates(user)
    zone = await site.deputy.services.zones.of(user)
    return [_facts(one, zone) for one in found if not approval or one.approval == approval]


def _facts(mandate: Mandate, zone: tzinfo | None) -> dict[str, Any]:
    return {
        "id": mandate.id,
        "agent": texts.agent_words(mandate.agent),
        "tools": mandate.tools,
        "targets": mandate.targets,
        "account": mandate.account,
        "seen_by": SEEN_BY[mandate.audience],
        "destroys": mandate.allow_destructive,
        "used": mandate.used,
        "most": mandate.max_acts,
        "until": instant(mandate.expires_at, zone),
    }


async def approve_with_mandate(site: Site, request: Request) -> Response:
    """Approve an act, with a mandate for more acts like it."""
    user = await site.user(request)
    approval = request.path_params["approval"]
    if user is None:
        return site.redirect_to_sign_in(request, f"/approve/{quote(approval, safe='')}")
    fields = await site.form(request, user)
    most, hours = fields.get("most", ""), fields.get("hours", "")
    if hours not in PERIODS or most not in map(str, range(1, MAX_ACTS + 1)):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    if await site.step_up_link(request, user, approval):
        return see_other(current_path(request).removesuffix("/more"))
    offer = MandateOffer(int(most), site.deputy.clock() + int(hours) * HOUR)
    try:
        await site.deputy.decide(approval, "approve", by=user, mandate=offer)
    except Conflict as e:
        note(e, "POST /approve/{approval}/more")
    return see_other(current_path(request).removesuffix("/more"))


async def end(site: Site, request: Request) -> Response:
    """End a mandate. Does nothing if it has ended already."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/connections")
    wanted = (await site.form(request, user)).get("mandate", "")
    try:
        await site.deputy.revoke_mandate(user, wanted)
    except NotFound as e:
        note(e, "POST /connections/mandates/end")
    return see_other(current_path(request).removesuffix("/mandates/end"))


PAGES: Final = (
    Page("POST", "/approve/{approval}/more", approve_with_mandate, own=True),
    Page("POST", "/connections/mandates/end", end, own=True),
)
