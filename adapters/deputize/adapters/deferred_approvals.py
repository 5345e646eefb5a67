"""Calls that end a run until the user was asked: who acts, what to show, what was decided, what a model reads.

    {"type": "deputize.consent", "v": 1, "consent_id": ..., "link": ...}       what a call lacks: the user visits a link
    {"type": "deputize.approval", "v": 1, "approval_id": ..., "preview": ...}  what a call would do: the user decides

For frameworks in which a call that waits is described to the host and run again when the host resumes. Who is believed
for what: that a call was approved is the host's word for "look again" and proves nothing, the vault is asked. A
decision counts as the user's for whom the run acts, and only where it names the approval that was shown. It is
recorded, and the recorded row counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from deputize.adapters.argument_checks import check_user, user_of
from deputize.adapters.model_messages import as_text, failure_text
from deputize.adapters.operator_warnings import warn_of
from deputize.core import (
    AnyUser,
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    DeputizeError,
    DeputyProtocol,
    Effect,
    InvalidInput,
    NotFound,
    Tool,
    User,
)

__all__ = [
    "Decided",
    "Deferring",
    "Kind",
    "Payload",
    "Said",
    "Together",
    "UserOf",
    "decisions_of",
    "facts_of",
    "failed",
    "named",
    "payload_of",
]

Payload: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["consent", "approval"]
Decided: TypeAlias = Literal["approve", "reject", "edit"]
ToolCall: TypeAlias = tuple[str, Mapping[str, Any], Call]
_Batch: TypeAlias = list[tuple[ToolCall, "asyncio.Future[DeputizeError | None]"]]
UserOf: TypeAlias = AnyUser | Callable[[Any], AnyUser]
"""Who acts: one user, or a plain function of the framework's own context of a run. Never what a model
or a message says."""

FORM: Final = 'By approval id: "approve", "reject", or {"decision": "edit", "arguments": {...}}, with all of them.'


@dataclass(frozen=True)
class Said:
    """A decision about one approval. ``arguments``: of an edit, all of them."""

    approval: str
    decision: Decided
    arguments: Mapping[str, Any] | None = None
    reason: str = ""


def decisions_of(given: Mapping[str, Any], shown: Iterable[Payload], reason: str = "") -> dict[str, Said]:
    """The host's decisions, by approval id. Raises `InvalidInput` for another form, or an approval that nobody saw."""
    known = {str(ask.get("approval_id")) for ask in shown}
    if unknown := sorted(set(given) - known):
        waiting = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"No approval {unknown[0]!r} was shown here.", hint=f"Those that wait: {waiting}.", fix_by="operator"
        )
    return {approval: _decided(approval, what, reason) for approval, what in given.items()}


def _decided(approval: str, what: Any, reason: str) -> Said:
    if what == "approve" or what == "reject":
        return Said(approval, what, None, reason)
    arguments = what.get("arguments") if isinstance(what, Mapping) and what.get("decision") == "edit" else None
    if not isinstance(arguments, Mapping):
        raise InvalidInput(f"The decision about {approval} has another form.", hint=FORM, fix_by="operator")
    return Said(approval, "edit", dict(arguments), reason)


def payload_of(error: DeputizeError | None) -> Payload | None:
    """What to ask the user, where that is what stands in the way; None for everything else."""
    if isinstance(error, ConsentRequired):
        return {"type": "deputize.consent", "v": 1, **error.consent.payload()}
    if isinstance(error, ApprovalRequired):
        return {"type": "deputize.approval", "v": 1, **error.approval.payload()}
    return None


def named(asks: Iterable[Any], kind: Kind) -> list[Payload]:
    """The requests of this kind, each once: calls at one provider share their consent."""
    ours = [ask for ask in asks if isinstance(ask, Mapping) and ask.get("type") == f"deputize.{kind}"]
    return list({str(ask[f"{kind}_id"]): dict(ask) for ask in ours}.values())


def failed(error: DeputizeError) -> str:
    """A failure as a model reads it. What an operator did not set up is logged."""
    warn_of(error)
    return failure_text(error)


def facts_of(tool: Tool) -> dict[str, Any]:
    """What a host may filter and label tools by; a model is not told."""
    return {
        "provider": tool.provider,
        "scopes": sorted({need.ask for need in tool.usual_needs()}),
        "effect": tool.gravest.words(),
        "read_only": tool.gravest is Effect.READS,
    }


@dataclass(frozen=True)
class Deferring:
    """What the host application decided, for every tool of one list."""

    deputy: DeputyProtocol
    user: UserOf
    agent: str = ""
    app: str = ""

    def __post_init__(self) -> None:
        check_user(self.user)

    def acting(self, run: Any) -> User:
        """The user a run acts for. Raises `UserRequired` for nobody."""
        if callable(self.user):
            return user_of(self.user, run)
        return User.of(self.user)

    async def blockers(self, calls: Sequence[ToolCall], user: User) -> list[DeputizeError | None]:
        """For each call the error that stands in its way, or None. What they lack at one provider is one consent."""
        return await self.deputy.check_calls(calls, user=user, app=self.app, agent=self.agent)

    async def act(self, tool: str, arguments: Mapping[str, Any], user: User, call: Call) -> str:
        """The call's result as text. Raises what `DeputyProtocol.act` raises."""
        acted = self.deputy.act(tool, arguments, user=user, app=self.app, call=call, agent=self.agent)
        return as_text(await acted)

    async def record(self, said: Said, user: User) -> str:
        """Record a decision as this user's; what is wrong with an edit, "" for nothing.

        One about another user's approval, or one that was decided or used before, changes nothing: the row counts.
        """
        with suppress(NotFound, Conflict):
            try:
                await self.deputy.decide(
                    said.approval, said.decision, by=user, reason=said.reason, arguments=said.arguments
                )
            except InvalidInput as wrong:
                return str(wrong)
        return ""


@dataclass(frozen=True)
class Together:
    """Looks at calls that a framework runs one by one, in tasks that it starts together: a message's calls.

    What they lack at one provider is then one consent with one link.
    """

    look: Callable[[Sequence[ToolCall], User], Awaitable[list[DeputizeError | None]]]
    open: dict[Any, _Batch] = field(default_factory=dict)

    async def blocker(self, one: ToolCall, user: User, *message: Any) -> DeputizeError | None:
        """What stands in this call's way, if anything. Raises what ``look`` raises.

        ``message``: what all calls of a message share, if not the message of their `Call`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[DeputizeError | None] = loop.create_future()
        place = (loop, user, message or (one[2].thread, one[2].message))
        batch = self.open.setdefault(place, [])
        batch.append((one, future))
        if len(batch) > 1:
            return await future
        try:
            return await self._look(place, batch, user)
        except BaseException as error:
            for _, waits in batch[1:]:
                if not waits.done():
                    waits.set_exception(error) if isinstance(error, Exception) else waits.cancel()
            raise

    async def _look(self, place: Any, batch: _Batch, user: User) -> DeputizeError | None:
        try:
            await asyncio.sleep(0)  # until the tasks that began with this one have asked
        finally:
            del self.open[place]
        found = await self.look([one for one, _ in batch], user)
        for (_, waits), blocker in zip(batch, found, strict=True):
            if not waits.done():
                waits.set_result(blocker)
        return found[0]
