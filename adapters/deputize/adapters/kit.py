"""The kit for adapters: user, checks, acts, requests to the user, decisions and text for the model.

    runner = ToolRunner(deputy, user=lambda run: run.user_id)
    blocker = await runner.check_call((name, arguments, call), user)    # with the other calls of the message
    if request := request_payload(blocker):                             # show it, and end the run
        ...
    text = await runner.act(name, arguments, user, call)

For frameworks that pause a run while a call waits for its user, and run the call again on resume. Trust: a framework's
own "approved" only resumes the call and proves nothing, because deputize reads the vault again. A decision counts for
the run's user, and only if it names the displayed approval. Only the decision stored in the vault counts.
docs/write-an-adapter.md is the page about it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args, overload

from deputize.adapters.argument_checks import (
    check_user,
    check_user_message,
    message_text,
    resolve_user,
    select_tools,
)
from deputize.adapters.media import Media, media_of
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
    PolicyDenied,
    RequestPayload,
    Tool,
    User,
)

__all__ = [
    "Decided",
    "Decision",
    "Kind",
    "MessageOf",
    "ToolRunner",
    "UserOf",
    "error_text",
    "parse_decisions",
    "question_id",
    "request_payload",
    "select_requests",
    "tool_facts",
]

Run = TypeVar("Run")
"""The framework's run context."""
Kind: TypeAlias = Literal["consent", "approval"]
"""The kind of a request to the user."""
Decided: TypeAlias = Literal["approve", "reject", "edit"]
"""What the user decided."""
ToolCall: TypeAlias = tuple[str, Mapping[str, Any], Call]
"""A tool's name, its arguments, and the origin of the call."""
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
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    mappings = [ask for ask in asks if isinstance(ask, Mapping)]
    for one in get_args(Kind) if kind is None else (kind,):
        found |= {(one, str(ask[f"{one}_id"])): ask for ask in mappings if ask.get("type") == f"deputize.{one}"}
    return [dict(ask) for ask in found.values()]


def question_id(approval_id: str) -> str:
    """Return the part of an approval's id that stays the same when the question changes."""
    return approval_id.partition("-")[0]


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
class ToolRunner(Generic[Run]):
    """The tools of one list: who acts, and how their calls are checked and run.

    ``user``: the acting user, or a plain function of the framework's run context. ``agent``, ``app``: as in
    `Deputy.act`. ``user_message``: a function of the run context that returns what the user wrote for this turn; see
    `deputize.core.ask_unless_user_named`. Raises `SettingsError` for an unusable argument.
    """

    deputy: DeputyProtocol
    user: UserOf[Run]
    agent: str = ""
    app: str = ""
    user_message: MessageOf[Run] | None = None
    _batches: dict[Any, _Batch] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_user(self.user)
        check_user_message(self.user_message)

    def tools(self, toolkits: Iterable[str], *, read_only: bool = False) -> list[Tool]:
        """Return the tools with these names or in these toolkits, to describe to a model.

        If there is an ``app``, all must be of its provider. Raises `SettingsError` without a real deputy, and the
        errors of `Deputy.tools`.
        """
        return select_tools(self.deputy, toolkits, read_only=read_only, app=self.app)

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

    async def check_calls(
        self, calls: Sequence[ToolCall], user: User, beside: Iterable[ToolCall] = ()
    ) -> list[DeputizeError | None]:
        """Return for each call the error that blocks it, or None. Missing scopes at one provider share one consent.

        ``beside``: as in `Deputy.check_calls`.
        """
        return await self.deputy.check_calls(calls, user=user, app=self.app, agent=self.agent, beside=beside)

    async def check_call(self, one: ToolCall, user: User, *message: Any) -> DeputizeError | None:
        """Return the error that blocks this call, or None. Calls of one message are checked together.

        For frameworks that run the calls of a message in separate tasks: missing scopes at one provider then share one
        consent with one link. ``message``: a key that all calls of a message share, if not the thread and message of
        their `Call`. Raises the errors of `check_calls`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[DeputizeError | None] = loop.create_future()
        key = (loop, user, message or (one[2].thread, one[2].message))
        batch = self._batches.setdefault(key, [])
        batch.append((one, future))
        if len(batch) > 1:
            return await future
        try:
            return await self._check_batch(key, batch, user)
        except BaseException as error:
            for _, waits in batch[1:]:
                if not waits.done():
                    waits.set_exception(error) if isinstance(error, Exception) else waits.cancel()
            raise

    async def _check_batch(self, key: Any, batch: _Batch, user: User) -> DeputizeError | None:
        try:
            await asyncio.sleep(0)  # let the tasks started with this one add their calls
        finally:
            del self._batches[key]
        found = await self.check_calls([one for one, _ in batch], user)
        for (_, waits), blocker in zip(batch, found, strict=True):
            if not waits.done():
                waits.set_result(blocker)
        return found[0]

    async def act(self, tool: str, arguments: Mapping[str, Any], user: User, call: Call) -> str:
        """Act as the user and return the result as text. Raises the errors of `DeputyProtocol.act`."""
        acted = self.deputy.act(tool, arguments, user=user, app=self.app, call=call, agent=self.agent)
        return as_text(await acted)

    async def act_with_media(
        self, tool: Tool, arguments: Mapping[str, Any], user: User, call: Call, kinds: Container[str] = ("image",)
    ) -> tuple[str, list[Media]]:
        """Act, and return the result as text with its files of these kinds, for a framework whose results have both.

        ``kinds``: image, audio, pdf. Raises the errors of `DeputyProtocol.act`.
        """
        acted = self.deputy.act(tool.name, arguments, user=user, app=self.app, call=call, agent=self.agent)
        result = await acted
        return as_text(result), await media_of(self.deputy, tool, result, user, kinds)

    async def record(self, said: Decision, user: User) -> str:
        """Store a decision as this user's. Return the error in an edit, or what has changed since the decision, or "".

        A decision about another user's approval, or about one that was already decided or used, changes nothing.
        """
        with suppress(NotFound):
            try:
                await self.deputy.decide(
                    said.approval, said.decision, by=user, reason=said.reason, arguments=said.arguments
                )
            except InvalidInput as wrong:
                return str(wrong)
            except Conflict as late:
                now = await self.deputy.get_approval(said.approval, by=user)
                return str(late) if late.reason == "changed" and now and now.status == "pending" else ""
        return ""

    def owner_tag(self, user: User, call: Call) -> str:
        """Return a tag that binds a paused call to its user, to store with the pause.

        It reveals no name, and only deputies of this vault can compute it.
        """
        owner = "\0".join((user.tenant, user.id, call.thread, call.message, call.id))
        key = self.deputy.derive_key("owner of a paused call").reveal()
        return hmac.digest(key.encode(), owner.encode("utf8", "surrogatepass"), "sha256").hex()

    def check_owner(self, tag: str, user: User, call: Call) -> None:
        """Raise `PolicyDenied` unless `owner_tag` returned this tag for the same user and call."""
        if not hmac.compare_digest(tag.encode(), self.owner_tag(user, call).encode()):
            raise PolicyDenied("This call belongs to another user.", hint="Resume as the user who was asked.")
