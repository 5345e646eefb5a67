"""Links of local mode: a user's own pages, and the browser to which a link belongs. Needs no web framework.

In a web application the verifier identifies the user, so all users share the address of a page. On loopback nobody
signs in: the address itself contains the user, encrypted with the vault's key and valid for a day. Other accounts of
the machine may see an address in a list of processes or in a log. So a link belongs to the browser that opens it first,
which gets a cookie, and is useless in any other.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import TYPE_CHECKING, Final

from deputize.core.errors import InvalidInput, VaultError
from deputize.core.oauth.pkce import fingerprint
from deputize.core.vault.grant import SecretBytes, User

if TYPE_CHECKING:
    from deputize.core.base_deputy import BaseDeputy

DASHBOARD_LINK_TTL: Final = 86400.0
"""Seconds for which a link to a local user's own pages works."""

BINDING_TTL: Final = 2 * 86400.0
"""Seconds for which the browser of a link is remembered: longer than any link works."""

_PLACE: Final = ("link", "me")


async def connections_link(deputy: BaseDeputy, user: User | str) -> str:
    """Return the link to this user's accounts and pending requests.

    In local mode only the user may see it: for a day, the browser that opens it first can approve and disconnect. A
    model may see ``/connections`` without the rest, which opens nothing by itself.
    """
    return f"{await _home(deputy, user)}/connections"


async def approval_link(deputy: BaseDeputy, user: User | str, approval_id: str) -> str:
    """Return the link to this user's decision about one act. Only the user may see it, as `connections_link`."""
    return f"{await _home(deputy, user)}/approve/{approval_id}"


async def step_link(deputy: BaseDeputy, user: User | str, step: str) -> str:
    """Return the link to all requests of a step. Only the user may see it, as `connections_link`."""
    return f"{await _home(deputy, user)}/asks/{step}"


async def show_anew(deputy: BaseDeputy, link: str) -> None:
    """Unbind a consent's link in local mode before a person sees it again, so that the next browser may open it.

    Otherwise a user who opened it in the wrong browser would have to wait until it expires.
    """
    if _is_local(deputy):
        await unbind(deputy, link.rpartition("/")[2])


async def _home(deputy: BaseDeputy, user: User | str) -> str:
    base = await deputy.pages.base_url()
    return f"{base}/me/{me_token(deputy, User.of(user))}" if _is_local(deputy) else base


def _is_local(deputy: BaseDeputy) -> bool:
    return bool(getattr(deputy.pages, "local", False))


def me_token(deputy: BaseDeputy, user: User) -> str:
    """Return the token of this user for local addresses. It is opaque, and only this vault can make it."""
    note = SecretBytes(json.dumps([user.tenant, user.id, deputy.clock() + DASHBOARD_LINK_TTL]).encode())
    return base64.urlsafe_b64encode(deputy.vault.sealer.seal(*_PLACE, 0, note)).rstrip(b"=").decode()


def user_of(deputy: BaseDeputy, token: str) -> User:
    """Return the user of a `me_token`. Raises the same `InvalidInput` for any other text."""
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        tenant, user, expires = json.loads(deputy.vault.sealer.open(*_PLACE, sealed)[1].reveal())
    except (ValueError, VaultError):
        raise _unusable() from None
    if expires <= deputy.clock():
        raise _unusable()
    return User(user, tenant)


# ------------------------------------------------------------- which browser a link belongs to


async def is_bound(deputy: BaseDeputy, token: str, cookie: str) -> bool:
    """Return True if the link with this ticket or `me_token` belongs to the browser with this cookie, and False if it
    belongs to none yet.

    Raises the refusal of all unusable links if it belongs to another browser.
    """
    row = await deputy.vault.get("browser", fingerprint(token))
    if row and not hmac.compare_digest(row.json["cookie"], fingerprint(cookie)):
        raise _unusable("other_browser")
    return row is not None


async def bind(deputy: BaseDeputy, token: str, cookie: str) -> None:
    """Bind the link to the browser with this cookie. Raises the same refusal if another browser was faster."""
    owner = {"cookie": fingerprint(cookie), "expires": deputy.clock() + BINDING_TTL}
    if not await deputy.vault.insert("browser", fingerprint(token), owner):
        await is_bound(deputy, token, cookie)


async def unbind(deputy: BaseDeputy, token: str) -> None:
    """Unbind the link, so that it belongs to the next browser that opens it."""
    row = await deputy.vault.get("browser", fingerprint(token))
    if row:
        await deputy.vault.delete(row)


def _unusable(reason: str = "unknown_me") -> InvalidInput:
    return InvalidInput("This link cannot be used.", fix_by="user", reason=reason)
