"""Credentials that are not OAuth tokens: a key or a password of a person, or none, and where requests carry them.

    bearer          authorization: Bearer KEY
    basic           authorization: Basic, from NAME:PASSWORD (RFC 7617)
    header:NAME     NAME: KEY
    query:NAME      ?NAME=KEY
    none            the server signs nobody in

The user enters the key at deputize's own page, in the place of a provider's sign-in. It is stored as the access token
of a grant that cannot be refreshed: encrypted, masked in responses, sent to the provider's hosts only, and ended like
any grant.
"""

from __future__ import annotations

import base64
import re
from typing import Final, Literal, Self, get_args
from urllib.parse import quote

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

KEY_APP: Final = "key"
"""The client id of the app of a provider that takes a key: there is no registration."""
Place = Literal["bearer", "basic", "header", "query", "none"]
_KEY: Final = re.compile(r"[!-~]{1,4000}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.~-]{1,60}")
_RESERVED: Final = re.compile(
    r"(?i)host|connection|cookie|accept.*|content-.*|transfer-encoding|te|trailer|upgrade|expect|user-agent|mcp-.*"
    r"|last-event-id|proxy-.*|sec-.*|keep-alive|range|if-.*"
)


@frozen
class Credential(ValueObject):
    """Where requests carry a user's key. ``name``: of the header or the query parameter."""

    place: Place
    name: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the credential of a setting, such as ``header:X-Api-Key``. Raises `SettingsError`."""
        place, _, name = text.partition(":")
        allowed = {"header": _HEADER, "query": _PARAMETER}.get(place)
        for known in get_args(Place):
            if known == place and (allowed.fullmatch(name) if allowed else not name and ":" not in text):
                if place == "header" and _RESERVED.fullmatch(name):
                    raise SettingsError(f"{text[:80]!r}: the header {name} belongs to the protocol.")
                return cls(known, name)
        hint = "oauth, bearer, basic, header:X-Api-Key, query:api_key, or none if the server signs nobody in."
        raise SettingsError(f"{text[:80]!r} is not a way to sign in.", hint=hint)

    def __str__(self) -> str:
        return f"{self.place}:{self.name}" if self.name else self.place


def token_of(credential: Credential, given: Secret) -> Secret | None:
    """Return the key as requests carry it, or None if it cannot be one. ``given``: as the user entered it."""
    if credential.place == "none":
        return Secret("none")
    text = given.reveal().strip()
    if credential.place == "basic":
        good = ":" in text[1:] and text.isprintable()
        text = base64.b64encode(text.encode(errors="replace")).decode() if good else ""
    return Secret(text) if _KEY.fullmatch(text) else None


def headers_of(credential: Credential, token: Secret) -> tuple[tuple[str, str], ...]:
    """Return the headers that carry the key."""
    match credential.place:
        case "bearer" | "basic":
            return (("authorization", f"{credential.place.title()} {token.reveal()}"),)
        case "header":
            return ((credential.name.lower(), token.reveal()),)
    return ()


def url_of(credential: Credential, url: str, token: Secret) -> str:
    """Return the URL with the key, if it belongs there. Replaces a parameter of this name."""
    if credential.place != "query":
        return url
    base, _, query = url.partition("?")
    kept = [one for one in query.split("&") if one and one.partition("=")[0] != credential.name]
    shown = f"{credential.name}={quote(token.reveal(), safe='')}"
    return "&".join([f"{base}?{shown}", *kept])
