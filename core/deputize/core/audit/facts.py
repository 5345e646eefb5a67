"""What several audit events say alike: of a user, a grant, a consent, an approval, a call. No secret, no raw argument.

Each field carries its description; `docs/audit.md` is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from deputize.core.audit.rows import Fact


class Facts:
    """Fields of a row. A field that holds facts itself stands for all of theirs; empty ones are left out of the row."""

    __dataclass_fields__: ClassVar[dict[str, object]]

    def facts(self) -> dict[str, Fact]:
        """The row's fields by name."""
        found: dict[str, Fact] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, Facts):
                found.update(value.facts())
            elif value is not None:
                found[name] = value
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OfUser(Facts):
    """Whose it is."""

    tenant: Annotated[str, "the user's tenant; left out where there is one tenant only"] = ""
    user: Annotated[str, "the user's id, as the host knows it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfApp(OfUser):
    """Through which OAuth client."""

    provider: Annotated[str, "the provider's name"]
    app: Annotated[str, "the OAuth client's name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfGrant(OfApp):
    """Which grant, at which generation."""

    account_hash: Annotated[str, "keyed digest of the account's subject at the provider"]
    grant_gen: Annotated[int, "generation of the grant: one more with each write of it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfConsent(OfApp):
    """Which consent, asked by which agent."""

    agent: Annotated[str, "the agent's name"] = ""
    consent_id: Annotated[str, "the consent's id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained(Facts):
    """The grant that a consent led to."""

    scopes_granted: Annotated[Sequence[str], "scopes of the grant, as the provider named them"]
    grant_gen: Annotated[int, "generation of the grant: one more with each write of it"]
    account_hash: Annotated[str, "keyed digest of the account's subject at the provider"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfApproval(OfUser):
    """Which approval, of which call."""

    agent: Annotated[str, "the agent's name"] = ""
    tool: Annotated[str, "the tool's name"]
    approval_id: Annotated[str, "the approval's id"]
    thread: Annotated[str, "the conversation, as the host calls it"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""
    show: Annotated[str, "digest of what was shown, and of what was approved"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCall(OfUser):
    """One tool call and what is known of it by now: every field but the first five may still be missing."""

    agent: Annotated[str, "the agent's name"] = ""
    tool: Annotated[str, "the tool's name"]
    thread: Annotated[str, "the conversation, as the host calls it"] = ""
    run: Annotated[str, "the run of the agent, as the host calls it"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""
    provider: Annotated[str, "the provider's name"] = ""
    app: Annotated[str, "the OAuth client's name"] = ""
    effect: Annotated[str, "what the act does: reads, writes, sends or deletes"] = ""
    called: Annotated[str, "the alias the tool was called by"] = ""
    account_hash: Annotated[str, "keyed digest of the account's subject at the provider"] = ""
    grant_gen: Annotated[int | None, "generation of the grant: one more with each write of it"] = None
    scopes_required: Annotated[Sequence[str], "scopes that are needed, or were asked for"] = ()
    scopes_granted: Annotated[Sequence[str], "scopes of the grant, as the provider named them"] = ()
    show: Annotated[str, "digest of what was shown, and of what was approved"] = ""
    incomplete: Annotated[str, "what the provider left out of a good answer"] = ""
