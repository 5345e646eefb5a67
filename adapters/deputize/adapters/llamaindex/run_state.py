"""A waiting LlamaIndex run as JSON, to resume it in another process or later.

`save_paused` waits until no call is running, then saves the workflow's context and the conversation. `resume` restores
only a run of the same user, loads no class that is not listed, and makes the restored calls wait again before any event
can reach them.
"""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Iterable
from typing import Any, Final

from llama_index.core.agent.react import types as thoughts
from llama_index.core.agent.workflow import workflow_events
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import ToolOutput
from llama_index.core.workflow import Context, Event, JsonSerializer
from workflows.errors import ContextSerdeError
from workflows.handler import WorkflowHandler

from deputize.adapters.llamaindex.events import EVENTS
from deputize.adapters.llamaindex.redelivery import OWNER
from deputize.core import Conflict, InvalidInput, PolicyDenied, User

__all__ = ["resume", "save_paused"]

DRAIN_SECONDS: Final = 10.0
REGISTER_SECONDS: Final = 1.0
POLL_INTERVAL_SECONDS: Final = 0.01
"""Seconds: at most, for calls to end before a run is saved; at most, for restored calls to wait again; between checks.
"""

_KNOWN: Final[list[type[Any]]] = [
    *(c for c in vars(workflow_events).values() if isinstance(c, type) and issubclass(c, Event)),
    *(c for c in vars(thoughts).values() if isinstance(c, type) and issubclass(c, thoughts.BaseReasoningStep)),
    *EVENTS,
    *(ChatMessage, ToolOutput),
    ChatMemoryBuffer,  # older releases save it too; `resume_paused` replaces it
]
"""The classes that a saved run of LlamaIndex's agents may contain."""


async def save_paused(handler: WorkflowHandler) -> str:
    """Stop a waiting run and return it as JSON, for `resume_paused`. Store it where its user cannot write.

    Running calls get ten seconds to end; a call that is cut off is repeated after the resume. Raises `Conflict` if the
    run has ended, or none of its calls acts as a user.
    """
    await _still(handler, DRAIN_SECONDS)
    store = handler.ctx.store
    if handler.is_done() or not await store.get(OWNER, default=None):
        raise Conflict("Nothing in this run waits for its user.", hint="Save a run that has asked for something.")
    memory = await store.get("memory")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the memory that it leaves out: it is saved below
        context = handler.ctx.to_dict(serializer=JsonSerializer())
    said = [message.model_dump(mode="json") for message in await memory.aget_all()]
    await handler.cancel_run()
    return json.dumps({"v": 1, "context": context, "memory": said, "limit": getattr(memory, "token_limit", None)})


async def resume(agent: Any, blob: str, user: User, types: Iterable[type[Any]]) -> WorkflowHandler:
    """Resume a saved run as ``user``; see `deputize.adapters.llamaindex.resume_paused`."""
    serializer = JsonSerializer(allowed_types=[*_KNOWN, *types])
    try:
        saved = json.loads(blob)
        ctx = Context.from_dict(agent, saved["context"], serializer=serializer)
        owner = await ctx.store.get(OWNER, default=None)
        said = [ChatMessage.model_validate(message) for message in saved["memory"]]
        memory = ChatMemoryBuffer.from_defaults(chat_history=said, token_limit=saved["limit"])
    except (ValueError, TypeError, LookupError, ContextSerdeError):
        hint = "Pass your own classes of events and data as types=."
        raise InvalidInput("This text is not a saved run of this agent.", hint=hint, fix_by="operator") from None
    if owner != [user.id, user.tenant]:
        raise PolicyDenied("This pause belongs to another user.", hint="Resume as the user who started it.")
    handler: WorkflowHandler = agent.run(ctx=ctx)
    await handler.ctx.store.set("memory", memory)  # before the run starts, this would be lost
    await _still(handler, REGISTER_SECONDS)  # until restored calls wait again, any event would resume them
    return handler


async def _still(handler: WorkflowHandler, seconds: float) -> None:
    """Wait until no step of a run is working, for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    for _ in range(20):
        await asyncio.sleep(0)  # events just sent or restored need a few turns of the loop
    while time.monotonic() < deadline:
        if not await handler.ctx.running_steps():
            return
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
