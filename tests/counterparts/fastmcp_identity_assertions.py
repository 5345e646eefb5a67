# mypy: ignore-errors
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
"""FastMCP as an API's authorization server, which takes ID-JAGs of one company: python THIS ISSUER JWKS_URI.

Prints its address when it is about to listen on a free port of 127.0.0.1; ends when stdin closes. Runs in an
environment of its own (`tests.support.counterparts.mcp_python`).
"""

import os
import socket
import sys
import threading

from fastmcp import FastMCP
from fastmcp.server.auth import IdentityAssertion, OAuthProxy
from fastmcp.server.auth.providers.debug import DebugTokenVerifier
from fastmcp.server.dependencies import get_access_token

issuer, jwks = sys.argv[1:]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
here = f"http://127.0.0.1:{port}"
mcp = FastMCP(
    "crm",
    auth=OAuthProxy(
        upstream_authorization_endpoint="https://nowhere.test/authorize",
        upstream_token_endpoint="https://nowhere.test/token",
        upstream_client_id="unused",
        upstream_client_secret="u" * 32,
        token_verifier=DebugTokenVerifier(),
        base_url=here,
        jwt_signing_key="s" * 32,
        identity_assertion=IdentityAssertion(trusted_issuers=[issuer], jwks_uris={issuer: jwks}),
    ),
)


@mcp.tool
def whoami() -> dict[str, object]:
    """Who is asking."""
    token = get_access_token()
    return {"client": token.client_id, "scopes": token.scopes, "sub": (token.claims or {}).get("sub")}


def end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
print(here, flush=True)
mcp.run(
    transport="http",
    host="127.0.0.1",
    port=port,
    show_banner=False,
    log_level="ERROR",
    json_response=True,
    stateless_http=True,
)
