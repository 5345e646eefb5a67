"""Cases in which an act node replaces a ``ToolNode``: the application's tools, and the options of a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, cast

from langchain_core.messages import AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.store.base import BaseStore
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.support.features.drop_in import Case, Made, Noted, around, both
from tests.support.graphs import Context, Graph


@tool
def plain(text: str) -> str:
    """Give the text back."""
    return text.upper()


@tool
def note(text: str, call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Write a note into the state."""
    return Command(update={"note": text, "messages": [ToolMessage("noted", tool_call_id=call)]})


@tool
def leave(call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Go elsewhere."""
    return Command(update={"messages": [ToolMessage("left", tool_call_id=call)]}, goto="elsewhere")


@tool
def leave_for_parent(call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Go elsewhere in the graph around this one."""
    update = {"messages": [ToolMessage("left", tool_call_id=call)], "note": "handed over"}
    return Command(update=update, goto="elsewhere", graph=Command.PARENT)


@tool
def several(call: Annotated[str, InjectedToolCallId]) -> list[Command[Any]]:
    """Answer, and write a note, each by itself."""
    answer: Command[Any] = Command(update={"messages": [ToolMessage("done", tool_call_id=call)]})
    return [answer, Command(update={"note": "by several"})]


@tool
def whole_state(state: Annotated[Any, InjectedState]) -> str:
    """Read the whole state."""
    messages = state["messages"] if isinstance(state, dict) else state.messages
    return f"{len(messages)} messages"


@tool
def one_field(customer: Annotated[str, InjectedState("customer")]) -> str:
    """Read a field of the state."""
    return f"customer {customer}"


@tool
def from_store(store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Read the store."""
    found = store.get(("notes",), "one")
    return str(found.value["text"]) if found else "nothing"


@tool
def from_runtime(runtime: ToolRuntime[Context, Any]) -> str:
    """Read all that a tool's runtime has, and write to the custom stream."""
    runtime.stream_writer({"from": runtime.tool_call_id})
    state, found = cast("dict[str, Any]", runtime.state), runtime.store and runtime.store.get(("notes",), "one")
    thread = (runtime.config.get("configurable") or {})["thread_id"]
    return f"{runtime.context.user_id} {state['customer']} {runtime.tool_call_id} {found and found.value} {thread}"


@tool
def picky(number: int) -> str:
    """Take an even number."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return str(number)


@tool(return_direct=True)
def final() -> str:
    """Say the last word."""
    return "the end"


@tool(response_format="content_and_artifact")
def with_artifact() -> tuple[str, dict[str, int]]:
    """Give an artifact."""
    return "seven", {"n": 7}


def call(name: str, ident: str = "", **arguments: Any) -> dict[str, Any]:
    """Return a call of one of the application's tools."""
    return {"name": name, "args": arguments, "id": ident or name}


def tools(*given: BaseTool, **options: Any) -> Callable[[], Made]:
    """Return these tools and these options of the node."""
    return lambda: (list(given), dict(options))


def flaky_tools() -> Made:
    """Return a tool that fails twice, and a wrapper that calls it again."""
    tries = list[int]()

    @tool
    def flaky() -> str:
        """Fail twice."""
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return f"at the {len(tries)}. try"

    def again(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        for _ in range(5):
            try:
                return execute(request)
            except ValueError:
                continue
        return execute(request)

    return [flaky], {"wrap_tool_call": again, "handle_tool_errors": False}


def cached_tools() -> Made:
    """Return a wrapper that already knows an answer."""
    known = {"second": "from the cache"}

    def cache(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        ident, name = str(request.tool_call["id"]), request.tool_call["name"]
        return ToolMessage(known[ident], tool_call_id=ident, name=name) if ident in known else execute(request)

    return [plain], {"wrap_tool_call": cache}


def changed_tools() -> Made:
    """Return a wrapper that changes the arguments."""

    def change(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        changed: Any = {**request.tool_call, "args": {**request.tool_call["args"], "text": "changed"}}
        return execute(request.override(tool_call=changed))

    return [plain, picky], {"wrap_tool_call": lambda r, e: change(r, e) if r.tool_call["name"] == "plain" else e(r)}


def awrapped_tools() -> Made:
    """Return a wrapper for async graphs."""

    async def awrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        answer = await execute(request)
        return answer.model_copy(update={"content": f"awaited {answer.content}"})

    return [plain], {"awrap_tool_call": awrap, "wrap_tool_call": lambda request, execute: execute(request)}


def nested(node: Any) -> Graph:
    """Build a nested graph: a tool inside may continue outside."""
    inner = StateGraph(Noted, context_schema=Context)
    inner.add_node("inside", node)
    inner.add_edge(START, "inside")
    inner.add_edge("inside", END)
    return around(inner.compile())


class History(TypedDict, total=False):
    """A state whose messages have another name."""

    history: Annotated[list[AnyMessage], add_messages]
    note: Annotated[str, both]
    customer: str


class Modeled(BaseModel):
    """A pydantic state."""

    messages: Annotated[list[AnyMessage], add_messages]
    note: Annotated[str, both] = ""
    customer: str = ""


@dataclass
class Data:
    """A dataclass state."""

    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)
    note: Annotated[str, both] = ""
    customer: str = ""


def of_state(schema: type[Any]) -> Callable[[Any], Graph]:
    """Build a graph with this state."""
    return lambda node: around(node, schema)


def handling(name: str, how: Any) -> Case:
    """Return a form of ``handle_tool_errors``, with a tool that fails."""
    return Case(f"handle_tool_errors={name}", tools(picky, handle_tool_errors=how), (call("picky", number=1),))


def explained(error: ValueError) -> str:
    """Return the application's text for an error."""
    return f"Sorry: {error}"


CASES: Final = (
    Case("a plain tool", tools(plain), (call("plain", text="hi"),)),
    Case("three tools, in order", tools(plain, picky), tuple(call("plain", f"n{n}", text=str(n)) for n in range(3))),
    Case("artifact", tools(with_artifact), (call("with_artifact"),)),
    Case("return_direct", tools(final), (call("final"),)),
    Case("wrong arguments", tools(picky), (call("picky", number="many"),)),
    Case("Command(update=)", tools(note), (call("note", text="lunch"),)),
    Case(
        "Command(update=) and a plain tool", tools(note, plain), (call("note", text="lunch"), call("plain", text="x"))
    ),
    Case("Command(goto=)", tools(leave), (call("leave"),)),
    Case("Command(graph=PARENT)", tools(leave_for_parent), (call("leave_for_parent"),), nested),
    Case("several commands", tools(several), (call("several"),)),
    Case("InjectedState", tools(whole_state, one_field), (call("whole_state"), call("one_field"))),
    Case(
        "InjectedState, pydantic",
        tools(whole_state, one_field),
        (call("whole_state"), call("one_field")),
        of_state(Modeled),
    ),
    Case(
        "InjectedState, dataclass",
        tools(whole_state, one_field),
        (call("whole_state"), call("one_field")),
        of_state(Data),
    ),
    Case("InjectedStore", tools(from_store), (call("from_store"),)),
    Case("ToolRuntime", tools(from_runtime), (call("from_runtime"),)),
    Case(
        "messages_key",
        tools(plain, messages_key="history"),
        (call("plain", text="hi"),),
        of_state(History),
        key="history",
    ),
    Case("name and tags", tools(plain, name="own", tags=["mine"]), (call("plain", text="hi"),)),
    Case("a tool that raises", tools(picky), (call("picky", number=1),)),
    *(handling(str(how), how) for how in (True, False, "Oh no.", ValueError)),
    handling("(KeyError, ValueError)", (KeyError, ValueError)),
    handling("KeyError", KeyError),
    handling("a function", explained),
    Case("wrap_tool_call, a retry", flaky_tools, (call("flaky"),)),
    Case(
        "wrap_tool_call, a cache", cached_tools, (call("plain", "first", text="a"), call("plain", "second", text="b"))
    ),
    Case("wrap_tool_call, arguments", changed_tools, (call("plain", text="a"), call("picky", number=4))),
    Case("awrap_tool_call", awrapped_tools, (call("plain", text="a"),)),
)
