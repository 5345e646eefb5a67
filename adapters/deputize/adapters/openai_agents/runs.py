"""Where a tool call of an OpenAI Agents run comes from: the same in the run, in its `RunState`, in another process.

The SDK tells a tool its call's id and what the run was given to begin with, but no id of the asking response: ids of
calls are unique in one run, and a later run of the conversation begins with more than the one before. A state does not
say publicly what it was given, nor in which run of an agent that is a tool a call waits: those names are looked up
once, on import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from agents import ItemHelpers, RunContextWrapper, RunState
from agents.items import ToolApprovalItem

from deputize.adapters.releases import OPENAI_AGENTS, require_names
from deputize.core import Call, InvalidInput

__all__ = ["USED", "ThreadOf", "Waiting", "call_of", "waiting_in"]

ThreadOf: TypeAlias = str | Callable[[RunContextWrapper[Any]], str]
"""Which conversation a run belongs to: its id, or a function of the run's context."""

USED: Final[list[tuple[type[Any], str]]] = [
    (RunState, "_context"),
    (RunState, "_original_input"),
    (RunState, "_find_nested_approval_state"),
]
"""The names of the SDK that its documentation does not promise."""

require_names("openai-agents", OPENAI_AGENTS, *USED)


@dataclass(frozen=True)
class Waiting:
    """A call that a state waits with, in the run that made it."""

    item: ToolApprovalItem
    ctx: RunContextWrapper[Any]
    given: Sequence[Any]

    @property
    def call_id(self) -> str:
        """The model's id of the call."""
        raw = self.item.raw_item
        return str((raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", "")) or "")


def waiting_in(state: RunState[Any, Any]) -> Iterator[Waiting]:
    """Every call that the run waits with. Raises `InvalidInput` for a state that was made without a context.

    The state of an agent that is a tool has a context of its own, which `RunState.from_string` reads from the text. The
    application's context in it is replaced by that of the outermost state, as the SDK does when the call runs.
    """
    for item in state.get_interruptions():
        nested = state._find_nested_approval_state(item)
        owner = nested[0] if nested else state
        if state._context is None or owner._context is None:
            raise InvalidInput("This state has no context: it says nothing of who acts.", fix_by="operator")
        ctx = copy(owner._context)
        ctx.context = state._context.context
        yield Waiting(item, ctx, ItemHelpers.input_to_new_input_list(owner._original_input))


def call_of(thread: ThreadOf, ctx: RunContextWrapper[Any], given: Sequence[Any], call_id: str) -> Call:
    """Conversation, run and id of a call: with the tool and the user, what makes it the same act."""
    return Call(thread(ctx) if callable(thread) else thread, _begun_with(given), call_id)


def _begun_with(given: Sequence[Any]) -> str:
    """What a run was given, in a word. What an assistant said is stored in another form than it was given."""
    said = [item.get("content") for item in given if isinstance(item, dict) and item.get("role") == "user"]
    whole = json.dumps([len(given), said[-1:]], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode("utf8", "surrogatepass")).hexdigest()[:32]
