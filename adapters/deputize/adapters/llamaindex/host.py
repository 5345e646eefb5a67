"""The acting user of a LlamaIndex run: one source that your application names in code.

    user="alice"                bound: one agent for one user.
    user=lambda ctx: ...        the result of a sync or async function of the run's `Context`.
    user=store_user("user_id")  the value that your application put into the run's store, before the run or in a step.
    user=served_user            the user whom `UserMiddleware` has admitted to a workflow server.

Trust: the model and the conversation never name the user. On a workflow server (``llama_agents.server.WorkflowServer``)
the client chooses the start event, the events, and the store of a run that continues an earlier one. Only your
authentication can set a `ContextVar` before the run begins: `served_user` reads it, and `store_user` refuses to read
the store there. A run belongs to its first user. If a source later names another user, the run is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, TypeAlias

from llama_index.core.workflow import Context

from deputize.adapters.argument_checks import FUNCTION, message_text
from deputize.core import AnyUser, Call, PolicyDenied, User, UserRequired

__all__ = [
    "SERVED",
    "MessageSource",
    "UserSource",
    "acting_user",
    "add_message",
    "on_server",
    "served_user",
    "store_user",
]

UserSource: TypeAlias = AnyUser | Callable[[Context], AnyUser | Awaitable[AnyUser]]
"""How your application names who acts; see the module docstring."""

MessageSource: TypeAlias = Callable[[Context], str | Awaitable[str]]
"""Your application's function of the run that returns the message which the user wrote for this turn."""

SERVED: Final[ContextVar[User | None]] = ContextVar("deputize_served_user", default=None)
"""The user whose request started or resumed this run: set only by `UserMiddleware`."""

NAME_A_SOURCE: Final = "Name who acts from your authentication: user=served_user, or a ContextVar."


async def acting_user(who: UserSource, ctx: Context | None) -> User:
    """Return the user for whom this run acts. Raises `UserRequired` if there is none."""
    if not callable(who):
        return User.of(who)
    if ctx is None:
        raise UserRequired("No user is named: this call is outside a run.", hint="Bind user='...'.")
    said = who(ctx)
    return User.of(await said if inspect.isawaitable(said) else said, by=FUNCTION)


async def add_message(call: Call, source: MessageSource | None, ctx: Context) -> Call:
    """Return the call with the user's own message, if your application hands it over."""
    if source is None:
        return call
    said: Any = source(ctx)
    return replace(call, user_message=message_text(await said if inspect.isawaitable(said) else said))


def served_user(ctx: Context) -> User | None:
    """Return the user whom `UserMiddleware` has admitted, or None if the run did not pass through it."""
    return SERVED.get()


def store_user(key: str = "user_id", *, tenant: str = "") -> Callable[[Context], Awaitable[User]]:
    """Return a source that reads the user from the run's store at ``key``, and the tenant at ``tenant``.

    The source raises `PolicyDenied` on a workflow server, where a client may continue with the store of any ended run,
    or send its own. It also raises `PolicyDenied` if a required tenant is missing, because no tenant is a tenant of its
    own.
    """

    async def named(ctx: Context) -> User:
        if on_server(ctx):
            raise PolicyDenied("On a workflow server a run's store does not say who acts.", hint=NAME_A_SOURCE)
        user, where = await ctx.store.get(key, default=""), await ctx.store.get(tenant, default="") if tenant else None
        if tenant and not where:
            raise PolicyDenied(f"The run's store has no {tenant!r}.", hint="Set it beside the user.")
        return User.of(User.from_values(user, where, by="The run's store"))

    return named


def on_server(ctx: Context) -> bool:
    """Return True if the workflow runs in another runtime than LlamaIndex's own in this process. Clients may then send
    events to it.

    No public API reports that. If it is unknown, the result is True.
    """
    runtime: Any = getattr(getattr(getattr(ctx, "_face", None), "_workflow", None), "runtime", None)
    if runtime is None:
        return True
    while runtime is not None:
        if type(runtime).__module__.partition(".")[0] != "workflows":
            return True
        runtime = getattr(runtime, "_decorated", None)
    return False
