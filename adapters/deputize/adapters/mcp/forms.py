"""Forms of the protocols before 2026-07-28, whose answers may arrive at another worker than the one that asked.

There a server asks within its answer to a call, and the client's reply is a request of its own: whatever stands in
front leads it to any worker, and to one that was started since. The SDK numbers its questions from 1 in each process,
so a reply that went astray was lost, or answered another question of that number.

So the id of such a question is what it is about, sealed for its user. A worker that has not asked it writes the
decision into the vault, where the one that asked looks. A form that was closed without a decision has none to write:
its question gets another id there, which tells the one that waits as much.
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
    """Asks by forms, and takes answers to what other workers have asked. ``key``: the same in each process."""

    def __init__(self, deputy: DeputyProtocol, key: Secret) -> None:
        self._deputy, self._codec = deputy, AESGCMRequestStateCodec([key.reveal()])
        self._asking: set[str] = set()

    async def ask(self, ctx: Context, user: User, waiting: Waiting, form: ElicitRequestFormParams) -> ElicitResult:
        """What the user says to a form, if that arrives here. Raises `MCPError` where the client shows none."""
        id = self._codec.seal(json.dumps([user.tenant, user.id, waiting.packed()]).encode())
        asked = types.ElicitRequest(params=form).model_dump(by_alias=True, mode="json", exclude_none=True)
        # The only way to name a question: `ServerSession.elicit_form` leaves the number to the dispatcher.
        channel = ctx.session._request_outbound  # pyright: ignore[reportPrivateUsage]
        self._asking.add(id)
        try:
            said = await channel.send_raw_request(asked["method"], asked["params"], {"request_id": id})
        finally:
            self._asking.discard(id)
        return ElicitResult.model_validate(said, by_name=False)

    async def takes(self, body: bytes, user: User) -> bool:
        """Whether this is an answer to what another worker has asked this user; then it is recorded."""
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
        """What was asked under this id; None where it is not this user's."""
        try:
            tenant, name, state = json.loads(self._codec.unseal(id))
        except InvalidRequestState:
            return None
        return Waiting.of(state) if User(name, tenant) == user else None

    async def _record(self, waiting: Waiting, user: User, said: Mapping[str, Any]) -> None:
        """The decision; without one, that there will be none for this id. One that was answered elsewhere stays so."""
        try:
            answer = ElicitResult.model_validate(said.get("result"), by_name=False)
        except ValidationError:  # an error, or anything else
            answer = ElicitResult(action="cancel")
        decision = "reject" if answer.action == "decline" else decision_in(answer.content)
        with suppress(NotFound, Conflict):
            if answer.action == "cancel" or decision is None:
                await self._deputy.refresh_approval_ids([waiting.question], user=user)
            else:
                await self._deputy.decide(waiting.question, decision, by=user)
