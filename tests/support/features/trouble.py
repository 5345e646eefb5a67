"""Early ends of a run: cancellation, timeouts, closed streams, limits, a failing network; and many concurrent runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import httpx
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy

from tests.support.features.scene import PLAIN, Row, Scene, invoked
from tests.support.graphs import Context, Graph, config
from tests.support.sandbox_deputy import connect


async def to_the_yes(scene: Scene, graph: Graph) -> Command[Any]:
    """Run to the pause for approval; return Alice's approval, not yet given."""
    await connect(scene.deputy, scene.sandbox, "send")
    await invoked(scene, graph, scene.start())
    [pause] = (await scene.state(graph)).interrupts
    return Command(resume={pause.id: await scene.answer(pause)})


async def in_any_state(scene: Scene, graph: Graph, yes: Command[Any]) -> int:
    """Continue from any state that an interrupted run left, and approve again; return the number of mails."""
    for given in (None, yes, None, yes):
        await invoked(scene, graph, given)
    assert (await scene.state(graph)).next == ()
    return scene.sent()


def cancelled(when: str, durability: Any = "async") -> Row:
    """Cancel the resuming task before the mail is sent, or when it has arrived without an answer."""

    async def played(scene: Scene) -> int:
        graph, reached = scene.graph(), asyncio.Event()

        async def forever() -> None:
            reached.set()
            await asyncio.Event().wait()

        yes = await to_the_yes(scene, graph)
        setattr(scene.line, when, forever)
        resumed = graph.ainvoke(yes, scene.config, context=scene.context, durability=durability)
        run = asyncio.create_task(resumed)
        await reached.wait()
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        setattr(scene.line, when, None)
        return await in_any_state(scene, graph, yes)

    mails = 0 if when == "leaving" else 1  # of one that was cut off before it left, nobody can be sure
    return Row(f"cancelled, {when}, durability {durability}", played, modes=("async",), mails=mails)


async def waited_for(scene: Scene) -> int:
    """Let ``asyncio.wait_for`` time out after the mail has arrived."""
    graph = scene.graph()
    yes = await to_the_yes(scene, graph)

    async def slow() -> None:
        await asyncio.sleep(30)

    scene.line.arrived = slow
    with suppress(TimeoutError):
        await asyncio.wait_for(invoked(scene, graph, yes), 0.5)
    scene.line.arrived = None
    return await in_any_state(scene, graph, yes)


async def step_timeout(scene: Scene) -> int:
    """Let the graph's own step timeout expire after the mail has arrived."""
    graph = scene.graph()
    yes = await to_the_yes(scene, graph)

    async def slow() -> None:
        await asyncio.sleep(30)

    scene.line.arrived, graph.step_timeout = slow, 0.5
    with suppress(TimeoutError):
        await invoked(scene, graph, yes)
    scene.line.arrived, graph.step_timeout = None, None
    return await in_any_state(scene, graph, yes)


async def closed_early(scene: Scene) -> int:
    """Read one part of each stream and close it, as long as the run progresses."""
    graph = scene.graph()
    await connect(scene.deputy, scene.sandbox, "send")
    given: Any = scene.start()
    for _ in range(12):
        stream: Any = graph.astream(given, scene.config, context=scene.context, stream_mode="updates", subgraphs=True)
        with suppress(StopAsyncIteration):
            await anext(stream)
        await stream.aclose()
        state = await scene.state(graph)
        given = Command(resume=await scene.answers(state.interrupts)) if state.interrupts else None
    await scene.to_the_end(graph)
    return scene.sent()


async def recursion_limit(scene: Scene) -> int:
    """Hit the recursion limit at each step; the client raises it by one and continues."""
    graph = scene.graph()
    await connect(scene.deputy, scene.sandbox, "send")
    given: Any = scene.start()
    for limit in range(1, 12):
        scene.config = {**config(), "recursion_limit": limit}
        with suppress(GraphRecursionError):
            await invoked(scene, graph, given)
        state = await scene.state(graph)
        given = Command(resume=await scene.answers(state.interrupts)) if state.interrupts else None
    scene.config = config()
    await scene.to_the_end(graph)
    return scene.sent()


def retried(status: str, error: type[httpx.TransportError], mails: int) -> Row:
    """Use a RetryPolicy with a network that fails once: before the mail is sent, or after it has arrived."""

    async def played(scene: Scene) -> int:
        builder = StateGraph(MessagesState, context_schema=Context)
        every = RetryPolicy(max_attempts=3, initial_interval=0.01, retry_on=lambda error: True)
        builder.add_node("acts", scene.part(), retry_policy=every)
        builder.add_edge(START, "acts")
        builder.add_edge("acts", END)

        async def broken() -> None:
            setattr(scene.line, status, None)
            raise error("the connection broke")

        setattr(scene.line, status, broken)
        return await scene.play(builder.compile(checkpointer=scene.saver))

    return Row(
        f"RetryPolicy, {error.__name__}, {status}", played, ways=("act_node", "create_agent", PLAIN), mails=mails
    )


async def ten_threads(scene: Scene) -> int:
    """Run ten conversations at once by ``batch``: one link for all, and an approval for each."""
    graph, threads = scene.graph(), [config(str(number)) for number in range(10)]
    await batched(scene, graph, [scene.start() for _ in threads], threads)
    for _ in range(3):
        given = list[Any]()
        for scene.config in threads:
            given.append(Command(resume=await scene.answers((await scene.state(graph)).interrupts) or {"wake": True}))
        await batched(scene, graph, given, threads)
    assert len(set(scene.asked["consent"])) == 1 and len(set(scene.asked["approval"])) == 10
    return scene.sent()


async def batched(scene: Scene, graph: Graph, given: list[Any], threads: list[Any]) -> None:
    """Run each thread with its input."""
    if scene.mode == "sync":
        await asyncio.to_thread(lambda: graph.batch(given, threads, context=scene.context))
    else:
        await graph.abatch(given, threads, context=scene.context)


ROWS: Final = (
    *(cancelled(when, durability) for when in ("leaving", "arrived") for durability in ("sync", "async", "exit")),
    Row("wait_for, the mail has arrived", waited_for, modes=("async",)),
    Row("step_timeout, the mail has arrived", step_timeout),
    Row("stream closed after each part", closed_early, modes=("async",)),
    Row("recursion limit, then one more", recursion_limit),
    retried("leaving", httpx.ReadError, 0),  # of one that may have left, nobody can be sure
    retried("leaving", httpx.ConnectError, 1),
    retried("arrived", httpx.ReadError, 1),
    Row("batch of ten threads", ten_threads, mails=10, usual=True),
)
