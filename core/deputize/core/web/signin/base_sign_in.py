"""What sign-ins at any issuer share: the binding to a browser, sessions, step-up, sign-out.

The issuer's protocol is in a subclass: `deputize.core.web.signin.sign_in`.
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.roles import NO_ROLES, RoleMap
from deputize.core.shared_services import FixedPages
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret, User
from deputize.core.web.cookies import Cookies, cookies_for
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import root_of, see_other
from deputize.core.web.pages.return_to import ReturnTo
from deputize.core.web.pages.site import SIGN_OUT, Page, Site, current_path
from deputize.core.web.signin.back_channel_logout import Logout
from deputize.core.web.signin.issuer import user_at
from deputize.core.web.signin.sign_in_sessions import IDLE_SECONDS, MAX_SESSION_SECONDS, Session, Sessions
from deputize.core.web.signing_key import sign

log = logging.getLogger("deputize.web")

PATH: Final = "/sign-in"
SIGNED_OUT: Final = "/signed-out"
SIGN_IN_TTL: Final = 600
"""Seconds that a user may take at the issuer."""
AUTHENTICATION_SKEW_SECONDS: Final = 60.0
"""Seconds that the issuer's time of an authentication may lie before the step-up that asked for it."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
RESERVED: Final = frozenset({"callback", "backchannel"})
"""Names that are pages of a sign-in without a name."""
_HERE: Final = ReturnTo.of(["/"])
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.(sign-in|step-up)\.([A-Za-z0-9_=-]*)\.([0-9a-f]{64})")


@frozen
class StepUp(ValueObject):
    """A new sign-in before an approval that destroys something, or whose result everybody can see.

    ``max_age``: seconds for which one such sign-in counts. ``acr_values``: the ways to authenticate of which the issuer
    must have used one (OpenID Connect Core 3.1.2.1); none: any way.
    """

    max_age: float = 300.0
    acr_values: tuple[str, ...] = ()


@frozen
class SignInRequest(ValueObject):
    """A sign-in that has begun: it binds the browser to the issuer's response (login CSRF, replay).

    Nothing is stored on the server, because anybody may begin one. The browser keeps one signed cookie with a random
    value, the time, the purpose and the target page. ``state``, ``nonce`` and PKCE's verifier are keyed digests of the
    value, each for its own purpose. So a code that was issued to another browser is useless in this one, and a copied
    cookie reveals neither the verifier nor the nonce. ``key``: the vault's own for this sign-in. ``step_up``: True if
    the user must authenticate again. ``target``: a checked path.
    """

    key: bytes
    value: str
    began: int
    step_up: bool
    target: str

    @classmethod
    def new(cls, key: bytes, now: float, target: str, *, step_up: bool = False) -> SignInRequest:
        """Return a sign-in that begins now (Unix seconds)."""
        return cls(key, secrets.token_urlsafe(32), int(now), step_up, target)

    @classmethod
    def read(cls, key: bytes, now: float, cookie: str, state: str) -> SignInRequest | None:
        """Return the unexpired sign-in that this browser began and to which this ``state`` belongs, or None."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        signed = hmac.compare_digest(_signature(key, found[1], found[2], found[3], found[4]), found[5])
        if not signed or not 0 <= now - int(found[2]) + 1 <= SIGN_IN_TTL:
            return None
        target = base64.urlsafe_b64decode(found[4]).decode()
        request = cls(key, found[1], int(found[2]), found[3] == "step-up", target)
        return request if hmac.compare_digest(request.state.reveal().encode(), state.encode()) else None

    @property
    def cookie(self) -> str:
        """The value of the browser's cookie."""
        target = base64.urlsafe_b64encode(self.target.encode()).decode()
        parts = self.value, str(self.began), "step-up" if self.step_up else "sign-in", target
        return ".".join((*parts, _signature(self.key, *parts)))

    @property
    def state(self) -> Secret:
        """The state of RFC 6749 10.12."""
        return Secret(sign(self.key, "sign-in state", self.value))

    @property
    def nonce(self) -> str:
        """The nonce of OpenID Connect Core 3.1.2.1."""
        return sign(self.key, "sign-in nonce", self.value)

    @property
    def verifier(self) -> Secret:
        """The code verifier of RFC 7636 4.1."""
        return Secret(sign(self.key, "sign-in verifier", self.value))


def _signature(key: bytes, *parts: str) -> str:
    return sign(key, "sign-in cookie", *parts)


class BaseSignIn(ABC):
    """Sign-in at one issuer, and the `UserVerifier` of pages that use it.

    ``issuer_id``: the issuer's name of itself. ``name``: "" for the only one, else its name in paths. ``tenant``: of
    all its users. ``roles``: the roles that claims give. ``step_up``: see `StepUp`; None: no approval needs one.
    ``idle``, ``lasts``: seconds until a session ends. Raises `SettingsError` in local mode, and for an invalid name.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        *,
        issuer_id: str,
        name: str = "",
        tenant: str = "",
        roles: RoleMap = NO_ROLES,
        step_up: StepUp | None = None,
        idle: float = IDLE_SECONDS,
        lasts: float = MAX_SESSION_SECONDS,
    ) -> None:
        if not isinstance(deputy.pages, FixedPages):
            raise SettingsError(
                "Sign-in is not available in local mode, which has one user.",
                hint="Set DEPUTIZE_BASE_URL to the address of the pages.",
            )
        if name and (not NAME.fullmatch(name) or name in RESERVED):
            raise SettingsError(
                f"The sign-in {name[:60]!r} has an invalid name.",
                hint="It is a part of addresses: use lower-case letters, digits and '-', at most 40.",
            )
        self.deputy, self.name, self.tenant, self.roles, self.step_up = deputy, name, tenant, roles, step_up
        self.base = deputy.pages.url.rstrip("/")
        self.at = f"{PATH}/{name}" if name else PATH
        self.key = sign(deputy.vault.keys.web, "sign-in", name, tenant, issuer_id).encode()
        self.sessions = Sessions(deputy.vault, issuer_id, deputy.clock, idle, lasts, tenant, roles.digest)
        self.signed_in: Callable[[Request], Awaitable[User | None]] = self
        """Returns the user of this browser's session, wherever that began: `SignIns` has several issuers."""
        self.path: Final = urlsplit(self.base).path + self.at
        """The page that signs people in, for ``pages_app(sign_in=...)`` and for your own links."""
        self.own_pages: Final = (Page("GET", self.at, self._start), *self.protocol_pages())
        self.pages: Final = (*self.own_pages, *sign_out_pages(self.find))

    async def __call__(self, request: Request) -> User | None:
        """Return the user who is signed in at this browser, or None."""
        return await self.sessions.user(self.cookie(request))

    async def session(self, request: Request) -> Session | None:
        """Return the session of this browser with the roles of its user, or None."""
        return await self.sessions.get(self.cookie(request))

    async def find(self, request: Request) -> BaseSignIn | None:
        """Return this sign-in if it has a session in this browser."""
        return self if await self(request) else None

    def cookie(self, request: Request) -> str:
        """Return the value of this browser's session cookie, or ""."""
        return request.cookies.get(session_cookie(self.cookies()), "")

    def cookies(self) -> Cookies:
        """Return the cookies for the pages' address."""
        return cookies_for(self.base, self.deputy.vault.keys.web)

    # ------------------------------------------------------------- what a protocol does

    @abstractmethod
    def protocol_pages(self) -> tuple[Page, ...]:
        """Return the pages to which the issuer answers."""

    @abstractmethod
    async def issuer_address(self, asked: SignInRequest) -> str:
        """Return the address at the issuer that begins a sign-in."""

    @abstractmethod
    async def end_address(self, session: Session) -> str:
        """Return the address that ends the session at the issuer, or "" if it has none or cannot be reached."""

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """True if the issuer is on this machine, without https."""

    # ------------------------------------------------------------- in

    async def _start(self, site: Site, request: Request) -> Response:
        target = checked_target(request, request.query_params.get("next", ""))
        step_up = self.step_up is not None and "step_up" in request.query_params
        if not step_up and await self.signed_in(request):  # at another issuer: this one could answer for anybody
            return see_other(target if await self(request) else f"{root_of(request)}{SIGN_OUT}")
        asked = SignInRequest.new(self.key, self.deputy.clock(), target, step_up=step_up)
        answer = see_other(await self.issuer_address(asked))
        cookies = self.cookies()
        cookies.put(answer, cookies.nonce(asked.state.reveal()), asked.cookie, SIGN_IN_TTL)
        return answer

    def begun(self, request: Request, state: str) -> SignInRequest:
        """Return the sign-in that this browser began. Raises the refusal of any other answer of the issuer."""
        name = self.cookies().nonce(state)
        asked = SignInRequest.read(self.key, self.deputy.clock(), request.cookies.get(name, ""), state)
        if asked is None:
            raise InvalidInput("This sign-in did not begin in this browser.", fix_by="user", reason="state")
        return asked

    async def finish(self, site: Site, request: Request, asked: SignInRequest, found: Session | None) -> Response:
        """Begin a session under a new cookie, or show that there is none. A user's session is replaced by one of the
        same user only: an issuer must not change unnoticed who is signed in."""
        if found is not None and (why := await self._fault(request, asked, found)):
            log.warning("A sign-in at %s %s.", self.sessions.issuer, why)
            found = None
        cookies = self.cookies()
        if found is None:
            answer = site.message_page(request, 403, texts.NOT_SIGNED_IN)
        else:
            await self.sessions.end(self.cookie(request))
            session = await self.sessions.begin(found, asked.began)
            if await self.sessions.get(session):
                await self.deputy.roles.learn(replace(found.user, roles=found.roles), self.roles)
            answer = see_other(asked.target)
            cookies.put(answer, session_cookie(cookies), session, int(self.sessions.lasts))
        cookies.drop(answer, cookies.nonce(asked.state.reveal()))
        return answer

    # ------------------------------------------------------------- step-up

    async def _fault(self, request: Request, asked: SignInRequest, found: Session) -> str:
        """Return why the issuer's answer begins no session in this browser, as the end of a sentence, or ""."""
        if await self.signed_in(request) not in (None, found.user):
            return "was answered for another user than the one who is signed in"
        if not asked.step_up:
            return ""
        if not asked.began - AUTHENTICATION_SKEW_SECONDS <= found.authenticated_at:
            return "before an approval was answered without a new authentication"
        return "" if self._is_strong(found) else f"was answered by other means of authentication ({found.acr[:60]!r})"

    def _is_strong(self, session: Session) -> bool:
        wanted = self.step_up.acr_values if self.step_up else ()
        return not wanted or session.acr in wanted

    async def step_up_link(self, request: Request, path: str) -> str:
        """Return the address of a new sign-in that leads back to ``path``, or "" if the last one is new enough."""
        if self.step_up is None:
            return ""
        session, now = await self.session(request), self.deputy.clock()
        if session and self._is_strong(session) and 0 <= now - session.authenticated_at <= self.step_up.max_age:
            return ""
        return f"{self.path}?{urlencode({'step_up': '1', 'next': path}, quote_via=quote)}"

    # ------------------------------------------------------------- out

    async def sign_out(self, request: Request) -> Response:
        """End the session at the pages first, whatever the issuer does then (RP-Initiated Logout 1.0 2)."""
        cookies = self.cookies()
        session = await self.sessions.end(self.cookie(request))
        address = await self.end_address(session) if session else ""
        answer = see_other(address or f"{root_of(request)}{SIGNED_OUT}")
        cookies.drop(answer, session_cookie(cookies))
        return answer

    async def log_out(self, logout: Logout, *, is_user: bool) -> bool:
        """End the sessions that the issuer has ended, in any browser, and the grants that came from them.

        ``is_user``: the subject of the logout is the user id. Returns False if this was done before.
        """
        if await self.sessions.is_used(logout):
            return False
        whose = await self.sessions.log_out(logout)
        named = user_at(self.sessions.issuer, logout.subject, self.tenant) if is_user else None
        for user in {*whose, *filter(None, [named])}:
            await self.deputy.sources.session_ended(user)
        await self.sessions.mark_used(logout)
        return True


def sign_out_pages(find: Callable[[Request], Awaitable[BaseSignIn | None]]) -> tuple[Page, ...]:
    """Return the pages that end a session. ``find``: returns the sign-in that has a session in this browser."""

    async def ask(site: Site, request: Request) -> Response:
        sign_in = await find(request)
        if sign_in is None:
            return see_other(f"{root_of(request)}{SIGNED_OUT}")
        local = " http:" if sign_in.is_local else ""
        user = await sign_in(request)
        return await site.with_forms(
            request, "sign_out.html", user, f"'self' https:{local}", action=current_path(request)
        )

    async def end(site: Site, request: Request) -> Response:
        sign_in = await find(request)
        if sign_in is None:
            return see_other(f"{root_of(request)}{SIGNED_OUT}")
        await site.form(request, await sign_in(request))
        return await sign_in.sign_out(request)

    async def confirm(site: Site, request: Request) -> Response:
        return site.message_page(request, 200, texts.SIGNED_OUT)

    return Page("GET", SIGN_OUT, ask), Page("POST", SIGN_OUT, end), Page("GET", SIGNED_OUT, confirm)


def checked_target(request: Request, target: str) -> str:
    """Return the page of this host to which a sign-in leads: ``target`` if it is one, else the user's own page."""
    return target if _HERE.allows(target) else f"{root_of(request)}/connections"


def session_cookie(cookies: Cookies) -> str:
    """Return the name of the cookie with the session."""
    return f"{cookies.name}-session"
