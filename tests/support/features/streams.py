"""The stream modes, each alone and in pairs, in both formats, with and without what subgraphs stream."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import Any, Final, get_args

from langgraph.types import StreamMode

from tests.support.features.scene import Row, Run, Scene
from tests.support.graphs import Graph, config
from tests.support.sandbox_deputy import connect

MODES: Final = get_args(StreamMode)
SHOWING: Final = {"values", "updates", "tasks", "debug"}
"""The modes in which LangGraph itself shows a pause; in the others a client reads the state."""


def streaming(shown: list[str], modes: tuple[str, ...], version: str, subgraphs: bool) -> Run:
    """Run a graph by its stream; ``shown`` collects everything as text."""
    how: dict[str, Any] = {"version": version, "subgraphs": subgraphs}
    how["stream_mode"] = modes[0] if len(modes) == 1 else list(modes)

    async def run(scene: Scene, graph: Graph, given: Any) -> None:
        if scene.mode == "sync":
            parts = await asyncio.to_thread(
                lambda: list(graph.stream(given, scene.config, context=scene.context, **how))
            )
        else:
            parts = [part async for part in graph.astream(given, scene.config, context=scene.context, **how)]
        shown.extend(map(str, parts))

    return run


def row(modes: tuple[str, ...]) -> Row:
    """Play four conversations of these modes, each in its own thread."""

    async def played(scene: Scene) -> int:
        await connect(scene.deputy, scene.sandbox, "send")
        for number, version in enumerate(("v1", "v1", "v2", "v2")):
            scene.config, scene.resumed, shown = config(str(number)), [], list[str]()
            await scene.play(scene.graph(), run=streaming(shown, modes, version, subgraphs=number % 2 == 1))
            paused = any("deputize.approval" in part for part in shown)
            assert paused or not SHOWING & set(modes), (version, shown)
        return scene.sent()

    return Row(f"stream {' + '.join(modes)}", played, mails=4, usual=modes == ("values", "updates"))


ROWS: Final = tuple(row(modes) for many in (1, 2) for modes in combinations(MODES, many))
