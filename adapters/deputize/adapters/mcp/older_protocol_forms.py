"""Forms of the protocols before 2026-07-28, whose answers may reach another worker than the one that asked.

In these protocols a server asks within its response to a call, and the client replies with a new request, which a load
balancer may send to any worker, even a new one. The SDK numbers questions from 1 in each process, so such a reply would
be lost, or answer another question with the same number.

So a question's id is its content, encrypted for its user. A worker that did not ask the question writes the decision
into the vault, where the asking worker finds it. If a form was closed without a decision, the question is asked again
under another id, by which the waiting worker notices that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from mcp_types import ElicitRequestFormParams, ElicitResult
from pydantic import ValidationError

from deputize.adapters.mcp.elicitation import Context, Waiting, decision_in
from deputize.core import Conflict, DeputyProtocol, NotFound, Secret, User

__all__ = ["Forms"]


class Forms:
    """Forms, and answers to questions of other workers. ``key``: the signing key, the same in each process."""

    def __init__(self, deputy: DeputyProtocol, key: Secret) -> None:
        self.deputy, self._codec = deputy, AESGCMRequestStateCodec([key.reveal()])
        self._asking: set[str] = set()

    async def ask(self, ctx: Context, user: User, waiting: Waiting, form: ElicitRequestFormParams) -> ElicitResult:
        """Return the user's answer to a form, if it arrives here. Raises `MCPError` if the client has no forms."""
        id = self._codec.seal(json.dumps([user.tenant, user.id, waiting.packed()]).encode())
        asked = types.ElicitRequest(params=form).model_dump(by_alias=True, mode="json", exclude_none=True)
        # The only way to choose an id: `ServerSession.elicit_form` leaves it to the dispatcher.
        channel = ctx.session._request_outbound  # pyright: ignore[reportPrivateUsage]
        self._asking.add(id)
        try:
            said = await channel.send_raw_request(asked["method"], asked["params"], {"request_id": id})
        finally:
            self._asking.discard(id)
        return ElicitResult.model_validate(said, by_name=False)

    async def takes(self, body: bytes, user: User) -> bool:
        """Record an answer to another worker's question to this user. Return whether the body contained one."""
        try:
            said = json.loads(body)
            id = said["id"] if "method" not in said else None
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
        if not isinstance(id, str) or id in self._asking:
            return False
        waiting = self._asked(id, user)
        if waiting is None:
            return False
        await self._record(waiting, user, said)
        return True

    def _asked(self, id: str, user: User) -> Waiting | None:
        """Return the question with this id, or None unless it is this user's."""
        try:
            tenant, name, state = json.loads(self._codec.unseal(id))
        except InvalidRequestState:
            return None
        return Waiting.of(state) if User(name, tenant) == user else None

    async def _record(self, waiting: Waiting, user: User, said: Mapping[str, Any]) -> None:
        """Record the decision, or dismiss the question if there is none. A decision made elsewhere stays."""
        try:
            answer = ElicitResult.model_validate(said.get("result"), by_name=False)
        except ValidationError:  # an error, or anything else
            answer = ElicitResult(action="cancel")
        decision = "reject" if answer.action == "decline" else decision_in(answer.content)
        with suppress(NotFound, Conflict):
            if answer.action == "cancel" or decision is None:
                await self.deputy.dismiss_approval(waiting.question, by=user)
            else:
                await self.deputy.decide(waiting.question, decision, by=user)
