"""Forms of ours: what ties them to a browser, a person and an address (CSRF), and how they are read."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from deputize.core.consent.record import Who
from deputize.core.errors import InvalidInput
from deputize.core.vault.grant import User
from deputize.core.web.signing_key import proof

MAX_BYTES: Final = 16384


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
        if len(body) > MAX_BYTES:
            break
    try:
        if len(body) <= MAX_BYTES:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        pass
    raise InvalidInput("This form is none of ours.", fix_by="user", reason="invalid_form")
