"""A chatbot on the web for several signed-in users. Each user's agent can do only what that user has allowed.

    python examples/langgraph_web_chatbot/app.py               # then open the printed address, in two browsers
    python examples/langgraph_web_chatbot/app.py --port 9000

Consents and approvals are cards in the conversation; the page is updated by server-sent events. A sandbox on this
machine simulates Google, and the model is a small script; ask *anything from Bob this week?*, then *answer him yes*.
Signing in is a button here: replace it by your application's sign-in. Nothing is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from deputize.adapters.langgraph import RESUME, Context, act_node, requests_in, resume_when_done
from deputize.cli.demo.model import ScriptedChatModel
from deputize.core import PROVIDERS, App, DeputizeError, Deputy, Secret
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.app import Brand, pages_app
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

HERE: Final = Path(__file__).parent
USERS: Final = ("alice", "bob")
COOKIE: Final = "chat_session"
Graph = CompiledStateGraph[Any, Any, Any, Any]


def chatbot(deputy: Deputy) -> Graph:
    """Return the graph: agent -> tools -> agent, with `act_node` in place of `ToolNode`."""
    model = ScriptedChatModel()

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("agent", agent)
    builder.add_node("tools", act_node(deputy, "gmail"))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=InMemorySaver())


@dataclass
class Talk:
    """One user's conversation, and the pages that show it."""

    deputy: Deputy
    graph: Graph
    user: str
    pages: set[asyncio.Queue[str]] = field(default_factory=set)
    work: set[asyncio.Task[None]] = field(default_factory=set)
    one: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def config(self) -> RunnableConfig:
        """The configuration. The server names the thread, never the browser."""
        return {"configurable": {"thread_id": self.user}}

    async def view(self) -> dict[str, Any]:
        """Return what a page shows: the messages, and the requests that wait for the user."""
        state = await self.graph.aget_state(self.config)
        said = [m for m in state.values.get("messages", []) if m.type in ("human", "ai") and m.text]
        return {
            "user": self.user,
            "said": [{"who": "you" if m.type == "human" else "agent", "text": m.text} for m in said],
            "consents": requests_in(state.interrupts, "consent"),
            "approvals": requests_in(state.interrupts, "approval"),
        }

    def say(self, text: str) -> None:
        """Send a message of the user. While the agent waits for an answer, messages are ignored."""

        async def answer() -> None:
            if not (await self.graph.aget_state(self.config)).next:
                await self._run({"messages": [HumanMessage(text)]})

        self._go(answer())

    async def decide(self, approval: str, decision: Any) -> None:
        """Record the user's decision; the graph's run sees it. Raises a `DeputizeError`."""
        await self.deputy.decide(approval, decision, by=self.user)

    async def _run(self, given: Any) -> None:
        """Run the graph to its end. At a pause, continue when the user has answered, here or on deputize's pages."""
        context = Context(self.user)
        async with self.one:
            await self.graph.ainvoke(given, self.config, context=context)
            await self.tell()
            while pauses := (await self.graph.aget_state(self.config)).interrupts:
                if requests_in(pauses, "consent"):
                    await resume_when_done(self.deputy, self.graph, self.config, context=context)
                else:
                    await self._wait_for_decision([ask["approval_id"] for ask in requests_in(pauses, "approval")])
                    await self.graph.ainvoke(Command(resume=RESUME), self.config, context=context)
                await self.tell()

    async def _wait_for_decision(self, approvals: list[str]) -> None:
        """Wait until one of these approvals is decided or expired, by the vault."""
        while True:
            found = [await self.deputy.get_approval(one, by=self.user) for one in approvals]
            if not all(one and one.status == "pending" for one in found):
                return
            await asyncio.sleep(0.5)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.work.add(task)
        task.add_done_callback(self.work.discard)

    async def tell(self) -> None:
        """Send the current view to every open page."""
        data = json.dumps(await self.view())
        for page in self.pages:
            page.put_nowait(data)

    async def events(self) -> AsyncIterator[str]:
        """Yield the view for one page, now and after every change."""
        page: asyncio.Queue[str] = asyncio.Queue()
        self.pages.add(page)
        try:
            page.put_nowait(json.dumps(await self.view()))
            while True:
                yield f"data: {await page.get()}\n\n"
        finally:
            self.pages.discard(page)


class Site:
    """The application: sign-in sessions, and the pages of each user."""

    def __init__(self, deputy: Deputy) -> None:
        graph = chatbot(deputy)
        self.talks = {user: Talk(deputy, graph, user) for user in USERS}
        self.sessions: dict[str, str] = {}
        pages = pages_app(deputy, verifier=self.user, sign_in="/sign-in", return_to=["/"], brand=Brand("Chat"))
        self.app = Starlette(
            routes=[
                Route("/", self.chat),
                Route("/chat.js", self.file),
                Route("/chat.css", self.file),
                Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
                Route("/events", self.events),
                Route("/say", self.message_page, methods=["POST"]),
                Route("/decide", self.decide, methods=["POST"]),
                Mount("/", pages),
            ]
        )

    def user(self, request: Request) -> str | None:
        """Return the user who is signed in at this browser. deputize calls this, too."""
        return self.sessions.get(request.cookies.get(COOKIE, ""))

    async def chat(self, request: Request) -> Response:
        """Return the page."""
        return FileResponse(HERE / "chat.html") if self.user(request) else RedirectResponse("/sign-in", 303)

    async def file(self, request: Request) -> Response:
        """Return its script or style sheet."""
        return FileResponse(HERE / request.url.path.lstrip("/"))

    async def sign_in(self, request: Request) -> Response:
        """Sign in with a button for each user. Your application asks for a password here, or redirects to its own
        login."""
        if request.method == "GET":
            return FileResponse(HERE / "sign_in.html")
        user, back = str((await request.form()).get("user")), request.query_params.get("next", "/")
        if user not in USERS or not back.startswith("/") or back.startswith(("//", "/\\")):
            return Response("Unknown user or address.", 403)
        session = secrets.token_urlsafe(32)
        self.sessions[session] = user
        response = RedirectResponse(back, 303)
        response.set_cookie(COOKIE, session, httponly=True, samesite="lax")
        return response

    async def events(self, request: Request) -> Response:
        """Return the user's conversation as server-sent events."""
        user = self.user(request)
        if user is None:
            return Response("Sign in.", 401)
        return StreamingResponse(self.talks[user].events(), media_type="text/event-stream")

    async def message_page(self, request: Request) -> Response:
        """Take a message of the user."""
        user, given = await self._read(request)
        if user is None:
            return Response("Sign in.", 401)
        self.talks[user].say(str(given.get("text", ""))[:2000])
        return JSONResponse({})

    async def decide(self, request: Request) -> Response:
        """Take the user's decision about an approval."""
        user, given = await self._read(request)
        if user is None:
            return Response("Sign in.", 401)
        try:
            await self.talks[user].decide(str(given.get("approval")), given.get("decision"))
        except DeputizeError as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({})

    async def _read(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        """Return the user and the body. It must be JSON, which a form on another site cannot send."""
        if request.headers.get("content-type") != "application/json":
            return None, {}
        return self.user(request), await request.json()


async def main(port: int) -> None:
    """Serve the chatbot, its users' pages and the sandbox."""
    base = f"http://127.0.0.1:{port}"
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    app = App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET))
    async with serve(Sandbox().app) as google:
        providers = {"google": PROVIDERS["google"].moved_to(google)}
        async with Deputy(vault, [app], pages=base, agent="web chatbot", providers=providers) as deputy:
            async with serve(Site(deputy).app, port):
                print(f"Open {base}", flush=True)
                await asyncio.Event().wait()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="A chatbot on the web that acts as its users.")
    options.add_argument("--port", type=int, default=8737)
    try:
        asyncio.run(main(options.parse_args().port))
    except KeyboardInterrupt:
        print("Everything is deleted.")
