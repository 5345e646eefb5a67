"""The interface that adapters use: these methods of a deputy, and nothing behind them.

An adapter translates the calls and outcomes of one framework; the core decides what is allowed. Adapters annotate with
`DeputyProtocol` instead of `Deputy`, so a type checker rejects every other attribute and
`tests/adapters/test_surface.py` every other name. The code behind these methods can change without a look at any
adapter. An adapter for another framework needs no more either; its tests can use any class that has these methods.
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
    """A deputy as adapters see it. `Deputy` documents each method and its errors under the same name."""

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        """Return the tools of these toolkits, toolsets and names, to describe to a model."""
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
        """Return for each call the error that `act` would raise now, or None. Runs nothing."""
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
        """Return a stable `Call` for a protocol that gives calls no id."""
        ...

    async def mark_delivered(self, call: Call, *, user: AnyUser) -> None:
        """Record that the outcome of a call from `resolve_call` was delivered."""
        ...

    async def get_consent(self, consent: Consent | str) -> Consent | None:
        """Return the current state of a consent, or None."""
        ...

    async def get_approval(self, approval: Approval | str, *, by: AnyUser, timeout: float = 0.0) -> Approval | None:
        """Return the current state of the user's approval. Waits at most ``timeout`` seconds for a decision."""
        ...

    async def wait_for_consents(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until these consents have ended, for at most ``timeout`` seconds."""
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

    async def refresh_approval_ids(self, approvals: Iterable[Approval | str], *, user: AnyUser) -> None:
        """Give the user's approvals new ids after somebody else tried to answer them."""
        ...

    def dashboard_url(self) -> str:
        """Return the URL of the users' own page, which a model may see; "" in local mode."""
        ...

    def derive_key(self, purpose: str) -> Secret:
        """Return a key for this purpose, the same in every process of one vault."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this deputy from code that is not async."""
        ...
