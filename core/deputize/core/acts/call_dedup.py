"""Recognition of repeated calls that have no id.

In MCP, a call has no id that outlives one request. If a client has to ask its user, it sends the whole call again, even
after a restart of either side. So equal calls of one user (same tool, same arguments) count as the same call until its
outcome was delivered. After that, an equal call is a new one. The vault stores a random name for the current call, so
that all processes give it the same id. Two equal calls at the same time are one act.

Nothing is stored for a call that only reads, because a second read does no harm.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from deputize.core.acts.resolve_call import CallResolver
from deputize.core.shared_services import Services
from deputize.core.tools.act import Call
from deputize.core.tools.canonical import canonical
from deputize.core.tools.tool import Effect, Tool
from deputize.core.vault.grant import User

CALL_TTL: Final = 7200.0
"""Seconds for which a repeat of a call is recognized; at least half of them after each repeat. Longer than an approval
is valid."""


class CallRecognizer:
    """Assignment of ids to calls that have none."""

    def __init__(self, services: Services, resolver: CallResolver) -> None:
        self.vault, self.clock, self.resolver = services.vault, services.clock, resolver

    async def call(self, tool: str, arguments: Mapping[str, Any], user: User, thread: str, app: str) -> Call:
        """Return the `Call` for this request. ``app``: the app that your application chose, or "".

        Raises `InvalidInput` for an unknown tool or invalid arguments.
        """
        what = await self.resolver.tool(tool)
        if what.gravest is Effect.READS:
            return Call(thread)
        valid = what.validate(arguments)
        if what.effect_of(valid) is Effect.READS:
            return Call(thread)
        id = self._id(what, valid, thread, app)
        return Call(thread, await self._name(user, id), id)

    async def _name(self, user: User, id: str) -> str:
        """Return the stored name of the call. Stores a new random name if there is none."""
        key = self.vault.key_prefix(user) + id
        while True:
            record, now = await self.vault.get("call", key), self.clock()
            left = record.json["expires"] - now if record else 0.0
            if record and left > CALL_TTL / 2:
                return str(record.json["name"])
            name = record.json["name"] if record and left > 0 else secrets.token_hex(16)
            content = {"name": name, "expires": now + CALL_TTL}
            if record:
                done = await self.vault.swap(record, content)
            else:
                done = await self.vault.insert("call", key, content, await self.vault.data_keys.get(user.tenant))
            if done:
                return str(name)

    async def conclude(self, call: Call, user: User) -> None:
        """Record that the outcome was delivered, so that the next equal call is a new one."""
        record = await self.vault.get("call", self.vault.key_prefix(user) + call.id) if Call.of(call).has_id else None
        if record and record.json["name"] == call.message:
            await self.vault.delete(record)

    def _id(self, tool: Tool, valid: Mapping[str, Any], thread: str, app: str) -> str:
        """Return a digest of the call with the vault's key, so that nobody can guess the arguments from it."""
        same = json.dumps([thread, tool.name, canonical(tool, valid), *filter(None, [app])]).encode()
        return hmac.digest(self.vault.keys.index, b"call" + same, "sha256").hex()[:32]
