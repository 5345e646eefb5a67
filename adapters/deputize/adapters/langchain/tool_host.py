"""Your application's configuration of LangChain tools, and its callbacks for missing consents and approvals."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import ToolMessage

from deputize.adapters.acting_user import REFUSED, MessageSource, RunInfo, UserPolicy, UserSource
from deputize.adapters.argument_checks import check_function, check_user, check_user_message, message_text
from deputize.adapters.model_messages import failure_text
from deputize.adapters.operator_warnings import NO_USER_IN_GRAPH, warn_operator
from deputize.core import (
    Approval,
    ApprovalRequired,
    Call,
    Consent,
    ConsentRequired,
    DeputizeError,
    DeputyProtocol,
    PolicyDenied,
    User,
    UserRequired,
)

__all__ = ["Host", "On", "ToolCallOf"]


ToolCallOf: TypeAlias = tuple[str, Mapping[str, Any], Call]
"""A tool's name, its arguments, and the identity of the call."""

Asked = TypeVar("Asked")
On: TypeAlias = Callable[[Asked], Awaitable[object] | None]
"""Your application's sync or async function that receives a call's missing request."""

log = logging.getLogger("deputize")


@dataclass(frozen=True)
class Host:
    """Your application's configuration, shared by the tools of one list."""

    deputy: DeputyProtocol
    user: UserSource = None
    agent: str = ""
    user_from_configurable: bool = False
    on_consent: On[Consent] | None = None
    on_approval: On[Approval] | None = None
    trust_client_context: bool = False
    app: str = ""
    user_message: MessageSource | None = None

    def __post_init__(self) -> None:
        check_user(self.user)
        check_function("on_consent", self.on_consent)
        check_function("on_approval", self.on_approval)
        check_user_message(self.user_message)

    def acting_user(self, config: Mapping[str, Any], runtime: Any = None) -> User:
        """Return the user for whom this run acts. Raises the errors of `UserPolicy.acting_user`."""
        return self._identity.acting_user(config, runtime)

    @cached_property
    def _identity(self) -> UserPolicy:
        return UserPolicy(self.user, self.user_from_configurable, self.trust_client_context)

    def add_message(self, call: Call, config: Mapping[str, Any], runtime: Callable[[], Any]) -> Call:
        """Return the call with the user's own message, if your application hands it over. On LangGraph Server the
        client writes everything that a run contains, so the call is unchanged there unless clients are trusted.
        ``runtime``: returns LangGraph's runtime, or None."""
        if self.user_message is None:
            return call
        run = RunInfo(config, runtime())
        if run.on_server and not self.trust_client_context:
            return call
        return replace(call, user_message=message_text(self.user_message(run)))

    def resuming_user(self, config: Mapping[str, Any], runtime: Any) -> User | None:
        """Return the user for whom this run acts, None for no user, or `REFUSED` for a refused identity."""
        try:
            return self.acting_user(config, runtime)
        except UserRequired as error:
            return REFUSED if error.reason else None
        except PolicyDenied:
            return REFUSED

    def error_message(self, name: str, call_id: str, error: DeputizeError) -> ToolMessage:
        """Return a failure as an error message for the model. Logs the failure if the operator must fix it."""
        warn_operator(error, NO_USER_IN_GRAPH)
        artifact: dict[str, Any] = {"error": error.code}
        if isinstance(error, ConsentRequired):
            artifact["consent"] = error.consent.payload()
        if isinstance(error, ApprovalRequired):
            artifact["approval"] = error.approval.payload()
        if isinstance(error, ConsentRequired | ApprovalRequired) and error.unattended:
            artifact["unattended"] = True
        return ToolMessage(failure_text(error), name=name, tool_call_id=call_id, status="error", artifact=artifact)

    async def tell(self, error: DeputizeError) -> None:
        """Pass the missing request to your application's function and log its errors, after the call got its answer."""
        with _raising_nothing():
            if (said := self._notify(error)) is not None:
                await said

    def tell_now(self, error: DeputizeError) -> None:
        """Pass the missing request like `tell`, in the caller's thread, where the function may use `Deputy.run`."""
        with _raising_nothing():
            if (said := self._notify(error)) is not None:
                self.deputy.run(_await(said))

    def _notify(self, error: DeputizeError) -> Awaitable[object] | None:
        """Call the application's function. Return its result if it must be awaited, else None."""
        said: Any = None
        if isinstance(error, ConsentRequired) and self.on_consent:
            said = self.on_consent(error.consent)
        if isinstance(error, ApprovalRequired) and self.on_approval:
            said = self.on_approval(error.approval)
        return said if inspect.isawaitable(said) else None

    async def act(self, name: str, arguments: Mapping[str, Any], user: User, call: Call) -> Any:
        """Act as the user through the configured app."""
        return await self.deputy.act(name, arguments, user=user, app=self.app, call=call, agent=self.agent)

    async def check_calls(
        self,
        calls: Sequence[ToolCallOf],
        user: User | None,
        approved: set[str] | None = None,
        beside: Iterable[ToolCallOf] = (),
    ) -> list[DeputizeError | None]:
        """Return one entry per call: the error that blocks it, or None; see `Deputy.check_calls`."""
        whose: dict[str, Any] = {"user": user, "app": self.app, "agent": self.agent}
        return await self.deputy.check_calls(calls, approved=approved, beside=beside, **whose)


async def _await(said: Awaitable[object]) -> None:
    await said


@contextmanager
def _raising_nothing() -> Iterator[None]:
    """Log an error of your application's function without its text, which may contain a link. LangGraph's pauses, which
    are exceptions, pass."""
    try:
        yield
    except Exception as error:
        if isinstance(error, getattr(sys.modules.get("langgraph.errors"), "GraphBubbleUp", ())):
            raise
        log.warning("on_consent or on_approval failed: %s", type(error).__name__)
