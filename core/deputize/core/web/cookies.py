"""The cookies of deputize's pages: names, attributes, and the cookie to which forms are bound (CSRF)."""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import SettingsError
from deputize.core.oauth.pkce import fingerprint
from deputize.core.value_object import ValueObject, frozen
from deputize.core.web.signing_key import sign

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
FORM_TTL: Final = 3600
"""Seconds for which a page with a form works: as long as an approval waits."""
NONCE_TTL: Final = 600

_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}")


@frozen
class Cookies(ValueObject):
    """The names of the pages' cookies. ``secure``: True if they are for https only.

    ``name``: the cookie to which forms are bound. Each visit to a provider has its own, so that tabs do not interfere.
    """

    name: str
    secure: bool

    def nonce(self, state: str) -> str:
        """Return the name of the cookie for the visit with this ``state``."""
        return f"{self.name}-{fingerprint(state)[:12]}"

    @property
    def link(self) -> str:
        """The name of the cookie that binds a link of local mode to its browser, set below the link's path."""
        return f"{self.name}-link"

    def put(self, response: Response, name: str, value: str, life: int, path: str = "/") -> None:
        """Set a cookie in the browser."""
        response.set_cookie(name, value, max_age=life, path=path, secure=self.secure, httponly=True, samesite="lax")

    def drop(self, response: Response, name: str) -> None:
        """Delete a cookie from the browser."""
        response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="lax")

    def form(self, request: Request) -> str:
        """Return the value to which this browser's forms are bound, or a new one."""
        return self.read(request, self.name) or secrets.token_urlsafe(32)

    def read(self, request: Request, name: str) -> str:
        """Return the random value in the browser's cookie, or "" if it is missing or has another format."""
        value = request.cookies.get(name, "")
        return value if _RANDOM.fullmatch(value) else ""


def cookies_for(base_url: str, key: bytes) -> Cookies:
    """Return the cookies for this address: ``__Host-`` and Secure on https, neither on loopback.

    All servers on 127.0.0.1 see each other's cookies, and HTTP clients other than browsers do not send Secure ones
    there. So the name is derived from the vault, and the value means nothing to other servers. Raises `SettingsError`
    for plain http anywhere else.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.hostname:
        return Cookies("__Host-deputize", secure=True)
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return Cookies(f"deputize-{sign(key, 'cookie')[:8]}", secure=False)
    raise SettingsError(
        f"The pages cannot be served at {base_url!r}.",
        hint="Set DEPUTIZE_BASE_URL to https://..., or http://127.0.0.1:port on your own machine.",
    )
