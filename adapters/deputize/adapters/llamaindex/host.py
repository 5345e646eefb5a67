"""Who acts in a run of LlamaIndex: one source that the host names in code.

    user="alice"                bound: one agent for one user.
    user=lambda ctx: ...        whatever the host's function says of the run's `Context`; it may be async.
    user=store_user("user_id")  what the host put into the run's store, before the run or in a step of its own.
    user=served_user            the user whom `UserMiddleware` has let in to a workflow server.

Who is believed for what: the model and the conversation never are. On a workflow server
(``llama_agents.server.WorkflowServer``) the start event, the events, and the store of a run that goes on from an
earlier one are what a client chose. What only the host sets there is a `ContextVar` that its authentication sets before
the run begins: `served_user` reads one, `store_user` refuses to read the store. A run belongs to the user it began as:
a source that later names another one is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from llama_index.core.workflow import Context

from deputize.adapters.argument_checks import FUNCTION
from deputize.core import AnyUser, PolicyDenied, User, UserRequired

__all__ = ["SERVED", "UserSource", "acting", "on_server", "served_user", "store_user"]

UserSource: TypeAlias = AnyUser | Callable[[Context], AnyUser | Awaitable[AnyUser]]
"""How the host names who acts; see the top of this module."""

SERVED: Final[ContextVar[User | None]] = ContextVar("deputize_served_user", default=None)
"""Whose request has begun, or woken up, the run at hand: set by `UserMiddleware` alone."""

NAME_A_SOURCE: Final = "Name who acts from what the host's authentication set: user=served_user, or a ContextVar."


async def acting(who: UserSource, ctx: Context | None) -> User:
    """The user this run acts for. Raises `UserRequired` where nobody is named, and what the host's function raises."""
    if not callable(who):
        return User.of(who)
    if ctx is None:
        raise UserRequired("No user: outside of a run nobody can be asked who it is for.", hint="Bind user='...'.")
    said = who(ctx)
    return User.of(await said if inspect.isawaitable(said) else said, by=FUNCTION)


def served_user(ctx: Context) -> User | None:
    """A source: the user whom `UserMiddleware` has let in. None where the run did not come through it."""
    return SERVED.get()


def store_user(key: str = "user_id", *, tenant: str = "") -> Callable[[Context], Awaitable[User]]:
    """A source: what the host put into the run's store at ``key``, and the tenant at another, where there is one.

    The source raises `PolicyDenied` on a workflow server: there a client may go on with the store of anybody's ended
    run, or send one. It raises it, too, where a tenant is wanted and there is none: no tenant is another tenant.
    """

    async def named(ctx: Context) -> User:
        if on_server(ctx):
            raise PolicyDenied("On a workflow server a run's store does not say who acts.", hint=NAME_A_SOURCE)
        user, where = await ctx.store.get(key, default=""), await ctx.store.get(tenant, default="") if tenant else None
        if tenant and not where:
            raise PolicyDenied(f"The run's store has no {tenant!r}.", hint="Set it beside the user.")
        return User.of(User.named(user, where, by="The run's store"))

    return named


def on_server(ctx: Context) -> bool:
    """Whether anything but LlamaIndex's own runtime in this process runs this: then clients may send it events.

    No public API says it; where it cannot be told the answer is yes.
    """
    runtime: Any = getattr(getattr(getattr(ctx, "_face", None), "_workflow", None), "runtime", None)
    if runtime is None:
        return True
    while runtime is not None:
        if type(runtime).__module__.partition(".")[0] != "workflows":
            return True
        runtime = getattr(runtime, "_decorated", None)
    return False
