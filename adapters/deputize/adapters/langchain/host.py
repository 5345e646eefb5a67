"""What the host application decided for tools of LangChain, and calls answered in its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from langchain_core.messages import ToolCall, ToolMessage

from deputize.adapters.given import check_user
from deputize.adapters.host import REFUSED, Identity, Who
from deputize.adapters.operator_warnings import warn_of
from deputize.adapters.tool_messages import as_text, failure_text
from deputize.core import (
    Acting,
    Approval,
    ApprovalRequired,
    Call,
    Consent,
    ConsentRequired,
    DeputizeError,
    PolicyDenied,
    User,
    UserRequired,
)

__all__ = ["Host"]


ToolCallOf: TypeAlias = tuple[str, Mapping[str, Any], Call]
"""A tool's name, its arguments, and where the call came from."""


@dataclass(frozen=True)
class Host:
    """What the host application decided, for every tool of one list."""

    deputy: Acting
    user: Who = None
    agent: str = ""
    user_from_configurable: bool = False
    on_consent: Callable[[Consent], None] | None = None
    on_approval: Callable[[Approval], None] | None = None
    trust_client_context: bool = False
    app: str = ""

    def __post_init__(self) -> None:
        check_user(self.user)

    def acting_user(self, config: Mapping[str, Any], runtime: Any = None) -> User:
        """The user this call acts for; see `Identity.acting`."""
        return self._identity.acting(config, runtime)

    @cached_property
    def _identity(self) -> Identity:
        return Identity(self.user, self.user_from_configurable, self.trust_client_context)

    def resuming_user(self, config: Mapping[str, Any], runtime: Any) -> User | None:
        """Like `acting_user`, for what has to go on without one: None for nobody, `REFUSED` for a refused identity."""
        try:
            return self.acting_user(config, runtime)
        except UserRequired as error:
            return REFUSED if error.reason else None
        except PolicyDenied:
            return REFUSED

    def failed(self, name: str, call_id: str, error: DeputizeError) -> ToolMessage:
        """A failure as the model should read it: one sentence, what it may do about it, and nothing else."""
        warn_of(error)
        artifact: dict[str, Any] = {"error": error.code}
        if isinstance(error, ConsentRequired):
            artifact["consent"] = error.consent.payload()
            if self.on_consent:
                self.on_consent(error.consent)
        if isinstance(error, ApprovalRequired):
            artifact["approval"] = error.approval.payload()
            if self.on_approval:
                self.on_approval(error.approval)
        return ToolMessage(failure_text(error), name=name, tool_call_id=call_id, status="error", artifact=artifact)

    async def act(self, name: str, arguments: Mapping[str, Any], user: User, call: Call) -> Any:
        """One act of the user, through the app that the host named."""
        return await self.deputy.act(name, arguments, user=user, app=self.app, call=call, agent=self.agent)

    async def prepare(
        self, calls: Sequence[ToolCallOf], user: User | None, approved: set[str] | None = None
    ) -> list[DeputizeError | None]:
        """What is in the way of each call; see `Acting.prepare`."""
        whose: dict[str, Any] = {"user": user, "app": self.app, "agent": self.agent}
        return await self.deputy.prepare(calls, approved=approved, **whose)

    async def answer(self, call: ToolCall, where: Call, user: User) -> ToolMessage:
        """One tool call of a model, acted on; failures are answers too."""
        name, call_id = call["name"], str(call["id"] or "")
        try:
            result = await self.act(name, call["args"], user, where)
        except DeputizeError as error:
            return self.failed(name, call_id, error)
        return ToolMessage(as_text(result), name=name, tool_call_id=call_id, artifact=result)
