"""LangGraph's functional API: the act node is called by an entrypoint, as any other function would be.

    python examples/functional_api.py            # prints a link; open it and press Allow
    python examples/functional_api.py --auto     # the link is followed for you

A resumed entrypoint runs again from its top. What must not happen twice stands in a ``@task``, as the model does here;
the act node has checkpoints of its own and goes on where it paused. Google is played by a sandbox on this machine, and
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
    """model -> tools -> model, until the model asks for no more tools."""
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
    """A deputy that forgets everything at its end, and takes ``google`` for Google."""
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    app = App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET))
    providers = {"google": PROVIDERS["google"].moved_to(google)}
    return Deputy(vault, [app], pages=LocalPages, agent="example", providers=providers)


async def allowed(link: str, auto: bool) -> None:
    """Show a link, and in a play follow it."""
    print(f"Open this link and press Allow:\n  {link}")
    if auto:
        async with httpx.AsyncHTTPTransport() as network:
            await Browser(network).allow(link)


async def main(auto: bool) -> None:
    """One question, with all the pauses before its answer."""
    async with serve(Sandbox().app) as google, await new_deputy(google) as deputy:
        chat = new_chat(deputy)
        print(f"you> {LINE}")
        said = await chat.ainvoke(LINE, CONFIG, context=ALICE)
        while pauses := (await chat.aget_state(CONFIG)).interrupts:
            for consent in requests_in(pauses, "consent"):
                await allowed(consent["link"], auto)
            said = await resume_when_done(deputy, chat, CONFIG, context=ALICE)
        print(said)


if __name__ == "__main__":
    asyncio.run(main(auto="--auto" in sys.argv[1:]))
