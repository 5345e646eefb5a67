"""Tokens for codes and refresh tokens, for providers with their own formats and lifetimes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from deputize.sandbox.oauth import App, Token
from deputize.sandbox.world import World


@dataclass(frozen=True)
class TokenMaker:
    """A provider's token settings.

    ``lives``: seconds of an access token, None without an end. ``kills_access``: a refresh ends the old access token
    too. ``access`` and ``refresh`` create the secrets.
    """

    access: Callable[[], str]
    refresh: Callable[[], str]
    lives: float | None
    kills_access: bool = False


@dataclass(frozen=True)
class IssuedTokens:
    """Issued tokens: ``refresh`` is "" without a refresh token, ``lives`` None if the access token does not end."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    lives: int | None
    scopes: list[str]
    sub: str


def random(prefix: str, size: int = 40) -> str:
    """Return a secret with the provider's prefix."""
    return prefix + secrets.token_hex(size // 2)


def redeem(world: World, app: App, form: dict[str, str], maker: TokenMaker, *, refreshable: bool) -> IssuedTokens:
    """Return tokens for a code. Raises `InvalidGrant`."""
    now = world.clock()
    verifier = form.get("code_verifier", "")
    family, code = world.authority.redeem(form.get("code", ""), app, form.get("redirect_uri", ""), verifier, now)
    return issue(world, app, code.sub, family, code.scopes, maker, refreshable=refreshable and code.refreshable)


def refresh(world: World, app: App, form: dict[str, str], maker: TokenMaker, *, rotates: bool) -> IssuedTokens:
    """Return tokens for a refresh token. Raises `InvalidGrant`."""
    now, switches = world.clock(), world.switches
    old = world.authority.refresh(
        form.get("refresh_token", ""), app, now, reuse_kills_family=switches.reuse_kills_family
    )
    if rotates:
        world.authority.retire(old, now, switches.grace)
    if maker.kills_access:
        world.authority.end_access(old.family)
    return issue(world, app, old.sub, old.family, old.scopes, maker, refreshable=rotates)


def issue(
    world: World, app: App, sub: str, family: str, scopes: list[str], maker: TokenMaker, *, refreshable: bool
) -> IssuedTokens:
    """Issue new tokens after a consent."""
    lives = None if maker.lives is None else world.access_ttl(maker.lives)
    access, now = maker.access(), world.clock()
    ends = None if lives is None else now + lives
    world.authority.issue(access, Token("access", app.client_id, sub, family, scopes, ends))
    again = maker.refresh() if refreshable else ""
    if again:
        world.authority.issue(again, Token("refresh", app.client_id, sub, family, scopes, None))
    shown = "" if world.switches.omit_refresh_token else again
    told = None if lives is None or world.switches.omit_expires_in else int(lives)
    return IssuedTokens(access, shown, told, scopes, sub)
