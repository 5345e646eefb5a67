"""The rows of the table: each framework's shapes of a run, and the shapes that it does not have, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.support.identity import graphs, llamaindex, mcp
from tests.support.identity.graphs import GraphRun
from tests.support.identity.llamaindex import LiveRun
from tests.support.identity.table import COLUMNS, HERS, NOBODY, Cell, Play, here, restored
from tests.support.identity.text import SessionRun, TextRun
from tests.support.openai_agents_runs import Runs as OpenAIRuns
from tests.support.pydantic_ai_runs import SHAPES as PYDANTIC_AI

SHAPES: Final = ("flat", "nested", "agent as tool", "handoff", "subgraph", "scheduled", "restored")
"""What every framework has a row for, or a reason."""
NO_SCHEDULER: Final = "it starts no runs by itself"
ONE_CALL: Final = "a server sees one call, whatever the client's agent looks like"


def of_graphs(way: str) -> dict[str, Play | str]:
    """Return the rows of an integration with a graph, in the application's process."""
    return {
        **{shape: here(partial(GraphRun, way=way, shape=shape)) for shape in graphs.SHAPES},
        "scheduled": here(partial(graphs.cron_of, way)),
        "scheduled, user named": here(partial(graphs.documented_cron_of, way)),
        "restored": restored(f"graphs:{way}"),
    }


def shaped(shape: str) -> Play:
    """Return a row of Google ADK."""
    return here(partial(SessionRun, shape=shape))


TABLE: Final[Mapping[str, Mapping[str, Play | str]]] = {
    "LangChain create_agent": of_graphs("create_agent"),
    "LangGraph act node": of_graphs("act_node"),
    "LlamaIndex": {
        **{shape: here(partial(LiveRun, shape=shape)) for shape in llamaindex.SHAPES},
        "subgraph": "a workflow in a workflow is run by a tool or a step of yours, as in the row 'agent as tool'",
        "scheduled": NO_SCHEDULER,
        "restored": restored("llamaindex"),
    },
    "pydantic-ai": {
        "flat": here(partial(TextRun, runs=PYDANTIC_AI["flat"])),
        "nested": "an agent runs another one in a tool",
        "agent as tool": here(partial(TextRun, runs=PYDANTIC_AI["delegated"])),
        "handoff": here(partial(TextRun, runs=PYDANTIC_AI["handed on"])),
        "subgraph": "a node of pydantic_graph runs an agent as any program does",
        "scheduled": NO_SCHEDULER,
        "restored": restored("text:pydantic_ai"),
    },
    "OpenAI Agents": {
        "flat": here(partial(TextRun, runs=OpenAIRuns())),
        "nested": here(partial(TextRun, runs=OpenAIRuns("as a tool of a tool"))),
        "agent as tool": here(partial(TextRun, runs=OpenAIRuns("as a tool"))),
        "handoff": here(partial(TextRun, runs=OpenAIRuns("handoff"))),
        "subgraph": "it has no graphs",
        "scheduled": NO_SCHEDULER,
        "restored": restored("text:openai_agents"),
    },
    "Google ADK": {
        "flat": shaped("flat"),
        "nested": shaped("sequence"),
        "nested, loop": shaped("loop"),
        "agent as tool": shaped("single_turn"),
        "agent as tool, task": shaped("task"),
        "agent as tool, own session": shaped("own"),
        "handoff": shaped("transfer"),
        "subgraph": shaped("graph"),
        "scheduled": NO_SCHEDULER,
        "restored": restored("text:google_adk"),
    },
    "MCP over HTTP": {
        "flat": mcp.calling,
        **dict.fromkeys(("nested", "agent as tool", "handoff", "subgraph"), ONE_CALL),
        "scheduled": NO_SCHEDULER,
        "restored": mcp.restarted,
    },
}

REFUSED: Final = dict.fromkeys(COLUMNS, Cell())
"""A run that is refused at its begin, whoever begins it."""


def exceptions(adapter: str, shape: str) -> Mapping[str, Cell]:
    """Return the cells that differ from the usual ones."""
    if shape == "scheduled":  # no person is present, and no function names a user
        return REFUSED
    if (adapter, shape) == ("Google ADK", "agent as tool, own session"):  # no answer reaches that session
        return {"owner": Cell(NOBODY, HERS, NOBODY)}
    if adapter == "OpenAI Agents":  # a state has no owner: Bob is asked about his own account
        return {"another user": Cell(NOBODY, HERS | {"bob"}, NOBODY)}
    return {}
