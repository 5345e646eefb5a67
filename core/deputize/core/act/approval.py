"""A yes to one exact act. The stored row counts; what a client or a resume value says is only a knock on the door.

An approval is bound to the act, to the account it acts from, and to a digest of its validated arguments: with others
it is another approval. The user may change the arguments with the yes: then it is a yes to those, and the act is done
with those, whatever was asked for. It is taken by the act that it lets happen, and given back if that was refused
before it did anything. A re-run of the same act meets a taken approval and finds the recorded outcome; a call that
cannot be told from another needs a new one.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deputize.core.act.policy import Act
from deputize.core.act.toolkit import Tool
from deputize.core.asks import Approval
from deputize.core.audit import Audit
from deputize.core.errors import ApprovalRequired, Conflict, Declined, InvalidInput, NotFound
from deputize.core.failures import redact
from deputize.core.vault.grant import Account, User
from deputize.core.vault.vault import Record, Vault

LIFE: Final = 3600.0
SHOWN: Final = 2000
_ID = re.compile(r"[0-9a-f]{40}-[0-9a-f]{8}")

Decision = Literal["approve", "reject", "edit"]
STATUS: Final = {"approve": "approved", "reject": "rejected", "edit": "approved"}


@dataclass(frozen=True, slots=True)
class Edit:
    """Other arguments for an act: as they were given, and as a person sees them."""

    arguments: Mapping[str, Any]
    preview: Mapping[str, Any]

    @classmethod
    def of(cls, tool: Tool, arguments: Mapping[str, Any]) -> Edit:
        """These arguments for this tool, checked. Raises `InvalidInput`, naming each field at fault."""
        valid = tool.validate(arguments)
        try:
            plain = json.loads(json.dumps(dict(arguments)))
        except (TypeError, ValueError):
            raise InvalidInput(f"{tool.name}: arguments are plain JSON.", fix_by="operator") from None
        return cls(plain, preview({outer: valid[inner] for outer, inner in tool.parameters.items()}))


@dataclass
class Approvals:
    """Approvals of all users, in one vault."""

    vault: Vault
    audit: Audit
    clock: Callable[[], float] = time.time

    async def require(self, act: Act, account: Account) -> Mapping[str, Any] | None:
        """Return if the user has approved exactly this act; the arguments, if the user changed them.

        Raises `ApprovalRequired`, or `Declined` after a no.
        """
        key = self._key(act, account)
        record = await self.vault.get("approval", key)
        if record is None or self._over(act, record.json):
            record = await self._ask(act, account, key, record)
        content = record.json
        if content["status"] == "rejected":
            raise Declined(f"The user declined: {act.tool.name}.", hint=content["reason"])
        if content["status"] == "pending":
            raise ApprovalRequired(f"{act.tool.name} waits for the user's approval.", approval=_public(content))
        return content.get("edited")

    async def changed(self, act: Act, account: Account) -> Mapping[str, Any] | None:
        """The arguments as the user changed them, if so: they count even where the policy asks no more."""
        record = await self.vault.get("approval", self._key(act, account))
        return None if record is None or _spent(act, record.json) else record.json.get("edited")

    def _over(self, act: Act, content: Mapping[str, Any]) -> bool:
        """Whether an approval says nothing about this act any more."""
        return _spent(act, content) or bool(content["expires"] <= self.clock())

    async def _ask(self, act: Act, account: Account, key: str, old: Record | None) -> Record:
        content = {
            "id": _fresh_id(key),
            "tool": act.tool.name,
            "effect": act.effect.words(),
            "agent": act.agent,
            "account": account.name,
            "preview": preview({outer: act.arguments[inner] for outer, inner in act.tool.parameters.items()}),
            "status": "pending",
            "reason": "",
            "expires": self.clock() + LIFE,
        }
        made = await (self.vault.swap(old, content) if old else self.vault.insert("approval", key, content))
        if made is None:
            return await self.vault.get("approval", key) or await self._ask(act, account, key, None)
        self._note("approval.asked", act.user, content)
        return made

    async def decide(
        self, approval_id: str, decision: Decision, *, by: User, reason: str = "", edit: Edit | None = None
    ) -> Approval:
        """Record the user's answer. Raises `NotFound` for an approval that is not this user's, or has expired.

        The same answer twice is one answer; another answer to a decided approval is a `Conflict`.
        """
        status = STATUS.get(decision) if isinstance(decision, str) else None
        if status is None or (edit is None) == (decision == "edit"):
            raise InvalidInput("A decision is approve, reject, or edit with arguments.", fix_by="operator")
        changed = {"edited": edit.arguments, "preview": edit.preview} if edit else {}
        while True:
            record = await self.row(approval_id, by)
            content = record.json
            if content["status"] != "pending":
                if content["status"] == status and content.get("edited") == changed.get("edited"):
                    return _public(content)
                raise Conflict(f"This approval was already {content['status']}.", reason="already_done")
            content |= {"status": status, "reason": reason[:200], **changed}
            if await self.vault.swap(record, content):
                self._note("approval.edited" if edit else f"approval.{status}", by, content)
                return _public(content)

    async def get(self, approval_id: str, *, by: User) -> Approval | None:
        """The approval of this id, decided or not, if it is this user's."""
        record = await self._of(approval_id, by)
        return _public(record.json) if record else None

    async def row(self, approval_id: str, user: User) -> Record:
        """The row of an approval that is this user's and still counts. Raises `NotFound`."""
        record = await self._of(approval_id, user)
        if record is None or record.json["expires"] <= self.clock():
            raise NotFound("No such approval waits for this user.", hint="Ask for the act again.")
        return record

    async def _of(self, approval_id: str, user: User) -> Record | None:
        place = self.vault.place(user) + approval_id.partition("-")[0]
        record = await self.vault.get("approval", place) if _ID.fullmatch(approval_id) else None
        return record if record and record.json["id"] == approval_id else None

    async def renew(self, approval_ids: Iterable[str], user: User) -> None:
        """Somebody else tried to answer: what still waits gets new ids, so that no kept answer of theirs fits."""
        for approval_id in approval_ids:
            record = await self._of(approval_id, user)
            if record and record.json["status"] == "pending":
                await self.vault.swap(record, record.json | {"id": _fresh_id(record.key)})

    async def take(self, act: Act, account: Account) -> None:
        """The approved act is about to happen: nothing else can happen on this approval.

        Raises `ApprovalRequired` where another call that looks the same was quicker.
        """
        key = self._key(act, account)
        record = await self.vault.get("approval", key) or await self._ask(act, account, key, None)
        if act.call.known and record.json["status"] == "used":
            return  # an earlier run of this act took it
        approved = record.json["status"] == "approved"
        if not approved or not await self.vault.swap(record, record.json | {"status": "used"}):
            raise ApprovalRequired(f"{act.tool.name} needs an approval of its own.", approval=_public(record.json))
        self._note("approval.used", act.user, record.json)

    async def give_back(self, act: Act, account: Account) -> None:
        """Nothing happened: the approval still stands."""
        record = await self.vault.get("approval", self._key(act, account))
        if record and record.json["status"] == "used":
            await self.vault.swap(record, record.json | {"status": "approved"})

    async def waiting(self, user: User) -> list[Approval]:
        """What the user is being asked now."""
        found = [record.json for record in await self.vault.scan("approval", self.vault.place(user))]
        return [_public(c) for c in found if c["status"] == "pending" and c["expires"] > self.clock()]

    def _key(self, act: Act, account: Account) -> str:
        """Of the act, its account and its exact arguments, under the vault's key: nobody can guess or build one."""
        who = act.key.hex if act.call.known else f"{act.call.thread}/{act.tool.name}"
        exact = json.dumps([who, account.subject, act.said]).encode()
        return self.vault.place(act.user) + hmac.digest(self.vault.keys.index, b"approval" + exact, "sha256").hex()[:40]

    def _note(self, event: str, user: User, content: Mapping[str, Any]) -> None:
        self.audit.write(
            event,
            tenant=user.tenant or None,
            user=user.id,
            agent=content["agent"] or None,
            tool=content["tool"],
            approval_id=content["id"],
        )


def _spent(act: Act, content: Mapping[str, Any]) -> bool:
    """Whether an approval was for another call, which only looked the same."""
    return content["status"] in ("used", "rejected") and not act.call.known


def _fresh_id(key: str) -> str:
    return f"{key.rpartition('.')[2]}-{secrets.token_hex(4)}"


def preview(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a person should see them before saying yes: all of them, long ones cut and said so."""
    return {name: _shown(value) for name, value in arguments.items() if value not in (None, "", [], ())}


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        cut = redact(value)
        return cut if len(cut) <= SHOWN else f"{cut[:SHOWN]} [... {len(cut) - SHOWN} more characters]"
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    if isinstance(value, Mapping):
        return {str(k): _shown(v) for k, v in value.items()}
    return value if isinstance(value, int | float | bool) else str(value)


def _public(content: Mapping[str, Any]) -> Approval:
    return Approval(
        id=content["id"],
        tool=content["tool"],
        effect=content["effect"],
        preview=content["preview"],
        expires_at=content["expires"],
        agent=content["agent"],
        account=content["account"],
        status=content["status"],
        reason=content["reason"],
    )
