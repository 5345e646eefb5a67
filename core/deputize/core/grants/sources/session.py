"""Your application's session token of a user: requested each time, used once, never stored and never logged.

Trusted: your application, that the session belongs to the user; the server that receives the token, that it is not
forged. This module only checks the user in the token, so that another user's session is refused before it is sent.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.oauth.app import IdentityAssertion, TokenExchange
from deputize.core.oauth.jose import content_of
from deputize.core.oauth.token_reply import usable
from deputize.core.vault.grant import Secret, User

Token: TypeAlias = Secret | str | None
TokenFor: TypeAlias = Callable[[User], Token | Awaitable[Token]]
"""Returns the session token of a user, or None if the user has no session. Sync or async; runs where the act does."""

SESSION_TOKEN_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that an act waits for the application's function, if it is async."""
SESSION_NEEDED: Final = "session_needed"
SESSION_EXPIRED: Final = "session_expired"
SESSION_ENDED: Final = "session_ended"


class NotObtained(Exception):
    """A grant cannot be obtained now; ``reason`` says why. Asking the user may help. Never leaves the deputy.
    ``claims``: claims to request from the user's consent; see `deputize.core.failures.Outcome`."""

    def __init__(self, reason: str, claims: str = "") -> None:
        super().__init__(reason)
        self.reason, self.claims = reason, claims


async def session_token(
    token_for: TokenFor | None, user: User, source: TokenExchange | IdentityAssertion, now: float
) -> Secret:
    """Return the user's session token. ``now``: Unix seconds.

    Raises `NotObtained` without a session, and `InvalidInput` if the application's token is invalid or another user's.
    """
    if token_for is None:
        raise InvalidInput(
            "deputy.sources.token_for is not set, so this app gets no session tokens.",
            hint="Set deputy.sources.token_for to a function of the user that returns the user's session token.",
            fix_by="operator",
        )
    given = await _read_token(token_for, user)
    if given is None:
        raise NotObtained(SESSION_NEEDED)
    claims = content_of(given.reveal())
    if source.user_claim and not _names_user(claims, source.user_claim, user):
        raise InvalidInput(
            "The session token from the application is not verifiably this user's, so it was not used.",
            hint=f"Its claim {source.user_claim!r} must be the user's id, with its iss if an id is ISSUER#SUBJECT. "
            'If the id is in another claim, set user_claim in the app\'s source; "" trusts the application alone.',
            fix_by="operator",
            reason="other_user",
        )
    ends = claims.get("exp")
    if isinstance(ends, int | float) and ends <= now:
        raise NotObtained(SESSION_EXPIRED)
    return given


def _names_user(claims: Mapping[str, Any], claim: str, user: User) -> bool:
    """Return True if a claim is the user's id. If the id has an issuer (``https://login.example.com#alice``), the
    token's issuer must be equal, because two issuers may use the same subject for two people."""
    said, (issuer, mark, subject) = claims.get(claim), user.id.partition("#")
    if mark and issuer.startswith(("https://", "http://")):
        return claims.get("iss") == issuer and said in (subject, user.id)
    return bool(said == user.id)


async def _read_token(token_for: TokenFor, user: User) -> Secret | None:
    """Return the application's token. Its errors and invalid values, which may contain a token, are not reported."""
    given = await _call_token_for(token_for, user)
    if isinstance(given, str):
        raise InvalidInput(f"deputy.sources.token_for {given}.", fix_by="operator")
    return given


async def _call_token_for(token_for: TokenFor, user: User) -> Secret | str | None:
    """Return the token or, because an exception would keep it in its frame, the end of an error message."""
    try:
        async with asyncio.timeout(SESSION_TOKEN_TIMEOUT_SECONDS):
            found = token_for(user)
            given = await found if inspect.isawaitable(found) else found
    except DeputizeError:
        raise
    except Exception as e:
        return f"failed: {type(e).__name__}"
    if given is None or isinstance(given, Secret):
        return given
    return Secret(given) if usable(given) else "gave something that is no token"
