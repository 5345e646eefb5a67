"""The rounds of one foreign call: the server may ask its user something first, up to five times.

    tools/call                              a result, or a question: the run ends, the user answers on our page
    tools/call again, with the answer       in a later run of the same act, with the server's own state

The first round is claimed as a write, and the answer goes to one run only: if it was sent and not answered, the outcome
is unknown. If the server no longer knows its state, nothing was done: the call starts again from its first round.
https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from deputize.core.errors import Declined, InvalidInput, OutcomeUnknown
from deputize.core.mcp.definitions import clean_text
from deputize.core.mcp.elicitation import NotPassedOn, parts_of, responses_of, show_of, without_addresses
from deputize.core.mcp.protocol import Asked, Refused
from deputize.core.mcp.rules import INVALID_PARAMS
from deputize.core.mcp.server import McpServer
from deputize.core.tools.steps import AskUser, Heard, Steps, UserSaid, Wait

MAX_ROUNDS: Final = 5
STATE_LIVES: Final = 600.0
"""Seconds for which servers keep their state: the default of MCP's SDK."""
RETURN_WITHIN: Final = 3600.0
"""Seconds for a user to return from a link whose server keeps no state and is called again."""
LOST_STATE: Final = "invalid_request_state"


class Sent(NamedTuple):
    """What a round sends: answers and state of the previous one. ``asked``: how often the user was asked; ``anew``: it
    was already started again."""

    answers: Mapping[str, Any] | None = None
    state: str | None = None
    asked: int = 0
    anew: bool = False


Call = Callable[[Sent], Steps]
"""Sends one round and returns the result, or `Asked`. Raises `Refused`."""


def rounds(send: Call, tool: str, server: McpServer, *, can_ask: bool) -> Steps:
    """Return the result of the call. Raises the server's `Refused`, and errors of invalid answers."""
    host = server.host
    now = _after((yield Heard()), tool, host)
    for _ in range(MAX_ROUNDS + 1):
        try:
            result = yield from send(now)
        except Refused as refused:
            if now.anew or now.state is None or not _has_forgotten(refused):
                raise
            now = Sent(asked=now.asked, anew=True)
            continue
        if not isinstance(result, Asked):
            return result
        if result.requests or result.state is None:
            yield _question(result, now, tool, server, can_ask=can_ask)
        yield Wait(1.0)  # only a state: it is still working
        now = Sent(None, result.state, now.asked, now.anew)
    raise OutcomeUnknown(f"{host} is still working on {tool}, and does not say whether it is done.")


def _has_forgotten(refused: Refused) -> bool:
    reason = refused.data.get("reason") if isinstance(refused.data, dict) else None
    return refused.code == INVALID_PARAMS and reason == LOST_STATE


def _after(said: UserSaid | None, tool: str, host: str) -> Sent:
    """Return what the next round sends. Raises if the user's answer means that there is none."""
    if said is None:
        return Sent()
    if said.reply == "late":
        raise InvalidInput(
            f"{host} asked its user something before it does {tool}, and the answer came too late. It was not done.",
            hint="Make a new call if it is still wanted: it asks again.",
            fix_by="user",
            reason="answered_too_late",
        )
    kept = said.kept
    if kept["again"]:  # without a state, no server waits for a rejection
        if said.reply != "accept":
            raise Declined(f"The user did not do what {host} asks for before {tool}. It was not done.")
        return Sent(asked=kept["asked"])
    return Sent(responses_of(kept["parts"], said.reply, said.content), kept["state"], kept["asked"], kept["anew"])


def _question(asked: Asked, now: Sent, tool: str, server: McpServer, *, can_ask: bool) -> AskUser:
    try:
        if not asked.requests:
            raise NotPassedOn("it does not say what")
        if not can_ask:
            raise NotPassedOn("there is no user to ask: the call has no id, or acts for a service account")
        if now.asked >= MAX_ROUNDS:
            raise NotPassedOn(f"it has asked {MAX_ROUNDS} times already")
        parts = parts_of(asked.requests)
    except NotPassedOn as why:
        raise _not_asked(asked, str(why), tool, server.host) from None
    kept = {
        "server": server.name,
        "host": server.host,
        "tool": tool,
        "parts": parts,
        "state": asked.state,
        "asked": now.asked + 1,
        "anew": now.anew,
        "again": asked.again,
    }
    return AskUser(show_of(parts, tool, server.host), kept, RETURN_WITHIN if kept["again"] else STATE_LIVES)


def _not_asked(asked: Asked, why: str, tool: str, host: str) -> InvalidInput | OutcomeUnknown:
    params = [one.get("params") for one in asked.requests.values() if isinstance(one, Mapping)]
    said = [clean_text(one.get("message"), 200) for one in params if isinstance(one, Mapping)]
    words = f"{host} wants something of its user before it does {tool}, which is not asked here: {why}."
    words += f' It says "{without_addresses(said[0])}".' if said and said[0] else ""
    if not asked.nothing_done:
        return OutcomeUnknown(f"{words} It may have begun.")
    hint = "Let the user do that at the server itself, then call again."
    return InvalidInput(words, hint=hint, fix_by="user", reason="asks_user")
