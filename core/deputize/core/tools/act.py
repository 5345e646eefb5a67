"""One tool call as a user, before and after validation.

Call   conversation, message and call id, which identify repeats of the same call
Act    the validated call: user, tool, arguments, effect, app and key
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, Final, TypeAlias, TypedDict, Unpack, cast

from deputize.core.tools.act_key import ActKey
from deputize.core.tools.canonical import canonical
from deputize.core.tools.decision import Decision
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.preview import Preview
from deputize.core.tools.required_scopes import Need
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.untrusted import Untrusted
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import User


@frozen
class Undoes(ValueObject):
    """The act that a call undoes. ``act``: the id of that act. ``holds``: the values that the act wrote, by field name
    in the call's preview. See `deputize.core.Undo`."""

    act: str
    holds: Mapping[str, Any]


@frozen
class Call(ValueObject):
    """The origin of a tool call: conversation, message and call id. An empty call cannot be recognized when repeated.

    ``undoes``: the act that the call undoes, if any. ``user_message``: what the user wrote for this turn, as your
    application received it from the user; "" if unknown. Never take it from a model or from the state of a
    conversation: with the policy `ask_unless_user_named`, an act that the message names needs no approval.
    """

    thread: str = ""
    message: str = ""
    id: str = ""
    run: str = ""
    undoes: Undoes | None = field(default=None, compare=False)
    user_message: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.user_message, str):
            raise TypeError(f"user_message is a string, not a value of type {type(self.user_message).__name__}.")

    @classmethod
    def of(cls, call: Call | None) -> Call:
        """Return the call, or an empty one for None. Raises `TypeError` for any other object."""
        if call is not None and not isinstance(call, Call):
            raise TypeError(f"A call is a Call, not a value of type {type(call).__name__}.")
        return call or NO_CALL

    @property
    def has_id(self) -> bool:
        """True if the call has an id, so that a repeat can be recognized."""
        return bool(self.id)

    @property
    def ask(self) -> str:
        """Digest of the model message that contains the call, or "" if the message is unknown."""
        return ActKey.of("ask", self.thread, self.message).hex[:32] if self.message else ""


NO_CALL: Final = Call()

ToolCall: TypeAlias = tuple[str, Mapping[str, Any], Call]
"""A tool's name, its arguments, and the origin of the call."""


class Progress(TypedDict, total=False):
    """Facts about an act that become known after its validation. They do not change the act's identity."""

    approved: bool
    show: Preview
    began: float
    outside: tuple[Untrusted, ...]
    first_contacts: tuple[FirstContact, ...]
    first_contacts_known: bool
    named_by_user: bool
    mandate: str
    decision: Decision | None
    acting_as: str


class _Unread(frozenset[str]):
    """Placeholder for roles that were not loaded yet: an empty set, which is recognized by identity."""


UNREAD: Final = _Unread()


class _RolesOnDemand:
    """Descriptor of `Act.roles`. It records if the roles are read before they were loaded."""

    def __get__(self, act: Act | None, owner: object = None) -> frozenset[str]:
        if act is None:
            return UNREAD
        found: frozenset[str] = act.__dict__.get("roles", UNREAD)
        if found is UNREAD:
            act.__dict__["wants_roles"] = True
        return found

    def __set__(self, act: Act, roles: frozenset[str]) -> None:
        act.__dict__["roles"] = roles


@frozen(slots=False)
class Act(Printed):
    """One tool call as a user, validated but not yet performed. A policy decides about it.

    ``nonce``: random value in place of the id of a call without an id, so that such an act never equals another.
    ``provider_base``: the provider from which the act's provider was derived, and whose scopes apply; see
    `deputize.core.oauth.provider.Provider`.
    ``asked``: the arguments before the user's edit. ``approved``: True if the act uses the user's approval.
    ``show``: the preview; None before it is made, and always for a tool without previews.
    ``began``: when the act was first requested, Unix seconds; 0.0 if that does not matter.
    ``outside``: targets of the act that untrusted content in the same conversation has named.
    ``first_contacts``: people in the preview to whom the user has never written, and people for whom that has not been
    checked.
    ``first_contacts_known``: False if nobody can know them, because no sent mail of the user can be searched.
    ``named_by_user``: True if the user's own message names every target of the act and contains everything that the
    act says. It is computed only if the policy otherwise requires an approval.
    ``mandate``: id of the mandate that covers the act. ``organisation``: name of the organisation whose service account
    acts; "" for the user's own account.
    ``roles``: the user's roles (`deputize.core.roles`). If the policy reads them, they are loaded, and the policy is
    called again.
    ``decision``: the policy's last decision; None before the first. ``acting_as``: name of the account that acts; ""
    before its grant was found.
    """

    user: User
    tool: Tool
    arguments: Mapping[str, Any]
    effect: Effect
    call: Call
    agent: str
    app: str
    provider: str
    account: str | None = None
    nonce: str = ""
    provider_base: str = ""
    asked: Mapping[str, Any] | None = None
    approved: bool = False
    show: Preview | None = None
    began: float = 0.0
    outside: tuple[Untrusted, ...] = ()
    first_contacts: tuple[FirstContact, ...] = ()
    first_contacts_known: bool = True
    named_by_user: bool = False
    mandate: str = ""
    organisation: str = ""
    roles: frozenset[str] = cast("frozenset[str]", _RolesOnDemand())
    decision: Decision | None = None
    acting_as: str = ""

    def having(self, **more: Unpack[Progress]) -> Act:
        """Return a copy with these facts. Values computed from the arguments stay cached."""
        same = object.__new__(Act)
        same.__dict__.update(self.__dict__, **more)
        return same

    @property
    def approvers(self) -> str:
        """The role whose members decide instead of the user, by the policy's decision, or ""."""
        return self.decision.approvers if self.decision else ""

    @property
    def wants_roles(self) -> bool:
        """True if the policy has read the roles, and nobody has loaded them."""
        return bool(self.__dict__.get("wants_roles")) and self.__dict__.get("roles", UNREAD) is UNREAD

    def add_roles(self, roles: frozenset[str]) -> None:
        """Set the roles of the act and its later copies, for the policy that reads them."""
        self.__dict__["roles"] = roles

    @property
    def shows(self) -> bool:
        """True if the act makes a preview, which the policy judges and the user approves."""
        return self.tool.shows and self.effect is not Effect.READS

    @property
    def service_account(self) -> str:
        """Name of the app whose service account acts; "" for the user's own account."""
        return self.app if self.organisation else ""

    @property
    def can_ask(self) -> bool:
        """True if a question of the provider can reach the user, and a later run can receive the reply."""
        return not self.organisation and (self.call.has_id or self.effect is Effect.READS)

    @cached_property
    def needs(self) -> Sequence[Need]:
        """The scopes that these arguments need, in the provider's terms."""
        return self.tool.needs_of(self.arguments, self.provider_base or self.provider)

    @cached_property
    def canonical_arguments(self) -> str:
        """The requested arguments in canonical form, before any edit; see `deputize.core.tools.canonical`."""
        return canonical(self.tool, self.arguments if self.asked is None else self.asked)

    @property
    def changed_by_user(self) -> Mapping[str, Any]:
        """The arguments that the user's edit changed, as JSON; None for one that was set back to its default."""
        if self.asked is None:
            return {}
        before, now = json.loads(self.canonical_arguments), json.loads(canonical(self.tool, self.arguments))
        return {name: now.get(name) for name in {**before, **now} if now.get(name) != before.get(name)}

    @cached_property
    def key(self) -> ActKey:
        """The identity of the act, equal for repeated calls. Unicode text is compared in its NFC form."""
        call, name = self.call, self.call.id or self.nonce
        whose = self.user.tenant, self.user.id, call.thread, call.message, name, self.tool.name
        return ActKey.of(*whose, unicodedata.normalize("NFC", self.canonical_arguments))

    @property
    def digest(self) -> str:
        """Digest of the requested arguments: 32 hexadecimal characters."""
        return hashlib.sha256(self.canonical_arguments.encode(errors="surrogatepass")).hexdigest()[:32]
