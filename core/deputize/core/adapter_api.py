"""The interface between adapters and the core: the methods of a deputy that an adapter may use.

An adapter translates the calls and outcomes of one framework; the core decides what is allowed. Adapters annotate with
`DeputyProtocol` instead of `Deputy`. A type checker and `tests/adapters/test_surface.py` then reject every other
attribute, so a change inside the core breaks no adapter. An adapter for another framework needs only these methods, and
its tests can use any class that has them.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from deputize.core.approvals.service import Decision
from deputize.core.errors import DeputizeError
from deputize.core.tools.act import Call, ToolCall
from deputize.core.tools.steps import File
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Approval, Consent
from deputize.core.vault.grant import AnyUser, Secret

T = TypeVar("T")


@runtime_checkable
class DeputyProtocol(Protocol):
    """A deputy as adapters see it. `Deputy` documents each method and its errors under the same name."""

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        """Return the tools with these names or in these toolkits and toolsets, to describe to a model."""
        ...

    async def check_calls(
        self,
        calls: Iterable[ToolCall],
        *,
        user: AnyUser,
        app: str = "",
        agent: str = "",
        approved: set[str] | None = None,
        beside: Iterable[ToolCall] = (),
    ) -> list[DeputizeError | None]:
        """Return one entry per call: the error that `act` would raise now, or None. Runs no call."""
        ...

    async def act(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        user: AnyUser,
        app: str = "",
        call: Call | None = None,
        agent: str = "",
    ) -> Any:
        """Run one tool call as the user and return its result as plain JSON. The same ``call`` never writes twice."""
        ...

    async def resolve_call(
        self, tool: str, arguments: Mapping[str, Any], *, user: AnyUser, app: str = "", thread: str
    ) -> Call:
        """Return a stable `Call` for a request, for protocols that send no call ids."""
        ...

    async def mark_delivered(self, call: Call, *, user: AnyUser) -> None:
        """Record that the caller received the outcome of this call, which is from `resolve_call`."""
        ...

    async def get_consent(self, consent: Consent | str) -> Consent | None:
        """Return the current state of a consent, or None."""
        ...

    async def get_approval(self, approval: Approval | str, *, by: AnyUser, timeout: float = 0.0) -> Approval | None:
        """Return the user's approval as it is now, or None. Waits at most ``timeout`` seconds for a decision."""
        ...

    async def wait_for_consents(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until these consents are no longer pending, for at most ``timeout`` seconds. Return them."""
        ...

    async def decide(
        self,
        approval: Approval | str,
        decision: Decision,
        *,
        by: AnyUser,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> Approval:
        """Record the user's decision on an approval."""
        ...

    async def dismiss_approval(self, approval: Approval | str, *, by: AnyUser) -> None:
        """Record that the user closed a pending approval without a decision."""
        ...

    async def get_file(self, user: AnyUser, handle: str) -> File:
        """Return the user's file with this handle."""
        ...

    def dashboard_url(self) -> str:
        """Return the URL of the users' page for their own connections, safe for a model to see; "" in local mode."""
        ...

    def derive_key(self, purpose: str) -> Secret:
        """Return a secret key for this purpose. Every process of one vault gets the same key."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this deputy from code that is not async."""
        ...
