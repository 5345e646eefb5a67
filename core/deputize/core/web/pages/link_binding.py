"""In local mode a link opens in one browser only: in the first that keeps our cookie.

A browser that comes without the cookie is given it, below the link's own path, and sent to the same address once more;
with it, the link becomes that browser's. What only looks, as previews of links do, keeps no cookies: it sees nothing
and takes nothing away. Other programs on 127.0.0.1 see the cookies of all of us, so it takes cookie and link together.
"""

from __future__ import annotations

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.audit.events import BrowserMismatch
from deputize.core.errors import InvalidInput
from deputize.core.web.pages import texts
from deputize.core.web.pages.local_links import ME_LIFE, bind, is_bound
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, here

RETURNED: Final = "cookie"
"""The parameter of a query that says that the browser was given the cookie."""


async def in_one_browser(site: Site, page: Page, request: Request) -> Response:
    """The answer of this page, if its link is this browser's or nobody's yet. Raises the refusal of unusable links."""
    token = request.path_params["me" if page.own else page.link]
    cookies = await site.cookies()
    given = cookies.given(request, cookies.link)
    try:
        ours = await is_bound(site.deputy, token, given)
        if not ours and page.method == "POST":
            return site.refused(request)
        answer = await page.handler(site, request)  # first: for a link that is none nothing is written
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
        return site.say(request, 400, texts.NO_COOKIES)
    back = see_other(f"{here(request)}?{request.url.query}{'&' if request.url.query else ''}{RETURNED}=1")
    path = here(request)
    cookies.put(back, cookies.link, secrets.token_urlsafe(32), int(ME_LIFE), path[: path.index(token) + len(token)])
    return back
