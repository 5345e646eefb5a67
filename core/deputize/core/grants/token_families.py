"""The token families that may be alive at providers, as far as the vault knows. No other module decides that.

A family is all tokens that one consent led to: those of its reply, and those refreshed from them. From its first token
on, a family is in one of these kinds of records, each of which survives a crash, and in none after it has ended:

    received             a stored reply whose consent is not finished (`deputize.core.grants.token_reply_journal`)
    active               a grant has it
    superseded           replaced by a newer consent: an entry of the revocation queue, which waits while a grant of
                         the account has its tokens, or might end with them
    pending_revocation   any other entry of the queue, removed after the provider was informed (RFC 7009)

The vault cannot know a reply that never came, or that came to a process that died before it could write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from deputize.core.grants.token_reply_journal import read_reply
from deputize.core.oauth.pkce import fingerprint
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Grant, Secret, User
from deputize.core.vault.vault import Vault

FamilyState: TypeAlias = Literal["active", "superseded", "received", "pending_revocation"]
FAMILY_STATES: Final[tuple[FamilyState, ...]] = ("active", "superseded", "received", "pending_revocation")
_STRONGER: Final[tuple[FamilyState, ...]] = ("superseded", "active", "received", "pending_revocation")
"""If two records are of one family, the later state in this list counts."""


@frozen
class TokenFamily(ValueObject):
    """A token family that may be alive. ``id``: empty for tokens from before families had ids.

    ``tokens``: fingerprints of the tokens in the vault; they cannot be used as tokens.
    """

    id: str
    state: FamilyState
    user: User
    provider: str
    app: str
    tokens: frozenset[str]


async def families(vault: Vault) -> list[TokenFamily]:
    """Return every family that may be alive. Leaves out damaged records: `Vault.scan_openable` counts them."""
    found: dict[str, TokenFamily] = {}
    nameless: list[TokenFamily] = []
    async for one in _records(vault):
        if not one.id:
            nameless.append(one)
        elif (other := found.get(one.id)) is None:
            found[one.id] = one
        else:
            state = max(one.state, other.state, key=_STRONGER.index)
            found[one.id] = replace(other, state=state, tokens=other.tokens | one.tokens)
    return [*found.values(), *nameless]


def describe_families(found: Sequence[TokenFamily]) -> str:
    """Return a text with the number of families in each state."""
    number = Counter(one.state for one in found)
    states = ", ".join(f"{number[state]} {state.replace('_', ' ')}" for state in FAMILY_STATES)
    return f"{len(found)} may be alive: {states}"


async def _records(vault: Vault) -> AsyncIterator[TokenFamily]:
    async for rows, _ in vault.pages("received"):
        for reply in filter(None, map(read_reply, rows)):
            held = _held_fingerprints(reply.tokens.access, reply.tokens.refresh)
            yield TokenFamily(reply.family, "received", reply.user, reply.provider, reply.app, held)
    held_by = set[str]()
    async for rows, _ in vault.pages("grant"):
        for grant in (Grant.unpack(row.plain, row.generation) for row in rows):
            if grant.status == "active":
                held_by.add(vault.record_key(grant))
                held = _held_fingerprints(grant.access_token, grant.refresh_token)
                yield TokenFamily(grant.family, "active", grant.user, grant.provider, grant.app, held)
    async for rows, _ in vault.pages("outbox"):
        for row in rows:
            yield _queued_family(row.json, held_by)


def _queued_family(note: Mapping[str, Any], held_by: set[str]) -> TokenFamily:
    waits = note.get("replaced") and note.get("place") in held_by
    state: FamilyState = "superseded" if waits else "pending_revocation"
    held = _held_fingerprints(note["token"], note.get("refresh"), *note.get("leaked", ()))
    user = User(note["user"], note["tenant"])
    return TokenFamily(note.get("family", ""), state, user, note["provider"], note["app"], held)


def _held_fingerprints(*tokens: Secret | None) -> frozenset[str]:
    return frozenset(fingerprint(token) for token in tokens if token)
