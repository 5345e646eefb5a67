"""An MCP server as a provider that is created on first use, for `Registry.expect`."""

from __future__ import annotations

from deputize.core.errors import SettingsError
from deputize.core.http import Transport
from deputize.core.http.address_guard import Resolve, addresses_of
from deputize.core.mcp_client.account_tool import account_of
from deputize.core.mcp_client.authorization import KnownServers
from deputize.core.mcp_client.client_registration import client_again, client_of, known_client
from deputize.core.mcp_client.discovery import discover_server
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.oauth.credential import KEY_APP
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.shared_services import Services
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Account, Secret


@frozen
class LateServer(Frozen):
    """One MCP server. ``transport`` replaces the network, ``resolve`` the look-up of host names."""

    server: McpServer
    services: Services
    transport: Transport | None = None
    resolve: Resolve = addresses_of

    async def make(self) -> tuple[Provider, App]:
        """Return the provider from the server's metadata, and the app. Raises as `discover_server` and `client_of`."""
        vault = self.services.vault
        if self.server.credential:
            row = await discover_server(self.server, transport=self.transport, resolve=self.resolve)
            return row, App(self.server.name, KEY_APP, self.server.client_secret, self.server.name)
        row = await self._discover(KnownServers(vault))
        likely = self._callback(self.services.home or "http://127.0.0.1")  # avoids serving pages for a read
        app = await known_client(self.server, row, vault=vault, redirect=likely)
        return row, app or await client_of(
            self.server, row, vault=vault, redirect=await self._redirect(), http=self.services.http
        )

    async def _discover(self, known: KnownServers) -> Provider:
        """Return the provider. If a new server is refused, its stored authorization is deleted again."""
        new = await known.read(self.server) is None
        row = await discover_server(self.server, transport=self.transport, resolve=self.resolve, known=known)
        try:
            check_addresses(row, self.services.providers.values())
            if new and not (self.server.issuer or self.server.client_id):
                await self._check_not_anothers(row, known)
        except SettingsError:
            if new:
                await known.forget(self.server)
            raise
        return row

    async def _check_not_anothers(self, row: Provider, known: KnownServers) -> None:
        """Raise `SettingsError` for a server that declares another server's authorization server as its own.

        If the authorization server ignores ``resource`` (RFC 8707), users who sign in for this server would give it a
        token for the other server. Only the operator knows if both servers belong together.
        """
        others = [other for other in self.services.providers.values() if other.apis.hosts != row.apis.hosts]
        there = {other.name: other.oauth.issuer for other in others}
        for other in self.services.registry.late.values():
            if isinstance(other, LateServer) and other.server.origin != self.server.origin:
                said = await known.read(other.server)
                there[other.server.name] = said.issuer if said else ""
        for name, issuer in there.items():
            if issuer == row.oauth.issuer:
                raise SettingsError(
                    f"The MCP server {self.server.name} ({self.server.host}) names the authorization server of {name}: "
                    f"{issuer}",
                    hint=f"A token from there may be good for {name}, too, and would go to {self.server.host}. If both "
                    f'belong together, say so: issuer = "{issuer}" in [mcp.{self.server.name}].',
                )

    async def renew(self, app: App) -> App | None:
        """Return a new registration if the server no longer knows the old one: see `client_again`."""
        row = self.services.providers[self.server.name]
        return await client_again(
            self.server,
            row,
            app,
            vault=self.services.vault,
            redirect=await self._redirect(),
            http=self.services.http,
        )

    async def account_of(self, access: Secret) -> Account | None:
        """Return the account from the tool that the operator has named, or None without one; see `account_of`."""
        if self.server.identity is None:
            return None
        row = self.services.providers[self.server.name]
        return await account_of(self.server, row, self.server.identity, access, self.services.http, self.services.clock)

    async def _redirect(self) -> str:
        return self._callback(await self.services.pages.base_url())

    def _callback(self, base_url: str) -> str:
        return f"{base_url}/callback/{self.server.name}"
