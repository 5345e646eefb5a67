"""Binding of links in local mode: a link opens only in the first browser that keeps the pages' cookie.

A browser without the cookie gets it, below the link's own path, and is redirected to the same address once. With the
cookie, the link becomes that browser's. Link previews keep no cookies, so they see nothing and do not bind the link.
Other servers on 127.0.0.1 see these cookies, so cookie and link are both needed.
"""

from __future__ import annotations

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.audit.events import BrowserMismatch
from deputize.core.errors import InvalidInput
from deputize.core.web.pages import texts
from deputize.core.web.pages.local_links import DASHBOARD_LINK_TTL, bind, is_bound
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path

RETURNED: Final = "cookie"
"""The query parameter that says that the browser got the cookie."""


async def bind_to_browser(site: Site, page: Page, request: Request) -> Response:
    """Return the page's response if its link is this browser's or nobody's yet. Raises the refusal of bad links."""
    token = request.path_params["me" if page.own else page.link]
    cookies = await site.cookies()
    given = cookies.read(request, cookies.link)
    try:
        ours = await is_bound(site.deputy, token, given)
        if not ours and page.method == "POST":
            return site.refusal_page(request)
        answer = await page.handler(site, request)  # first: for an invalid link nothing is written
        if ours:
            return answer
        if given and request.method == "GET":
            await bind(site.deputy, token, given)
            return answer
    except InvalidInput as e:
        if e.reason == "other_browser":
            site.deputy.audit.write(BrowserMismatch())
        raise
    if RETURNED in request.query_params:
        return site.message_page(request, 400, texts.NO_COOKIES)
    back = see_other(f"{current_path(request)}?{request.url.query}{'&' if request.url.query else ''}{RETURNED}=1")
    path = current_path(request)
    cookies.put(
        back, cookies.link, secrets.token_urlsafe(32), int(DASHBOARD_LINK_TTL), path[: path.index(token) + len(token)]
    )
    return back
