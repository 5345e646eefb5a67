"""Pseudonyms of users in the audit, and encryption of the texts that only the user may read there. Erasing a user
erases the key of both.

A user's pseudonym is a MAC of the user's id, and that of an account a MAC of its subject, under a key of that user. The
key is a record of the vault under the user's key prefix, together with the id. So anyone who can decrypt the vault
reads names in the audit, and anyone can see which rows belong to the same user. After the record was erased, nobody can
tell or guess whose rows they are. Rows from before there were pseudonyms still contain ids, because a chain cannot be
changed.

A text is encrypted with AES-256-GCM under a key derived from the user's key. The act's id is its associated data, so it
cannot be moved to the row of another act. Its length is padded, because the length of a subject may identify it.

If the store cannot provide the key, rows are still written, under a key derived from the vault's: such a pseudonym can
be resolved as long as the vault exists. No text is encrypted under that key, because an erasure would not erase it.
"""

from __future__ import annotations

import binascii
import os
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deputize.core.audit.pseudonyms import PEOPLE
from deputize.core.errors import StoreUnavailable, UserRequired, VaultError
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.vault import Vault

KIND: Final = "person"
MARK: Final = "p-"
"""Prefix of a pseudonym."""
PSEUDONYM_TTL: Final = 60.0
"""Seconds after which another process's erasure is noticed."""
MAX_CACHED_ACCOUNTS: Final = 100
"""Accounts of one user whose pseudonyms are cached."""
MAX_CACHED_USERS: Final = 20_000
"""Users whose pseudonyms are cached."""
NONCE_BYTES: Final = 12
PADDING_BYTES: Final = 128
"""The length of an encrypted text is a multiple of this."""


class Pseudonym:
    """The names of one user and the user's accounts in audit rows, and the encryption of the user's texts there."""

    __slots__ = ("_accounts", "_cipher", "_key", "name", "until")

    def __init__(self, key: Secret, user: User, until: float = 0.0) -> None:
        self._key, self._accounts = key, dict[str, str]()
        self._cipher: AESGCM | None = None
        self.name = f"{MARK}{self._mac('user', user.tenant, user.id)}"
        self.until = until

    def account(self, subject: str) -> str:
        """Return the pseudonym of an account. It is cached: each act's row names one, and few users have many."""
        if subject not in self._accounts:
            if len(self._accounts) >= MAX_CACHED_ACCOUNTS:
                self._accounts.clear()
            self._accounts[subject] = self._mac("account", subject)
        return self._accounts[subject]

    def seal(self, act_id: str, text: str) -> str:
        """Return the text encrypted for a row of this act, as base64."""
        plain, nonce = text.encode("utf-8", "backslashreplace"), os.urandom(NONCE_BYTES)
        plain = plain.ljust(-(-len(plain) // PADDING_BYTES) * PADDING_BYTES)
        return b64encode(nonce + self._aead().encrypt(nonce, plain, act_id.encode())).decode()

    def unseal(self, act_id: str, sealed: str) -> str:
        """Return the text from `seal`, or "" if it was encrypted for another user or act, or was changed."""
        try:
            data = b64decode(sealed, validate=True)
            return self._aead().decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], act_id.encode()).decode().rstrip(" ")
        except (binascii.Error, InvalidTag, ValueError):
            return ""

    def _aead(self) -> AESGCM:
        if self._cipher is None:
            key = blake2b(key=self._key.reveal().encode(), digest_size=32, person=b"deputize.sealed")
            self._cipher = AESGCM(key.digest())
        return self._cipher

    def _mac(self, *parts: str) -> str:
        mac = blake2b(key=self._key.reveal().encode(), digest_size=16, person=b"deputize.person")
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            mac.update(len(data).to_bytes(8, "big") + data)
        return mac.hexdigest()


class Pseudonyms:
    """A cache of one vault's pseudonyms, each read on first use. ``clock``: monotonic seconds."""

    def __init__(self, vault: Vault, clock: Callable[[], float] = time.monotonic) -> None:
        self._vault, self._clock = vault, clock
        self._known: dict[tuple[str, str], Pseudonym] = {}

    def knows(self, tenant: str, user: str) -> bool:
        """Return whether the user's pseudonym is cached."""
        return (tenant, user) in self._known

    async def has_key(self, tenant: str, user: str) -> bool:
        """Return whether the user has a key. True also if the vault is unreadable or this process has written rows with
        it."""
        if self.knows(tenant, user):
            return True
        try:
            return await self._vault.store.get(KIND, self._vault.key_prefix(User(user, tenant))) is not None
        except StoreUnavailable:
            return True

    async def learn(self, tenant: str, user: str) -> None:
        """Cache the user's pseudonym for a minute: another process may erase it."""
        known = self._known.get((tenant, user))
        if known and self._clock() < known.until:
            return
        try:
            key = await _key_of(self._vault, User.of(User(user, tenant)))
        except (StoreUnavailable, VaultError, UserRequired):  # UserRequired: a row without a user is written too
            return
        while len(self._known) >= MAX_CACHED_USERS:
            del self._known[next(iter(self._known))]
        self._known[tenant, user] = Pseudonym(key, User(user, tenant), self._clock() + PSEUDONYM_TTL)

    def user(self, tenant: str, user: str) -> str:
        """Return the user's name in audit rows."""
        return self._of(tenant, user).name

    def account(self, tenant: str, user: str, subject: str) -> str:
        """Return the name of the user's account in audit rows."""
        return self._of(tenant, user).account(subject)

    def seal(self, tenant: str, user: str, act_id: str, text: str) -> str:
        """Return the text encrypted under the user's key, for a row of this act. "" if the key is not cached."""
        known = self._known.get((tenant, user))
        return known.seal(act_id, text) if known else ""

    def unseal(self, tenant: str, user: str, act_id: str, sealed: str) -> str:
        """Return the text from `seal`, or "" if it is not this user's and this act's, or the key is not cached."""
        known = self._known.get((tenant, user))
        return known.unseal(act_id, sealed) if known else ""

    def _of(self, tenant: str, user: str) -> Pseudonym:
        return self._known.get((tenant, user)) or fallback_pseudonym(self._vault, User(user, tenant))

    async def forget(self, tenant: str, user: str) -> None:
        """Erase the user's key. Work in progress keeps the same pseudonym. Later rows get a new pseudonym."""
        store, key = self._vault.store, self._vault.key_prefix(User(user, tenant))
        while sealed := await store.get(KIND, key):  # a damaged one, too
            await store.delete(KIND, key, sealed)
        if known := self._known.get((tenant, user)):
            known.until = 0.0


def fallback_pseudonym(vault: Vault, user: User) -> Pseudonym:
    """Return the pseudonym for a user whose own key could not be read when a row was written."""
    key = blake2b(key=vault.keys.index, digest_size=32, person=b"deputize.people")
    for part in (user.tenant, user.id):
        data = part.encode("utf-8", "surrogatepass")
        key.update(len(data).to_bytes(8, "big") + data)
    return Pseudonym(Secret(key.hexdigest()), user)


async def _key_of(vault: Vault, user: User) -> Secret:
    """Return the user's key. Creates it if there is none."""
    record_key = vault.key_prefix(user)
    while (record := await vault.get(KIND, record_key)) is None:
        key = Secret(secrets.token_hex(32))
        content = {"tenant": user.tenant, "user": user.id, "key": key}
        await vault.insert(KIND, record_key, content, await vault.data_keys.get(user.tenant))
    found: Secret = record.json["key"]
    return found


class People:
    """All users whose keys are in the vault, to resolve pseudonyms in the audit. Made by `People.of`."""

    def __init__(self, vault: Vault, known: Iterable[tuple[User, Pseudonym]]) -> None:
        self._vault, self._by_user = vault, dict(known)
        self._by_name = {
            (user.tenant, one.name): user
            for user, own in self._by_user.items()
            for one in (own, fallback_pseudonym(vault, user))
        }

    @classmethod
    async def of(cls, vault: Vault) -> People:
        """Return all users, after reading all keys in the vault."""
        records = (await vault.scan_openable(KIND))[0]
        users = [(User(note["user"], note["tenant"]), note["key"]) for note in (record.json for record in records)]
        return cls(vault, [(user, Pseudonym(key, user)) for user, key in users])

    def pseudonyms(self, user: User) -> list[Pseudonym]:
        """Return all pseudonyms that audit rows may contain for this user."""
        own = self._by_user.get(user)
        return [*([own] if own else []), fallback_pseudonym(self._vault, user)]

    def names_in(self, tenant: str) -> frozenset[str]:
        """Return all pseudonyms of a tenant's users that can be resolved."""
        return frozenset(name for whose, name in self._by_name if whose == tenant)

    def find_user_id(self, tenant: str, name: str) -> str:
        """Return the user id for a pseudonym, or the pseudonym itself if its key is gone."""
        user = self._by_name.get((tenant, name))
        return user.id if user else name

    def is_unresolvable(self, row: dict[str, Any]) -> bool:
        """Return whether a row has a pseudonym that cannot be resolved."""
        name = row.get("user")
        return isinstance(name, str) and name.startswith(MARK) and (row.get("tenant", ""), name) not in self._by_name

    def resolve_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with the users' ids, and with the pseudonym of its user in a field, if it can be resolved."""
        for other in PEOPLE:
            if isinstance(found := row.get(other), str):
                row = row | {other: self.find_user_id(str(row.get("tenant", "")), found)}
        name = row.get("user")
        user = self.find_user_id(str(row.get("tenant", "")), name) if isinstance(name, str) else name
        return row if user == name else row | {"user": user, "pseudonym": name}
