"""All that one step of an agent asks, on one page, with a tick for each that is answered.

GET  /asks/{step}     asks     asks.html
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import NotFound
from deputize.core.web.pages.request_summaries import step_of
from deputize.core.web.pages.site import Page, Site, here


async def asks(site: Site, request: Request) -> Response:
    """What is asked, what was answered, and the way to each. Whoever answered one is led back here."""
    name = request.path_params["step"]
    user = await site.user(request)
    if user is None:
        return site.nobody(request, f"/asks/{name}")
    step = await step_of(site.deputy, user, name)
    if not step.questions:
        raise NotFound("Nothing is asked under this name.")
    above = here(request).removesuffix(f"/asks/{name}")
    return await site.with_forms(
        request, "asks.html", user, "'self'", step=step, above=above, path=here(request), back=site.return_to.default
    )


PAGES: Final = (Page("GET", "/asks/{step}", asks, own=True),)
