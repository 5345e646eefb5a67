"""A person's browser, simulated over any httpx transport.

It does not use `httpx.Client`, which logs every URL: the URLs of a consent contain codes and states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlencode, urljoin

import httpx

from deputize.sandbox.cookies import Jar
from deputize.sandbox.forms import Form, forms_of

HOPS = 10
REDIRECTS = (301, 302, 303)
REPEATS = (307, 308)


@dataclass(frozen=True)
class Page:
    """The page that the browser has reached."""

    url: str = field(repr=False)
    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @cached_property
    def forms(self) -> Sequence[Form]:
        """The page's forms, in order."""
        return tuple(forms_of(self.text))


class Browser:
    """One person's browser, with its own cookies. ``base_url`` is where relative links start."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, base_url: str = "") -> None:
        self._transport = transport
        self._base_url = base_url
        self.cookies = Jar()

    async def open(self, url: str) -> Page:
        """Open a URL and follow its redirects. Raise LookupError after too many."""
        return await self._visit("GET", urljoin(self._base_url, url), b"", origin="")

    async def submit(self, page: Page, form: Form, **fields: str | Iterable[str]) -> Page:
        """Submit a form of a page. ``fields`` replace the page's values; several values repeat the name."""
        given = {name: [value] if isinstance(value, str) else list(value) for name, value in fields.items()}
        data = [(name, value) for name, value in form.data() if name not in given]
        data += [(name, value) for name, values in given.items() for value in values]
        target = urljoin(page.url, form.action) if form.action else page.url
        if form.method == "GET":
            return await self._visit("GET", f"{target.partition('?')[0]}?{urlencode(data)}", b"", origin="")
        return await self._visit("POST", target, urlencode(data).encode(), origin=_origin(page))

    async def allow(self, link: str, *, as_: str = "alice@example.test", untick: Iterable[str] = ()) -> Page:
        """Follow deputize's link to the provider and allow all scopes except ``untick``, as this account.

        ``untick`` takes whole scopes, or the part after their last slash. If no consent page is shown, returns the page
        that was shown. Raises LookupError for an account or a scope that the consent page does not offer.
        """
        page = await self._to_consent(link)
        form = _consent_form(page)
        if form is None:
            return page
        if as_ not in form.offers("account"):
            raise LookupError(f"the consent page does not offer the account {as_}")
        return await self.submit(page, form, account=as_, scope=_ticked_scopes(form, set(untick)), decision="allow")

    async def deny(self, link: str) -> Page:
        """Follow deputize's link to the provider and deny the request."""
        page = await self._to_consent(link)
        form = _consent_form(page)
        return page if form is None else await self.submit(page, form, decision="deny")

    async def _to_consent(self, link: str) -> Page:
        """Go to the provider's page, through deputize's connect page if the link shows one."""
        page = await self.open(link)
        connect = next((form for form in page.forms if form.method == "POST"), None)
        if _consent_form(page) is None and connect is not None:
            page = await self.submit(page, connect)
        return page

    async def _visit(self, method: str, url: str, body: bytes, *, origin: str) -> Page:
        for _ in range(HOPS):
            response = await self._request(method, url, body, origin)
            location = response.headers.get("location", "")
            if not location or response.status_code not in REDIRECTS + REPEATS:
                return Page(url, response.status_code, dict(response.headers), response.text)
            url = urljoin(url, location)
            if response.status_code in REDIRECTS:
                method, body, origin = "GET", b"", ""
        raise LookupError(f"more than {HOPS} redirects")

    async def _request(self, method: str, url: str, body: bytes, origin: str) -> httpx.Response:
        target = httpx.URL(url)
        headers = {"accept": "text/html", "accept-encoding": "identity", "sec-fetch-mode": "navigate"}
        if cookie := self.cookies.header(target):
            headers["cookie"] = cookie
        if method == "POST":
            headers |= {"content-type": "application/x-www-form-urlencoded", "origin": origin}
        request = httpx.Request(method, target, headers=headers, content=body or None)
        response = await self._transport.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        self.cookies.take(target, response.headers.get_list("set-cookie"))
        return response


def _consent_form(page: Page) -> Form | None:
    return next((form for form in page.forms if "allow" in form.offers("decision")), None)


def _ticked_scopes(form: Form, untick: set[str]) -> list[str]:
    """Return the scope boxes that stay ticked."""
    offered = form.offers("scope")
    short = {scope: scope.rpartition("/")[2] for scope in offered}
    if unknown := untick - set(offered) - set(short.values()):
        raise LookupError(f"the consent page has no box for {', '.join(sorted(unknown))}")
    return [scope for scope in offered if scope not in untick and short[scope] not in untick]


def _origin(page: Page) -> str:
    """Return the form's ``Origin``: "null" on a page that forbids referrers, as in browsers."""
    if page.headers.get("referrer-policy", "") == "no-referrer":
        return "null"
    url = httpx.URL(page.url)
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
