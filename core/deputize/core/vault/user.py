"""Whose everything in the vault is: the id that the host says, and what counts as one."""

from __future__ import annotations

from typing import Final, TypeAlias
from uuid import UUID

from deputize.core.errors import UserRequired
from deputize.core.value_object import ValueObject, frozen

NO_USER: Final = "\x1f"
"""What the owner of a service account's grants begins with, and no user's id holds (`User.of`)."""


@frozen
class User(ValueObject):
    """The human the agent acts for: an opaque id the host vouches for, inside a tenant where there is one."""

    id: str
    tenant: str = ""

    @classmethod
    def of(cls, user: AnyUser, *, by: str = "The application") -> User:
        """The user meant by an id. Raises `UserRequired` for none or an empty one, and as `named` does."""
        if type(user) is str:  # as most hosts name theirs
            who = cls(user)
        else:
            who = user if isinstance(user, User) else cls.named(user, by=by)
        if not (type(who.id) is type(who.tenant) is str):
            who = cls.named(who.id, who.tenant, by=by)
        if who.id.strip() and _sayable(who.id + who.tenant):
            return who
        raise UserRequired("No user: nothing is done without one.")

    @classmethod
    def named(cls, id: object, tenant: object = None, *, by: str) -> User:
        """Whom ``by``, a source of the host's, names; empty where it names nobody, or no tenant.

        Raises `UserRequired` for an id that is neither a text, nor a whole number above 0, nor a UUID: what another
        value prints as may be what somebody else's does, and two people would be one user.
        """
        return cls(_id_text(id, by, "user"), _id_text(tenant, by, "tenant"))


AnyUser: TypeAlias = User | str | int | UUID | None
"""Whom a host names: `User.of` takes an id for the user without a tenant, and refuses nobody."""

BEYOND: Final = 2**128
"""No number of a row comes here; Python does not write every number down."""

AN_ID: Final = (
    "An id is a text, a whole number above 0 or a UUID: what never changes and is nobody else's, as a row's primary "
    "key is. What an object prints as is no id."
)


def _id_text(said: object, by: str, whose: str) -> str:
    """An id as it is written down, a plain text; empty for None. Raises `UserRequired` for a value that is no id.

    Of a class made from text or UUID it is what it holds: what it prints as may be its name in an enumeration.
    """
    if isinstance(said, str):
        return str.__str__(said)
    if said is None:
        return ""
    if isinstance(said, UUID):
        return UUID.__str__(said)
    if type(said) is int and 0 < said < BEYOND:
        return str(said)
    raise UserRequired(f"{by} names its {whose} by a value of type {type(said).__name__}.", hint=AN_ID, reason="no_id")


def _sayable(text: str) -> bool:
    """Whether this can be written down at all: no half of a character, nothing that parts fields, no owner of a service
    account's grants."""
    try:
        return "\0" not in text and NO_USER not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False
