"""``Command``, and interrupts of the application beside ours."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from tests.support.features.scene import Row, Scene, invoked
from tests.support.graph_builds import ask_for_a_word
from tests.support.graphs import SEND, Context, Graph, asking, wired

WORD: Final = {"name": "ask_for_a_word", "args": {}, "id": "word"}


def with_every_resume(feature: str, **more: Any) -> Row:
    """Alice's answers come with other values in the same ``Command``."""

    async def run(scene: Scene, graph: Graph, given: Any) -> None:
        if isinstance(given, Command):
            given = Command(resume=given.resume, **more)
        await invoked(scene, graph, given)

    async def played(scene: Scene) -> int:
        return await scene.play(around(scene), run=run)

    return Row(feature, played)


def around(scene: Scene, *, beside: bool = False) -> Graph:
    """Build the part and another node after it. ``beside``: also a pausing node of the application in parallel."""

    def word(state: Any) -> dict[str, Any]:
        return {"messages": [HumanMessage(str(interrupt({"type": "word"})))]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", scene.part())
    builder.add_node("after", lambda state: {})
    builder.add_edge(START, "acts")
    builder.add_edge("acts", "after")
    builder.add_edge("after", END)
    if beside:
        builder.add_node("word", word)
        builder.add_edge(START, "word")
        builder.add_edge("word", "after")
    return builder.compile(checkpointer=scene.saver)


def left_by(where: str, mails: int) -> Row:
    """``Command(goto=...)`` at the pause for approval, without an answer; then Alice approves."""

    async def played(scene: Scene) -> int:
        graph = around(scene)
        await invoked(scene, graph, scene.start())
        [consent] = (await scene.state(graph)).interrupts
        await invoked(scene, graph, Command(resume={consent.id: await scene.answer(consent)}))
        [approval] = (await scene.state(graph)).interrupts
        await invoked(scene, graph, Command(goto=where))
        assert scene.sent() == 0, "nobody has said yes"
        await invoked(scene, graph, Command(resume={approval.id: await scene.answer(approval)}))
        await scene.to_the_end(graph)
        return scene.sent()

    return Row(f"Command(goto={where!r}) at the pause", played, ways=("act_node",), mails=mails, by_hand=True)


def host_beside(order: str) -> Row:
    """A node of the application pauses in parallel; each pause is answered by its id, in this order."""

    async def run(scene: Scene, graph: Graph, given: Any) -> None:
        if not isinstance(given, Command) or not isinstance(given.resume, dict) or order == "together":
            await invoked(scene, graph, given)
            return
        answers = list(given.resume.items())
        ours_first = sorted(answers, key=lambda item: isinstance(item[1], str))
        for pause, answer in ours_first if order == "ours first" else reversed(ours_first):
            await invoked(scene, graph, Command(resume={pause: answer}))

    async def played(scene: Scene) -> int:
        scene.host_answers["word"] = "lunch"
        graph = around(scene, beside=True)
        mails = await scene.play(graph, run=run)
        said = [m.text for m in (await scene.state(graph)).values["messages"]]
        assert said.count("lunch") == 1, "the word is said once"
        return mails

    return Row(f"a host's node pauses beside, {order}", played, usual=order == "theirs first")


async def host_tool_pauses(scene: Scene) -> int:
    """A tool of the application, called in the same message, pauses."""
    scene.host_answers["word"] = "lunch"
    calls = ({**SEND}, {**WORD})
    graph = wired(scene.part(*calls, own=[ask_for_a_word]), scene.saver)
    mails = await scene.play(graph, scene.start(*calls))
    answers = [m.text for m in (await scene.state(graph)).values["messages"] if m.type == "tool"]
    assert "lunch" in answers and len(answers) == 2
    return mails


async def functional(scene: Scene) -> int:
    """The functional API: the part is called in an entrypoint, whose body runs again with each resume."""
    part, start = scene.part(), scene.start()

    @task
    def think(messages: list[AnyMessage]) -> AIMessage:
        return AIMessage("", tool_calls=asking(SEND)["messages"][-1].tool_calls)

    def given(messages: list[AnyMessage], wish: AIMessage) -> dict[str, Any]:
        return {"messages": messages if scene.way == "create_agent" else [*messages, wish]}

    @entrypoint(checkpointer=scene.saver, context_schema=Context)
    def chat(messages: list[AnyMessage]) -> Any:
        return part.invoke(given(messages, think(messages).result()))

    @entrypoint(checkpointer=scene.saver, context_schema=Context)
    async def achat(messages: list[AnyMessage]) -> Any:
        return await part.ainvoke(given(messages, await think(messages)))

    graph: Any = chat if scene.mode == "sync" else achat
    return await scene.play(graph, start["messages"])


NOTE: Final = {"messages": [HumanMessage("and hurry")]}

ROWS: Final = (
    with_every_resume("Command(resume=, update=)", update=NOTE),
    with_every_resume("Command(resume=, goto='after')", goto="after"),
    left_by("after", 1),
    left_by("acts", 1),
    *(host_beside(order) for order in ("ours first", "theirs first", "together")),
    Row("a host's tool pauses in the same message", host_tool_pauses),
    Row("functional API", functional),
)
