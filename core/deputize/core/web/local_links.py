"""Where a user's own pages are. Knows no web framework.

A web application says who its browser's person is, so that everybody's page has one address. On loopback nobody signs
in: there the address itself says whose page it is, sealed under the vault's key and good for a day.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from deputize.core.errors import InvalidInput, VaultError
from deputize.core.vault.grant import SecretBytes, User

if TYPE_CHECKING:
    from deputize.core.deputy import Deputy

ME_LIFE: Final = 86400.0
"""Seconds that a link to a local user's own pages works."""

_PLACE: Final = ("link", "me")


async def connections_link(deputy: Deputy, user: User | str) -> str:
    """Where this user sees accounts, waiting consents and approvals.

    In local mode it is for the user's eyes only: who has it can approve and disconnect for a day. A model may be told
    `connections_address` instead.
    """
    return f"{await _home(deputy, user)}/connections"


async def approval_link(deputy: Deputy, user: User | str, approval_id: str) -> str:
    """Where this user decides about one act. For the user's eyes only, as `connections_link`."""
    return f"{await _home(deputy, user)}/approve/{approval_id}"


async def connections_address(deputy: Deputy) -> str:
    """The one fixed address that even a model may see: it opens nothing by itself."""
    return f"{await deputy.pages.base_url()}/connections"


async def _home(deputy: Deputy, user: User | str) -> str:
    base = await deputy.pages.base_url()
    return f"{base}/me/{me_token(deputy, User.of(user))}" if getattr(deputy.pages, "local", False) else base


def me_token(deputy: Deputy, user: User) -> str:
    """Stands for this user in a local address: opaque, and made by this vault only."""
    note = SecretBytes(json.dumps([user.tenant, user.id, deputy.clock() + ME_LIFE]).encode())
    return base64.urlsafe_b64encode(deputy.vault.sealer.seal(*_PLACE, 0, note)).rstrip(b"=").decode()


def user_of(deputy: Deputy, token: str) -> User:
    """The user a `me_token` stands for. Raises `InvalidInput`, always the same, for anything else."""
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        tenant, user, expires = json.loads(deputy.vault.sealer.open(*_PLACE, sealed)[1].reveal())
    except (ValueError, VaultError):
        raise _unusable() from None
    if expires <= deputy.clock():
        raise _unusable()
    return User(user, tenant)


def _unusable() -> InvalidInput:
    return InvalidInput("This link cannot be used.", fix_by="user", reason="unknown_me")
