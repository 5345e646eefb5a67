"""How foreign servers stand, by what the vault knows of them: for `deputize mcp list` and `deputize doctor`."""

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
    """One server. ``pinned``: how many of its tools are; ``changed``: those that acts or looks have found in another
    form than the one that was pinned; ``users``: how many are connected; ``secret_ends``: when the client secret of our
    registration does, Unix seconds, 0 for never."""

    server: McpServer
    pinned: int
    changed: tuple[str, ...]
    users: int
    secret_ends: float


async def server_status(vault: Vault, servers: Iterable[McpServer]) -> list[Standing]:
    """Each of these servers. Raises `VaultError` where a record does not open."""
    servers = list(servers)
    users: dict[str, set[User]] = {one.name: set() for one in servers}
    await vault.ended.look(fresh=True)
    async for grant in all_grants(vault):
        if grant.provider in users and grant.status == "active" and not vault.has_ended(grant):
            users[grant.provider].add(grant.user)
    return [await _of(vault, one, len(users[one.name])) for one in servers]


async def _of(vault: Vault, server: McpServer, users: int) -> Standing:
    pins = await Pins(vault, lambda: 0.0).of(server.name)
    seen: dict[str, str] = (await OperatorNotes(vault).read(changed_place(server.name))).get("changed", {})
    changed = tuple(sorted(name for name, digest in seen.items() if name in pins and pins[name].digest != digest))
    return Standing(server, len(pins), changed, users, await registered_until(server, vault))
