"""The acting user, for every adapter: one source that your application names in code. Other channels must agree.

    user="alice"               bound: a run that names another user is refused.
    user=lambda run: ...       the result of a plain (not async) function; nothing else is read.
    user=server_user("org")    the server's verified user; the tenant is the named field of that user.
    nothing                    LangGraph Server: its custom authentication. Elsewhere: the run's context.

Trust: on LangGraph Server the client sends the context and ``configurable`` of a run, so they identify no user there,
unless your application trusts all clients (``trust_client_context=True``). The identity of an API key (LangSmith's
``StudioUser``) is not an end user. A user's tenant comes from the same source as the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeAlias, cast

from typing_extensions import TypeVar

from deputize.adapters.argument_checks import resolve_user
from deputize.core import AnyUser, PolicyDenied, User, UserRequired

__all__ = [
    "REFUSED",
    "Context",
    "ContextT",
    "MessageSource",
    "RunInfo",
    "UserPolicy",
    "UserSource",
    "field",
    "server_user",
]

ContextT = TypeVar("ContextT", bound=Any, default=Any)
"""The type of a run's context: the graph's ``context_schema``."""

SERVER_KEYS: Final = ("assistant_id", "graph_id", "langgraph_request_id", "langgraph_auth_user")
"""Keys that LangGraph Server itself sets in ``configurable`` of each run (langgraph_api.models.run)."""

SERVER: Final = "The server's authentication"
SERVER_USER: Final = "server user"
"""The channel name of the user whom LangGraph Server has verified."""

NAME_A_SOURCE: Final = "Name who acts in code: user=lambda run: ..., or custom authentication on the server."
TRUST: Final = f"{NAME_A_SOURCE} If only your own backend can call the server: trust_client_context=True."

NAME_SCHEDULED: Final = (
    "Name the user of scheduled runs in code, with user=lambda run: ... "
    "Any client can write run.configurable['cron_id']: compare run.server_id with the creator of that cron."
)


@dataclass
class Context:
    """The ``context_schema`` of a graph: the user, set by your application and never seen or set by a model.

    For more fields, inherit from this class, or use your own class with fields of these two names.
    """

    user_id: str
    tenant_id: str = ""


@dataclass(frozen=True)
class RunInfo(Generic[ContextT]):
    """A run that calls a tool: LangChain's ``config`` and LangGraph's ``runtime`` (None outside LangGraph).

    ``RunInfo[MyContext]`` as the annotation of your function types ``run.context``.
    """

    config: Mapping[str, Any]
    runtime: Any = None

    @property
    def configurable(self) -> Mapping[str, Any]:
        """``config["configurable"]``."""
        return self.config.get("configurable") or {}

    @property
    def context(self) -> ContextT:
        """The run's context, as the graph's schema defines it. On LangGraph Server the client wrote it."""
        context: Any = getattr(self.runtime, "context", None)
        return cast("ContextT", context)

    @property
    def on_server(self) -> bool:
        """True if LangGraph Server runs this."""
        return self._server is not None or any(key in self.configurable for key in SERVER_KEYS)

    @property
    def server_user(self) -> Any:
        """The end user whom the server's custom authentication verified, with all fields.

        Raises `PolicyDenied` for the identity of an API key and in a scheduled run. Raises `UserRequired` if the server
        verified no user.
        """
        user = getattr(self._server, "user", None)
        if self.server_id is None or self.server_id == "":
            raise UserRequired("The server has verified no user.", hint=NAME_A_SOURCE)
        if _is_api_key(user):
            raise PolicyDenied("The identity of an API key (StudioUser) is not an end user.", hint=TRUST)
        if self.is_scheduled:
            raise PolicyDenied(
                "This is a scheduled run: the server only knows its creator, which may be an API key.",
                hint=NAME_SCHEDULED,
            )
        return user

    @property
    def is_scheduled(self) -> bool:
        """True if the run has the id of a cron job. The server's scheduler writes it, but any client can do so too."""
        return any("cron_id" in (self.config.get(part) or ()) for part in ("configurable", "metadata"))

    @property
    def server_id(self) -> Any:
        """The id of the server's caller, or of the cron job's creator. No client chooses it, but it may belong to an
        API key."""
        return field(getattr(self._server, "user", None), "identity")

    @property
    def is_verified(self) -> bool:
        """True if the server has verified a user or the owner of an API key."""
        return getattr(self._server, "user", None) is not None

    @property
    def _server(self) -> Any:
        return getattr(self.runtime, "server_info", None)


REFUSED: Final = User("")
"""Stands for a run whose identity is refused: it owns nothing and may not act."""

UserSource: TypeAlias = AnyUser | Callable[[RunInfo[ContextT]], AnyUser]
"""How your application names who acts; see the module docstring."""

MessageSource: TypeAlias = Callable[[RunInfo[ContextT]], str]
"""Your application's function of the run that returns the message which the user wrote for this turn."""


def server_user(tenant: str = "") -> Callable[[RunInfo], User]:
    """Return a source that reads the server's verified user. ``tenant``: the field of that user with the tenant.

    The source raises `PolicyDenied` if the field is missing or empty, because no tenant is a tenant of its own.
    """

    def named(run: RunInfo) -> User:
        user = run.server_user
        where = field(user, tenant) if tenant else ""
        if tenant and not where:
            raise PolicyDenied(f"The server's user has no {tenant!r}.", hint="Return it from @auth.authenticate.")
        return User.from_values(field(user, "identity"), where, by=SERVER)

    return named


@dataclass(frozen=True)
class UserPolicy:
    """Your application's choice of the acting user. ``trust_client_context``: trust what a server's clients send."""

    user: UserSource = None
    user_from_configurable: bool = False
    trust_client_context: bool = False

    def acting_user(self, config: Mapping[str, Any], runtime: Any = None) -> User:
        """Return the user for whom this run acts.

        Raises `UserRequired` if there is none or the id is invalid. Raises `PolicyDenied` if two sources differ.
        """
        run = RunInfo(config, runtime)
        if callable(self.user):
            return resolve_user(self.user, run)
        claims = _claims(run)
        user = User.of(self.user if self.user is not None else self._unbound(run, claims))
        for where, said in claims.items():
            if said.id not in ("", user.id) or said.tenant not in ("", user.tenant):
                other = "user" if said.id not in ("", user.id) else "tenant"
                raise PolicyDenied(
                    f"The run's {where} names another {other} than the configured source.", hint=NAME_A_SOURCE
                )
        return user

    def _unbound(self, run: RunInfo, claims: Mapping[str, User]) -> User | None:
        """Return the server's user, else the context's, or that of ``configurable`` if your application opted in."""
        if (verified := claims.get(SERVER_USER)) and not run.is_scheduled:
            return verified
        trusted = ("context", "configurable") if self.user_from_configurable else ("context",)
        named = [claims[where] for where in trusted if claims[where].id]
        if not run.on_server or self.trust_client_context:
            return named[0] if named else None
        try:
            return _named_by_server(run.server_user)
        except UserRequired:
            if named:
                raise PolicyDenied(
                    "This server verifies no user: the client chose the user of this run.", hint=TRUST
                ) from None
            raise


def _verified(run: RunInfo) -> User | None:
    """Return the server's user, or None if there is none or only the identity of an API key."""
    if not run.is_verified:  # the usual case: raising and catching an error would double the cost
        return None
    try:
        verified = run.server_user
    except (UserRequired, PolicyDenied):
        return None
    return _named_by_server(verified)


def _named_by_server(verified: Any) -> User:
    return User.from_values(field(verified, "identity"), by=SERVER)


def _claims(run: RunInfo) -> dict[str, User]:
    """Return the user and tenant from each channel that names one."""
    claims = {"context": _claim("context", run.context), "configurable": _claim("configurable", run.configurable)}
    if run.is_scheduled:  # a client that writes a cron id keeps its own identity
        claims[SERVER_USER] = User.from_values(run.server_id, by=SERVER)
    elif verified := _verified(run):
        claims[SERVER_USER] = verified
    elif run.is_verified and run.configurable.get("user_id") == run.server_id:
        claims["configurable"] = replace(claims["configurable"], id="")  # the server wrote the API key's id there
    return claims


def _claim(where: str, said: Any) -> User:
    return User.from_values(field(said, "user_id"), field(said, "tenant_id"), by=f"The run's {where}")


def field(holder: Any, name: str) -> Any:
    """Return a field of an object or a mapping, or None."""
    if type(holder) is dict or isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _is_api_key(user: Any) -> bool:
    """Return whether this is LangSmith's identity of an API key or of Studio, as an object or serialized."""
    return any(kind.__name__ == "StudioUser" for kind in type(user).__mro__) or field(user, "kind") == "StudioUser"
