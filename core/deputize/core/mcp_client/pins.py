"""Pinned definitions: a server's tools as the operator checked them, and the allowed effect of each.

A server may change a definition any time, for everybody or for one user, to turn a model against its user ("rug pull").
So a tool is offered with its pinned definition or not at all. Pins are encrypted in the vault, bound to their server's
name. At the start, toolkits are made from the pins, without network or user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.mcp_client.definitions import digest_of
from deputize.core.mcp_client.server_config import ForeignEffect, ForeignRepeat, McpServer, ToolOverride
from deputize.core.tools.tool import Effect
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.vault import Vault

KIND: Final = "mcp_pins"
EFFECTS: Final[Mapping[ForeignEffect, Effect]] = {
    "reads": Effect.READS,
    "writes": Effect.WRITES,
    "sends": Effect.SENDS,
    "destructive": Effect.DESTRUCTIVE,
}


@frozen
class Pin(ValueObject):
    """One tool as the operator checked it. ``effect``: the operator's setting, or "". ``at``: Unix seconds."""

    definition: Mapping[str, Any]
    effect: ForeignEffect | str = ""
    at: float = 0.0
    by: str = ""

    @property
    def name(self) -> str:
        """The tool's name at its server."""
        return str(self.definition["name"])

    @property
    def digest(self) -> str:
        """The digest that detects a changed definition."""
        return digest_of(self.definition)


def hints_of(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the server's hints about a tool's effect, which are not trusted."""
    hints = definition.get("annotations")
    return hints if isinstance(hints, dict) else {}


def effect_of(server: McpServer, pin: Pin) -> ForeignEffect:
    """Return a tool's effect: the operator's setting, else ``sends``. The server's hints may always make it graver, but
    less grave only if the operator trusts them."""
    said = server.tools.get(pin.name, ToolOverride()).effect or pin.effect
    hints = hints_of(pin.definition)
    for effect in EFFECTS:
        if said == effect:
            return effect
    if hints.get("readOnlyHint") is True:
        return "reads" if server.trust_hints else "sends"
    return "destructive" if hints.get("destructiveHint") is True else "sends"


def repeat_of(server: McpServer, pin: Pin, effect: ForeignEffect) -> ForeignRepeat:
    """Return the effect of a repeated request. Raises `SettingsError` if a tool that writes is set to ``read``."""
    said = server.tools.get(pin.name, ToolOverride()).repeat
    if effect == "reads":
        return "read"
    if said == "read":
        raise SettingsError(
            f"[mcp.{server.name}.tools.{pin.name}] repeat: read is for tools that only read, and this one {effect}.",
            hint='Set effect = "reads", or repeat = "idem" if a second call does nothing more.',
        )
    trusted = server.trust_hints and hints_of(pin.definition).get("idempotentHint") is True
    return said or ("idem" if trusted else "write")


class Pins:
    """The pins of all servers in one vault. ``clock`` returns Unix seconds."""

    def __init__(self, vault: Vault, clock: Callable[[], float]) -> None:
        self.vault, self.clock = vault, clock

    async def of(self, server: str) -> dict[str, Pin]:
        """Return the pins of a server by its own names of the tools."""
        record = await self.vault.get(KIND, server)
        return {one["definition"]["name"]: Pin(**one) for one in record.json["tools"]} if record else {}

    async def servers(self) -> list[str]:
        """Return the servers that have pins."""
        return [record.key for record in await self.vault.scan(KIND)]

    async def put(
        self,
        server: str,
        definitions: Iterable[Mapping[str, Any]],
        *,
        by: str,
        effects: Mapping[str, ForeignEffect] | None = None,
    ) -> None:
        """Pin these definitions, replacing those of the same name. An earlier setting of the effect stays."""
        definitions = list(definitions)
        while True:
            record = await self.vault.get(KIND, server)
            pins = {one["definition"]["name"]: one for one in record.json["tools"]} if record else {}
            for one in definitions:
                name = str(one["name"])
                effect = (effects or {}).get(name) or pins.get(name, {}).get("effect", "")
                pins[name] = {"definition": dict(one), "effect": effect, "at": self.clock(), "by": by}
            content = {"tools": list(pins.values())}
            made = self.vault.swap(record, content) if record else self.vault.insert(KIND, server, content)
            if await made:
                return

    async def drop(self, server: str, tools: Iterable[str] = ()) -> bool:
        """Delete the pins of these tools, or all of a server. Return True if there were any."""
        names = set(tools)
        while (record := await self.vault.get(KIND, server)) is not None:
            kept = [one for one in record.json["tools"] if names and one["definition"]["name"] not in names]
            if names and len(kept) == len(record.json["tools"]):
                return False
            done = self.vault.swap(record, {"tools": kept}) if kept else self.vault.delete(record)
            if await done:
                return True
        return False
