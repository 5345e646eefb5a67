"""Calls that no id names: which of them are the same one, and when the next one is another.

Where a protocol gives a call no id that outlives one request (MCP), a client that is told to ask its user sends the
call again, from the beginning, and after a restart of either side, too. So what one user's client asks for with the
same tool and the same arguments is one call until its outcome was handed over; after that it is a new one. Which one it
is at the moment is a random name in the vault, so that every process knows it. Two equal calls at once are one act.

Of a call that only reads nothing is kept: read twice is no harm, and a yes to reading is taken by the first that reads.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from deputize.core.acts.resolve_call import CallResolver
from deputize.core.engine import Engine
from deputize.core.tools.act import Call
from deputize.core.tools.canonical import canonical
from deputize.core.tools.tool import Effect, Tool
from deputize.core.vault.grant import User

CALL_TTL: Final = 7200.0
"""Seconds that a call is waited for at the most; at least half of them from each time it was made: longer than a
question to the user counts."""


class Recognizing:
    """Gives calls their names."""

    def __init__(self, engine: Engine, resolver: CallResolver) -> None:
        self.vault, self.clock, self.resolver = engine.vault, engine.clock, resolver

    async def call(self, tool: str, arguments: Mapping[str, Any], user: User, thread: str, app: str) -> Call:
        """The call that this is. ``app``: the one that the host names.

        Raises `InvalidInput` for a tool or arguments that are wrong.
        """
        what = await self.resolver.tool(tool)
        if what.gravest is Effect.READS:
            return Call(thread)
        valid = what.validate(arguments)
        if what.effect_of(valid) is Effect.READS:
            return Call(thread)
        id = self._id(what, valid, thread, app)
        return Call(thread, await self._name(self.vault.key_prefix(user) + id), id)

    async def _name(self, key: str) -> str:
        """The call's name now, or a new one."""
        while True:
            record, now = await self.vault.get("call", key), self.clock()
            left = record.json["expires"] - now if record else 0.0
            if record and left > CALL_TTL / 2:
                return str(record.json["name"])
            name = record.json["name"] if record and left > 0 else secrets.token_hex(16)
            content = {"name": name, "expires": now + CALL_TTL}
            if await (self.vault.swap(record, content) if record else self.vault.insert("call", key, content)):
                return str(name)

    async def conclude(self, call: Call, user: User) -> None:
        """Its outcome was handed over: the next that looks the same is another call."""
        record = await self.vault.get("call", self.vault.key_prefix(user) + call.id) if call.has_id else None
        if record and record.json["name"] == call.message:
            await self.vault.delete(record)

    def _id(self, tool: Tool, valid: Mapping[str, Any], thread: str, app: str) -> str:
        """Under the vault's key: what is asked for is not to be guessed from it."""
        same = json.dumps([thread, tool.name, canonical(tool, valid), *filter(None, [app])]).encode()
        return hmac.digest(self.vault.keys.index, b"call" + same, "sha256").hex()[:32]
