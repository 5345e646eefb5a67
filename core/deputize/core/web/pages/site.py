"""The state that all pages share: their users, templates, and forms, which are bound to a browser and a user (CSRF)."""

from __future__ import annotations

import asyncio
import hmac
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final, Literal, Protocol, runtime_checkable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.consent.consents import AnyLocalUser, Who
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import AnyUser, User
from deputize.core.web.cookies import FORM_TTL, Cookies, cookies_for
from deputize.core.web.pages import texts
from deputize.core.web.pages.brand import Brand
from deputize.core.web.pages.local_links import user_of
from deputize.core.web.pages.rendering import page, root_of, see_other, templates_in
from deputize.core.web.pages.return_to import ReturnTo
from deputize.core.web.pages.texts import Message
from deputize.core.web.signing_key import sign

log = logging.getLogger("deputize.web")

SIGN_OUT = "/sign-out"
"""The page that ends one of our sessions, if users sign in at our pages (`deputize.core.web.signin.sign_in`)."""

UserVerifier = Callable[[Request], AnyUser | Awaitable[AnyUser]]
"""Who the browser's person is, by the host application's own session; None if nobody is signed in.

The session's cookie must be SameSite=Lax or None: Strict ones do not come back with the browser from the provider.
"""


@runtime_checkable
class StepUpVerifier(Protocol):
    """A `UserVerifier` that can ask for a new sign-in before an approval: `deputize.core.web.signin`."""

    async def step_up_link(self, request: Request, path: str) -> str:
        """Return the address of a new sign-in that leads back to ``path``, or "" if none is needed."""
        ...


MAX_FORM_BYTES: Final = 16384


class Site:
    """The pages of one deputy. Without a verifier, they are in local mode.

    ``templates``: folders with more templates. ``return_to``: addresses to which pages may link at the end. ``brand``:
    the name and look of the application. ``sign_out``: the page that ends a session of the pages, "" if there is none.
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

    async def consent_user(self, request: Request) -> Who:
        """Return the user who opens a consent: the verified user, None, or the user of this machine."""
        return await _verify_user(self.verifier, request) if self.verifier else AnyLocalUser()

    async def user(self, request: Request) -> User | None:
        """Return the owner of the user's own pages: the verified user, or the user in a local link."""
        if self.verifier:
            return await _verify_user(self.verifier, request)
        return user_of(self.deputy, request.path_params["me"])

    async def user_with_role(self, request: Request, role: str) -> User | None:
        """Return the signed-in user, None if nobody is. Raises `MissingRole` without this role, and `NotFound` in local
        mode, where nobody signs in."""
        if self.local:
            raise NotFound(f"There is no {role} in local mode.")
        user = await self.user(request)
        if user is not None and role not in await self.deputy.roles.of_person(user):
            raise MissingRole(f"This user does not have the role {role}.")
        return user

    async def cookies(self) -> Cookies:
        """Return the cookies for the pages' address."""
        return cookies_for(await self.deputy.pages.base_url(), self.key)

    async def step_up_link(self, request: Request, user: User, approval: str) -> str:
        """Return the address of a new sign-in without which the user cannot approve this act, or "" if none is needed.

        One is needed for a grave act: see `ApprovalRecord.is_grave`.
        """
        if not isinstance(self.verifier, StepUpVerifier):
            return ""
        record = await self.deputy.approvals.load_decidable(approval, user)
        theirs = record.may_be_decided_by(user)
        if record.approvers and not theirs:  # the user cannot approve it at all
            return ""
        if record.question is not None or not record.is_grave:
            return ""
        return await self.verifier.step_up_link(
            request, f"{root_of(request)}/{'others' if theirs else 'approve'}/{quote(approval, safe='')}"
        )

    def label(self, provider: str) -> str:
        """Return a provider's name for people."""
        row = self.deputy.providers.get(provider)
        return row.label if row else provider

    # ------------------------------------------------------------- answers

    def page(self, request: Request, name: str, status: int = 200, *, forms_to: str = "", **facts: Any) -> Response:
        """Return a page from a template; see `deputize.core.web.pages.rendering.page`. ``whom``: its user, if known."""
        facts = {"brand": self.brand, "whom": "", "local": self.local, "sign_out": self.sign_out} | facts
        return page(self.templates, request, name, status, forms_to=forms_to, **facts)

    def message_page(self, request: Request, status: int, message: Message) -> Response:
        """Return a page with one message."""
        outcome = "failed" if status >= 400 and status != 401 else ""
        return self.page(request, "message.html", status, **message._asdict(), outcome=outcome)

    def refusal_page(self, request: Request, e: Exception | None = None) -> Response:
        """Return the one response to everything that cannot be used, whatever the reason, except a missing role."""
        return self.message_page(request, 403, texts.MISSING_ROLE if isinstance(e, MissingRole) else texts.REFUSED)

    def redirect_to_sign_in(self, request: Request, path: str) -> Response:
        """Redirect to your sign-in page, which can send the user back to ``path`` of these pages."""
        if not self.sign_in:
            return self.message_page(request, 401, texts.SIGN_IN)
        if self.sign_out and request.method == "POST":  # our forms may not lead to the issuer's host (CSP)
            return self.message_page(request, 401, texts.SIGNED_OUT_MEANWHILE)
        joint = "&" if "?" in self.sign_in else "?"
        return see_other(self.sign_in + joint + urlencode({"next": root_of(request) + path}))

    # ------------------------------------------------------------- forms

    async def with_forms(self, request: Request, name: str, who: Who, forms_to: str, **facts: Any) -> Response:
        """Return a page whose forms only this browser and this user can send."""
        cookies = await self.cookies()
        cookie = cookies.form(request)

        def token(path: str) -> str:
            return _form_token(self.key, cookie, who, path)

        roles = await self.deputy.roles.of_person(who) if isinstance(who, User) and not self.local else ()
        facts = {"whom": who.id if isinstance(who, User) else "", "roles": roles} | facts
        # making all characters of a megabyte visible takes seconds: never in the event loop
        response = await asyncio.to_thread(self.page, request, name, forms_to=forms_to, token=token, **facts)
        cookies.put(response, cookies.name, cookie, FORM_TTL)
        return response

    async def form(self, request: Request, who: Who) -> dict[str, str]:
        """Return the fields of a form from `with_forms`. Raises `InvalidInput` for any other form."""
        fields = await fields_of(request)
        base = await self.deputy.pages.base_url()
        cookie = request.cookies.get(cookies_for(base, self.key).name, "")
        due = _form_token(self.key, cookie, who, current_path(request))
        given = fields.get("form", "")
        if not cookie or not hmac.compare_digest(given.encode(), due.encode()) or not _from_our_page(request, base):
            raise InvalidInput("This form was not sent by one of these pages.", fix_by="user", reason="foreign_form")
        return fields


async def _verify_user(verifier: UserVerifier, request: Request) -> User | None:
    """Return the user that your application vouches for. Raises `UserRequired` for an invalid result."""
    found = verifier(request)
    if inspect.isawaitable(found):
        found = await found
    return None if found is None else User.of(found)


class MissingRole(NotFound):
    """The page is for users with a role that this user does not have. Its address is known to everybody."""


Handler = Callable[[Site, Request], Awaitable[Response]]
"""Answers one request. A `DeputizeError` it raises becomes a page: see `deputize.core.web.app`."""


@frozen
class Page(ValueObject):
    """An address and its handler. ``path``: as in Starlette's routes, below the application's root.

    ``own``: True for a user's own page, which is below ``/me/{me}`` in local mode. ``local``: True for a page of local
    mode only. ``link``: the path parameter of a link, which in local mode opens in one browser only; ``me`` for a
    user's own page.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Handler
    own: bool = False
    local: bool = False
    link: str = ""


def current_path(request: Request) -> str:
    """Return the path of this page, for links to itself."""
    path, mount = str(request.scope["path"]), str(request.scope.get("root_path", "")).rstrip("/")
    return quote(root_of(request) + (path[len(mount) :] if path.startswith(f"{mount}/") else path))


def is_refusal(e: Exception) -> bool:
    """Return True if the browser sent something that cannot be used. All such errors get the same response."""
    return isinstance(e, NotFound) or (isinstance(e, InvalidInput) and e.fix_by == "user")


def note(e: Exception, during: str) -> None:
    """Log the kind and the place of an error, but not its message, which may contain secrets."""
    if isinstance(e, DeputizeError):
        reason = getattr(e, "reason", "") if is_refusal(e) else ""  # a reason code: the page does not show it
        log.warning("%s while answering %s: %s%s", e.code, during, e.message, f" ({reason})" if reason else "")
        return
    *_, (frame, line) = walk_tb(e.__traceback__)
    log.error("%s in %s:%d while answering %s", type(e).__name__, Path(frame.f_code.co_filename).name, line, during)


def _origin_of(url: str) -> str:
    """Return scheme, host and port in the form of browsers' ``Origin`` headers."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def _form_token(key: bytes, cookie: str, who: Who, path: str) -> str:
    """Return the token of a form, which proves that this browser and user received the form for this address."""
    whose = (who.tenant, who.id) if isinstance(who, User) else ("",)
    return sign(key, "form", cookie, path, *whose)


def _from_our_page(request: Request, base_url: str) -> bool:
    """Return True unless the browser says that the form comes from another origin."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    return origin in (None, _origin_of(base_url)) and site in (None, "same-origin", "none")


async def body_of(request: Request, max_bytes: int) -> bytes | None:
    """Return the body, or None if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            return None
    return body


async def fields_of(request: Request, max_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
    """Return the fields of a posted form. Raises `InvalidInput` if it is too long or malformed."""
    body = await body_of(request, max_bytes)
    try:
        if body is not None:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        pass
    raise InvalidInput("This form was not sent by one of these pages.", fix_by="user", reason="invalid_form")
