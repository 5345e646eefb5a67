"""The operator's page: who is connected in the tenant, and Disconnect with a reason.

    GET   /operator              list_connections   operator.html; ?after= is the next page
    POST  /operator/disconnect   disconnect         operator_disconnect.html, which asks for a reason; then /operator

An operator sees no content and no activity, and approves nothing. Whoever lacks the role gets the answer to every
unusable link. In local mode these pages do not exist: the command line is the machine owner's.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import InvalidInput
from deputize.core.roles import Role
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path

_AFTER: Final = re.compile(r"[0-9a-f.]{1,200}")


async def list_connections(site: Site, request: Request) -> Response:
    """Show the connected accounts of the tenant's users."""
    user = await site.user_with_role(request, Role.OPERATOR)
    if user is None:
        return site.redirect_to_sign_in(request, "/operator")
    path, after = current_path(request), request.query_params.get("after", "")
    after = after if _AFTER.fullmatch(after) else ""
    found, more = await site.deputy.connections_in_tenant(user, after=after)
    return await site.with_forms(
        request,
        "operator.html",
        user,
        "'self'",
        path=path,
        above=path.removesuffix("/operator"),
        connections=[(one, site.label(one.provider)) for one in found],
        more=more,
        began=not after,
    )


async def disconnect(site: Site, request: Request) -> Response:
    """Ask for the reason, then disconnect one account of another user, or all of them."""
    user = await site.user_with_role(request, Role.OPERATOR)
    if user is None:
        return site.redirect_to_sign_in(request, "/operator")
    fields = await site.form(request, user)
    given = {name: fields.get(name, "") for name in ("user", "provider", "app", "account")}
    back, reason = current_path(request).removesuffix("/disconnect"), fields.get("reason", "").strip()
    if not given["user"]:
        raise InvalidInput("The form names no user.", fix_by="user", reason="invalid_form")
    if fields.get("sure") == "yes" and reason:
        await site.deputy.disconnect_for(
            user,
            given["user"],
            given["provider"],
            reason=reason,
            app=given["app"],
            account=given["account"] or None,
        )
        return see_other(back)
    return await site.with_forms(
        request,
        "operator_disconnect.html",
        user,
        "'self'",
        action=current_path(request),
        fields=given,
        label=site.label(given["provider"]) if given["provider"] else "all providers",
        back=back,
    )


PAGES: Final = (
    Page("GET", "/operator", list_connections, own=True),
    Page("POST", "/operator/disconnect", disconnect, own=True),
)
