"""The next owner of a grant's tokens: a grant may end only if something else can still end its tokens.

Tokens are valid at the provider until they are revoked there (RFC 7009) or the provider ends them. A token without a
record can no longer be revoked. So code that ends a grant names the next owner of its tokens, and `Vault.end_grant`
refuses to drop them without an owner:

    an entry of the revocation queue, or a received reply    the record has the token
    the provider                                             its token endpoint reported the family as dead
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from deputize.core.value_object import Frozen, frozen

if TYPE_CHECKING:
    from deputize.core.vault.grant import Grant, Secret
    from deputize.core.vault.record import Record


@frozen
class EndedByProvider(Frozen):
    """The token endpoint reported that the grant's token family is dead (RFC 6749 5.2). No token is left to revoke."""


NextOwner: TypeAlias = "Record | EndedByProvider | None"
"""What answers for a grant's tokens after its end. None: the grant has no tokens."""


def has_next_owner(grant: Grant, owner: NextOwner) -> bool:
    """Return whether ``owner`` is responsible for the grant's tokens. A record is, if it contains one of them."""
    tokens = [token for token in (grant.access_token, grant.refresh_token) if token]
    if not tokens or isinstance(owner, EndedByProvider):
        return True
    return owner is not None and any(token in tokens for token in _tokens_in(owner))


def _tokens_in(record: Record) -> list[Secret | None]:
    """Return the tokens in an entry of the revocation queue or in a received reply."""
    note = record.json
    if record.kind == "received":
        return [note["tokens"]["access"], note["tokens"].get("refresh")]
    return [note["token"], note.get("refresh"), *note.get("leaked", ())] if record.kind == "outbox" else []
