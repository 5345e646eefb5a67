"""Identity of an ADK tool call: the same in the run, in its resume and in another process.

ADK stores the ids of session, invocation and call in the session. A resumed call has the same ids; a later turn has
another invocation. Some models use one call id twice in an invocation, so the identity also includes the number of the
response with that id, and agent and branch, because several may run at once. A rewind undoes no act: the next turn is
another invocation with other acts, and ADK refuses an answer to a rewound call. A tool that is a graph node gets a new
id in each run, so its node path is used. If your application loads only the last events of a session, the question
still contains the number.
"""

from __future__ import annotations

from google.adk.events.event import Event
from google.adk.tools.tool_context import ToolContext
from google.genai import types

from deputize.adapters.kit import ToolRunner
from deputize.core import Call, User

__all__ = ["CONFIRMATION", "calls_of", "identify_call", "owner_of", "response_of"]

CONFIRMATION = "adk_request_confirmation"
"""ADK's name of the call that asks your application for a confirmation."""


def response_of(ctx: ToolContext) -> Event | None:
    """Return the model response with the call, or None if a program made the call."""
    found = _asking_responses(ctx, ctx.function_call_id or "")
    return found[-1] if found else None


def calls_of(response: Event | None) -> dict[str, types.FunctionCall]:
    """Return the tool calls of a response, by id."""
    calls = response.get_function_calls() if response else []
    return {one.id: one for one in calls if one.id and one.name != CONFIRMATION}


def identify_call(ctx: ToolContext, call_id: str, owner: str = "") -> Call:
    """Return the identity of a call: session, response and call id. With tool and user, it identifies the act.

    ``owner``: the tag in the call's question, which contains the response's number if the session was cut before it.
    """
    found = _asking_responses(ctx, call_id)
    if ctx.node is not None and not found:  # a tool as a graph node: ADK gives its call a new id in each run
        call_id = ctx.node_path
    author, branch = (found[-1].author, found[-1].branch or "") if found else ("", "")
    number = owner.partition(".")[0] or str(len(found))
    message = "\0".join((ctx.invocation_id, author, branch, number))
    return Call(ctx.session.id, message, call_id, ctx.invocation_id)


def owner_of(runner: ToolRunner[ToolContext], user: User, call: Call) -> str:
    """Return the number of the call's response, a dot, and the tag of the call's user."""
    number = call.message.rpartition("\0")[2]
    return f"{number}.{runner.owner_tag(user, call)}"


def _asking_responses(ctx: ToolContext, call_id: str) -> list[Event]:
    """Return this agent's events of the invocation that contain this call id. Only events of the agent's own branch
    are returned if there are any."""
    found = [
        one
        for one in ctx.session.events
        if one.invocation_id == ctx.invocation_id and one.author == ctx.agent_name and call_id in calls_of(one)
    ]
    return [one for one in found if one.branch == ctx.branch] or found
