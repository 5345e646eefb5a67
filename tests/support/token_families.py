"""Live token families at the sandbox, and those of them that the vault does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deputize.core.grants.token_families import families
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID
from deputize.sandbox.oauth import Token
from deputize.sandbox.slack import SLACK_CLIENT_ID

END_ALL_WITH_ONE: Final = frozenset({GOOGLE_CLIENT_ID, SLACK_CLIENT_ID})
"""Apps at providers where ending any token of a person ends all: one known token covers all."""


def ends_with(token: Token, sandbox: Sandbox) -> str:
    """Return what ends together with this token: its family, or all families of the person."""
    played = {one.app.client_id for one in sandbox.played.values() if one.row.oauth.revokes_all}
    return f"{token.app} {token.sub}" if token.app in END_ALL_WITH_ONE | played else token.family


def alive(sandbox: Sandbox, clock: Callable[[], float]) -> set[str]:
    """Return the families of which the provider would accept a token."""
    return {one.family for one in sandbox._world.authority.tokens.values() if one.lives(clock())}


async def unknown(vault: Vault, sandbox: Sandbox, clock: Callable[[], float]) -> set[str]:
    """Return the live families that nobody could end: the vault has no token, not even a used one, of what ends with
    them."""
    known = {token for family in await families(vault) for token in family.tokens}
    issued = sandbox._world.authority.tokens  # by the same fingerprints
    within_reach = {ends_with(issued[token], sandbox) for token in known if token in issued}
    return {one.family for one in issued.values() if one.lives(clock()) and ends_with(one, sandbox) not in within_reach}
