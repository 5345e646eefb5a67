"""One write alone, which is what most messages hold: its pause needs no graph inside.

The act node pauses in its own task, as a function of an application would, and acts there once the user has said yes.
What the graph inside keeps, whose pause it is, is sealed in the pause, and read again where LangGraph keeps that. All
that is not a plain yes leads to the graph inside: a no, a faulty edit, a consent that was lost meanwhile.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
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
NONCE: Final = 12
"""Bytes, of AES-GCM."""


class Alone:
    """How the one call of a message is asked about in the node's own task."""

    def __init__(self, host: Host, gate: Gate) -> None:
        self.host, self.gate = host, gate

    async def settled(self, tail: Sequence[AnyMessage], place: Place, user: User | None) -> Ahead:
        """Pause until the user has decided: after a yes the call may be done at once.

        Raises `PolicyDenied` for another user's pause.
        """
        pause, owner = await self._before(place)
        if new := pause is None:
            if place.inner or await place.begun():
                return Ahead()
            seen = await self.gate.look({"messages": [*tail]}, place.config, user)
            if not seen.user or seen.pause is None or seen.asks["consent"]:
                return Ahead(seen=seen)
            owner = {"user": seen.user.id, "tenant": seen.user.tenant}
            pause = seen.pause | {WHOSE: self._sealed(owner, place.name)}
        led = await self.gate.wait_approval({"deputize": owner | {"pause": pause}}, place.config, user, new=new)
        left: Payload = (led.update or {}).get("deputize", {})
        return GO if left.get("yes") else Ahead(faults=left.get("faults", {}))

    async def _before(self, place: Place) -> tuple[Payload | None, Payload]:
        """The pause that was made in this very task before, and its owner."""
        for pause in await place.paused():
            whose = pause.get(WHOSE) if isinstance(pause, dict) else None
            if isinstance(whose, dict) and whose.get("task") == place.name:
                return pause, self._opened(whose.get("sealed"), place.name)
        return None, {}

    def _sealed(self, owner: Payload, task: str) -> Payload:
        nonce = os.urandom(NONCE)
        sealed = self._key.encrypt(nonce, json.dumps(owner).encode(), task.encode())
        return {"task": task, "sealed": urlsafe_b64encode(nonce + sealed).decode()}

    def _opened(self, sealed: Any, task: str) -> Payload:
        """What was sealed. Raises `PolicyDenied` for what this vault did not seal for this task."""
        try:
            raw = urlsafe_b64decode(sealed)
            owner: Payload = json.loads(self._key.decrypt(raw[:NONCE], raw[NONCE:], task.encode()))
        except (InvalidTag, TypeError, ValueError):
            raise PolicyDenied(
                "This pause is of another vault.", hint="Resume it with the vault that it was made with."
            ) from None
        return owner

    @cached_property
    def _key(self) -> AESGCM:
        return AESGCM(bytes.fromhex(self.host.deputy.key_for("graph pause").reveal()))
