"""Roles of users, mapped from claims of their issuer. Policies see roles only, never claims or groups.

    [roles]
    finance = ["groups:finance", "roles:Finance.Approver"]
    auditor = ["https://acme.example/roles:Auditor"]
    operator = ["realm_access.roles:deputize-operator"]

Each entry is ``claim:value``, compared exactly. A claim whose name is a URL ends at the last colon, any other at the
first. If a token has no claim of the full name, the dots of the name lead into nested claims. A claim gives no role if
it is absent, too long, or replaced by a reference to the issuer's API, as Entra does for users in many groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen

MAX_CLAIM_VALUES: Final = 500
"""Values of one claim. A claim with more gives no role: an issuer that cuts lists may have cut this one."""
MAX_VALUE_CHARACTERS: Final = 256
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

    def roles_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the roles of a user with these verified claims."""
        return frozenset(
            role for role, pairs in self.entries.items() if any(value in _values(claims, name) for name, value in pairs)
        )


NO_ROLES: Final = RoleMap({})
"""No role is configured: nobody has one."""


def check_role(role: str) -> str:
    """Return the name of a role. Raises `SettingsError` if it is not one."""
    if not _NAME.fullmatch(role):
        raise SettingsError(
            f"The role {role[:80]!r} has an invalid name.", hint="Use letters, digits, '.', '_' and '-', at most 64."
        )
    return role


def _entry(role: str, text: str) -> tuple[str, str]:
    name, colon, value = text.rpartition(":") if text.startswith(("https:", "http:")) else text.partition(":")
    if not name or not colon or not value or len(value) > MAX_VALUE_CHARACTERS:
        raise SettingsError(
            f"The entry {text[:80]!r} of the role {role} is not a claim and a value.",
            hint='Write claim:value, as roles.finance = ["groups:finance"].',
        )
    return name, value


def _values(claims: Mapping[str, Any], name: str) -> Iterable[str]:
    """Return the values of a claim, or none if they are unknown."""
    top = name if name in claims else name.partition(".")[0]
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
