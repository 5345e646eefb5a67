"""A LlamaIndex agent that answers a mail as you. It is stopped while it waits for you, and another process continues.

    python examples/llamaindex_agent.py             # you open the link, and approve
    python examples/llamaindex_agent.py --auto      # answers for you

A sandbox on this machine simulates Google, and the model is a small script. For real use, leave ``sandbox_url`` and
``apps`` out of the settings, set DEPUTIZE_APPS__GOOGLE__CLIENT_ID and _SECRET, and use your own model.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import Context

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentRequest,
    GmailToolSpec,
    resume_paused,
    resume_when_done,
    save_paused,
    store_user,
)
from deputize.core import Consent, Deputy, User
from deputize.core.background_loop import portal
from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

ALICE = User("alice")  # the user, whom your application knows; the model is never asked
MAIL = {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes, gladly."}


def model() -> FunctionCallingLLM:
    """Return a scripted model that sends one mail, then reports the result. It only depends on the conversation."""

    def respond(messages: Sequence[ChatMessage], **more: Any) -> ChatMessage:
        if messages[-1].role == "tool":
            return ChatMessage(role="assistant", content=messages[-1].content)
        call = ToolCallBlock(tool_call_id="1", tool_name="gmail_send_email", tool_kwargs=MAIL)
        return ChatMessage(role="assistant", blocks=[call])

    return MockFunctionCallingLLM(response_generator=respond)


def agent(deputy: Deputy) -> FunctionAgent:
    """Return the agent, made once in every process for all users: each run's store names its user."""
    return FunctionAgent(tools=[*GmailToolSpec(deputy, user=store_user("user_id")).to_tool_list()], llm=model())


async def start(deputy: Deputy) -> str:
    """Run until the user must be asked. Then stop the run, and return it as text."""
    one = agent(deputy)
    ctx: Context[Any] = Context(one)
    await ctx.store.set("user_id", ALICE.id)
    handler = one.run("Tell Bob yes.", ctx=ctx)
    async for event in handler.stream_events():
        if isinstance(event, ConsentRequest):
            print(f"It waits for you, to {' and '.join(event.scope_descriptions)}. This process ends here.")
            break
    return await save_paused(handler)


async def go_on(deputy: Deputy, paused: str, auto: bool) -> None:
    """Resume the run in another process, answer its requests, and print its result."""
    print("Another process resumes it.")
    handler = await resume_paused(agent(deputy), paused, user=ALICE)
    for asked in await deputy.pending(ALICE):  # requests that already wait are not streamed again
        if isinstance(asked, Consent):
            await allow(asked, auto)
            await resume_when_done(deputy, handler, asked)
    async for event in handler.stream_events():
        if isinstance(event, ApprovalRequest):
            decision = decide(event.preview, auto)
            handler.ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by=ALICE.id, decision=decision))
    print(await handler)


async def allow(consent: Consent, auto: bool) -> None:
    """Show a link, and with --auto press Connect, then Allow at the provider."""
    print(f"Open this link and press Allow:\n  {consent.link}")
    if auto:
        async with httpx.AsyncHTTPTransport() as network:
            await Browser(network).allow(consent.link)


def decide(preview: Any, auto: bool) -> Literal["approve", "reject"]:
    """Show a preview, and return the user's decision."""
    print(f"{preview}\nSend this? [y/n] ", end="y\n" if auto else "", flush=True)
    return "approve" if auto or input().lower().startswith("y") else "reject"


def one_process(step: str, folder: Path, auto: bool) -> None:
    """Open the state in the folder, and run one step."""
    google = portal().run(portal().enter(serve(Sandbox(state=folder / "sandbox.json").app)))
    settings = Settings.load(
        home=folder,
        agent="example agent",
        sandbox_url=google,
        apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
    )
    with Deputy.from_settings(settings) as deputy:
        paused = folder / "paused.json"  # keep it where its user cannot write
        if step == "start":
            paused.write_text(asyncio.run(start(deputy)))
        else:
            asyncio.run(go_on(deputy, paused.read_text(), auto))


def main(options: Sequence[str]) -> None:
    """Run each step in a process of its own, over one folder."""
    with tempfile.TemporaryDirectory() as folder:
        for step in ("start", "go-on"):
            subprocess.run([sys.executable, __file__, *options, step, folder], check=True)


if __name__ == "__main__":
    flags, rest = [o for o in sys.argv[1:] if o == "--auto"], [o for o in sys.argv[1:] if o != "--auto"]
    if rest:
        one_process(rest[0], Path(rest[1]), auto=bool(flags))
    else:
        main(flags)
