"""Users have pseudonyms in the audit, and what leads back to a user is erased with them.

A user's pseudonym is a MAC of their id, and that of an account a MAC of its subject, under a key of the user's own. The
key is a record of the vault at the user's place, with their id. So whoever opens the vault reads names in the audit,
rows of one user go together for everybody, and once the record is gone nobody can tell or guess whose they were. Rows
that were written before there were pseudonyms keep their ids: nothing in a chain can be changed.

Where the store gives no key, rows are written all the same, under a key that follows from the vault's: such a pseudonym
leads back as long as the vault is there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from deputize.core.errors import StoreUnavailable, UserRequired, VaultError
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.vault import Vault

KIND: Final = "person"
MARK: Final = "p-"
"""How a pseudonym begins."""
FRESH: Final = 60.0
"""Seconds after which another process's erasure is noticed."""
ACCOUNTS: Final = 100
"""Accounts of one user whose pseudonyms are at hand."""
MAX_CACHED_USERS: Final = 20_000
"""Users whose pseudonyms are at hand."""


class Pseudonym:
    """How rows name one user, and their accounts."""

    __slots__ = ("_accounts", "_key", "name", "until")

    def __init__(self, key: Secret, user: User, until: float = 0.0) -> None:
        self._key, self._accounts = key, dict[str, str]()
        self.name = f"{MARK}{self._mac('user', user.tenant, user.id)}"
        self.until = until

    def account(self, subject: str) -> str:
        """An account of theirs. Few have many, and each act's row names one, so they are kept."""
        if subject not in self._accounts:
            if len(self._accounts) >= ACCOUNTS:
                self._accounts.clear()
            self._accounts[subject] = self._mac("account", subject)
        return self._accounts[subject]

    def _mac(self, *parts: str) -> str:
        mac = blake2b(key=self._key.reveal().encode(), digest_size=16, person=b"deputize.person")
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            mac.update(len(data).to_bytes(8, "big") + data)
        return mac.hexdigest()


class Pseudonyms:
    """Those of one vault's users, read when they are first needed. ``clock``: seconds, of this process."""

    def __init__(self, vault: Vault, clock: Callable[[], float] = time.monotonic) -> None:
        self._vault, self._clock = vault, clock
        self._known: dict[tuple[str, str], Pseudonym] = {}

    def knows(self, tenant: str, user: str) -> bool:
        """Whether the user's pseudonym is at hand."""
        return (tenant, user) in self._known

    async def has_key(self, tenant: str, user: str) -> bool:
        """Whether the vault has the user's key, as far as it can be seen, or this process wrote rows with it."""
        if self.knows(tenant, user):
            return True
        try:
            return await self._vault.store.get(KIND, self._vault.key_prefix(User(user, tenant))) is not None
        except StoreUnavailable:
            return True

    async def learn(self, tenant: str, user: str) -> None:
        """Have it at hand, and look again a minute later: another process may have erased it."""
        known = self._known.get((tenant, user))
        if known and self._clock() < known.until:
            return
        try:
            key = await _key_of(self._vault, User.of(User(user, tenant)))
        except (StoreUnavailable, VaultError, UserRequired):  # the last: no user, and yet there is a row to write
            return
        while len(self._known) >= MAX_CACHED_USERS:
            del self._known[next(iter(self._known))]
        self._known[tenant, user] = Pseudonym(key, User(user, tenant), self._clock() + FRESH)

    def user(self, tenant: str, user: str) -> str:
        """What rows call the user."""
        return self._of(tenant, user).name

    def account(self, tenant: str, user: str, subject: str) -> str:
        """What rows call an account of theirs."""
        return self._of(tenant, user).account(subject)

    def _of(self, tenant: str, user: str) -> Pseudonym:
        return self._known.get((tenant, user)) or without_key(self._vault, User(user, tenant))

    async def forget(self, tenant: str, user: str) -> None:
        """Erase the key. Rows of what is still under way get the same pseudonym, whatever comes then a new one."""
        if record := await self._vault.get(KIND, self._vault.key_prefix(User(user, tenant))):
            await self._vault.delete(record)
        if known := self._known.get((tenant, user)):
            known.until = 0.0


def without_key(vault: Vault, user: User) -> Pseudonym:
    """What rows call a user whose own key could not be read when they were written."""
    key = blake2b(key=vault.keys.index, digest_size=32, person=b"deputize.people")
    for part in (user.tenant, user.id):
        data = part.encode("utf-8", "surrogatepass")
        key.update(len(data).to_bytes(8, "big") + data)
    return Pseudonym(Secret(key.hexdigest()), user)


async def _key_of(vault: Vault, user: User) -> Secret:
    """The user's key, made where there is none."""
    record_key = vault.key_prefix(user)
    while (record := await vault.get(KIND, record_key)) is None:
        key = Secret(secrets.token_hex(32))
        await vault.insert(KIND, record_key, {"tenant": user.tenant, "user": user.id, "key": key})
    found: Secret = record.json["key"]
    return found


class People:
    """All users that the vault has keys of, to read the audit by. Made by `People.of`."""

    def __init__(self, vault: Vault, known: Iterable[tuple[User, Pseudonym]]) -> None:
        self._vault, self._by_user = vault, dict(known)
        self._by_name = {
            (user.tenant, one.name): user
            for user, own in self._by_user.items()
            for one in (own, without_key(vault, user))
        }

    @classmethod
    async def of(cls, vault: Vault) -> People:
        """Those there are now."""
        records = (await vault.scan_open(KIND))[0]
        users = [(User(note["user"], note["tenant"]), note["key"]) for note in (record.json for record in records)]
        return cls(vault, [(user, Pseudonym(key, user)) for user, key in users])

    def pseudonyms(self, user: User) -> list[Pseudonym]:
        """All that rows may call this user, but for the id itself."""
        own = self._by_user.get(user)
        return [*([own] if own else []), without_key(self._vault, user)]

    def named(self, tenant: str, name: str) -> str:
        """The id of the user whom rows call so; the name itself where nothing leads back."""
        user = self._by_name.get((tenant, name))
        return user.id if user else name

    def is_strange(self, row: dict[str, Any]) -> bool:
        """Whether a row names a user by a pseudonym that leads back to nobody."""
        name = row.get("user")
        return isinstance(name, str) and name.startswith(MARK) and (row.get("tenant", ""), name) not in self._by_name

    def in_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the user's id, and the pseudonym beside it, where there is one that leads back."""
        name = row.get("user")
        user = self.named(str(row.get("tenant", "")), name) if isinstance(name, str) else name
        return row if user == name else row | {"user": user, "pseudonym": name}
