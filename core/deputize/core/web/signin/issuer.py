"""The issuer that says who people are: its metadata (OpenID Connect Discovery 1.0, RFC 8414) and its key set.

It is believed for all its own users, and for nobody else's: the operator has named it, so whoever holds it can be any
user of it. What its metadata names is therefore fetched, over https only (plain http on loopback, for an issuer that
runs there). A user is issuer and subject together (`user_at`), so that the alice of two issuers are two users.
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
from deputize.core.oauth.id_token import MAX_BYTES, UNKNOWN_KEY, signed_claims
from deputize.core.oauth.identity import MAX_OF_SUBJECT
from deputize.core.vault.grant import Secret, User

METADATA_LIFE: Final = 3600.0
"""Seconds that metadata is used without a new look, and a key set that cannot be fetched again."""
KEYS_LIFE: Final = 600.0
"""Seconds that a key set is used without a new look."""
KEYS_PAUSE: Final = 60.0
"""Seconds between two fetches of the key set that unknown keys ask for: whoever forges tokens can ask often."""
MAX_BELIEVED: Final = 1000
"""Tokens whose signatures need no second look."""
SECONDS: Final = 10.0
"""For an answer of the issuer's."""

_ADDRESS: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|\[::1\]))(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)


def user_at(issuer: str, subject: Any) -> User | None:
    """The user that an issuer means by a subject: ``https://login.example.com#00u1ab``. None: this is no subject.

    An issuer has no fragment (RFC 8414 2), so no two pairs of issuer and subject make the same user. The same value is
    what the command line calls the user: ``deputize accounts --user 'https://login.example.com#00u1ab'``.
    """
    good = isinstance(subject, str) and 0 < len(subject) <= MAX_OF_SUBJECT and subject.isprintable()
    return User(f"{issuer}#{subject}") if good and subject.strip() else None


class Issuer:
    """One issuer, for one event loop. ``url``: exactly as it spells itself. ``clock``: Unix seconds.

    Raises `SettingsError` for what is no address of an issuer. Its methods raise `ProviderUnavailable` while it cannot
    be reached and nothing of it is known, and `SettingsError` for metadata that cannot be used.
    """

    def __init__(self, url: str, http: Http, clock: Callable[[], float] = time.time) -> None:
        if not _ADDRESS.fullmatch(url):
            raise SettingsError(
                f"The issuer {url[:200]!r} is no https address.",
                hint="It is spelt as the `issuer` in its metadata, without query and fragment. Only on this machine: "
                "http://127.0.0.1:PORT.",
            )
        self.url, self.http, self.clock = url, http, clock
        self._metadata: Mapping[str, Any] | None = None
        self._keys: Any = None
        self._believed: OrderedDict[tuple[bytes, frozenset[str]], dict[str, Any]] = OrderedDict()
        self._metadata_at = self._keys_at = self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """What it says of itself."""
        async with self._lock:
            return await self._known()

    async def keys(self) -> Any:
        """Its key set, as it came; None where it shows none."""
        self._set_back()
        return await self._key_set(self.clock() - KEYS_LIFE)

    def _set_back(self) -> None:
        """What was looked at in a time that is yet to come, since the clock was set back, is looked at again."""
        now = self.clock()
        self._metadata_at = self._metadata_at if self._metadata_at <= now else float("-inf")
        self._asked_at = self._asked_at if self._asked_at <= now else float("-inf")
        self._keys_at = min(self._keys_at, now)

    async def claims(self, token: Secret, algs: frozenset[str]) -> dict[str, Any] | str:
        """What the issuer has signed by one of these algorithms, or why that is not believed, as the end of a sentence.

        A key that is not in the set is looked for in a newer one, `KEYS_PAUSE` seconds after the last look. What this
        key set has vouched for is known again by a digest of the token: a client brings the same one with every call.
        """
        keys, name = await self.keys(), (hashlib.sha256(token.reveal().encode()).digest(), algs)
        if known := self._believed.get(name):
            return known
        found = signed_claims(token, algs, keys)
        if found == UNKNOWN_KEY and self._asked_at <= self.clock() - KEYS_PAUSE:
            found = signed_claims(token, algs, await self._key_set(self.clock() - KEYS_PAUSE))
        if isinstance(found, dict):
            self._believed[name] = found
            while len(self._believed) > MAX_BELIEVED:
                self._believed.popitem(last=False)
        return found

    async def _known(self) -> Mapping[str, Any]:
        """Its metadata; what it said before where it says nothing of use now, such as that it is being maintained."""
        if self._metadata is None or self._metadata_at <= self.clock() - METADATA_LIFE:
            try:
                found = await self._fetched()
            except ProviderUnavailable:
                if self._metadata is None:
                    raise
                found = None
            found = found or self._metadata
            if found is None:
                raise SettingsError(f"The server at {self.url} shows no metadata.", hint="Is this an issuer's address?")
            self._metadata, self._metadata_at = found, self.clock()
        return self._metadata

    async def _fetched(self) -> Mapping[str, Any] | None:
        """Its metadata now; None where it shows none."""
        parts = urlsplit(self.url)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        for url in (
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        ):
            found = await self.json(httpx.Request("GET", url, headers={"accept": "application/json"}))
            if found is None:
                continue
            if found.get("issuer") != self.url:
                raise SettingsError(
                    f"The server at {self.url} calls itself by another name.",
                    hint="The issuer must be spelt exactly as the server spells it, slashes and case included.",
                )
            return found
        return None

    async def json(self, request: httpx.Request) -> dict[str, Any] | None:
        """The object that the issuer answers; None for any other answer. Raises `ProviderUnavailable` while it is
        down."""
        answer = await self.http.send(request, timeout=SECONDS, max_bytes=MAX_BYTES)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderUnavailable(f"{request.url.host} cannot answer now.")
        try:
            found = json.loads(answer.content) if answer.status_code == 200 else None
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else None

    def endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        """An address that the metadata names; "" where it names none. Raises `SettingsError` for one that is neither
        https nor, as the issuer itself, on loopback."""
        url = metadata.get(name)
        if not isinstance(url, str) or not url:
            return ""
        fits = _ADDRESS.fullmatch(url.partition("?")[0]) and "#" not in url
        if not fits or (url.startswith("http:") and not self.url.startswith("http:")):
            raise SettingsError(f"The server at {self.url} names a {name} that cannot be called.")
        return url

    async def _key_set(self, no_older_than: float) -> Any:
        """Its keys, as of that time if they can be had, and for `METADATA_LIFE` otherwise; None where it shows none."""
        async with self._lock:  # whoever waits here finds what the first one has fetched
            if self._asked_at > no_older_than:
                return self._keys
            url = self.endpoint(await self._known(), "jwks_uri")
            before, self._asked_at = self._asked_at, self.clock()
            try:
                found = await self.json(httpx.Request("GET", url)) if url else None
                if url and found is None and self._keys is not None:
                    raise ProviderUnavailable(f"{self.url} shows no key set now.")
                self._keys, self._keys_at = found, self.clock()
                self._believed.clear()
            except ProviderUnavailable:
                if self._keys is None or self._keys_at <= self.clock() - METADATA_LIFE:
                    self._asked_at = float("-inf")
                    raise
            except BaseException:  # cut off: whoever comes next asks
                self._asked_at = before
                raise
            return self._keys
