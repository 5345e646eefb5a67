"""The server: lists tools, and acts as the user who calls."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, Final

import mcp_types as types
from mcp.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from starlette.types import ASGIApp

from deputize.adapters.argument_checks import check_list, chosen
from deputize.adapters.mcp.elicitation import Context, OpenPage
from deputize.adapters.mcp.http import UNAUTHORIZED, UserOf, mcp_app, user_in
from deputize.adapters.mcp.results import INSTRUCTIONS, defined, failed
from deputize.adapters.mcp.search import CALL_TOOL, SEARCH_TOOLS, Search
from deputize.adapters.mcp.stdio import serve_stdio
from deputize.adapters.mcp.tool_call import Outcome, Performing
from deputize.core import DeputizeError, DeputyProtocol, InvalidInput, Tool, User, system_prompt

__all__ = ["DeputyServer"]

NAME: Final = "deputize"
LISTED_FOR: Final = 60_000
"""Milliseconds that a client may keep a list of tools for: they change when a host is started anew."""

STATE_LIFE: Final = 3600.0
"""Seconds that a client may take to hand back what it was given with a question: as long as an approval waits."""

log = logging.getLogger(__name__)


class DeputyServer:
    """These tools of a deputy, for any MCP client. Each call is an act of the user who makes it.

    ``tools``: names of toolkits, toolsets and tools, as `Deputy.tools` takes them; without any, all there are.
    ``search``: list two tools that find and call these, for hundreds of them. ``agent``: shown to users and written in
    the audit, as the program that acts; the deputy's own without one. ``app``: through which app all of them act, as of
    `Deputy.act`. ``read_only``: only tools that never change
    anything. ``forms``: whether a user may approve in a form that the client shows; else on our pages only.
    ``open_page``: opens the page of a question before a user whose client shows none, on their own machine.
    """

    def __init__(
        self,
        deputy: DeputyProtocol,
        tools: Iterable[str] = (),
        *,
        search: bool = False,
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        forms: bool = True,
        open_page: OpenPage | None = None,
    ) -> None:
        self.deputy = deputy
        check_list("tools", tools)
        found = chosen(deputy, tools, read_only=read_only, app=app)
        self.tools: dict[str, Tool] = {tool.name: tool for tool in sorted(found, key=lambda tool: tool.name)}
        self._search = Search(self.tools.values()) if search else None
        self._listed = self._search.listed if self._search else [defined(tool) for tool in self.tools.values()]
        self._schemas = {tool.name: tool.input_schema for tool in self._listed}
        self.performing = Performing(deputy, agent, forms, open_page, app=app)

    async def stdio(self, user: User | str) -> None:
        """Serve this process's stdin and stdout to one client, as this user, until the client closes them.

        Raises `UserRequired` for nobody.
        """
        bound = User.of(user)
        await serve_stdio(self.sdk_server(lambda ctx: bound))
        await self.performing.finish()

    def app(
        self,
        user_of: UserOf,
        *,
        path: str = "/mcp",
        hosts: Iterable[str] = (),
        unauthorized: ASGIApp = UNAUTHORIZED,
    ) -> ASGIApp:
        """An ASGI app that serves streamable HTTP at ``path``, to be run by itself or mounted in another.

        ``user_of``: who makes a request, from its ASGI scope, sync or async; None is answered by ``unauthorized``, a
        401. ``hosts``: the names that it is reached by beside loopback's, as ``["mcp.acme.example"]``.
        """
        server = self.sdk_server(lambda ctx: User.of(user_in(ctx.request)))
        return mcp_app(
            server,
            user_of,
            path=path,
            hosts=hosts,
            unauthorized=unauthorized,
            finish=self.performing.finish,
            key=self.deputy.derive_key("mcp session"),
            takes=self.performing.takes,
        )

    def sdk_server(self, acting: Callable[[Context], User]) -> Server[Any]:
        """The SDK's server, for any transport. ``acting`` says whose a request is, or raises `UserRequired`."""

        async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            acting(ctx)
            return types.ListToolsResult(tools=self._listed, ttl_ms=LISTED_FOR, cache_scope="private")

        async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
            try:
                return await self._called(ctx, acting(ctx), params)
            except MCPError:
                raise
            except DeputizeError as error:
                return failed(error)
            except Exception as error:
                log.warning("A tool failed: %s", type(error).__name__)
                return failed(DeputizeError("The tool failed."))

        server: Server[Any] = Server(
            NAME,
            version=version("deputize"),
            instructions=f"{INSTRUCTIONS} {system_prompt()}",
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            get_tool_input_schema=self._schemas.get,
        )
        server.middleware.append(self._sealing(acting))
        return server

    def _sealing(self, acting: Callable[[Context], User]) -> RequestStateBoundary:
        """Seals what clients hand back, for its user, tool and arguments: to anybody else, or altered, it is -32602."""

        def principal(ctx: Context) -> str:
            user = acting(ctx)
            return json.dumps([user.tenant, user.id])

        key = self.deputy.derive_key("mcp request state").reveal()
        security = RequestStateSecurity(keys=[key], ttl=STATE_LIFE, bind_principal=principal)
        return RequestStateBoundary(security, default_audience=NAME)

    async def _called(self, ctx: Context, user: User, params: types.CallToolRequestParams) -> Outcome:
        name: str = params.name
        arguments: Mapping[str, Any] = params.arguments or {}
        if self._search and name == SEARCH_TOOLS:
            return self._search.found(arguments)
        if self._search and name == CALL_TOOL:
            name, arguments = self._search.meant(arguments)
        if name not in self.tools:
            near = get_close_matches(name[:100], self.tools, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "The list of tools has those that there are."
            raise InvalidInput(f"No tool is called {name[:100]!r} here.", hint=hint)
        return await self.performing.call(ctx, user, name, arguments, params)
