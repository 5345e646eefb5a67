"""The foreign MCP servers of one deputy: their listed and pinned tools, their toolkits, and their status.

A server's provider and app are created on first use. Its toolkit is available at once, from the pins in the vault.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from deputize.core.acts.audit_record import AuditedCall, CallRow
from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.execute import Executor
from deputize.core.acts.missing_scopes import Asking
from deputize.core.acts.operator_notes import OperatorNotes
from deputize.core.errors import InvalidInput, SettingsError, instead
from deputize.core.http import Transport
from deputize.core.http.address_guard import Resolve
from deputize.core.mcp_client.authorization import API, KnownServers
from deputize.core.mcp_client.client_registration import registered_until
from deputize.core.mcp_client.definitions import clean_text, digest_of
from deputize.core.mcp_client.lazy_provider import LateServer
from deputize.core.mcp_client.pins import Pin, Pins, effect_of
from deputize.core.mcp_client.protocol import Link, Refused
from deputize.core.mcp_client.schemas import load
from deputize.core.mcp_client.server_config import ForeignEffect, McpServer
from deputize.core.mcp_client.session_cache import Links, changed_place
from deputize.core.mcp_client.tools import foreign_toolkit, reason_left_out
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act, Call
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.required_scopes import any_of
from deputize.core.tools.steps import Steps
from deputize.core.tools.tool import Arguments, Effect, Run, Tool
from deputize.core.tools.toolkit import Toolkit
from deputize.core.value_object import Frozen, ValueObject, frozen
from deputize.core.vault.grant import AnyUser, User
from deputize.core.vault.rollback import all_grants
from deputize.core.vault.vault import Vault


@dataclass(frozen=True, eq=False, kw_only=True)
class _Lister(Tool):
    """The listing of an MCP server's tools as a tool of deputize, authorized and audited like any act."""

    server: McpServer

    def begin(self, arguments: Arguments, run: Callable[[], Run]) -> Steps:
        return self.steps(self.server)


def _list_tools(server: McpServer) -> Steps:
    link = Link(server)
    try:
        yield from link.open()
        found = yield from link.tools()
    except Refused as refused:
        raise InvalidInput(
            f"{server.host} does not list its tools ({refused.code}): {clean_text(refused.message, 200)}"
        ) from None
    return {"era": link.version, "tools": found.tools}


@frozen
class Listing(Frozen):
    """Reads the tools that a server lists for one user now, pinned or not: as that user, and audited like any act.

    For the operator, who checks definitions before anybody may call them. No list of tools contains this tool. It needs
    the scopes that the settings name for tools, because servers made with FastMCP hide tools from users who lack a
    scope.
    """

    services: Services
    authorizer: Authorizer
    executor: Executor
    asking: Asking

    async def of(self, server: McpServer, user: User, call: Call | None = None) -> dict[str, Any]:
        """Return ``{era, tools}``. Raises `ConsentRequired` if the user has not signed in there yet. Raises `Declined`
        if the user declined: in this ``call``, or without a call, recently."""
        await self.services.registry.arrive(server.name)
        act = Act(
            user=user,
            tool=_lister(server),
            arguments={},
            effect=Effect.READS,
            call=Call.of(call),
            agent=self.services.agent,
            app=server.name,
            provider=server.name,
            nonce=secrets.token_hex(16),
            provider_base=server.name,
        )
        row = CallRow.start(act.tool.name, user, act.call, act.agent)
        async with AuditedCall(self.services.audit, self.asking, row):
            row.record_act(act, act.tool.name, "")
            grant = await self.authorizer.authorize_without_asking(act, row)
            found: dict[str, Any] = await self.executor.execute(act, grant, row)
            return found


def _lister(server: McpServer) -> Tool:
    needs = dict.fromkeys(scope for one in server.tools.values() for scope in one.needs)
    return _Lister(
        name=f"{server.name}_list_definitions",
        toolkit=server.name,
        provider=server.name,
        api=API,
        description="The tools that the server lists for this user.",
        model=None,
        parameters={},
        steps=_list_tools,
        needs=[any_of(scope) for scope in needs],
        effects=Effect.READS,
        gravest=Effect.READS,
        takes_run=False,
        server=server,
    )


@frozen
class ListedTool(ValueObject):
    """A tool as its server lists it now, with its pin; see `McpServers.look`.

    ``state``: ``gone`` if it is pinned but not listed; ``left out`` if it cannot be offered, for the reason in ``why``.
    """

    name: str
    state: Literal["pinned", "new", "changed", "gone", "left out"]
    now: Mapping[str, Any] | None
    pin: Pin | None
    why: str = ""


class McpServers:
    """The foreign servers. ``late``: creates the provider of a server on first use."""

    def __init__(
        self, services: Services, catalog: Catalog, listing: Listing, late: Callable[[McpServer], LateServer]
    ) -> None:
        self.services, self.catalog, self.listing, self.late = services, catalog, listing, late
        self.pins = Pins(services.vault, services.clock)
        self.known: dict[str, McpServer] = {}
        self._links: dict[str, Links] = {}

    async def add(self, server: McpServer | str, url: str = "") -> Toolkit:
        """Add a server and return the toolkit of its pinned tools. The server gets no request before its first act.

        Raises `SettingsError` for a name that is taken, and for invalid settings of a tool.
        """
        server = McpServer(server, url) if isinstance(server, str) else server
        if not isinstance(server, McpServer):
            raise TypeError(f"A server is a McpServer or its name, not a value of type {type(server).__name__}.")
        made = foreign_toolkit(server, await self.pins.of(server.name), links := Links(server))
        if server.name in self.known and self.known[server.name].url != server.url:
            raise SettingsError(f"Two MCP servers are called {server.name!r}.", hint="Give one of them another name.")
        await asyncio.to_thread(self._offer, made)
        if server.name not in self.known:
            try:
                self.services.registry.expect(server.name, self.late(server))
            except SettingsError:
                self.catalog.remove(server.name)
                raise
        self.known[server.name], self._links[server.name] = server, links
        return made

    def server(self, name: str) -> McpServer:
        """Return the server of this name. Raises `InvalidInput` if it was not added."""
        if name not in self.known:
            hint = instead(name, self.known) or "deputize mcp add NAME URL adds one."
            raise InvalidInput(f"No MCP server is called {name[:60]!r}.", hint=hint, fix_by="operator")
        return self.known[name]

    async def look(self, name: str, user: AnyUser, *, call: Call | None = None) -> list[ListedTool]:
        """Return the tools that the server lists for this user now, with their pins. ``call``: an id of this request; a
        new one asks a user again who declined an earlier one. Raises `ConsentRequired` before the user has signed in.
        """
        server, pins = self.server(name), await self.pins.of(name)
        said = await self.listing.of(server, User.of(user), call)
        found = {str(definition.get("name")): definition for definition in said["tools"]}
        looked = [_compare_with_pin(server, definition, pins.get(tool)) for tool, definition in found.items()]
        changed = {one.name: digest_of(one.now) for one in looked if one.state == "changed" and one.now is not None}
        await OperatorNotes(self.services.vault).write(changed_place(name), {"changed": changed} if changed else {})
        return looked + [ListedTool(tool, "gone", None, pin) for tool, pin in pins.items() if tool not in found]

    async def pin(
        self, name: str, looked: Iterable[ListedTool], *, by: str, effects: Mapping[str, ForeignEffect] | None = None
    ) -> Toolkit:
        """Pin these definitions, except those that cannot be offered, and return the server's toolkit."""
        server, looked = self.server(name), list(looked)
        if not all(isinstance(one, ListedTool) for one in looked):
            raise TypeError("Tools are pinned as look() returns them.")
        good = [one.now for one in looked if one.now is not None and one.state != "left out"]
        await self.pins.put(name, good, by=by, effects=effects)
        return await self._offer_pinned(server)

    async def unpin(self, name: str, tools: Iterable[str]) -> Toolkit:
        """Stop offering these tools of a server, and return its toolkit."""
        await self.pins.drop(name, tools)
        return await self._offer_pinned(self.server(name))

    async def reset_trust(self, name: str) -> None:
        """Trust the server's present authorization server and endpoints instead of the stored ones.

        The stored ones are deleted, and read again at the next act there.
        """
        await KnownServers(self.services.vault).forget(self.server(name))
        self.services.registry.forget(name, expected=True)

    async def remove(self, name: str) -> None:
        """Remove a server: its pins, toolkit and stored authorization. Users must end their grants there first."""
        await self.reset_trust(name)
        await self.pins.drop(name)
        await OperatorNotes(self.services.vault).write(changed_place(name), {})
        self.services.registry.forget(name, expected=False)
        self.catalog.remove(name)
        del self.known[name], self._links[name]

    async def _offer_pinned(self, server: McpServer) -> Toolkit:
        made = foreign_toolkit(server, await self.pins.of(server.name), self._links[server.name])
        await asyncio.to_thread(self._offer, made)
        return made

    def _offer(self, made: Toolkit) -> None:
        """Add a toolkit to the catalog. Blocks: reads packages, and loads the validator of arguments."""
        if made.tools:
            load()
        self.catalog.add(made)

    async def effects(self, name: str) -> dict[str, ForeignEffect]:
        """Return the effect of each pinned tool of a server."""
        server = self.server(name)
        return {tool: effect_of(server, pin) for tool, pin in (await self.pins.of(name)).items()}


def servers_of(
    services: Services,
    catalog: Catalog,
    authorizer: Authorizer,
    executor: Executor,
    asking: Asking,
    transport: Transport | None,
    resolve: Resolve,
) -> McpServers:
    """Return the servers of a deputy that has these parts."""
    listing = Listing(services, authorizer, executor, asking)
    return McpServers(services, catalog, listing, lambda server: LateServer(server, services, transport, resolve))


def _compare_with_pin(server: McpServer, now: Mapping[str, Any], pin: Pin | None) -> ListedTool:
    name = str(now.get("name"))
    if reason := reason_left_out(server, now):
        return ListedTool(name[:128], "left out", now, pin, reason)
    if pin is None:
        return ListedTool(name, "new", now, None)
    return ListedTool(name, "pinned" if pin.digest == digest_of(now) else "changed", now, pin)


@frozen
class Standing(ValueObject):
    """The status of one server. ``pinned``: number of its pinned tools. ``changed``: tools whose definition was found
    changed. ``users``: number of connected users. ``secret_ends``: when the registration's client secret expires, Unix
    seconds, 0 for never."""

    server: McpServer
    pinned: int
    changed: tuple[str, ...]
    users: int
    secret_ends: float


async def server_status(vault: Vault, servers: Iterable[McpServer]) -> list[Standing]:
    """Return the status of each server. Raises `VaultError` if a record cannot be decrypted."""
    servers = list(servers)
    users: dict[str, set[User]] = {server.name: set() for server in servers}
    await vault.ended.refresh(fresh=True)
    async for grant in all_grants(vault):
        if grant.provider in users and grant.status == "active" and not vault.has_ended(grant):
            users[grant.provider].add(grant.user)
    return [await _status_of(vault, server, len(users[server.name])) for server in servers]


async def _status_of(vault: Vault, server: McpServer, users: int) -> Standing:
    pins = await Pins(vault, lambda: 0.0).of(server.name)
    seen: dict[str, str] = (await OperatorNotes(vault).read(changed_place(server.name))).get("changed", {})
    changed = tuple(sorted(name for name, digest in seen.items() if name in pins and pins[name].digest != digest))
    return Standing(server, len(pins), changed, users, await registered_until(server, vault))
