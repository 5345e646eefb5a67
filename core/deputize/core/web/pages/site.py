"""What all pages share: whose they are, how they are shown, and which forms are believed."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from traceback import walk_tb
from typing import Any, Literal
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.consent.consents import AnyLocalUser, Who
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.web.cookies import FORM_LIFE, Cookies, cookies_for
from deputize.core.web.pages import texts
from deputize.core.web.pages.brand import Brand
from deputize.core.web.pages.forms import fields_of, form_token, from_our_page
from deputize.core.web.pages.local_links import user_of
from deputize.core.web.pages.rendering import page, root_of, see_other, templates_in
from deputize.core.web.pages.return_to import ReturnTo
from deputize.core.web.pages.texts import Message
from deputize.core.web.user_verifier import UserVerifier, person

log = logging.getLogger("deputize.web")

SIGN_OUT = "/sign-out"
"""The page that ends a session of ours, where people sign in at our pages (`deputize.core.web.signin.sign_in`)."""


class Site:
    """The pages of one deputy. Without a verifier it is the local one.

    ``templates``: folders with more templates. ``return_to``: where pages may lead back to. ``brand``: whose
    pages they are said to be. ``sign_out``: the page that ends a session of ours, "" for none.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        verifier: UserVerifier | None,
        sign_in: str,
        templates: Iterable[Path] = (),
        return_to: Iterable[str] = (),
        brand: Brand | None = None,
        sign_out: str = "",
    ) -> None:
        self.deputy, self.verifier, self.sign_in = deputy, verifier, sign_in
        self.return_to = ReturnTo.of(return_to)
        self.templates = templates_in(*templates)
        self.local = verifier is None
        self.brand, self.sign_out = brand, sign_out
        self.key = deputy.vault.keys.web

    async def who(self, request: Request) -> Who:
        """Who opens a consent: the verified user, nobody, or whoever sits at this machine."""
        return await person(self.verifier, request) if self.verifier else AnyLocalUser()

    async def user(self, request: Request) -> User | None:
        """Whose own pages these are: the verified user's, or whom a local link names."""
        if self.verifier:
            return await person(self.verifier, request)
        return user_of(self.deputy, request.path_params["me"])

    async def cookies(self) -> Cookies:
        """How our cookies are at our address."""
        return cookies_for(await self.deputy.pages.base_url(), self.key)

    def label(self, provider: str) -> str:
        """A provider's name for people."""
        row = self.deputy.providers.get(provider)
        return row.label if row else provider

    # ------------------------------------------------------------- answers

    def page(self, request: Request, name: str, status: int = 200, *, forms_to: str = "", **facts: Any) -> Response:
        """A page from a template; see `deputize.core.web.pages.rendering.page`. ``whom``: the user it is for, if
        known."""
        facts = {"brand": self.brand, "whom": "", "local": self.local, "sign_out": self.sign_out} | facts
        return page(self.templates, request, name, status, forms_to=forms_to, **facts)

    def say(self, request: Request, status: int, message: Message) -> Response:
        """A page that says one thing."""
        outcome = "failed" if status >= 400 and status != 401 else ""
        return self.page(request, "message.html", status, **message._asdict(), outcome=outcome)

    def refused(self, request: Request) -> Response:
        """The one answer to everything that cannot be used, whatever the reason."""
        return self.say(request, 403, texts.REFUSED)

    def nobody(self, request: Request, path: str) -> Response:
        """Nobody is signed in: to the host's own page, which can send them back to ``path``, one of ours."""
        if not self.sign_in:
            return self.say(request, 401, texts.SIGN_IN)
        if self.sign_out and request.method == "POST":  # a form of ours may not lead to the issuer's host (CSP)
            return self.say(request, 401, texts.SIGNED_OUT_MEANWHILE)
        joint = "&" if "?" in self.sign_in else "?"
        return see_other(self.sign_in + joint + urlencode({"next": root_of(request) + path}))

    # ------------------------------------------------------------- forms

    async def with_forms(self, request: Request, name: str, who: Who, forms_to: str, **facts: Any) -> Response:
        """A page whose forms only this browser and this person can send."""
        cookies = await self.cookies()
        cookie = cookies.form(request)

        def token(path: str) -> str:
            return form_token(self.key, cookie, who, path)

        facts = {"whom": who.id if isinstance(who, User) else ""} | facts
        # texts of megabytes take seconds until all their characters show: never in the event loop
        response = await asyncio.to_thread(self.page, request, name, forms_to=forms_to, token=token, **facts)
        cookies.put(response, cookies.name, cookie, FORM_LIFE)
        return response

    async def form(self, request: Request, who: Who) -> dict[str, str]:
        """The fields of a form of ours. Raises `InvalidInput` for any other."""
        fields = await fields_of(request)
        base = await self.deputy.pages.base_url()
        cookie = request.cookies.get(cookies_for(base, self.key).name, "")
        due = form_token(self.key, cookie, who, here(request))
        given = fields.get("form", "")
        if not cookie or not hmac.compare_digest(given.encode(), due.encode()) or not from_our_page(request, base):
            raise InvalidInput("This form is none of ours.", fix_by="user", reason="foreign_form")
        return fields


Handler = Callable[[Site, Request], Awaitable[Response]]
"""Answers one request. A `DeputizeError` it raises becomes a page: see `deputize.core.web.app`."""


@frozen
class Page(ValueObject):
    """One address and what answers there. ``path``: as Starlette's routes have it, below the application's root.

    ``own``: of one user, and so below ``/me/{me}`` in local mode. ``local``: in local mode only. ``link``: the
    parameter of its path that makes it a link; in local mode it then opens in one browser only. Of one's own: ``me``.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    own: bool = False
    local: bool = False
    link: str = ""


def here(request: Request) -> str:
    """The path of this very page, as a link on it would say it."""
    path, mount = str(request.scope["path"]), str(request.scope.get("root_path", "")).rstrip("/")
    return quote(root_of(request) + (path[len(mount) :] if path.startswith(f"{mount}/") else path))


def is_refusal(e: Exception) -> bool:
    """Whether the browser brought something that cannot be used: one answer for all of that."""
    return isinstance(e, NotFound) or (isinstance(e, InvalidInput) and e.fix_by == "user")


def note(e: Exception, during: str) -> None:
    """Log what went wrong, and where, but not in its own words: they may hold what nobody should read."""
    if isinstance(e, DeputizeError):
        reason = getattr(e, "reason", "") if is_refusal(e) else ""  # a word of ours: the page does not tell it
        log.warning("%s while answering %s: %s%s", e.code, during, e.message, f" ({reason})" if reason else "")
        return
    *_, (frame, line) = walk_tb(e.__traceback__)
    log.error("%s in %s:%d while answering %s", type(e).__name__, Path(frame.f_code.co_filename).name, line, during)
