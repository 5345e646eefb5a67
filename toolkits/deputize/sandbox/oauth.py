"""The state of an authorization server: consents, codes and tokens.

Provider-neutral. Codes and tokens are stored as SHA-256 hashes only, so neither memory dumps nor the state file
contain one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

CODE_LIVES = 600.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")

GrantFault = Literal["code", "redirect_uri", "verifier", "refresh_token"]
Kind = Literal["access", "refresh"]


class InvalidGrant(Exception):
    """The error ``invalid_grant`` (RFC 6749 5.2); ``fault`` names the wrong part of the request."""

    def __init__(self, fault: GrantFault) -> None:
        super().__init__(fault)
        self.fault: GrantFault = fault


@dataclass(frozen=True)
class App:
    """An OAuth client registration at one provider.

    ``any_port``: a loopback redirect URI without a port matches any port. ``pkce``: the app sends challenges, if the
    provider leaves that to the app. ``permissions``: a GitHub App's permissions in its installations.
    """

    client_id: str
    client_secret: str = field(repr=False)
    name: str
    redirect_uris: tuple[str, ...]
    provider: str = "google"
    any_port: bool = True
    pkce: bool = True
    permissions: tuple[str, ...] = ()

    def redirects_to(self, uri: str) -> bool:
        """Return True if ``uri`` is registered: exactly, or on loopback with any port (RFC 8252 7.3)."""
        return uri in self.redirect_uris or (self.any_port and _without_port(uri) in self.redirect_uris)

    def mismatch(self, uri: str) -> str:
        """Return the error of an unregistered redirect URI: the one that was sent, and the registered ones."""
        known = ", ".join(self.redirect_uris) or "none"
        return f"This app's redirect address is not registered. Sent: {uri or 'none'}. Registered: {known}."

    def has_secret(self, secret: str) -> bool:
        """Compare the secret in constant time."""
        return hmac.compare_digest(secret.encode(), self.client_secret.encode())


@dataclass
class Code:
    """The content of a single-use authorization code."""

    app: str
    sub: str
    redirect_uri: str
    challenge: str
    scopes: list[str]
    refreshable: bool
    expires: float
    used: bool = False


@dataclass
class Token:
    """The content of a token; ``family`` joins all tokens of one code."""

    kind: Kind
    app: str
    sub: str
    family: str
    scopes: list[str]
    expires: float | None
    retired: bool = False

    def lives(self, now: float) -> bool:
        """Return True if the token is valid at ``now``."""
        return self.expires is None or self.expires > now


@dataclass
class Authority:
    """Consents, codes and tokens of all apps at all simulated providers."""

    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    granted: dict[str, list[str]] = field(default_factory=dict)

    def consented(self, app: str, sub: str) -> list[str]:
        """Return the scopes that this person has granted this app, or an empty list."""
        return self.granted.get(f"{app} {sub}", [])

    def consent(self, secret: str, code: Code) -> None:
        """Store a person's consent and its code."""
        self.codes[digest(secret)] = code
        self.remember(code.app, code.sub, code.scopes)

    def remember(self, app: str, sub: str, scopes: list[str]) -> None:
        """Add these scopes to the person's grant."""
        self.granted[f"{app} {sub}"] = list(dict.fromkeys([*self.consented(app, sub), *scopes]))

    def scopes_of_code(self, secret: str) -> list[str]:
        """Return the scopes of a code, or an empty list for an unknown one."""
        code = self.codes.get(digest(secret))
        return code.scopes if code is not None else []

    def redeem(self, secret: str, app: App, redirect_uri: str, verifier: str, now: float) -> tuple[str, Code]:
        """Return a code's family and content. A second use ends the tokens of the first (RFC 6749 4.1.2)."""
        family = digest(secret)
        code = self.codes.get(family)
        if code is None or code.app != app.client_id:
            raise InvalidGrant("code")
        if code.used:
            self.end_family(family)
            raise InvalidGrant("code")
        if code.expires <= now:
            raise InvalidGrant("code")
        if code.redirect_uri != redirect_uri:
            raise InvalidGrant("redirect_uri")
        if code.challenge and not hmac.compare_digest(challenge_of(verifier), code.challenge):
            raise InvalidGrant("verifier")
        code.used = True
        return family, code

    def issue(self, secret: str, token: Token) -> None:
        """Store a token by its secret's hash."""
        self.tokens[digest(secret)] = token

    def refresh(self, secret: str, app: App, now: float, *, reuse_kills_family: bool) -> Token:
        """Return a valid refresh token of this app. Raises `InvalidGrant`."""
        token = self.tokens.get(digest(secret))
        if token is None or token.kind != "refresh" or token.app != app.client_id:
            raise InvalidGrant("refresh_token")
        if not token.lives(now):
            if token.retired and reuse_kills_family:
                self.end_family(token.family)
            raise InvalidGrant("refresh_token")
        return token

    def retire(self, token: Token, now: float, grace: float) -> None:
        """End a used refresh token after ``grace`` seconds."""
        if not token.retired:
            token.retired, token.expires = True, now + grace

    def end_access(self, family: str) -> None:
        """Delete the access tokens of one code; refresh tokens stay."""
        dead = {key for key, token in self.tokens.items() if token.family == family and token.kind == "access"}
        self.tokens = {key: kept for key, kept in self.tokens.items() if key not in dead}

    def access(self, secret: str, now: float) -> Token | None:
        """Return the access token if it is valid."""
        token = self.tokens.get(digest(secret)) if secret else None
        return token if token is not None and token.kind == "access" and token.lives(now) else None

    def find(self, secret: str) -> Token | None:
        """Return the token, valid or not."""
        return self.tokens.get(digest(secret))

    def revoke(self, secret: str, now: float, *, alone: bool = False) -> Token | None:
        """End the whole grant of a valid token of either kind: tokens, open codes and remembered scopes.

        ``alone``: end only the tokens of the same code (RFC 7009 2.1).
        """
        token = self.tokens.get(digest(secret))
        if token is None or not token.lives(now):
            return None
        if alone:
            self.end_family(token.family)
        else:
            self.end_grant(token.app, token.sub)
        return token

    def end_grant(self, app: str, sub: str) -> None:
        """Delete this person's grant to this app."""
        self.granted.pop(f"{app} {sub}", None)
        self.tokens = {key: kept for key, kept in self.tokens.items() if (kept.app, kept.sub) != (app, sub)}
        for code in self.codes.values():
            if (code.app, code.sub) == (app, sub):
                code.expires = 0

    def end_family(self, family: str) -> None:
        """Delete all tokens of one code."""
        self.tokens = {key: kept for key, kept in self.tokens.items() if kept.family != family}

    def live(self, sub: str, now: float) -> int:
        """Return the number of this person's valid tokens."""
        return sum(token.sub == sub and token.lives(now) for token in self.tokens.values())

    def expire_access_tokens(self, now: float) -> None:
        """End all access tokens now; refresh tokens stay."""
        for token in self.tokens.values():
            if token.kind == "access":
                token.expires = now


def digest(secret: str) -> str:
    """Return the hash under which a code or token is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _without_port(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return ""
    if parts.scheme != "http" or host not in LOOPBACK or "@" in parts.netloc or parts.query or parts.fragment:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}{parts.path}"
