"""Fields that several audit events share, about a user, a grant, a consent, an approval or a call. They contain no
secret and no raw argument.

Each field has a description, from which `docs/audit.md` is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, FrozenInstanceError
from typing import Annotated, Any, ClassVar, Self, TypeVar, dataclass_transform

from deputize.core.audit.rows import Fact

Kind = TypeVar("Kind", bound="Facts")


class Facts:
    """Fields of a row. A field of an event whose value is `Facts` stands for all fields of that value. Empty fields are
    omitted.

    Subclasses behave like frozen dataclasses without being dataclasses, which took a sixth of the core's import time
    for fifty events.
    """

    form: ClassVar[dict[str, object]]
    """Its fields in order, with their defaults."""
    needed: ClassVar[frozenset[str]]
    """Fields without a default."""

    def __init__(self, *values: object, **named: object) -> None:
        given = dict(zip(self.form, values, strict=False)) | named if values else named
        if len(given) < len(values) + len(named) or not self.needed <= given.keys() <= self.form.keys():
            raise TypeError(f"{type(self).__name__} takes {', '.join(self.form)}")
        object.__setattr__(self, "__dict__", given)  # the class has the defaults

    @classmethod
    def of(cls, given: dict[str, object]) -> Self:
        """Return the fields in this dict, unchecked and not copied: for the row of every call."""
        made = object.__new__(cls)
        object.__setattr__(made, "__dict__", given)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.form | vars(other) == self.form | vars(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in (self.form | vars(self)).items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def facts(self) -> dict[str, Fact]:
        """Return the given fields of the row by name. Empty ones are left out when it is written."""
        found: dict[str, Any] = {}
        for name, value in self.__dict__.items():
            if isinstance(value, Facts):
                found |= value.__dict__
            else:
                found[name] = value
        return found


@dataclass_transform(frozen_default=True)
def event(kind: type[Kind]) -> type[Kind]:
    """Declare a subclass of `Facts` that is an event."""
    return _make_event_type(kind)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def shared_fields(kind: type[Kind]) -> type[Kind]:
    """Declare a subclass of `Facts` that several events share. Its fields are keyword-only."""
    return _make_event_type(kind)


def _make_event_type(kind: type[Kind]) -> type[Kind]:
    own, form = vars(kind), dict[str, object]()
    for base in reversed(kind.__mro__[1:]):
        form |= vars(base).get("form", {})
    kind.form = form | {name: own.get(name, MISSING) for name in own.get("__annotations__", ())}
    kind.needed = frozenset(name for name, value in kind.form.items() if value is MISSING)
    return kind


@shared_fields
class OfUser(Facts):
    """The user."""

    tenant: Annotated[str, "the user's tenant; left out if there is only one tenant"] = ""
    user: Annotated[str, "the user's pseudonym; `deputize audit` shows the id while the vault has the user's key"]


@shared_fields
class OfApp(OfUser):
    """The OAuth client."""

    provider: Annotated[str, "the provider's name"]
    app: Annotated[str, "the OAuth client's name"]


@shared_fields
class OfGrant(OfApp):
    """The grant, and its generation."""

    account_hash: Annotated[str, "pseudonym of the account at the provider"]
    grant_gen: Annotated[int, "generation of the grant: each write of it adds one"]
    source: Annotated[str, "source of the grant, if it came without a consent"] = ""


@shared_fields
class OfConsent(OfApp):
    """The consent, and the agent that requested it."""

    agent: Annotated[str, "the agent's name"] = ""
    consent_id: Annotated[str, "the consent's id"]


@shared_fields
class Obtained(Facts):
    """The grant that a consent led to."""

    scopes_granted: Annotated[Sequence[str], "scopes of the grant, as the provider named them"]
    grant_gen: Annotated[int, "generation of the grant: each write of it adds one"]
    account_hash: Annotated[str, "pseudonym of the account at the provider"]


@shared_fields
class OfApproval(OfUser):
    """The approval, and its call."""

    agent: Annotated[str, "the agent's name"] = ""
    tool: Annotated[str, "the tool's name"]
    approval_id: Annotated[str, "the approval's id"]
    thread: Annotated[str, "the conversation's id in your application"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""
    show: Annotated[str, "digest of the preview that was shown and approved"] = ""
    rule: Annotated[str, "id of the rule of the policy that decided"] = ""
    approvers: Annotated[str, "the role whose members are asked instead of the user"] = ""
    approver: Annotated[str, "pseudonym of the person who decided, if that is not the user"] = ""


@shared_fields
class OfMandate(OfUser):
    """The mandate: an approval of several acts."""

    agent: Annotated[str, "the agent's name"] = ""
    mandate_id: Annotated[str, "the mandate's id"]


@shared_fields
class OfCall(OfUser):
    """One tool call, as far as it is known: every field except the first five may still be missing."""

    agent: Annotated[str, "the agent's name"] = ""
    tool: Annotated[str, "the tool's name"]
    thread: Annotated[str, "the conversation's id in your application"] = ""
    run: Annotated[str, "the id of the agent's run in your application"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""
    act_id: Annotated[str, "the act's id, if it writes: `deputize undo` takes it"] = ""
    undoes: Annotated[str, "the id of the act that this one undoes"] = ""
    provider: Annotated[str, "the provider's name"] = ""
    app: Annotated[str, "the OAuth client's name"] = ""
    effect: Annotated[str, "the effect of the act: reads, writes, sends or deletes"] = ""
    called: Annotated[str, "the alias the tool was called by"] = ""
    account_hash: Annotated[str, "pseudonym of the account at the provider"] = ""
    grant_gen: Annotated[int | None, "generation of the grant: each write of it adds one"] = None
    source: Annotated[str, "source of the grant, if it came without a consent"] = ""
    organisation: Annotated[
        str, "the organization whose service account acted, if it was not an account of the user"
    ] = ""
    scopes_required: Annotated[Sequence[str], "scopes that are needed, or were requested"] = ()
    scopes_granted: Annotated[Sequence[str], "scopes of the grant, as the provider named them"] = ()
    show: Annotated[str, "digest of the preview that was shown and approved"] = ""
    answered_by: Annotated[
        str, "permission for a write: `policy`, `user_message`, or the id of an approval or a mandate"
    ] = ""
    rule: Annotated[str, "id of the rule of the policy that decided"] = ""
    trace_id: Annotated[str, "OpenTelemetry's id of the trace, if your application traces"] = ""
    span_id: Annotated[str, "OpenTelemetry's id of the call's span"] = ""
    incomplete: Annotated[str, "the part that the provider left out of a successful answer"] = ""
