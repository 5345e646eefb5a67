"""Time travel: replays, forks and edited states, within what the ledger guarantees."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from langchain_core.messages import AIMessage
from langgraph.types import Command, StateSnapshot

from deputize.adapters.langgraph import requests_in
from tests.support.features.scene import Row, Scene, invoked, mail_to
from tests.support.graphs import Graph, config

CAROL: Final = {**mail_to("carol"), "id": "send"}
"""The mail of Alice's agent to another recipient, under the same call id."""


async def history(scene: Scene, graph: Graph) -> list[StateSnapshot]:
    """Return all checkpoints, newest first."""
    if scene.mode == "sync":
        return await asyncio.to_thread(lambda: list(graph.get_state_history(scene.config)))
    return [snapshot async for snapshot in graph.aget_state_history(scene.config)]


async def update(scene: Scene, graph: Graph, where: Any, values: Any, **more: Any) -> Any:
    """Edit the state at a checkpoint; return the resulting configuration."""
    if scene.mode == "sync":
        return await asyncio.to_thread(lambda: graph.update_state(where, values, **more))
    return await graph.aupdate_state(where, values, **more)


async def forked(scene: Scene, graph: Graph, at: StateSnapshot, wish: AIMessage) -> None:
    """Fork the thread with this request in it, and run to its first pause."""
    scene.config = await update(scene, graph, at.config, {"messages": [wish]}, as_node="__start__")
    await invoked(scene, graph, None)
    scene.config = config()


async def replayed(scene: Scene) -> int:
    """Continue from every checkpoint after the end. A model that requests again is asked again."""
    graph = scene.graph()
    await scene.play(graph)
    for snapshot in await history(scene, graph):
        scene.config = snapshot.config
        await invoked(scene, graph, None)
    return scene.sent()


async def answered_again(scene: Scene) -> int:
    """Repeat Alice's answers after the end at the checkpoints where they were given."""
    graph = scene.graph()
    await scene.play(graph)
    paused = [snapshot for snapshot in await history(scene, graph) if snapshot.next]
    for snapshot in paused:
        for answer in scene.resumed:
            scene.config = snapshot.config
            await invoked(scene, graph, answer)
    return scene.sent()


def recipient_edited(*, approved: bool) -> Row:
    """Edit the recipient to Carol after the end, and run again. Another mail is another act."""

    async def played(scene: Scene) -> int:
        graph = scene.graph()
        await scene.play(graph)
        [before, *_] = [one for one in await history(scene, graph) if one.next == ("tools",)]
        wish = before.values["messages"][-1]
        edited = AIMessage("", id=wish.id, tool_calls=[CAROL])
        await forked(scene, graph, before, edited)
        assert scene.sent() == 1 and (await scene.state(graph)).interrupts, "Carol's mail is asked about"
        if approved:
            await scene.to_the_end(graph)
            assert [b"carol@" in one.raw for one in scene.sandbox.sent("alice@example.test")].count(True) == 1
        return scene.sent()

    how = "approved" if approved else "not approved"
    return Row(f"fork with another recipient, {how}", played, ways=("act_node",), mails=2 if approved else 1)


async def recipient_edited_at_the_pause(scene: Scene) -> int:
    """Edit the recipient to Carol while Alice is asked: her approval of the old mail sends nothing."""
    graph = scene.graph()
    await invoked(scene, graph, scene.start())
    [consent] = (await scene.state(graph)).interrupts
    await invoked(scene, graph, Command(resume={consent.id: await scene.answer(consent)}))
    paused = await scene.state(graph)
    [approval] = paused.interrupts
    answer = await scene.answer(approval)
    yes: Command[Any] = Command(resume={approval.id: answer})
    edited = AIMessage("", id=paused.values["messages"][-1].id, tool_calls=[CAROL])
    await forked(scene, graph, paused, edited)
    [asked] = requests_in((await scene.state(graph)).interrupts, "approval")
    assert asked["preview"]["to"] == "carol@example.test"
    await invoked(scene, graph, yes)
    [ours] = (await scene.state(graph)).interrupts
    await invoked(scene, graph, Command(resume={ours.id: answer}))
    return scene.sent()


async def dropped(scene: Scene) -> int:
    """Continue as if the node had run while Alice is asked: nothing is sent, whatever happens later."""
    graph = scene.graph()
    await invoked(scene, graph, scene.start())
    [consent] = (await scene.state(graph)).interrupts
    late: Command[Any] = Command(resume={consent.id: await scene.answer(consent)})
    await invoked(scene, graph, late)
    [approval] = (await scene.state(graph)).interrupts
    yes: Command[Any] = Command(resume={approval.id: await scene.answer(approval)})
    await update(scene, graph, scene.config, {"messages": [("user", "never mind")]}, as_node="tools")
    for given in (None, late, yes):
        await invoked(scene, graph, given)
    assert (await scene.state(graph)).next == ()
    return scene.sent()


async def copied(scene: Scene) -> int:
    """Copy the pause's state into another thread: it is another conversation with its own requests."""
    graph = scene.graph()
    await scene.play(graph)
    messages = scene.start()["messages"]
    scene.config, scene.resumed = {"configurable": {"thread_id": "copy"}}, []
    return await scene.play(graph, {"messages": messages})


ROWS: Final = (
    Row("replay of every checkpoint", replayed, usual=True),
    Row("answers given again at older checkpoints", answered_again),
    recipient_edited(approved=True),
    recipient_edited(approved=False),
    Row("recipient edited at the pause", recipient_edited_at_the_pause, ways=("act_node",), mails=0),
    Row("update_state as the node, at the pause", dropped, mails=0),
    Row("the same wish in a second thread", copied, mails=2),
)
