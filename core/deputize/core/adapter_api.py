"""What an adapter may use of a deputy: these methods, and nothing behind them.

An adapter translates the calls and outcomes of one framework; what is allowed is decided in here. So adapters annotate
with `DeputyProtocol` instead of `Deputy`: a type checker refuses every other attribute,
`tests/adapters/test_surface.py` every other name, and whatever lies behind these methods can change without a look at
any adapter. Whoever writes an adapter for another framework needs no more either, and tests it with any class that has
these methods.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from deputize.core.approvals.service import Decision
from deputize.core.errors import DeputizeError
from deputize.core.tools.act import Call, ToolCall
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Approval, Consent
from deputize.core.vault.grant import AnyUser, Secret

T = TypeVar("T")


@runtime_checkable
class DeputyProtocol(Protocol):
    """A deputy as adapters see it. What each method does, and raises, stands at the same name in `Deputy`."""

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        """The tools of these toolkits, toolsets and names, to be described to a model."""
        ...

    async def check_calls(
        self,
        calls: Iterable[ToolCall],
        *,
        user: AnyUser,
        app: str = "",
        agent: str = "",
        approved: set[str] | None = None,
    ) -> list[DeputizeError | None]:
        """For each call, the error that `act` would raise now, or None: before anything is done."""
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
        """One tool call as the user; its result as plain JSON. The same ``call`` never writes twice."""
        ...

    async def resolve_call(
        self, tool: str, arguments: Mapping[str, Any], *, user: AnyUser, app: str = "", thread: str
    ) -> Call:
        """The call that this is, where its protocol gives it no id."""
        ...

    async def mark_delivered(self, call: Call, *, user: AnyUser) -> None:
        """The outcome of a recognized call was handed over."""
        ...

    async def get_consent(self, consent: Consent | str) -> Consent | None:
        """How a consent stands."""
        ...

    async def get_approval(self, approval: Approval | str, *, by: AnyUser, timeout: float = 0.0) -> Approval | None:
        """How an approval of this user stands; waits for an answer for ``timeout`` seconds at most."""
        ...

    async def wait_for_consents(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until these consents have ended, for ``timeout`` seconds at most."""
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
        """Record this user's answer to an approval."""
        ...

    async def refresh_approval_ids(self, approvals: Iterable[Approval | str], *, user: AnyUser) -> None:
        """Give approvals of this user new ids, after somebody else tried to answer them."""
        ...

    def dashboard_url(self) -> str:
        """The users' own page, for a model to name; "" in local mode."""
        ...

    def derive_key(self, purpose: str) -> Secret:
        """A key for this purpose, the same in every process of one vault."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await any of these from code that is not async."""
        ...
