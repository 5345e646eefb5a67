"""Forms of our pages: their binding to a browser, a user and an address (CSRF), and their parsing."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from deputize.core.consent.record import Who
from deputize.core.errors import InvalidInput
from deputize.core.vault.grant import User
from deputize.core.web.signing_key import sign

MAX_BYTES: Final = 16384


def origin_of(url: str) -> str:
    """Return scheme, host and port as browsers write them in ``Origin``."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def form_token(key: bytes, cookie: str, who: Who, path: str) -> str:
    """Return the token of a form, which proves that we gave it to this browser and user, for this address."""
    whose = (who.tenant, who.id) if isinstance(who, User) else ("",)
    return sign(key, "form", cookie, path, *whose)


def from_our_page(request: Request, base_url: str) -> bool:
    """Return True unless the browser says that the form comes from another origin."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    return origin in (None, origin_of(base_url)) and site in (None, "same-origin", "none")


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a posted form. Raises `InvalidInput` if it is too long or malformed."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            break
    try:
        if len(body) <= MAX_BYTES:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        pass
    raise InvalidInput("This form was not sent by one of these pages.", fix_by="user", reason="invalid_form")
