"""The issuer that authenticates users: its metadata (OpenID Connect Discovery 1.0, RFC 8414) and its key set.

The issuer is trusted for all of its own users, and for no others. The operator has named it, so whoever controls it can
act as any of its users. So the addresses in its metadata are fetched over https only (plain http on loopback, for an
issuer that runs there). A user is issuer and subject together (`user_at`), so that an alice of two issuers is two
users.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http import Http
from deputize.core.oauth.id_token import MAX_KEY_SET_BYTES, UNKNOWN_KEY, signed_claims
from deputize.core.oauth.identity import MAX_OF_SUBJECT
from deputize.core.vault.grant import Secret, User

METADATA_TTL: Final = 3600.0
"""Seconds for which metadata is cached, and a key set that cannot be fetched again."""
KEY_SET_TTL: Final = 600.0
"""Seconds for which a key set is cached."""
KEY_SET_PAUSE_SECONDS: Final = 60.0
"""Seconds between two fetches of the key set for unknown keys, which forged tokens can name at any rate."""
MAX_VERIFIED_TOKENS: Final = 1000
"""The number of tokens whose signatures are cached as verified."""
ISSUER_TIMEOUT_SECONDS: Final = 10.0
"""Limit of an answer of the issuer."""

_ADDRESS: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|\[::1\]))(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)


def user_at(issuer: str, subject: Any, tenant: str = "") -> User | None:
    """Return the user for a subject of an issuer: ``https://login.example.com#00u1ab``, or None for an invalid subject.

    An issuer has no fragment (RFC 8414 2), so no two pairs of issuer and subject make the same user. The command line
    names the user in the same way: ``deputize accounts --user 'https://login.example.com#00u1ab'``.
    """
    good = isinstance(subject, str) and 0 < len(subject) <= MAX_OF_SUBJECT and subject.isprintable()
    return User(f"{issuer}#{subject}", tenant) if good and subject.strip() else None


def subject_of(claims: Mapping[str, Any], claim: str) -> Any:
    """Return the value of the claim with the user id, or None for an e-mail address that the issuer has not verified:
    many issuers let people enter any address (OpenID Connect Core 5.7)."""
    return claims.get(claim) if claim != "email" or claims.get("email_verified") is True else None


def claims_fault(claims: Mapping[str, Any], required: Mapping[str, str]) -> str:
    """Return why these claims are not those of the required users, as the end of a sentence, or ""."""
    missing = next((name for name, value in required.items() if claims.get(name) != value), "")
    return f"does not have the required {missing}" if missing else ""


class Issuer:
    """One issuer, for one event loop. ``url``: exactly as the issuer spells it. ``clock``: Unix seconds.

    Raises `SettingsError` if the address is invalid. Its methods raise `ProviderUnavailable` while it cannot be reached
    and no metadata is cached, and `SettingsError` for unusable metadata.
    """

    def __init__(self, url: str, http: Http, clock: Callable[[], float] = time.time) -> None:
        if not _ADDRESS.fullmatch(url):
            raise SettingsError(
                f"The issuer {url[:200]!r} is not an https address.",
                hint="Spell it as the `issuer` in its metadata, without query and fragment. Only on this machine: "
                "http://127.0.0.1:PORT.",
            )
        self.url, self.http, self.clock = url, http, clock
        self._metadata: Mapping[str, Any] | None = None
        self._keys: Any = None
        self._believed: OrderedDict[tuple[bytes, frozenset[str]], dict[str, Any]] = OrderedDict()
        self._metadata_at = self._keys_at = self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """Return the issuer's metadata."""
        async with self._lock:
            return await self._cached_metadata()

    async def keys(self) -> Any:
        """Return the issuer's key set as received, or None if it serves none."""
        self._expire_future()
        return await self._key_set(self.clock() - KEY_SET_TTL)

    def _expire_future(self) -> None:
        """Expire cached values with a future time, which exist after the clock was set back."""
        now = self.clock()
        self._metadata_at = self._metadata_at if self._metadata_at <= now else float("-inf")
        self._asked_at = self._asked_at if self._asked_at <= now else float("-inf")
        self._keys_at = min(self._keys_at, now)

    async def claims(self, token: Secret, algs: frozenset[str]) -> dict[str, Any] | str:
        """Return the claims that the issuer signed with one of these algorithms, or the end of a sentence that says why
        they are refused.

        An unknown key causes a new request for the key set, at most every `KEY_SET_PAUSE_SECONDS`. Verified tokens are
        cached by their digests, because a client sends the same token with every call.
        """
        keys, name = await self.keys(), (hashlib.sha256(token.reveal().encode()).digest(), algs)
        if known := self._believed.get(name):
            return known
        found = signed_claims(token, algs, keys)
        if found == UNKNOWN_KEY and self._asked_at <= self.clock() - KEY_SET_PAUSE_SECONDS:
            found = signed_claims(token, algs, await self._key_set(self.clock() - KEY_SET_PAUSE_SECONDS))
        if isinstance(found, dict):
            self._believed[name] = found
            while len(self._believed) > MAX_VERIFIED_TOKENS:
                self._believed.popitem(last=False)
        return found

    async def _cached_metadata(self) -> Mapping[str, Any]:
        """Return the metadata, or the earlier one if the issuer serves nothing usable now, as during maintenance."""
        if self._metadata is None or self._metadata_at <= self.clock() - METADATA_TTL:
            try:
                found = await self._fetch_metadata()
            except ProviderUnavailable:
                if self._metadata is None:
                    raise
                found = None
            found = found or self._metadata
            if found is None:
                raise SettingsError(f"The server at {self.url} serves no metadata.", hint="Check the issuer's address.")
            self._metadata, self._metadata_at = found, self.clock()
        return self._metadata

    def metadata_urls(self) -> tuple[str, ...]:
        """Return the addresses at which the metadata can be."""
        parts = urlsplit(self.url)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        return (
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        )

    async def _fetch_metadata(self) -> Mapping[str, Any] | None:
        """Fetch the metadata. Returns None if the issuer serves none."""
        for url in self.metadata_urls():
            found = await self.json(httpx.Request("GET", url, headers={"accept": "application/json"}))
            if found is None:
                continue
            if found.get("issuer") != self.url:
                raise SettingsError(
                    f"The server at {self.url} names another issuer in its metadata.",
                    hint="The issuer must be spelt exactly as the server spells it, slashes and case included.",
                )
            return found
        return None

    async def json(self, request: httpx.Request) -> dict[str, Any] | None:
        """Return the JSON object in the issuer's response, or None. Raises `ProviderUnavailable` in an outage."""
        answer = await self.http.send(request, timeout=ISSUER_TIMEOUT_SECONDS, max_bytes=MAX_KEY_SET_BYTES)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderUnavailable(f"{request.url.host} cannot answer now.")
        try:
            found = json.loads(answer.content) if answer.status_code == 200 else None
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else None

    def endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        """Return an address in the metadata, or "" if it is missing. Raises `SettingsError` unless it is https, or on
        loopback like the issuer itself."""
        url = metadata.get(name)
        if not isinstance(url, str) or not url:
            return ""
        fits = _ADDRESS.fullmatch(url.partition("?")[0]) and "#" not in url
        if not fits or (url.startswith("http:") and not self.url.startswith("http:")):
            raise SettingsError(f"The server at {self.url} names a {name} that is not an https address.")
        return url

    async def _key_set(self, no_older_than: float) -> Any:
        """Return the keys, fetched after ``no_older_than`` if possible, else cached for `METADATA_TTL`; or None."""
        async with self._lock:  # waiting callers use what the first one fetched
            if self._asked_at > no_older_than:
                return self._keys
            url = self.endpoint(await self._cached_metadata(), "jwks_uri")
            before, self._asked_at = self._asked_at, self.clock()
            try:
                found = await self.json(httpx.Request("GET", url)) if url else None
                if url and found is None and self._keys is not None:
                    raise ProviderUnavailable(f"{self.url} serves no key set now.")
                self._keys, self._keys_at = found, self.clock()
                self._believed.clear()
            except ProviderUnavailable:
                if self._keys is None or self._keys_at <= self.clock() - METADATA_TTL:
                    self._asked_at = float("-inf")
                    raise
            except BaseException:  # cancelled: the next caller fetches
                self._asked_at = before
                raise
            return self._keys
