"""Calls that end a run until the user has answered: user, request payload, decision and text for the model.

    {"type": "deputize.consent", "v": 1, "consent_id": ..., "link": ...}       missing consent: the user opens a link
    {"type": "deputize.approval", "v": 1, "approval_id": ..., "preview": ...}  planned action: the user decides

For frameworks that describe a waiting call to your application and run the call again on resume. Trust: a framework's
own "approved" only resumes the call and proves nothing, because deputize reads the vault again. A decision counts for
the run's user, and only if it names the displayed approval. Only the decision stored in the vault counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args, overload

from deputize.adapters.argument_checks import check_user, check_user_message, message_text, resolve_user
from deputize.adapters.model_messages import as_text, failure_text
from deputize.adapters.operator_warnings import warn_operator
from deputize.core import (
    AnyUser,
    ApprovalPayload,
    ApprovalRequired,
    Call,
    Conflict,
    ConsentPayload,
    ConsentRequired,
    Decisions,
    DeputizeError,
    DeputyProtocol,
    Effect,
    InvalidInput,
    NotFound,
    RequestPayload,
    Tool,
    User,
)

__all__ = [
    "BatchedChecks",
    "Decided",
    "Decision",
    "DeferredHost",
    "Kind",
    "MessageOf",
    "UserOf",
    "error_text",
    "parse_decisions",
    "request_payload",
    "select_requests",
    "tool_facts",
]

Run = TypeVar("Run")
"""The framework's run context."""
Kind: TypeAlias = Literal["consent", "approval"]
Decided: TypeAlias = Literal["approve", "reject", "edit"]
ToolCall: TypeAlias = tuple[str, Mapping[str, Any], Call]
_Batch: TypeAlias = list[tuple[ToolCall, "asyncio.Future[DeputizeError | None]"]]
UserOf: TypeAlias = AnyUser | Callable[[Run], AnyUser]
"""Who acts: a user, or a plain function of the framework's run context. Never taken from a model or a message."""
MessageOf: TypeAlias = Callable[[Run], str]
"""A plain function of the framework's run context that returns what the user wrote for this turn."""

FORM: Final = 'By approval id: "approve", "reject", or {"decision": "edit", "arguments": {all arguments}}.'


@dataclass(frozen=True)
class Decision:
    """A decision about one approval. ``arguments``: all edited arguments if the decision is an edit."""

    approval: str
    decision: Decided
    arguments: Mapping[str, Any] | None = None
    reason: str = ""


def parse_decisions(given: Decisions, shown: Iterable[str], reason: str = "") -> dict[str, Decision]:
    """Return your application's decisions, by approval id.

    ``shown``: ids of the displayed approvals. Raises `InvalidInput` for a malformed decision, or one about another
    approval.
    """
    known = set(shown)
    if unknown := sorted(set(given) - known):
        waiting = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"No approval {unknown[0]!r} was shown here.", hint=f"Waiting approvals: {waiting}.", fix_by="operator"
        )
    return {approval: _parse_decision(approval, what, reason) for approval, what in given.items()}


def _parse_decision(approval: str, what: Any, reason: str) -> Decision:
    if what == "approve" or what == "reject":
        return Decision(approval, what, None, reason)
    arguments = what.get("arguments") if isinstance(what, Mapping) and what.get("decision") == "edit" else None
    if not isinstance(arguments, Mapping):
        raise InvalidInput(f"The decision about {approval} is malformed.", hint=FORM, fix_by="operator")
    return Decision(approval, "edit", dict(arguments), reason)


def request_payload(error: DeputizeError | None, fault: str = "") -> RequestPayload | None:
    """Return the request payload to show to the user, or None if the error is not a missing consent or approval.

    None also if nobody is there to answer (`User.unattended`): the call then fails, and the run goes on. ``fault``: why
    the user's last edit was not possible, shown with the approval.
    """
    if isinstance(error, ConsentRequired | ApprovalRequired) and error.unattended:
        return None
    if isinstance(error, ConsentRequired):
        return error.consent.payload()
    if isinstance(error, ApprovalRequired):
        payload = error.approval.payload()
        if fault:
            payload["fault"] = fault
        return payload
    return None


@overload
def select_requests(asks: Iterable[Any], kind: Literal["consent"]) -> list[ConsentPayload]: ...
@overload
def select_requests(asks: Iterable[Any], kind: Literal["approval"]) -> list[ApprovalPayload]: ...
@overload
def select_requests(asks: Iterable[Any], kind: None = None) -> list[RequestPayload]: ...
def select_requests(asks: Iterable[Any], kind: Kind | None = None) -> list[Any]:
    """Return the requests of this kind, or of both: consents, then approvals. Each is returned once, because calls at
    one provider share their consent.

    Raises `InvalidInput` for another kind.
    """
    if kind not in (None, *get_args(Kind)):
        raise InvalidInput(f"kind={kind!r} does not exist.", hint='Pass "consent" or "approval".', fix_by="operator")
    found: dict[str, Mapping[str, Any]] = {}
    mappings = [ask for ask in asks if isinstance(ask, Mapping)]
    for one in get_args(Kind) if kind is None else (kind,):
        found |= {str(ask[f"{one}_id"]): ask for ask in mappings if ask.get("type") == f"deputize.{one}"}
    return [dict(ask) for ask in found.values()]


def error_text(error: DeputizeError) -> str:
    """Return a failure as text for the model. Logs the failure if the operator must fix it."""
    warn_operator(error)
    return failure_text(error)


def tool_facts(tool: Tool) -> dict[str, Any]:
    """Return metadata by which your application can filter and label tools. The model does not see it."""
    return {
        "provider": tool.provider,
        "scopes": sorted({need.ask for need in tool.usual_needs()}),
        "effect": tool.gravest.words(),
        "read_only": tool.gravest is Effect.READS,
    }


@dataclass(frozen=True)
class DeferredHost(Generic[Run]):
    """Your application's configuration, shared by the tools of one list."""

    deputy: DeputyProtocol
    user: UserOf[Run]
    agent: str = ""
    app: str = ""
    user_message: MessageOf[Run] | None = None

    def __post_init__(self) -> None:
        check_user(self.user)
        check_user_message(self.user_message)

    def acting_user(self, run: Run) -> User:
        """Return the user for whom this run acts. Raises `UserRequired` if there is none."""
        if callable(self.user):
            return resolve_user(self.user, run)
        return User.of(self.user)

    def add_message(self, call: Call, run: Run) -> Call:
        """Return the call with the user's own message, if your application hands it over."""
        if self.user_message is None:
            return call
        return replace(call, user_message=message_text(self.user_message(run)))

    async def check_calls(self, calls: Sequence[ToolCall], user: User) -> list[DeputizeError | None]:
        """Return for each call the error that blocks it, or None. Missing scopes at one provider share one consent."""
        return await self.deputy.check_calls(calls, user=user, app=self.app, agent=self.agent)

    async def act(self, tool: str, arguments: Mapping[str, Any], user: User, call: Call) -> str:
        """Act as the user and return the result as text. Raises the errors of `DeputyProtocol.act`."""
        acted = self.deputy.act(tool, arguments, user=user, app=self.app, call=call, agent=self.agent)
        return as_text(await acted)

    async def record(self, said: Decision, user: User) -> str:
        """Store a decision as this user's. Return the error in an edit, or "".

        A decision about another user's approval, or about one that was already decided or used, changes nothing.
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
class BatchedChecks:
    """Checks the calls of one message together, although the framework runs them in separate tasks.

    Missing scopes at one provider then share one consent with one link.
    """

    look: Callable[[Sequence[ToolCall], User], Awaitable[list[DeputizeError | None]]]
    open: dict[Any, _Batch] = field(default_factory=dict)

    async def blocker(self, one: ToolCall, user: User, *message: Any) -> DeputizeError | None:
        """Return the error that blocks this call, or None. Raises the errors of ``look``.

        ``message``: a key that all calls of a message share, if not the message of their `Call`.
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
            await asyncio.sleep(0)  # let the tasks started with this one add their calls
        finally:
            del self.open[place]
        found = await self.look([one for one, _ in batch], user)
        for (_, waits), blocker in zip(batch, found, strict=True):
            if not waits.done():
                waits.set_result(blocker)
        return found[0]
