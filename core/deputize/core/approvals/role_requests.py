"""Approvals that a policy asks the members of a role for, found by tenant and role ("four eyes").

Each such approval is stored among the requester's approvals, as any other. A second record, of the kind
``role_approval``, leads from the tenant and the role to the approval. The key of the second record is a keyed digest,
so nobody can guess it, and members of another tenant cannot find it. The second record is written first; it is ignored
if there is no approval. Nobody finds an approval of their own.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection
from typing import Final

from deputize.core.approvals.record import ApprovalRecord
from deputize.core.approvals.repository import ApprovalRepository
from deputize.core.shared_services import Services
from deputize.core.vault.grant import User

REQUESTS_PER_PAGE: Final = 20


class RoleRequests:
    """The approvals of one vault that wait for members of a role."""

    def __init__(self, services: Services, rows: ApprovalRepository) -> None:
        self.vault, self.clock, self.rows = services.vault, services.clock, rows

    async def announce(self, key: str, tenant: str, role: str, expires: float) -> None:
        """Let the members of a role find the approval at this key until ``expires``."""
        place, content = self._key(tenant, role, key), {"place": key, "asked": self.clock(), "expires": expires}
        while not await self.vault.insert("role_approval", place, content):
            if (old := await self.vault.get("role_approval", place)) and await self.vault.swap(old, content):
                return

    async def find(self, approval_id: str, person: User, roles: Collection[str]) -> ApprovalRecord | None:
        """Return the approval with an id of this question, if another user of the tenant asks one of these roles for
        it, or None."""
        end = approval_id.partition("-")[0]
        for role in sorted(roles):
            pointer = await self.vault.get("role_approval", self._key(person.tenant, role, end))
            if pointer and (found := await self._load(pointer.json["place"], person, role)):
                return found
        return None

    async def list_pending(
        self, person: User, roles: Collection[str], after: float = 0.0
    ) -> tuple[list[ApprovalRecord], float]:
        """Return one page of the approvals that wait for one of these roles, oldest first, and the ``after`` for the
        next page, 0.0 on the last one. The person's own approvals are left out. ``after``: 0.0 for the first page."""
        now, pointers = self.clock(), list[tuple[float, str, str]]()
        for role in sorted(roles):
            for pointer in await self.vault.scan("role_approval", self._prefix(person.tenant, role)):
                said = pointer.json
                if said["asked"] > after and said["expires"] > now:
                    pointers.append((said["asked"], said["place"], role))
        found, last = list[ApprovalRecord](), 0.0
        for asked, place, role in sorted(pointers):
            if len(found) >= REQUESTS_PER_PAGE and asked > last:
                return found, last
            record = await self._load(place, person, role)
            if record and record.waits(now):
                found.append(record)
                last = asked
        return found, 0.0

    async def _load(self, place: str, person: User, role: str) -> ApprovalRecord | None:
        found = await self.rows.load(place)
        return found if found and found.approvers == role and found.may_be_decided_by(person) else None

    def _prefix(self, tenant: str, role: str) -> str:
        content = json.dumps(["approvers", tenant, role]).encode()
        return hmac.digest(self.vault.keys.index, content, "sha256").hex()[:32] + "."

    def _key(self, tenant: str, role: str, key: str) -> str:
        return self._prefix(tenant, role) + key.rpartition(".")[2]
