"""What a browser brings: its person, its cookies, its forms. And what of it we believe."""

from __future__ import annotations

import inspect
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.consent.consents import Who
from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.oauth.pkce import fingerprint
from deputize.core.vault.grant import User
from deputize.core.web.signing import proof

UserVerifier = Callable[[Request], User | str | Awaitable[User | str | None] | None]
"""Who the browser's person is, by the host application's own session; None if nobody is signed in.

The session's cookie must be SameSite=Lax or None: Strict ones do not come back with the browser from the provider.
"""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
FORM_LIFE: Final = 3600
"""Seconds a page with a form may stay open: as long as an approval waits."""
NONCE_LIFE: Final = 600
MOST_BYTES: Final = 16384

_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}")


async def person(verifier: UserVerifier, request: Request) -> User | None:
    """The user whom the host vouches for. Raises `UserRequired` for an answer that is no user at all."""
    found = verifier(request)
    if inspect.isawaitable(found):
        found = await found
    return None if found is None else User.of(found)


@dataclass(frozen=True, slots=True)
class Cookies:
    """How our cookies are called, and whether they are for https only.

    ``name`` is the one that forms are bound to. Each way to a provider and back has one of its own, so that several
    tabs do not get in each other's way.
    """

    name: str
    secure: bool

    def nonce(self, state: str) -> str:
        """The cookie of the browser that set out with this ``state``."""
        return f"{self.name}-{fingerprint(state)[:12]}"

    def put(self, response: Response, name: str, value: str, life: int) -> None:
        """Give the browser a cookie."""
        response.set_cookie(name, value, max_age=life, path="/", secure=self.secure, httponly=True, samesite="lax")

    def drop(self, response: Response, name: str) -> None:
        """Take a cookie from the browser."""
        response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="lax")

    def form(self, request: Request) -> str:
        """The value that this browser's forms are bound to, or a new one."""
        value = request.cookies.get(self.name, "")
        return value if _RANDOM.fullmatch(value) else secrets.token_urlsafe(32)


def cookies_for(base_url: str, key: bytes) -> Cookies:
    """How cookies have to be at this address: ``__Host-`` and Secure on https, neither on loopback.

    All that listens on 127.0.0.1 sees the cookies of all others, and clients that are no browsers keep Secure ones to
    themselves there. So the name is the vault's own, and the value means nothing to anybody else. Raises
    `SettingsError` for plain http anywhere else.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.hostname:
        return Cookies("__Host-deputize", secure=True)
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return Cookies(f"deputize-{proof(key, 'cookie')[:8]}", secure=False)
    raise SettingsError(
        f"Pages cannot be served at {base_url!r}.",
        hint="DEPUTIZE_BASE_URL is https://..., or http://127.0.0.1:port on your own machine.",
    )


def origin_of(url: str) -> str:
    """Scheme, host and port as browsers write them in ``Origin``."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def form_token(key: bytes, cookie: str, who: Who, path: str) -> str:
    """What a form carries to show that we gave it to this browser and this person, for this address."""
    whose = (who.tenant, who.id) if isinstance(who, User) else ("",)
    return proof(key, "form", cookie, path, *whose)


def from_our_page(request: Request, base_url: str) -> bool:
    """Whether what the browser says of where a form comes from fits; a browser that says nothing passes."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    return origin in (None, origin_of(base_url)) and site in (None, "same-origin", "none")


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises `InvalidInput` for anything too long or too odd to be one of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    try:
        if len(body) <= MOST_BYTES:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        pass
    raise InvalidInput("This form is none of ours.", fix_by="user", reason="odd_form")
