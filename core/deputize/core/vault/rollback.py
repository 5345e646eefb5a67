"""Rollback detection: a grant whose generation in the vault is older than the newest one in the audit was restored.

The encryption binds a record to its key and generation, so a record can be replaced only by an earlier version of
itself. Every important write of a grant has an audit row with its generation. If the vault has an older one, somebody
restored a record or the whole file. This is not detected if the audit was cut too and no anchor is stored elsewhere, if
only writes without a row were undone, or if the machine crashed before the rows were durable (half a second, in
standard mode).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Final, TypeAlias

from deputize.core.audit.events import GrantRevoked, GrantsEnded, GrantSnapshot, VaultRestored
from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail
from deputize.core.value_object import Frozen, ValueObject, frozen
from deputize.core.vault.bulk_revocation import BulkRevocation
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.vault import Vault

RESTORED: Final = VaultRestored.event
"""The event that begins a new count: earlier rows belong to another past."""

_TELLING: Final = (b'"grant_gen":', RESTORED.encode(), GrantsEnded.event.encode())

Where: TypeAlias = tuple[str, str, str, str, str]
"""Tenant, user, provider, app, and the account as the audit names it."""


@frozen
class AuditedGeneration(Frozen):
    """The newest generation of a grant in the audit. ``revoked``: True if the audit row is a revocation."""

    generation: int
    revoked: bool


@frozen
class GenerationMismatch(ValueObject):
    """A grant whose generation in the vault (0 if it is missing) differs from the newest one in the audit."""

    user: User
    provider: str
    app: str
    account: str
    generation: int
    audited: int


class AuditedGenerations:
    """The newest generations of all grants in the audit. Made by `AuditedGenerations.read`.

    Only rows made with one of the audit ``keys``, newest first, count. ``people``: resolves the pseudonyms in them.
    """

    def __init__(self, trail: Trail, keys: Sequence[bytes], people: People, without: Collection[Part] = ()) -> None:
        self._ring, self._people, self._without = [Key(key) for key in keys], people, without
        since = max((row["ts"] for row in self._rows(trail) if row["event"] == RESTORED), default=0)
        self._newest: dict[Where, AuditedGeneration] = {}
        self.ends: list[BulkRevocation] = []
        """All bulk revocations, at any time: their epochs grow from one past to the next."""
        for row in self._rows(trail):
            if row["event"] == GrantsEnded.event:
                tenant = None if row["everybody"] else row.get("tenant", "")
                self.ends.append(BulkRevocation(row["epoch"], tenant, row.get("leaked") is True))
            of_user = "organisation" not in row  # else the user only made the call: the grant has rows of its own
            if row["ts"] >= since and of_user and isinstance(row.get("grant_gen"), int) and "account_hash" in row:
                self._take(row)

    @classmethod
    async def read(cls, trail: Trail, vault: Vault, without: Collection[Part] = ()) -> AuditedGenerations:
        """Read the audit of this vault, except the files in ``without``. Raises `StoreUnavailable` if that fails."""
        return await asyncio.to_thread(cls, trail, vault.keys.audits, await People.of(vault), without)

    def _rows(self, trail: Trail) -> Iterator[Row]:
        """Yield genuine rows about grants."""
        for parts in files_of(trail).values():
            for part in (part for part in parts if part not in self._without):
                for _, line in lines_of(part):
                    row = parse_row(line) if any(mark in line for mark in _TELLING) else None
                    if row and age_of(row, line, self._ring) is not None:
                        yield row

    def _take(self, row: Row) -> None:
        tenant, user, provider, app = (str(row.get(name, "")) for name in ("tenant", "user", "provider", "app"))
        where, generation = (tenant, user, provider, app, str(row["account_hash"])), row["grant_gen"]
        if where not in self._newest or generation >= self._newest[where].generation:
            self._newest[where] = AuditedGeneration(generation, _is_end(row))

    def of(self, grant: Grant) -> AuditedGeneration | None:
        """Return the newest generation of this grant in the audit, or None."""
        found = [self._newest[where] for where in self.names(grant) if where in self._newest]
        return max(found, key=lambda audited: audited.generation, default=None)

    def names(self, grant: Grant) -> list[Where]:
        """Return all names under which audit rows may report this grant, including those of versions without
        pseudonyms."""
        user, subject = grant.user, grant.account.subject
        at, old = (grant.provider, grant.app), [key.value([subject]) for key in self._ring]
        now = [(user.tenant, one.name, *at, one.account(subject)) for one in self._people.pseudonyms(user)]
        return [*now, *((user.tenant, user.id, *at, account) for account in old)]

    def gone(self, known: Collection[Where]) -> list[GenerationMismatch]:
        """Return audited grants that are missing in ``known``. The vault deletes no grant, except those of erased
        users, which were revoked before."""
        return [
            GenerationMismatch(
                User(self._people.find_user_id(tenant, user), tenant), provider, app, "", 0, newest.generation
            )
            for (tenant, user, provider, app, account), newest in self._newest.items()
            if not newest.revoked and (tenant, user, provider, app, account) not in known
        ]


def _is_end(row: Row) -> bool:
    return row["event"] == GrantRevoked.event or (row["event"] == GrantSnapshot.event and row.get("revoked") is True)


async def all_grants(vault: Vault) -> AsyncIterator[Grant]:
    """Yield the grants of all users as stored, including tombstones, a page at a time. Keys are digests, so every
    record is decrypted. Raises `VaultError` if that fails."""
    async for records, _ in vault.pages("grant", strict=True):
        for record in records:
            yield Grant.unpack(record.plain, record.generation)


async def grant_states(vault: Vault) -> Counter[str]:
    """Return the number of grants in each state. Grants that a bulk revocation ended count as revoked."""
    await vault.ended.refresh(fresh=True)
    return Counter(["revoked" if vault.has_ended(grant) else grant.status async for grant in all_grants(vault)])


async def find_rolled_back(vault: Vault, trail: Trail) -> list[GenerationMismatch]:
    """Return grants that are older in the vault than in the audit, or missing, because somebody rolled them back."""
    audited = await AuditedGenerations.read(trail, vault)
    differing, known = await _find_mismatches(vault, audited)
    return [found for found in differing if found.generation < found.audited] + audited.gone(known)


async def find_unaudited(vault: Vault, trail: Trail) -> list[GenerationMismatch]:
    """Return grants whose last write has no audit row, because of a crash between the two. Not a sign of tampering."""
    differing, _ = await _find_mismatches(vault, await AuditedGenerations.read(trail, vault))
    return [found for found in differing if found.generation > found.audited]


async def _find_mismatches(vault: Vault, audited: AuditedGenerations) -> tuple[list[GenerationMismatch], set[Where]]:
    """Return grants whose generation differs from the audit's, and the audit's names of all grants in the vault."""
    found, known = list[GenerationMismatch](), set[Where]()
    async for grant in all_grants(vault):
        known.update(audited.names(grant))
        last = audited.of(grant)
        newest = last.generation if last else 0
        if grant.generation != newest:
            user, account = grant.user, grant.account.name
            found.append(GenerationMismatch(user, grant.provider, grant.app, account, grant.generation, newest))
    return found, known
