"""Which call of which response a tool of ADK answers: the same in the run, in its resume, in another process.

ADK keeps a session's id, an invocation's id and a call's id in the session, whoever resumes it: a resumed call has them
all again, and a later turn has another invocation. Models that count their calls give one id twice in an invocation, in
two responses, so the number of the response with that id belongs to the act, and so do agent and branch, of which
several may run at once. A rewind takes back no act: the next turn is another invocation, whose calls are other acts,
and ADK refuses the answer for a call that was rewound. A tool that is itself a node of a graph gets another id in each
run, so there it is the node's path. A host may load the last events of a session only: a question keeps the number.
"""

from __future__ import annotations

import hmac

from google.adk.events.event import Event
from google.adk.tools.tool_context import ToolContext
from google.genai import types

from deputize.core import Call, DeputyProtocol, User

__all__ = ["CONFIRMATION", "asked_by", "calls_of", "owner_of", "where"]

CONFIRMATION = "adk_request_confirmation"
"""What ADK calls the call that asks the host for a confirmation."""


def asked_by(ctx: ToolContext) -> Event | None:
    """The model's response that asked for the call; None where a program makes it, and no model."""
    found = _asking(ctx, ctx.function_call_id or "")
    return found[-1] if found else None


def calls_of(response: Event | None) -> dict[str, types.FunctionCall]:
    """The calls of a response, by their ids."""
    calls = response.get_function_calls() if response else []
    return {one.id: one for one in calls if one.id and one.name != CONFIRMATION}


def where(ctx: ToolContext, call_id: str, owner: str = "") -> Call:
    """Session, response and id of a call: with the tool and the user, what makes it the same act.

    ``owner``: as its question has it, which knows the response where the session was cut before it.
    """
    found = _asking(ctx, call_id)
    if ctx.node is not None and not found:  # a tool that is a node of a graph: ADK gives its call an id for each run
        call_id = ctx.node_path
    author, branch = (found[-1].author, found[-1].branch or "") if found else ("", "")
    number = owner.partition(".")[0] or str(len(found))
    message = "\0".join((ctx.invocation_id, author, branch, number))
    return Call(ctx.session.id, message, call_id, ctx.invocation_id)


def owner_of(deputy: DeputyProtocol, user: User, call: Call) -> str:
    """For whom a call is made, in a word that only this deputy can write, and that names nobody.

    Before the dot: the number of the call's response.
    """
    number = call.message.rpartition("\0")[2]
    whose = "\0".join((user.tenant, user.id, call.thread, call.message, call.id))
    key = deputy.derive_key("google adk owner").reveal()
    return f"{number}.{hmac.digest(key.encode(), whose.encode('utf8', 'surrogatepass'), 'sha256').hex()}"


def _asking(ctx: ToolContext, call_id: str) -> list[Event]:
    """The agent's responses of this invocation with a call of this id: those of its own branch, where there are any."""
    found = [
        one
        for one in ctx.session.events
        if one.invocation_id == ctx.invocation_id and one.author == ctx.agent_name and call_id in calls_of(one)
    ]
    return [one for one in found if one.branch == ctx.branch] or found
