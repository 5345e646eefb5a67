"""LangGraph's functional API: an entrypoint calls the act node like any other function.

    python examples/functional_api.py            # prints a link; open it and press Allow
    python examples/functional_api.py --auto     # the link is followed for you

A resumed entrypoint runs again from its start. Put work that must not run twice into a ``@task``, like the model here.
The act node has checkpoints of its own and continues where it paused. A sandbox on this machine simulates Google, and
the model is a small script. Nothing is kept at the end.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Any, Final

import httpx
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task

from deputize.adapters.langgraph import Context, act_node, requests_in, resume_when_done
from deputize.cli.demo.model import ScriptedChatModel
from deputize.core import PROVIDERS, App, Deputy, Secret
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

CONFIG: Final[RunnableConfig] = {"configurable": {"thread_id": "1"}}
LINE: Final = "anything from Bob this week?"


ALICE: Final = Context("alice")


def new_chat(deputy: Deputy) -> Any:
    """Return the chat: model -> tools -> model, until the model calls no more tools."""
    model, acting = ScriptedChatModel(), act_node(deputy, "gmail")

    @task
    async def think(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke(messages)

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Context)
    async def chat(line: str) -> str:
        messages: list[AnyMessage] = [HumanMessage(line)]
        messages.append(await think(messages))
        while messages[-1].tool_calls:  # type: ignore[union-attr]
            messages += (await acting.ainvoke({"messages": messages}))["messages"]
            messages.append(await think(messages))
        return str(messages[-1].text)

    return chat


async def new_deputy(google: str) -> Deputy:
    """Return a deputy in memory that uses ``google`` in place of Google."""
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    app = App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET))
    providers = {"google": PROVIDERS["google"].moved_to(google)}
    return Deputy(vault, [app], pages=LocalPages, agent="example", providers=providers)


async def allow(link: str, auto: bool) -> None:
    """Show a link, and with --auto follow it."""
    print(f"Open this link and press Allow:\n  {link}")
    if auto:
        async with httpx.AsyncHTTPTransport() as network:
            await Browser(network).allow(link)


async def main(auto: bool) -> None:
    """Ask one question, and answer all pauses before its result."""
    async with serve(Sandbox().app) as google, await new_deputy(google) as deputy:
        chat = new_chat(deputy)
        print(f"you> {LINE}")
        said = await chat.ainvoke(LINE, CONFIG, context=ALICE)
        while pauses := (await chat.aget_state(CONFIG)).interrupts:
            for consent in requests_in(pauses, "consent"):
                await allow(consent["link"], auto)
            said = await resume_when_done(deputy, chat, CONFIG, context=ALICE)
        print(said)


if __name__ == "__main__":
    asyncio.run(main(auto="--auto" in sys.argv[1:]))
