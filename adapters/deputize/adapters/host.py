"""Who acts: one source that the host names in code, for every adapter. What others say may agree, never differ.

    user="alice"               bound: a ceiling. A run that names anybody else is refused.
    user=lambda run: ...       whatever the host's function says, which is no async one; nothing else is asked.
    user=server_user("org")    the server's verified user, with the tenant from a field of theirs.
    nothing                    the server's custom authentication on LangGraph Server, the run's context elsewhere.

Who is believed for what: on LangGraph Server the context and ``configurable`` of a run are what its client sent: they
name nobody there, unless the host trusts all clients (``trust_client_context=True``). The identity of an API key
(LangSmith's ``StudioUser``) is no end user. A user's tenant comes from the source that named the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from deputize.adapters.argument_checks import user_of
from deputize.core import AnyUser, PolicyDenied, User, UserRequired

__all__ = ["REFUSED", "Context", "RunInfo", "UserPolicy", "UserSource", "field", "server_user"]

SERVER_KEYS: Final = ("assistant_id", "graph_id", "langgraph_request_id", "langgraph_auth_user")
"""What LangGraph Server sets in ``configurable`` of each run (langgraph_api.models.run), whatever its client sends."""

SERVER: Final = "The server's authentication"
SERVER_USER: Final = "server user"
"""What the user whom LangGraph Server has verified is called beside the other channels."""

NAME_A_SOURCE: Final = "Name who acts in code: user=lambda run: ..., or custom authentication on the server."
TRUST: Final = f"{NAME_A_SOURCE} Where only your own backend can call the server: trust_client_context=True."

NAME_SCHEDULED: Final = (
    "Name the user of scheduled runs in code, with user=lambda run: ... "
    "Any client can write run.configurable['cron_id']: compare run.server_id with who made that cron."
)


@dataclass
class Context:
    """Who is talking: the ``context_schema`` of a graph, filled in by the application; no model sees or sets it.

    One with more fields inherits from this class, or is a class of its own with fields of these two names.
    """

    user_id: str
    tenant_id: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run that calls a tool: LangChain's ``config``, LangGraph's ``runtime`` (None outside)."""

    config: Mapping[str, Any]
    runtime: Any = None

    @property
    def configurable(self) -> Mapping[str, Any]:
        """``config["configurable"]``."""
        return self.config.get("configurable") or {}

    @property
    def context(self) -> Any:
        """The run's context, as the graph's schema has it. On LangGraph Server its client wrote it."""
        return getattr(self.runtime, "context", None)

    @property
    def on_server(self) -> bool:
        """Whether LangGraph Server runs this."""
        return self._server is not None or any(key in self.configurable for key in SERVER_KEYS)

    @property
    def server_user(self) -> Any:
        """The end user whom the server's custom authentication verified, with the fields it gave them.

        Raises `PolicyDenied` for an API key's identity and in a scheduled run, `UserRequired` where nobody was
        verified.
        """
        user = getattr(self._server, "user", None)
        if self.server_id is None or self.server_id == "":
            raise UserRequired("The server has verified no user.", hint=NAME_A_SOURCE)
        if _is_api_key(user):
            raise PolicyDenied("The identity of an API key (StudioUser) is no end user.", hint=TRUST)
        if self.is_scheduled:
            raise PolicyDenied(
                "This is a scheduled run: the server keeps an id of who made it, which may be an API key's.",
                hint=NAME_SCHEDULED,
            )
        return user

    @property
    def is_scheduled(self) -> bool:
        """True if the run has the id of a cron. The server's scheduler writes it, and so can any client."""
        return any("cron_id" in (self.config.get(part) or ()) for part in ("configurable", "metadata"))

    @property
    def server_id(self) -> Any:
        """The id of whoever called the server or made the cron. No client chooses it, but it may be an API key's."""
        return field(getattr(self._server, "user", None), "identity")

    @property
    def is_verified(self) -> bool:
        """Whether the server has verified somebody; an API key's owner, too."""
        return getattr(self._server, "user", None) is not None

    @property
    def _server(self) -> Any:
        return getattr(self.runtime, "server_info", None)


REFUSED: Final = User("")
"""In a user's place where the run's identity is refused: nobody who ever started anything, and nobody who may act."""

UserSource: TypeAlias = AnyUser | Callable[[RunInfo], AnyUser]
"""How the host names who acts; see the top of this module."""


def server_user(tenant: str = "") -> Callable[[RunInfo], User]:
    """A source: the server's verified user. ``tenant``: which field of theirs, set by the authentication, holds it.

    The source raises `PolicyDenied` where the field is missing or empty: no tenant is another tenant.
    """

    def named(run: RunInfo) -> User:
        user = run.server_user
        where = field(user, tenant) if tenant else ""
        if tenant and not where:
            raise PolicyDenied(f"The server's user has no {tenant!r}.", hint="Return it from @auth.authenticate.")
        return User.named(field(user, "identity"), where, by=SERVER)

    return named


@dataclass(frozen=True)
class UserPolicy:
    """The host's decision who acts. ``trust_client_context``: believe what a server's clients say of themselves."""

    user: UserSource = None
    user_from_configurable: bool = False
    trust_client_context: bool = False

    def acting(self, config: Mapping[str, Any], runtime: Any = None) -> User:
        """The user this run acts for. Raises `UserRequired` for none and for what is no id, `PolicyDenied` where two
        sources differ."""
        run = RunInfo(config, runtime)
        if callable(self.user):
            return user_of(self.user, run)
        claims = _claims(run)
        user = User.of(self.user if self.user is not None else self._unbound(run, claims))
        for where, said in claims.items():
            if said.id not in ("", user.id) or said.tenant not in ("", user.tenant):
                other = "user" if said.id not in ("", user.id) else "tenant"
                raise PolicyDenied(f"The run's {where} names another {other} than who acts.", hint=NAME_A_SOURCE)
        return user

    def _unbound(self, run: RunInfo, claims: Mapping[str, User]) -> User | None:
        """The server's user; else the context's, and ``configurable``'s where the host opted in."""
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
                    "This server verifies nobody: its client chose the user of this run.", hint=TRUST
                ) from None
            raise


def _verified(run: RunInfo) -> User | None:
    """The server's user; None where there is none, or only an API key's identity, which is no user's."""
    if not run.is_verified:  # as nearly always: an error made and thrown away is half of the cost
        return None
    try:
        verified = run.server_user
    except (UserRequired, PolicyDenied):
        return None
    return _named_by_server(verified)


def _named_by_server(verified: Any) -> User:
    return User.named(field(verified, "identity"), by=SERVER)


def _claims(run: RunInfo) -> dict[str, User]:
    """Which user and tenant each channel names, empty where it names none."""
    claims = {"context": _claim("context", run.context), "configurable": _claim("configurable", run.configurable)}
    if run.is_scheduled:  # whoever writes a cron's id into their run stays who they are
        claims[SERVER_USER] = User.named(run.server_id, by=SERVER)
    elif verified := _verified(run):
        claims[SERVER_USER] = verified
    elif run.is_verified and run.configurable.get("user_id") == run.server_id:
        claims["configurable"] = replace(claims["configurable"], id="")  # the server wrote the API key's id there
    return claims


def _claim(where: str, said: Any) -> User:
    return User.named(field(said, "user_id"), field(said, "tenant_id"), by=f"The run's {where}")


def field(holder: Any, name: str) -> Any:
    """A field of an object or a mapping, None where it has none."""
    if type(holder) is dict or isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _is_api_key(user: Any) -> bool:
    """LangSmith's identity of an API key or of Studio, as the object or as what was serialized of it."""
    return any(kind.__name__ == "StudioUser" for kind in type(user).__mro__) or field(user, "kind") == "StudioUser"
