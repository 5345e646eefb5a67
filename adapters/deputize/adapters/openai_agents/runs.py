"""Identity of an OpenAI Agents tool call: the same in the run, in its `RunState` and in another process.

The SDK passes a tool its call id and the run's input, but no id of the response. Call ids are unique in one run, and a
later run of the conversation has a longer input. A state has its input, and the run of an agent used as a tool, only in
private names, which are checked once, on import.
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
from typing_extensions import TypeVar

from deputize.adapters.releases import OPENAI_AGENTS, require_names
from deputize.core import Call, InvalidInput

__all__ = ["USED", "TContext", "ThreadOf", "Waiting", "identify_call", "waiting_calls"]

TContext = TypeVar("TContext", bound=Any, default=Any)
"""The type of a run's context. It is ``Any`` unless your application names it: ``tools[Chat](...)``."""

ThreadOf: TypeAlias = str | Callable[[RunContextWrapper[TContext]], str]
"""The conversation of a run: its id, or a function of the run's context."""

USED: Final[list[tuple[type[Any], str]]] = [
    (RunState, "_context"),
    (RunState, "_original_input"),
    (RunState, "_find_nested_approval_state"),
]
"""The private names of the SDK that are used here."""

require_names("openai-agents", OPENAI_AGENTS, *USED)


@dataclass(frozen=True)
class Waiting:
    """A call for which a state waits, in the run that made it."""

    item: ToolApprovalItem
    ctx: RunContextWrapper[Any]
    given: Sequence[Any]

    @property
    def call_id(self) -> str:
        """The model's id of the call."""
        raw = self.item.raw_item
        return str((raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", "")) or "")


def waiting_calls(state: RunState[Any, Any]) -> Iterator[Waiting]:
    """Yield every call for which the run waits. Raises `InvalidInput` if the state has no context.

    The state of an agent used as a tool has its own context, which `RunState.from_string` reads from the text. Its
    application context is replaced by the outermost state's, as the SDK does when the call runs.
    """
    for item in state.get_interruptions():
        nested = state._find_nested_approval_state(item)
        owner = nested[0] if nested else state
        if state._context is None or owner._context is None:
            raise InvalidInput("This state has no context, so it names no user.", fix_by="operator")
        ctx = copy(owner._context)
        ctx.context = state._context.context
        yield Waiting(item, ctx, ItemHelpers.input_to_new_input_list(owner._original_input))


def identify_call(
    thread: ThreadOf[TContext], ctx: RunContextWrapper[TContext], given: Sequence[Any], call_id: str
) -> Call:
    """Return the identity of a call: conversation, run and call id. With tool and user, it identifies the act."""
    return Call(thread(ctx) if callable(thread) else thread, _input_digest(given), call_id)


def _input_digest(given: Sequence[Any]) -> str:
    """Return a digest of a run's input, without assistant messages, which are stored in another form."""
    said = [item.get("content") for item in given if isinstance(item, dict) and item.get("role") == "user"]
    whole = json.dumps([len(given), said[-1:]], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode("utf8", "surrogatepass")).hexdigest()[:32]
