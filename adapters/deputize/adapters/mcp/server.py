"""The MCP server: it lists tools, and acts as the user who calls."""

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

from deputize.adapters.argument_checks import check_list, select_tools
from deputize.adapters.mcp.elicitation import Context, OpenPage
from deputize.adapters.mcp.http import UNAUTHORIZED, UserOf, mcp_app, user_in
from deputize.adapters.mcp.results import INSTRUCTIONS, FileLinks, error_result, tool_definition
from deputize.adapters.mcp.search import CALL_TOOL, SEARCH_TOOLS, Search
from deputize.adapters.mcp.stdio import serve_stdio
from deputize.adapters.mcp.tool_call import Outcome, Performing
from deputize.core import DeputizeError, DeputyProtocol, InvalidInput, NotFound, Tool, User, system_prompt

__all__ = ["DeputyServer"]

NAME: Final = "deputize"
TOOL_LIST_TTL_MS: Final = 60_000
"""Milliseconds that a client may cache the list of tools, which changes only at a restart."""

STATE_TTL: Final = 3600.0
"""Seconds that a client may take to return a question's state: as long as an approval waits."""

log = logging.getLogger(__name__)


class DeputyServer:
    """The tools of these toolkits as an MCP server. Each call is an act of the user who makes it.

    ``tools``: names of toolkits, toolsets or tools, as in `Deputy.tools`; all tools by default. ``search``: list two
    tools that find and call these, for hundreds of them. ``agent``: name of the acting program, for users and the
    audit; the deputy's by default. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be
    of its provider. ``read_only``: only tools that never change anything. ``forms``: True if a user may approve in a
    client's form, False for deputize's pages only. ``open_page``: opens a question's page on the user's own machine, if
    the client displays no links.
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
        found = select_tools(deputy, tools, read_only=read_only, app=app)
        self.tools: dict[str, Tool] = {tool.name: tool for tool in sorted(found, key=lambda tool: tool.name)}
        self._search = Search(self.tools.values()) if search else None
        self._listed = self._search.listed if self._search else [tool_definition(tool) for tool in self.tools.values()]
        self._schemas = {tool.name: tool.input_schema for tool in self._listed}
        self.performing = Performing(deputy, self.tools, agent, forms, open_page, app=app)

    async def stdio(self, user: User | str) -> None:
        """Serve this process's stdin and stdout to one client, as this user, until the client closes them.

        Raises `UserRequired` without a user.
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
        """Return an ASGI app that serves streamable HTTP at ``path``, to run alone or to mount.

        ``user_of``: sync or async function from the ASGI scope to the caller. ``unauthorized``: answers if that is
        None, with a 401. ``hosts``: allowed host names besides loopback's, such as ``["mcp.acme.example"]``.
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
        """Return the SDK's server, for any transport. ``acting`` returns a request's user, or raises `UserRequired`."""

        async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            acting(ctx)
            return types.ListToolsResult(tools=self._listed, ttl_ms=TOOL_LIST_TTL_MS, cache_scope="private")

        async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
            try:
                return await self._called(ctx, acting(ctx), params)
            except MCPError:
                raise
            except DeputizeError as error:
                return error_result(error)
            except Exception as error:
                log.warning("A tool failed: %s", type(error).__name__)
                return error_result(DeputizeError("The tool failed."))

        async def list_resources(
            ctx: Context, params: types.PaginatedRequestParams | None
        ) -> types.ListResourcesResult:
            acting(ctx)
            return types.ListResourcesResult(resources=[], ttl_ms=TOOL_LIST_TTL_MS, cache_scope="private")

        async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
            """Return a file that a result has linked to."""
            try:
                return await FileLinks(self.deputy, acting(ctx)).read(str(params.uri))
            except NotFound as error:
                raise MCPError(types.INVALID_PARAMS, str(error)) from None

        server: Server[Any] = Server(
            NAME,
            version=version("deputize"),
            instructions=f"{INSTRUCTIONS} {system_prompt()}",
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            on_list_resources=list_resources,
            on_read_resource=read_resource,
            get_tool_input_schema=self._schemas.get,
        )
        server.middleware.append(self._sealing(acting))
        return server

    def _sealing(self, acting: Callable[[Context], User]) -> RequestStateBoundary:
        """Return the boundary that encrypts a client's state for its user, tool and arguments. Altered or foreign state
        is -32602."""

        def principal(ctx: Context) -> str:
            user = acting(ctx)
            return json.dumps([user.tenant, user.id])

        key = self.deputy.derive_key("mcp request state").reveal()
        security = RequestStateSecurity(keys=[key], ttl=STATE_TTL, bind_principal=principal)
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
            hint = f"Did you mean {' or '.join(near)}?" if near else "List the tools for the names that exist."
            raise InvalidInput(f"No tool is called {name[:100]!r} here.", hint=hint)
        return await self.performing.call(ctx, user, name, arguments, params)
