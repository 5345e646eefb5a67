"""Users, who own every record in the vault, identified by your application's ids, and the rules for these ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Final, TypeAlias
from uuid import UUID

from deputize.core.errors import UserRequired
from deputize.core.value_object import ValueObject, frozen

NO_USER: Final = "\x1f"
"""Prefix of the owner of a service account's grants. No user's id may contain it (`User.of`)."""


@frozen
class User(ValueObject):
    """The human the agent acts for: an opaque id that your application vouches for, in a tenant if there is one.

    ``roles``: the roles that the session or the token of this request proves; None if it says nothing about roles. They
    are no part of the identity, and are never stored with it. ``unattended``: True if nobody is there to answer now, as
    in a scheduled run. Then a missing consent or approval is an error that names the request, and no adapter waits for
    the user. It is no part of the identity either.
    """

    id: str
    tenant: str = ""
    roles: frozenset[str] | None = field(default=None, compare=False, repr=False)
    unattended: bool = field(default=False, compare=False, repr=False)

    def __getstate__(self) -> Sequence[object]:
        return [self.id, self.tenant]

    def __setstate__(self, state: Sequence[object] | dict[str, object]) -> None:
        names = ("id", "tenant", "roles", "unattended")
        values = [*(state.values() if isinstance(state, dict) else state)][:2]
        for name, value in zip(names, (*values, None, False), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, user: AnyUser, *, by: str = "The application") -> User:
        """Return the user for an id. Raises `UserRequired` for None or an empty id, and the errors of `from_values`."""
        if type(user) is str:  # the usual case
            found = cls(user)
        else:
            found = user if isinstance(user, User) else cls.from_values(user, by=by)
        if not (type(found.id) is type(found.tenant) is str):
            plain = cls.from_values(found.id, found.tenant, by=by)
            found = cls(plain.id, plain.tenant, found.roles, found.unattended)
        if found.id.strip() and _is_encodable(found.id + found.tenant):
            return found
        raise UserRequired("The user is missing: nothing is done without one.")

    @classmethod
    def from_values(cls, id: object, tenant: object = None, *, by: str) -> User:
        """Return the user with this id and tenant; None means empty. ``by``: the source of the values, for the error.

        Raises `UserRequired` for an id that is not a string, a whole number above 0 or a UUID: other values of two
        people may have the same text, and the two would then be one user.
        """
        return cls(_id_text(id, by, "user"), _id_text(tenant, by, "tenant"))


AnyUser: TypeAlias = User | str | int | UUID | None
"""A user as your application names one: `User.of` takes a plain id as a user without a tenant, and refuses None."""

BEYOND: Final = 2**128
"""Upper limit of numeric ids: no database id reaches it, and Python refuses to print very large numbers."""

AN_ID: Final = (
    "An id is a string, a whole number above 0 or a UUID that never changes and belongs to one user, such as a "
    "primary key. The printed form of an object is not an id."
)


def _id_text(value: object, by: str, field: str) -> str:
    """Return an id as a plain string, or "" for None. Raises `UserRequired` for a value that is not an id.

    For subclasses of str and UUID, this is the value, not the printed text, which may be the name of an enum member.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if value is None:
        return ""
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if type(value) is int and 0 < value < BEYOND:
        return str(value)
    raise UserRequired(f"{by} names its {field} by a value of type {type(value).__name__}.", hint=AN_ID, reason="no_id")


def _is_encodable(text: str) -> bool:
    """Return whether this text can be stored: no lone surrogate, no NUL, no prefix of a service account's owner."""
    try:
        return "\0" not in text and NO_USER not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False
