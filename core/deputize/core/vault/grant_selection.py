"""Which of a user's grants is meant: the one of the named account, or the default one."""

from __future__ import annotations

from collections.abc import Sequence

from deputize.core.errors import AccountMismatch
from deputize.core.vault.grant import Grant


def meant(grants: Sequence[Grant], account: str | None) -> Grant | None:
    """The grant of the named account, else the default one, else the first; None where no live one is there.

    Raises `AccountMismatch` for an account that is not connected while others are, or whose name several have.
    """
    held = [grant for grant in grants if grant.status != "revoked"]
    if account is None:
        return next((grant for grant in held if grant.default), held[0] if held else None)
    over = any(grant.status == "revoked" and grant.connection_id == account for grant in grants)
    if len(found := [] if over else called(held, account)) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(grant.account.subject for grant in found))
        raise AccountMismatch(f"Several accounts {account!r} are connected.", hint=f"Name one by its id: {ids}.")
    if held:
        names = ", ".join(sorted(grant.account.name for grant in held))
        raise AccountMismatch(f"No account {account!r} is connected.", hint=f"Connected: {names}.")
    return None


def called(grants: Sequence[Grant], account: str) -> list[Grant]:
    """That of the connection with this id; else those of the account with this subject; else all whose name is this, in
    whatever case. A provider chooses subjects and names, so neither comes before an id of ours."""
    ours = [grant for grant in grants if grant.connection_id == account]
    exact = ours or [grant for grant in grants if grant.account.subject == account]
    return exact or [grant for grant in grants if grant.account.name.casefold() == account.casefold()]


def same_origin(before: Grant, grant: Grant) -> bool:
    """Whether both came from the same server and app, so that one's refresh token may serve the other."""
    if grant.origin is None:
        return before.origin is None
    return before.origin.same(grant.origin) if before.origin else grant.origin.built_in
