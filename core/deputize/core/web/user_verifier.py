"""Verification of the browser's user, which trusts your application."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from deputize.core.vault.grant import AnyUser, User

UserVerifier = Callable[[Request], AnyUser | Awaitable[AnyUser]]
"""Who the browser's person is, by the host application's own session; None if nobody is signed in.

The session's cookie must be SameSite=Lax or None: Strict ones do not come back with the browser from the provider.
"""


async def verify_user(verifier: UserVerifier, request: Request) -> User | None:
    """Return the user that your application vouches for. Raises `UserRequired` for an invalid answer."""
    found = verifier(request)
    if inspect.isawaitable(found):
        found = await found
    return None if found is None else User.of(found)
