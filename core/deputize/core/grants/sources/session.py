"""The application's session token of a user: asked for each time, used once, never kept and never logged.

Who is believed: the application, that this is a session of the user; and the server that takes the token, that it has
not been forged. What is looked at here is only whose the token says it is, so that one user's session handed over for
another is refused before anything is sent.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.oauth.grant_sources import IdentityAssertion, TokenExchange
from deputize.core.oauth.jose import content_of
from deputize.core.oauth.token_reply import usable
from deputize.core.vault.grant import Secret, User

Token: TypeAlias = Secret | str | None
TokenFor: TypeAlias = Callable[[User], Token | Awaitable[Token]]
"""Gives the session token of a user, or None for a user who has no session. Sync or async; runs where the act does."""

SECONDS: Final = 30.0
"""How long an act waits for the application's function, where that is async."""
SESSION_NEEDED: Final = "session_needed"
SESSION_EXPIRED: Final = "session_expired"
SESSION_ENDED: Final = "session_ended"


class NotObtained(Exception):
    """No grant comes from there now; ``reason`` says why. Asking the user may help. Never leaves the deputy.
    ``claims``: what the server wants to be asked for then; see `deputize.core.failures.Outcome`."""

    def __init__(self, reason: str, claims: str = "") -> None:
        super().__init__(reason)
        self.reason, self.claims = reason, claims


async def session_token(
    token_for: TokenFor | None, user: User, source: TokenExchange | IdentityAssertion, now: float
) -> Secret:
    """The user's session token. ``now``: Unix seconds.

    Raises `NotObtained` for a user without a session, `InvalidInput` for an application that gives none, or another
    user's.
    """
    if token_for is None:
        raise InvalidInput(
            "Nothing gives the session tokens that this app's grants come from.",
            hint="Set deputy.sources.token_for to a function of the user that returns the user's session token.",
            fix_by="operator",
        )
    given = await _given(token_for, user)
    if given is None:
        raise NotObtained(SESSION_NEEDED)
    claims = content_of(given.reveal())
    if source.user_claim and not _names(claims, source.user_claim, user):
        raise InvalidInput(
            "The session token that the application gave is not known to be this user's, so it was not used.",
            hint=f"Its claim {source.user_claim!r} has to be the user's id, and its iss where an id is ISSUER#SUBJECT. "
            'Where it is another claim, set user_claim in the app\'s source; "" believes the application alone.',
            fix_by="operator",
            reason="other_user",
        )
    ends = claims.get("exp")
    if isinstance(ends, int | float) and ends <= now:
        raise NotObtained(SESSION_EXPIRED)
    return given


def _names(claims: Mapping[str, Any], claim: str, user: User) -> bool:
    """Whether a claim is the user's id. Where an id says whose subject it is (``https://login.example.com#alice``), the
    issuer has to be that one, too: two issuers may call two people the same."""
    said, (issuer, mark, subject) = claims.get(claim), user.id.partition("#")
    if mark and issuer.startswith(("https://", "http://")):
        return claims.get("iss") == issuer and said in (subject, user.id)
    return bool(said == user.id)


async def _given(token_for: TokenFor, user: User) -> Secret | None:
    """What the application gives. Nothing of an error of its own is told, nor of what is no token: it may hold one."""
    given = await _called(token_for, user)
    if isinstance(given, str):
        raise InvalidInput(f"deputy.sources.token_for {given}.", fix_by="operator")
    return given


async def _called(token_for: TokenFor, user: User) -> Secret | str | None:
    """The token, or what is wrong with it, as the end of a sentence. Raises only errors of ours: its frame has it."""
    try:
        async with asyncio.timeout(SECONDS):
            found = token_for(user)
            given = await found if inspect.isawaitable(found) else found
    except DeputizeError:
        raise
    except Exception as e:
        return f"failed: {type(e).__name__}"
    if given is None or isinstance(given, Secret):
        return given
    return Secret(given) if usable(given) else "gave something that is no token"
