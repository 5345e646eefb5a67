"""An MCP server as a provider that comes when it is needed: to be given to `Registry.expect`."""

from __future__ import annotations

from dataclasses import dataclass

from deputize.core.engine import Engine
from deputize.core.http import Transport
from deputize.core.mcp.account_tool import account_of
from deputize.core.mcp.authorization import KnownServers
from deputize.core.mcp.clients import client_again, client_of, known_client
from deputize.core.mcp.found import found
from deputize.core.mcp.server import McpServer
from deputize.core.oauth.address_guard import Resolve, addresses_of
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.vault.grant import Account, Secret


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LateServer:
    """One server. ``transport`` replaces the network, ``resolve`` the look-up of names."""

    server: McpServer
    engine: Engine
    transport: Transport | None = None
    resolve: Resolve = addresses_of

    async def make(self) -> tuple[Provider, App]:
        """The provider as its server shows it, and the app there. Raises as `found` and `client_of` do."""
        vault = self.engine.vault
        row = await found(self.server, transport=self.transport, resolve=self.resolve, known=KnownServers(vault))
        check_addresses(row, self.engine.providers.values())
        likely = self._callback(self.engine.home or "http://127.0.0.1")  # so that no page is served for a mere read
        app = await known_client(self.server, row, vault=vault, redirect=likely)
        return row, app or await client_of(
            self.server, row, vault=vault, redirect=await self._redirect(), http=self.engine.http
        )

    async def renew(self, app: App) -> App | None:
        """A registration in place of one that the server knows no more: see `client_again`."""
        row = self.engine.providers[self.server.name]
        return await client_again(
            self.server,
            row,
            app,
            vault=self.engine.vault,
            redirect=await self._redirect(),
            http=self.engine.http,
        )

    async def whose(self, access: Secret) -> Account | None:
        """As the tool says that the operator has named; see `account_of`."""
        if self.server.identity is None:
            return None
        row = self.engine.providers[self.server.name]
        return await account_of(self.server, row, self.server.identity, access, self.engine.http, self.engine.clock)

    async def _redirect(self) -> str:
        return self._callback(await self.engine.pages.base_url())

    def _callback(self, base_url: str) -> str:
        return f"{base_url}/callback/{self.server.name}"
