"""MCP: toolkits for any client of the Model Context Protocol, over stdio or streamable HTTP.

    from deputize.adapters.mcp import DeputyServer

    server = DeputyServer(deputy, tools=["gmail", "slack"])
    await server.stdio("alice")                      # one process, one user, bound at start
    app = server.app(user_of)                        # an ASGI app at /mcp; user_of(scope) says who calls, or None

Speaks the protocol of 2026-07-28 and those before it, from one object. What a call lacks is asked in the way that the
client has declared on this very request: see `elicitation`.

Who is believed for what: over HTTP the user is whoever ``user_of`` says, which sees the ASGI scope and no arguments; on
stdio it is whoever the process was started for. What a client says of itself, its name and what it can show, decides
only how it is asked. That a user "accepted" is a wake-up: the vault is asked. A decision in the client's own form is
the user's, since the client is what the user talks to; ``forms=False`` takes decisions on our pages only.
"""

from deputize.core import SettingsError

try:
    from deputize.adapters.mcp.http import UserOf
    from deputize.adapters.mcp.server import DeputyServer
except ImportError as missing:
    raise SettingsError.without(missing, "mcp") from None

__all__ = ["DeputyServer", "UserOf"]
