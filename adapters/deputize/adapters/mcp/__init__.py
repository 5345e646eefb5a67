"""MCP adapter: toolkits for any client of the Model Context Protocol, over stdio or streamable HTTP.

    from deputize.adapters.mcp import DeputyServer

    server = DeputyServer(deputy, tools=["gmail", "slack"])
    await server.stdio("alice")                      # one process, one user, bound at start
    app = server.app(user_of)                        # an ASGI app at /mcp; user_of(scope) returns the caller, or None

One server speaks the protocol of 2026-07-28 and the older ones. A call asks its user in the way that the client
declared on this request: see `elicitation`.

Trust: over HTTP, ``user_of`` names the user from the ASGI scope, without the arguments. On stdio, the user is bound at
start. A client's declared name and abilities only decide how the user is asked. An "accepted" question is only a
signal: deputize reads the vault again. A decision in the client's own form counts as the user's, because the user talks
to the client. With ``forms=False``, only deputize's pages accept decisions.
"""

from deputize.core import SettingsError

try:
    from deputize.adapters.mcp.http import UserOf
    from deputize.adapters.mcp.server import DeputyServer
except ImportError as missing:
    raise SettingsError.without(missing, "mcp") from None

__all__ = ["DeputyServer", "UserOf"]
