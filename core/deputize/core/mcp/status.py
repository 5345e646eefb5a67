"""Status of foreign servers from the vault, for `deputize mcp list` and `deputize doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from deputize.core.acts.operator_notes import OperatorNotes
from deputize.core.mcp.clients import registered_until
from deputize.core.mcp.pins import Pins
from deputize.core.mcp.server import McpServer
from deputize.core.mcp.session_cache import changed_place
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.rollback import all_grants
from deputize.core.vault.vault import Vault


@frozen
class Standing(ValueObject):
    """One server. ``pinned``: number of its pinned tools. ``changed``: those whose definition acts or looks have found
    changed. ``users``: number of connected users. ``secret_ends``: when our registration's client secret expires, Unix
    seconds, 0 for never."""

    server: McpServer
    pinned: int
    changed: tuple[str, ...]
    users: int
    secret_ends: float


async def server_status(vault: Vault, servers: Iterable[McpServer]) -> list[Standing]:
    """Return the status of each server. Raises `VaultError` if a record does not open."""
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
