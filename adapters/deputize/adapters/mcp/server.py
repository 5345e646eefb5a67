"""The server: lists tools, and acts as the user who calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from starlette.types import ASGIApp

from deputize.adapters.mcp.http import UNAUTHORIZED, UserOf, mcp_app, user_in
from deputize.adapters.mcp.results import INSTRUCTIONS, defined, failed, given
from deputize.adapters.mcp.stdio import serve_stdio
from deputize.core import Acting, DeputizeError, Tool, User, system_prompt

__all__ = ["DeputyServer"]

Context: TypeAlias = ServerRequestContext[Any, Any]

NAME: Final = "deputize"
LISTED_FOR: Final = 60_000
"""Milliseconds that a client may keep a list of tools for: they change when a host is started anew."""

log = logging.getLogger(__name__)


class DeputyServer:
    """These tools of a deputy, for any MCP client. Each call is an act of the user who makes it.

    ``tools``: names of toolkits, toolsets and tools, as `Deputy.tools` takes them; without any, all there are.
    ``search``: list two tools that find and call the others, for hundreds of them. ``agent``: shown to users and
    written in the audit, as the program that acts; the deputy's own without one.
    """

    def __init__(
        self,
        deputy: Acting,
        tools: Iterable[str] = (),
        *,
        search: bool = False,
        agent: str = "",
        read_only: bool = False,
    ) -> None:
        self.deputy, self.agent, self.search = deputy, agent, search
        found = deputy.tools(*tools, read_only=read_only)
        self.tools: dict[str, Tool] = {tool.name: tool for tool in sorted(found, key=lambda tool: tool.name)}
        self._listed = [defined(tool) for tool in self.tools.values()]

    async def stdio(self, user: User | str) -> None:
        """Serve this process's stdin and stdout to one client, as this user, until the client closes them.

        Raises `UserRequired` for nobody.
        """
        bound = User.of(user)
        await serve_stdio(self._server(lambda ctx: bound))

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
        server = self._server(lambda ctx: User.of(user_in(ctx.request)))
        return mcp_app(server, user_of, path=path, hosts=hosts, unauthorized=unauthorized)

    def _server(self, acting: Callable[[Context], User]) -> Server[Any]:
        """The SDK's server. ``acting``: the user of a request; raises `UserRequired` for nobody's."""

        async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            acting(ctx)
            return types.ListToolsResult(tools=self._listed, ttl_ms=LISTED_FOR, cache_scope="private")

        async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
            try:
                return await self._called(acting(ctx), params)
            except DeputizeError as error:
                return failed(error)
            except Exception as error:
                log.warning("%s failed: %s", params.name, type(error).__name__)
                return failed(DeputizeError("The tool failed."))

        return Server(
            NAME,
            version=version("deputize"),
            instructions=f"{INSTRUCTIONS} {system_prompt()}",
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )

    async def _called(self, user: User, params: types.CallToolRequestParams) -> types.CallToolResult:
        result = await self.deputy.act(params.name, params.arguments or {}, user=user, agent=self.agent)
        return given(result)
