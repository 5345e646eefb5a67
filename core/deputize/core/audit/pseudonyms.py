"""Pseudonyms of users and accounts in audit rows, and the interface of the component that stores their keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from deputize.core.audit.rows import Fact

PEOPLE: Final = ("approver", "operator")
"""Fields of rows with another user than the row's."""


class Subject(str):
    """An account's subject at the provider, as a value of an event. The audit row contains a keyed digest instead."""

    __slots__ = ()


class Person(str):
    """Another user of the same tenant than the row's, as a value of an event. The row contains a pseudonym instead."""

    __slots__ = ()


class Names(Protocol):
    """The pseudonyms of users. `deputize.core.vault.pseudonyms` stores their keys in the vault."""

    def knows(self, tenant: str, user: str) -> bool:
        """Return whether the user's pseudonym is cached."""
        ...

    async def has_key(self, tenant: str, user: str) -> bool:
        """Return whether the user has a pseudonym key. False after an erasure."""
        ...

    async def learn(self, tenant: str, user: str) -> None:
        """Cache the pseudonym for a short time, after which an erasure is noticed. Ignores errors of the store."""
        ...

    def user(self, tenant: str, user: str) -> str:
        """Return the user's name in audit rows."""
        ...

    def account(self, tenant: str, user: str, subject: str) -> str:
        """Return the name of the user's account in audit rows."""
        ...

    def seal(self, tenant: str, user: str, act_id: str, text: str) -> str:
        """Return the text encrypted under the user's key, for a row of this act. "" if the key is not cached."""
        ...

    async def forget(self, tenant: str, user: str) -> None:
        """Erase the key that connects the pseudonym with the user."""
        ...


def pseudonymize(facts: dict[str, Fact], names: Names | None, digest: Callable[[str], str]) -> dict[str, Fact]:
    """Return the facts with users and account replaced by their pseudonyms. Without ``names``, the ids of users are
    kept, and the account is replaced by the ``digest`` of its subject."""
    subject = facts.get("account_hash")
    for name in PEOPLE:
        if names and isinstance(other := facts.get(name), Person):
            facts[name] = names.user(str(facts.get("tenant") or ""), str(other))
    if names and (user := facts.get("user")):
        tenant, user = str(facts.get("tenant") or ""), str(user)
        facts["user"] = names.user(tenant, user)
        if isinstance(subject, Subject):
            facts["account_hash"] = names.account(tenant, user, subject)
    elif isinstance(subject, Subject):
        facts["account_hash"] = digest(subject)
    return facts
