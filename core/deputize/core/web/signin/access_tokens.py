"""Verification of access tokens: signed ones by the issuer's key set (RFC 9068), opaque ones by introspection (RFC
7662).

The issuer is trusted for tokens that it made for this audience, that are valid now, and that belong to a person. The
reason of a refusal is only logged; the client only learns that the token is refused.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from deputize.core.errors import SettingsError
from deputize.core.oauth.app import App
from deputize.core.oauth.client_auth import basic, secret_of
from deputize.core.oauth.id_token import validity_fault
from deputize.core.oauth.jose import ALGS, header_of
from deputize.core.roles import NO_ROLES, RoleMap
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret, User
from deputize.core.web.signin.issuer import Issuer, claims_fault, subject_of, user_at

INTROSPECTION_TTL: Final = 10.0
"""Seconds for which an introspection is cached: a revoked token works that much longer."""
MAX_CACHED_INTROSPECTIONS: Final = 1000
MAX_TOKEN_CHARACTERS: Final = 2**14

_ALGS: Final = frozenset(ALGS)
_SIGNED_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 2.1
_PLAIN_TYPES: Final = frozenset({"jwt", "application/jwt"})
_OF_OTHERS: Final = ("nonce", "at_hash", "c_hash", "s_hash", "events")
"""Claims of id_tokens and of logout tokens."""


@frozen
class Caller(ValueObject):
    """A verified caller: the user, the scopes of the client that calls for the user, and the roles of the token,
    None if no claim in it is about roles."""

    user: User
    scopes: frozenset[str]
    roles: frozenset[str] | None = None


@dataclass(eq=False, repr=False)
class AccessTokens:
    """Verifier of access tokens from one issuer for one audience.

    ``token_audience``: the required `aud`, the address of the resource (RFC 8707) or the issuer's name for it.
    ``subject``: the claim with the user id, which the issuer must never give to another user; ``uid`` in Okta's signed
    tokens, ``oid`` in Entra's. ``plain_jwt``: accept signed tokens whose type is ``JWT`` or missing. ``app``: the
    client that introspects opaque tokens; None: opaque tokens are refused. ``never``: the client id of the sign-in,
    which is the audience of id_tokens. ``tenant``: of all users of the issuer. ``roles``: the roles that claims of a
    token give. ``required``: claims that a token must have, with these values. Raises `SettingsError` for an audience
    that would accept id_tokens.
    """

    issuer: Issuer
    token_audience: str
    subject: str = "sub"
    plain_jwt: bool = False
    app: App | None = None
    never: str = ""
    tenant: str = ""
    roles: RoleMap = NO_ROLES
    required: Mapping[str, str] = field(default_factory=dict)
    _looked_up: OrderedDict[bytes, tuple[float, dict[str, Any] | None]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        if not self.token_audience:
            raise SettingsError(
                "token_audience is required.",
                hint="Without it, access tokens issued for other services would be accepted.",
            )
        if self.plain_jwt and self.token_audience == self.never:
            raise SettingsError(
                "The audience is the client id of the sign-in, so an id_token would do as an access token.",
                hint="Register the API separately at the issuer, or leave plain_jwt out.",
            )

    async def caller(self, token: Secret) -> Caller | str:
        """Return the caller with this token, or why it is refused, as the end of a sentence.

        Raises `ProviderUnavailable` while the issuer cannot be reached, `SettingsError` if its metadata is unusable.
        """
        if len(token.reveal()) > MAX_TOKEN_CHARACTERS:
            return "is too long"
        found = await (self._verify_signed(token) if token.reveal().count(".") == 2 else self._verify_opaque(token))
        if isinstance(found, str):
            return found
        if why := self._misfit(found) or claims_fault(found, self.required):
            return why
        user = user_at(self.issuer.url, subject_of(found, self.subject), self.tenant)
        if user is None:
            return f"names nobody ({self.subject})"
        return Caller(user, _scopes(found), self.roles.known_roles(found))

    async def _verify_signed(self, token: Secret) -> dict[str, Any] | str:
        kind = header_of(token.reveal()).get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _SIGNED_TYPES:
            if not self.plain_jwt or not isinstance(kind, str) or kind.lower() not in _PLAIN_TYPES:
                return f"is of the type {str(kind)[:20]!r}, not at+jwt (see plain_jwt)"
        claims = await self.issuer.claims(token, _ALGS)
        if isinstance(claims, str):
            return claims
        if other := next((name for name in _OF_OTHERS if name in claims), ""):
            return f"is no access token ({other})"
        if claims.get("iss") != self.issuer.url:
            return "is another issuer's"
        return validity_fault(claims, self.issuer.clock()) or claims

    async def _verify_opaque(self, token: Secret) -> dict[str, Any] | str:
        if self.app is None:
            return "is not signed, and no client may ask the issuer what it is"
        claims = await self._introspect(self.app, token)
        if claims is None or claims.get("active") is not True:
            return "is not active"
        if claims.get("iss", self.issuer.url) != self.issuer.url:
            return "is another issuer's"
        if str(claims.get("token_type", "Bearer")).lower() not in ("bearer", "access_token"):
            return "is no bearer token"
        now = self.issuer.clock()
        return validity_fault({"iat": now, **claims}, now) or claims

    async def _introspect(self, app: App, token: Secret) -> dict[str, Any] | None:
        """Introspect the token (RFC 7662 2). The reply is cached by a digest of the token, for `INTROSPECTION_TTL`."""
        now, key = self.issuer.clock(), hashlib.sha256(token.reveal().encode()).digest()
        at, known = self._looked_up.get(key, (float("-inf"), None))
        if at > now - INTROSPECTION_TTL:
            return known
        record_key = self.issuer.endpoint(await self.issuer.metadata(), "introspection_endpoint")
        if not record_key:
            raise SettingsError(f"The server at {self.issuer.url} has no introspection_endpoint.")
        form = urlencode({"token": token.reveal(), "token_type_hint": "access_token"})
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "authorization": basic(app.client_id, secret_of(app)),
        }
        answer = await self.issuer.json(httpx.Request("POST", record_key, headers=headers, content=form.encode()))
        if answer is None:
            raise SettingsError(
                f"The server at {self.issuer.url} does not tell the client {app.client_id!r} what a token is.",
                hint="Give it a client id and secret that may introspect (RFC 7662).",
            )
        self._looked_up[key] = now, answer
        while len(self._looked_up) > MAX_CACHED_INTROSPECTIONS:
            self._looked_up.popitem(last=False)
        return answer

    def _misfit(self, claims: Mapping[str, Any]) -> str:
        """Return why a token of the issuer is for another audience or not a person's, or "" if it is accepted."""
        audience = claims.get("aud")
        if self.token_audience not in (audience if isinstance(audience, list) else [audience]):
            return "is for another audience"
        if "cnf" in claims:  # RFC 9449 7.1, RFC 8705 3: as a bearer token, a stolen one would work here
            return "is bound to a key or certificate, and was sent without a proof"
        clients = [claims[name] for name in ("client_id", "cid", "azp") if name in claims]
        own = claims.get("idtyp") == "app" or claims.get("gty") == "client-credentials"
        if own or claims.get("sub") in clients:  # RFC 9068 5
            return "is an application's own, and no person's"
        return ""


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of RFC 9068 2.2.3, or of ``scp``: a list at Okta, a string at Entra."""
    found = claims.get("scope", claims.get("scp", ""))
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset(word for word in words if isinstance(word, str))
