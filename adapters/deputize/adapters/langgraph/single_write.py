"""Fast path for a single write, the content of most messages: its pause needs no inner graph.

The act node pauses in its own task, as a function of an application would, and acts there after the approval. The
pause's owner, which the inner graph would store, is encrypted in the pause and read from it again. Everything except a
plain approval leads to the inner graph: a rejection, a faulty edit, a consent that was lost.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langchain_core.messages import AnyMessage
from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt

from deputize.adapters.langchain.run_context import run_of
from deputize.adapters.langchain.tool_host import Host
from deputize.adapters.langgraph.approval_graph import Gate
from deputize.adapters.langgraph.inline_execution import TaskLocation, read_resume_value
from deputize.adapters.langgraph.interrupts import MADE_IN, Payload, approval_ids_in, decisions_in
from deputize.adapters.langgraph.precheck import GO, Ahead
from deputize.core import PolicyDenied, User

__all__ = ["SingleWrite"]

OWNER: Final = "owner"
"""Key in a pause: its owner, encrypted."""
HEARD: Final = "heard"
"""Key in the placeholder for an answer: the owner, encrypted for this purpose: the caller could copy it from the pause.
"""
ASKED: Final = "asked"
"""Key beside it: the approval ids of the pause."""
HEARD_IN: Final = "heard_in"
"""Key beside it: the run that brought the answer. A later attempt of the same run brings it once more."""
NONCE: Final = 12
"""Bytes, of AES-GCM."""
MAX_PAUSES: Final = 1024
"""Pauses that this process remembers, two kilobytes each."""


class SingleWrite:
    """Approval of a message's only call in the node's own task."""

    def __init__(self, host: Host, gate: Gate) -> None:
        self.host, self.gate = host, gate
        self._made: dict[tuple[str, str], str] = {}

    async def settled(self, tail: Sequence[AnyMessage], place: TaskLocation, user: User | None) -> Ahead:
        """Pause until the user has decided. After an approval the call may run at once.

        Raises `PolicyDenied` for another user's pause.
        """
        if (heard := self._heard(place)) and not await self._said_anew(heard, place):
            return await self._again(heard, place, user)
        pause, owner = await self._before(place)
        if new := pause is None:
            if place.inner or await place.has_begun():
                return Ahead()
            seen = await self.gate.look({"messages": [*tail]}, place.config, user)
            if not seen.user or seen.pause is None or seen.consents:
                return Ahead(seen=seen)
            owner = {"user": seen.user.id, "tenant": seen.user.tenant, MADE_IN: run_of(place.config)}
            pause = {**seen.pause, OWNER: self._sealed(owner, place)}
        note = {"deputize": owner | {"pause": pause}}
        asked = approval_ids_in(note["deputize"])
        try:
            led = await self.gate.wait_approval(note, place.config, user, new=new)
        except GraphInterrupt as paused:
            self._remember(place, paused)
            paused.__traceback__ = None  # LangGraph keeps it in a reference cycle, with all its frames
            raise
        left: Payload = (led.update or {}).get("deputize", {})
        if left and place.answers:
            kept = owner | {ASKED: asked, HEARD_IN: run_of(place.config)}
            place.answers[-1] = {HEARD: self._sealed(kept, place, HEARD)}
            place.keep_answers()
        return GO if left.get("yes") else Ahead(faults=left.get("faults", {}))

    async def _before(self, place: TaskLocation) -> tuple[Payload | None, Payload]:
        """Return the earlier pause of this task, and its owner."""
        made = self._made.get((place.thread, place.task))
        for pause in [json.loads(made)] if made else await place.paused():
            whose = _of(pause, OWNER, place)
            if whose and place.name == place.task:
                owner = self._opened(whose, place)
                if owner is None:
                    raise PolicyDenied(
                        "This pause was made with another vault.",
                        hint="Resume it with that vault, or continue with a new message.",
                    )
                return pause, owner
        return None, {}

    def _remember(self, place: TaskLocation, paused: GraphInterrupt) -> None:
        """Store the pause of this task, so that a resume in this process need not read its checkpoint."""
        if len(self._made) >= MAX_PAUSES:
            self._made.clear()
        [pause] = paused.args[0]
        self._made[place.thread, place.task] = json.dumps(pause.value)

    def _heard(self, place: TaskLocation) -> Payload | None:
        """Return the placeholder for the answer that an earlier run, or attempt, of this task received, or None.

        If a pause of your application follows in the same task, LangGraph stores only this placeholder.
        """
        notes = (
            note for note in place.answers if (whose := _of(note, HEARD, place)) and self._opened(whose, place, HEARD)
        )
        return next(notes, None)

    async def _said_anew(self, note: Payload, place: TaskLocation) -> bool:
        """Return whether this later run brought an answer to the pause, which stayed open because a run failed.

        The new answer then replaces the placeholder.
        """
        came, before = read_resume_value(place.config)
        kept = self._opened(note[HEARD], place, HEARD) or {}
        if decisions_in(came).keys().isdisjoint(kept.get(ASKED, ())) or run_of(place.config) == kept.get(HEARD_IN):
            return False
        if before[-1:] != [note] or await place.inside() is not None:
            return False
        place.answers.remove(note)
        return True

    async def _again(self, note: Payload, place: TaskLocation, user: User | None) -> Ahead:
        """Count the deputize pause, once in each attempt, before the next pause of your application. The act is not
        repeated.

        Raises `PolicyDenied` for another user, unless the inner graph has paused, which checks itself.
        """
        if place.name != place.task:
            return Ahead()  # for another call in the same task
        place.keep_answers()
        inside = await place.inside()
        if not (inside or {}).get("deputize", {}).get("pause"):
            kept = self._opened(note[HEARD], place, HEARD) or {}
            await self.gate.continue_run(user, kept, place.config)
        with suppress(GraphInterrupt):  # some LangGraph releases keep counting in another attempt
            interrupt(None)
        return Ahead(go=inside is None)

    def _sealed(self, owner: Payload, place: TaskLocation, what: str = OWNER) -> Payload:
        nonce, about = os.urandom(NONCE), f"{what} {place.task}"
        sealed = self._key.encrypt(nonce, json.dumps(owner).encode(), about.encode())
        return {"task": place.task, "sealed": urlsafe_b64encode(nonce + sealed).decode()}

    def _opened(self, whose: Payload, place: TaskLocation, what: str = OWNER) -> Payload | None:
        """Return the decrypted owner, or None unless this vault encrypted it for this task and purpose."""
        try:
            raw = urlsafe_b64decode(whose["sealed"])
            owner: Payload = json.loads(self._key.decrypt(raw[:NONCE], raw[NONCE:], f"{what} {place.task}".encode()))
        except (InvalidTag, KeyError, TypeError, ValueError):
            return None
        return owner

    @cached_property
    def _key(self) -> AESGCM:
        return AESGCM(bytes.fromhex(self.host.deputy.derive_key("graph pause").reveal()))


def _of(value: Any, what: str, place: TaskLocation) -> Payload | None:
    """Return the encrypted part of a pause or placeholder, or None if it belongs to another task."""
    whose = value.get(what) if isinstance(value, dict) else None
    return whose if isinstance(whose, dict) and whose.get("task") == place.task else None
