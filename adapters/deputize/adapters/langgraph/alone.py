"""One write alone, which is what most messages hold: its pause needs no graph inside.

The act node pauses in its own task, as a function of an application would, and acts there once the user has said yes.
What the graph inside keeps, whose pause it is, is sealed in the pause, and read again where LangGraph keeps that. All
that is not a plain yes leads to the graph inside: a no, a faulty edit, a consent that was lost meanwhile.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from langchain_core.messages import AnyMessage

from deputize.adapters.langchain.host import Host
from deputize.adapters.langgraph.fast_path import Place
from deputize.adapters.langgraph.findings import GO, Ahead
from deputize.adapters.langgraph.gate import Gate
from deputize.adapters.langgraph.pauses import Payload
from deputize.core import PolicyDenied, User

__all__ = ["Alone"]

WHOSE: Final = "whose"
"""Where a pause says to us, and to nobody else, whose it is."""


class Alone:
    """How the one call of a message is asked about in the node's own task."""

    def __init__(self, host: Host, gate: Gate) -> None:
        self.host, self.gate = host, gate

    async def settled(self, tail: Sequence[AnyMessage], place: Place, user: User | None) -> Ahead:
        """Pause until the user has decided: after a yes the call may be done at once.

        Raises `PolicyDenied` for another user's pause.
        """
        pause = await place.paused()
        if not isinstance(pause, Mapping) or WHOSE not in pause:
            if place.heard:
                return Ahead()
            seen = await self.gate.look({"messages": [*tail]}, place.config, user)
            if not seen.user or seen.pause is None or seen.asks["consent"]:
                return Ahead(seen=seen)
            pause = seen.pause | {WHOSE: self._sealed(seen.user)}
        note = self._owner(pause) | {"pause": pause}
        led = await self.gate.wait_approval({"deputize": note}, place.config, user)
        left: Payload = (led.update or {}).get("deputize", {})
        return GO if left.get("yes") else Ahead(faults=left.get("faults", {}))

    def _sealed(self, user: User) -> str:
        return self._box().encrypt(json.dumps([user.id, user.tenant]).encode()).decode()

    def _owner(self, pause: Payload) -> Payload:
        try:
            user, tenant = json.loads(self._box().decrypt(str(pause[WHOSE])))
        except InvalidToken:
            raise PolicyDenied(
                "This pause is of another vault.", hint="Resume it with the vault that it was made with."
            ) from None
        return {"user": user, "tenant": tenant}

    def _box(self) -> Fernet:
        return Fernet(urlsafe_b64encode(bytes.fromhex(self.host.deputy.key_for("graph pause").reveal())))
