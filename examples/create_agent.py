"""LangChain's ``create_agent`` that acts as you: it pauses for consent, then for approval, and never holds a token.

    python examples/create_agent.py            # prints a link; open it and press Allow, then type y
    python examples/create_agent.py --auto     # answers for you

A sandbox on this machine simulates Google, and the model is a small script. Nothing is kept at the end.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Any, Final

import httpx
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters.langgraph import Context, requests_in, resume_when_done
from deputize.adapters.middleware import DeputyMiddleware
from deputize.cli.demo.model import ScriptedChatModel
from deputize.core import PROVIDERS, App, Deputy, Secret
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

CONFIG: Final[RunnableConfig] = {"configurable": {"thread_id": "1"}}
LINES: Final = ("anything from Bob this week?", "answer him yes")


ALICE: Final = Context("alice")


def new_agent(deputy: Deputy) -> Any:
    """Return the agent. The middleware adds its tools."""
    return create_agent(
        ScriptedChatModel(),
        middleware=[DeputyMiddleware(deputy, "gmail")],
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )


async def new_deputy(google: str) -> Deputy:
    """Return a deputy in memory that uses ``google`` in place of Google."""
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    app = App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET))
    providers = {"google": PROVIDERS["google"].moved_to(google)}
    return Deputy(vault, [app], pages=LocalPages, agent="example agent", providers=providers)


async def allow(link: str, auto: bool) -> None:
    """Show a link, and with --auto follow it."""
    print(f"Open this link and press Allow:\n  {link}")
    if auto:
        async with httpx.AsyncHTTPTransport() as network:
            await Browser(network).allow(link)


async def decide(preview: Any, auto: bool) -> str:
    """Show a preview, and return the user's decision."""
    print(f"{preview}\nDo this? [y/n]{' y' if auto else ''}")
    said = "y" if auto else await asyncio.to_thread(input)
    return "approve" if said.lower().startswith("y") else "reject"


async def main(auto: bool) -> None:
    """Ask two questions, and answer all pauses of each."""
    async with serve(Sandbox().app) as google, await new_deputy(google) as deputy:
        agent = new_agent(deputy)
        for line in LINES:
            print(f"you> {line}")
            await agent.ainvoke({"messages": [HumanMessage(line)]}, CONFIG, context=ALICE)
            while pauses := (await agent.aget_state(CONFIG)).interrupts:
                for consent in requests_in(pauses, "consent"):
                    await allow(consent["link"], auto)
                    await resume_when_done(deputy, agent, CONFIG, context=ALICE)
                asks = requests_in(pauses, "approval")
                if asks:
                    answers = {ask["approval_id"]: await decide(ask["preview"], auto) for ask in asks}
                    await agent.ainvoke(Command(resume={"decisions": answers}), CONFIG, context=ALICE)
            print((await agent.aget_state(CONFIG)).values["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main(auto="--auto" in sys.argv[1:]))
