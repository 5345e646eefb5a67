"""What rows call people and their accounts: by pseudonyms, for whoever keeps what leads back from these to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from deputize.core.audit.rows import Fact


class Subject(str):
    """An account's subject at the provider, in the facts of an event: its row gets a keyed digest of it instead."""

    __slots__ = ()


class Names(Protocol):
    """Pseudonyms of users. `deputize.core.vault.pseudonyms` keeps their keys in the vault."""

    def knows(self, tenant: str, user: str) -> bool:
        """Whether the user's pseudonym is at hand."""
        ...

    async def has_key(self, tenant: str, user: str) -> bool:
        """Whether anything leads from the user to a pseudonym: not after an erasure."""
        ...

    async def learn(self, tenant: str, user: str) -> None:
        """Have it at hand, and know again soon where it was erased. Raises nothing of the store's."""
        ...

    def user(self, tenant: str, user: str) -> str:
        """What rows call the user."""
        ...

    def account(self, tenant: str, user: str, subject: str) -> str:
        """What rows call an account of theirs."""
        ...

    async def forget(self, tenant: str, user: str) -> None:
        """Erase what leads from the pseudonym back to the user."""
        ...


def called(facts: dict[str, Fact], names: Names | None, digest: Callable[[str], str]) -> dict[str, Fact]:
    """The facts, with user and account as rows call them: by their names; without these by the user's id, and by the
    ``digest`` of the account's subject."""
    subject = facts.get("account_hash")
    if names and (user := facts.get("user")):
        tenant, user = str(facts.get("tenant", "")), str(user)
        facts["user"] = names.user(tenant, user)
        if isinstance(subject, Subject):
            facts["account_hash"] = names.account(tenant, user, subject)
    elif isinstance(subject, Subject):
        facts["account_hash"] = digest(subject)
    return facts
