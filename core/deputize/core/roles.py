"""Roles of users, mapped from claims of their issuer. Policies see roles only, never claims or groups.

    [roles]
    finance = ["groups:finance", "roles:Finance.Approver"]
    auditor = ["https://acme.example/roles:Auditor"]
    operator = ["realm_access.roles:deputize-operator"]

Each entry is ``claim:value``, compared exactly. A claim whose name is a URL or a URN ends at the last colon, any other
at the first. A name with an OID ends after its numbers, because its values can have colons: ``urn:oid:2.5.4.10:Acme``.
If a token has no claim of the full name, the dots of the name lead into nested claims. A claim gives no role if it is
absent, too long, or replaced by a reference to the issuer's API, as Entra does for users in many groups.

The roles of a user come from the first of these sources that says something about roles:

    your application's function    ``Deputy(roles=...)``: it then decides alone
    the request                    `User.roles`: claims of the bearer token, or of the session at deputize's pages
    the last sign-in               claims of the last id_token, for acts only, up to a maximum age

They are never stored with a grant. Roles of another mapping, from before the settings changed, do not count.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.record import Record
from deputize.core.vault.user import User
from deputize.core.vault.vault import Vault

RolesOf: TypeAlias = Callable[[User], Iterable[str] | Awaitable[Iterable[str]]]
"""Sync or async function that returns the roles of a user of your application. If it raises, the user has none."""

MAX_CLAIM_VALUES: Final = 500
"""Values of one claim. A claim with more gives no role: an issuer that cuts lists may have cut this one."""
MAX_VALUE_CHARACTERS: Final = 256
ROLE_MAX_AGE_SECONDS: Final = 43200.0
"""Seconds after which the roles of a sign-in give no role any more."""
log = logging.getLogger("deputize.core.acts")
_OID: Final = re.compile(r"(urn:oid:[0-9.]+)(:?)(.*)", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """The roles that deputize's own pages know. Policies and `approvers` may use any other name.

    ``user``: acts and decides for itself. ``approver``: is asked about acts of others, if a policy names this role.
    ``operator``: sees who is connected, disconnects and revokes. ``auditor``: reads the audit.
    """

    USER = "user"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@frozen
class RoleMap(ValueObject):
    """The mapping from claims to roles. ``entries``: claim and value by role."""

    entries: Mapping[str, tuple[tuple[str, str], ...]]

    @classmethod
    def of(cls, settings: Mapping[str, Iterable[str]]) -> RoleMap:
        """Return the map of the settings ``[roles]``. Raises `SettingsError` for an invalid role or entry."""
        return cls({check_role(role): tuple(_entry(role, text) for text in texts) for role, texts in settings.items()})

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def digest(self) -> str:
        """Digest of the mapping, "" for an empty one."""
        content = json.dumps({role: sorted(pairs) for role, pairs in self.entries.items()}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16] if self.entries else ""

    def known_roles(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the roles of a user with these verified claims, or None if no claim in them is about roles."""
        names = {name for pairs in self.entries.values() for name, _ in pairs}
        return self.roles_of(claims) if any(_top(claims, name) in claims for name in names) else None

    def roles_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the roles of a user with these verified claims."""
        return frozenset(
            role for role, pairs in self.entries.items() if any(value in _values(claims, name) for name, value in pairs)
        )


NO_ROLES: Final = RoleMap({})
"""No role is configured: nobody has one."""


class _Unknown(frozenset[str]):
    """No roles, because nobody knows them."""


UNKNOWN_ROLES: Final = _Unknown()
"""The roles of a user whose roles nobody knows, recognized by identity. For everybody but policy files: no roles."""


def check_role(role: str) -> str:
    """Return the name of a role. Raises `SettingsError` if it is not one."""
    if not _NAME.fullmatch(role):
        raise SettingsError(
            f"The role {role[:80]!r} has an invalid name.", hint="Use letters, digits, '.', '_' and '-', at most 64."
        )
    return role


def _entry(role: str, text: str) -> tuple[str, str]:
    if oid := _OID.fullmatch(text):
        name, colon, value = oid.groups()
    else:
        is_uri = text.startswith(("https:", "http:", "urn:"))
        name, colon, value = text.rpartition(":") if is_uri else text.partition(":")
    if not name or not colon or not value or len(value) > MAX_VALUE_CHARACTERS:
        raise SettingsError(
            f"The entry {text[:80]!r} of the role {role} is not a claim and a value.",
            hint='Write claim:value, as roles.finance = ["groups:finance"].',
        )
    return name, value


def _values(claims: Mapping[str, Any], name: str) -> Iterable[str]:
    """Return the values of a claim, or none if they are unknown."""
    top = _top(claims, name)
    replaced = claims.get("_claim_names")  # OpenID Connect Core 5.6.2; Entra's overage
    if (isinstance(replaced, Mapping) and top in replaced) or (top == "groups" and claims.get("hasgroups")):
        return ()
    found: Any = claims
    for part in [name] if name in claims else name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, list) or len(found) > MAX_CLAIM_VALUES:
        return ()
    return [value for value in found if isinstance(value, str)]


def _top(claims: Mapping[str, Any], name: str) -> str:
    """Return the name of the claim at the top of the token."""
    return name if name in claims else name.partition(".")[0]


class Roles:
    """The roles of all users of one vault. ``function``: your application's. ``max_age``: seconds for which the roles
    of a sign-in count. ``mapping``: the mapping by which they count; None: any."""

    def __init__(
        self,
        vault: Vault,
        clock: Callable[[], float],
        function: RolesOf | None = None,
        max_age: float | None = None,
        mapping: RoleMap | None = None,
    ) -> None:
        self.vault, self.clock, self.function, self.mapping = vault, clock, function, mapping
        self.max_age = ROLE_MAX_AGE_SECONDS if max_age is None else max_age

    async def of_act(self, user: User) -> frozenset[str]:
        """Return the roles for an act of the user's agent, or `UNKNOWN_ROLES`."""
        if self.function is not None or user.roles is not None:
            return await self.of_person(user)
        record = await self._last_sign_in(user)
        return frozenset(record.json["roles"]) if record else UNKNOWN_ROLES

    async def act_roles_expire_at(self, user: User) -> float | None:
        """Return when the roles of the user's last sign-in no longer count for acts, or None if they do not come from a
        sign-in that counts."""
        if self.function is not None or user.roles is not None:
            return None
        record = await self._last_sign_in(user)
        return record.json["at"] + self.max_age if record else None

    async def of_person(self, user: User) -> frozenset[str]:
        """Return the roles of the person who makes this request: those of the function, the session or the token. The
        last sign-in does not count, because the person may have lost a role since."""
        try:
            found = self.function(user) if self.function is not None else user.roles or ()
            if inspect.isawaitable(found):
                found = await found
            return _as_roles(found)
        except Exception as e:
            log.error("The roles of a user could not be read (%s), so the user has none.", type(e).__name__)
            return UNKNOWN_ROLES

    async def _last_sign_in(self, user: User) -> Record | None:
        """Return the record of the last sign-in if its roles still count."""
        record = await self.vault.get("roles", self._key(user))
        if record is None or self.clock() >= record.json["at"] + self.max_age:
            return None
        if self.mapping is not None and record.json.get("mapping", "") != self.mapping.digest:
            return None
        return record

    async def learn(self, user: User, mapping: RoleMap = NO_ROLES) -> None:
        """Store the roles of a sign-in for the user's agents, in place of those of an earlier one. ``mapping``: gave
        them."""
        content = {"roles": sorted(user.roles or ()), "at": self.clock(), "expires": self.clock() + self.max_age}
        content["mapping"] = mapping.digest
        while True:
            record = await self.vault.get("roles", self._key(user))
            if record is None and not mapping and not content["roles"]:
                return
            if record:
                done = await self.vault.swap(record, content)
            else:
                data_key = await self.vault.data_keys.get(user.tenant)
                done = await self.vault.insert("roles", self._key(user), content, data_key)
            if done:
                return

    def _key(self, user: User) -> str:
        return self.vault.key_prefix(user) + "roles"


def _as_roles(found: Any) -> frozenset[str]:
    """Return the result of your application's function as roles. Raises `TypeError` for anything else."""
    roles = frozenset(found)
    if isinstance(found, str) or not all(isinstance(role, str) for role in roles):
        raise TypeError("Roles are a collection of strings.")
    return roles
