"""Findings about the foreign MCP servers of the settings: from the vault, and from their answers without a token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from deputize.cli.doctor_findings import Finding, bad
from deputize.cli.show import counted
from deputize.core import DeputizeError
from deputize.core.background_loop import portal
from deputize.core.errors import ProviderUnavailable

if TYPE_CHECKING:
    from deputize.core.mcp_client.remote_servers import Standing
    from deputize.core.mcp_client.server_config import McpServer
    from deputize.core.settings import Settings
    from deputize.core.vault.vault import Vault

SERVER_TIMEOUT_SECONDS: Final = 8.0
"""Seconds for a server to show its authorization server. All servers are asked at once."""
EXPIRY_WARNING_SECONDS: Final = 7 * 86400.0
"""Seconds before a client secret's expiry from which on it is reported."""


def foreign(settings: Settings, vault: Vault | None, *, reach: bool) -> Iterator[Finding]:
    """Yield a finding for each server, and one for each thing left to do there.

    ``reach``: also ask the servers, without a token, whether they answer and still name the same authorization server.
    """
    if not settings.mcp:
        return
    try:
        servers = settings.mcp_servers()
        found = portal().run(_stand(vault, servers)) if vault else []
    except DeputizeError as e:
        yield bad("MCP servers", e)
        return
    yield from portal().run(_reached(servers, vault)) if reach else ()
    for one in found:
        yield from _left(one)
    for server in () if vault else servers:
        yield _nothing_pinned(server)


async def _stand(vault: Vault, servers: list[McpServer]) -> list[Standing]:
    from deputize.core.mcp_client.remote_servers import server_status

    return await server_status(vault, servers)


async def _reached(servers: Iterable[McpServer], vault: Vault | None) -> list[Finding]:
    return list(await asyncio.gather(*(_one_reached(one, vault) for one in servers)))


async def _one_reached(server: McpServer, vault: Vault | None) -> Finding:
    from deputize.core.mcp_client.authorization import KnownServers
    from deputize.core.mcp_client.discovery import check

    what = f"MCP server {server.name}"
    try:
        async with asyncio.timeout(SERVER_TIMEOUT_SECONDS):
            before = await KnownServers(vault).read(server) if vault else None
            row = await check(server, before)
    except (TimeoutError, ProviderUnavailable):
        words = f"{server.host}, or who authorizes for it, does not answer"
        return Finding(what, "bad", words, "Check the network, the proxy and the firewall; its calls fail until then.")
    except DeputizeError as e:
        return bad(what, e)
    where = "it takes keys" if row.apis.credential else f"people sign in at {row.oauth.authorize_origin}"
    return Finding(what, "ok", f"{server.host} answers; {where}")


def _left(one: Standing) -> Iterator[Finding]:
    """Yield the work left to do for a server, by the vault's records."""
    name = one.server.name
    if not one.pinned:
        yield _nothing_pinned(one.server)
    if one.changed:
        words = f"{counted(len(one.changed), 'tool')} changed since somebody looked, and is refused: "
        todo = f"deputize mcp pin {name} shows what has changed, and asks whether to allow it."
        yield Finding(f"definitions of {name}", "open", words + ", ".join(one.changed)[:300], todo)
    if not one.users:
        yield Finding(f"users of {name}", "open", "nobody is connected", f"deputize connect {name}")
    if one.secret_ends and one.secret_ends < time.time() + EXPIRY_WARNING_SECONDS:
        at = f"{datetime.fromtimestamp(one.secret_ends, UTC):%Y-%m-%d %H:%M}Z"
        over = "ended" if one.secret_ends <= time.time() else "ends"
        words = f"the one that {one.server.host} gave us {over} at {at}"
        todo = (
            f"Then we register anew, and who is connected ({counted(one.users, 'user')}) is asked to connect again. To "
            f"avoid that, register an application there by hand: client_id in [mcp.{name}]."
        )
        yield Finding(f"client secret of {name}", "open", words, todo)


def _nothing_pinned(server: McpServer) -> Finding:
    todo = f"deputize mcp pin {server.name} shows its tools, and asks which to offer."
    return Finding(f"tools of {server.name}", "open", "none is pinned, so none is offered", todo)
