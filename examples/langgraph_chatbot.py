"""A chatbot in the terminal that reads and answers mail as you. It keeps its state on disk and never holds a token.

    python examples/langgraph_chatbot.py             # "anything from Bob this week?", then "answer him yes"
    python examples/langgraph_chatbot.py --auto      # plays both sides, in a temporary folder

A sandbox on this machine simulates Google, and the model is a small script. For real use, leave ``sandbox_url`` and
``apps`` out of the settings, set DEPUTIZE_APPS__GOOGLE__CLIENT_ID and _SECRET, and use your own chat model.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import Context, act_node, requests_in
from deputize.cli.demo.model import ScriptedChatModel
from deputize.core import Deputy
from deputize.core.background_loop import portal
from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

Graph = CompiledStateGraph[Any, Any, Any, Any]
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}


ALICE = Context("alice")


def chatbot(deputy: Deputy, model: BaseChatModel, saver: SqliteSaver) -> Graph:
    """Return the graph: agent -> tools -> agent, with `act_node` in place of `ToolNode`."""
    bound = model.bind_tools(tools(deputy, "gmail:core"))

    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("agent", agent)
    builder.add_node("tools", act_node(deputy, "gmail"))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=saver)


class You:
    """The user at the terminal."""

    def lines(self) -> Iterator[str]:
        """Yield the user's messages, until the input ends."""
        try:
            while True:
                yield input("you> ")
        except (EOFError, KeyboardInterrupt):
            print("\nThe conversation is kept: run the same command again to continue.")

    def allow(self, link: str) -> None:
        """Show a link to open."""
        print(f"Open this link and press Allow:\n  {link}")

    def decide(self, preview: Any) -> str:
        """Show a preview, and return the user's decision."""
        return "approve" if input(f"{preview}\nDo this? [y/n] ").lower().startswith("y") else "reject"


class Played(You):
    """A scripted user who approves everything."""

    def lines(self) -> Iterator[str]:
        """Yield two questions."""
        for line in ("anything from Bob this week?", "answer him yes"):
            print(f"you> {line}")
            yield line

    def allow(self, link: str) -> None:
        """Press Connect on deputize's page, then Allow at the provider."""
        super().allow(link)
        portal().run(_follow(link))

    def decide(self, preview: Any) -> str:
        """Approve."""
        print(f"{preview}\nDo this? [y/n] y")
        return "approve"


async def _follow(link: str) -> None:
    async with httpx.AsyncHTTPTransport() as network:
        await Browser(network).allow(link)


def settle(deputy: Deputy, graph: Graph, you: You) -> None:
    """Answer all pauses of one question, and print the model's answer."""
    while pauses := graph.get_state(CONFIG).interrupts:
        consents, approvals = requests_in(pauses, "consent"), requests_in(pauses, "approval")
        for consent in consents:
            you.allow(consent["link"])
        deputy.run(deputy.wait_for_consents([consent["consent_id"] for consent in consents]))
        decisions = {approval["approval_id"]: you.decide(approval["preview"]) for approval in approvals}
        graph.invoke(Command(resume={"decisions": decisions}), CONFIG, context=ALICE)
    print(graph.get_state(CONFIG).values["messages"][-1].text)


def talk(folder: Path, auto: bool) -> None:
    """Open the state in the folder, and continue the conversation."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    google = portal().run(portal().enter(serve(Sandbox(state=folder / "sandbox.json").app)))
    settings = Settings.load(
        home=folder,
        agent="example chatbot",
        sandbox_url=google,
        apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
    )
    with Deputy.from_settings(settings) as deputy, closing(_checkpoints(folder)) as db:
        graph = chatbot(deputy, ScriptedChatModel(), SqliteSaver(db))
        you = Played() if auto else You()
        if graph.get_state(CONFIG).interrupts:
            settle(deputy, graph, you)
        for line in you.lines():
            graph.invoke({"messages": [HumanMessage(line)]}, CONFIG, context=ALICE)
            settle(deputy, graph, you)


def _checkpoints(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "checkpoints.sqlite", check_same_thread=False)


if __name__ == "__main__":
    if "--auto" in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as made:
            talk(Path(made), auto=True)
    else:
        talk(Settings.load().home / "chatbot", auto=False)
