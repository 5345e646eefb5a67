"""The requests of Agent Chat UI and Agent Inbox, as their sources of August 2026 make them, to LangGraph's dev server.

Agent Chat UI is ``useStream`` of langgraph-sdk for JavaScript: each run carries the head of the thread's history, also
one that resumes, which has an empty input beside its command.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.counterparts.test_langgraph_server import ALICE, GO_ON, Server, allow, dev_server

pytestmark = pytest.mark.counterpart
APPROVE, ACCEPT = {"type": "approve"}, {"type": "accept", "args": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with dev_server(tmp_path_factory.mktemp("inboxes"), auth=True, graphs=("inbox",)) as running:
        yield running


class Client:
    """One thread, as a page in a browser sees it: over HTTP alone."""

    def __init__(self, http: httpx.AsyncClient, thread: str) -> None:
        self.http, self.thread = http, f"/threads/{thread}"

    async def post(self, path: str, body: Any) -> Any:
        answer = await self.http.post(f"{self.thread}{path}", json=body)
        answer.raise_for_status()
        return answer

    async def stream(self, body: Any) -> list[tuple[str, Any]]:
        """Return the events of a run, with their data."""
        text = (await self.post("/runs/stream", {"assistant_id": "inbox", **body})).text.replace("\r\n", "\n")
        lines = [
            dict(line.split(": ", 1) for line in block.split("\n") if ": " in line) for block in text.split("\n\n")
        ]
        return [(one["event"], json.loads(one["data"])) for one in lines if one.get("data")]

    async def head(self) -> dict[str, Any]:
        """Return the newest state of the thread's history."""
        found: dict[str, Any] = (await self.post("/history", {"limit": 10})).json()[0]
        return found


class ChatUI(Client):
    async def submit(self, values: Any, **more: Any) -> dict[str, Any] | None:
        """Do ``stream.submit(values, more)`` of useStream; return the interrupt its page then has."""
        head = (await self.post("/history", {"limit": 10})).json()
        checkpoint = {k: v for k, v in head[0]["checkpoint"].items() if k != "thread_id"} if head else None
        body = {"input": values, "stream_mode": ["values", "updates", "messages-tuple", "custom"], **more}
        events = await self.stream(
            body
            | {"stream_resumable": False, "on_disconnect": "cancel"}
            | ({"checkpoint": checkpoint} if checkpoint else {})
        )
        assert "error" not in {event for event, _ in events}, events
        last = (await self.head())["tasks"]
        found: list[dict[str, Any]] = last[-1]["interrupts"] if last else []
        return found[-1]["value"] if found else None

    async def decide(self, *decisions: Any) -> dict[str, Any] | None:
        """Do ``resumeRun`` of use-interrupted-actions.tsx."""
        return await self.submit({}, command={"resume": {"decisions": list(decisions)}})


class AgentInbox(Client):
    async def first(self) -> dict[str, Any]:
        """Do ``getInterruptFromThread``, with ``normalizeInterrupt``: what it shows of an interrupted thread."""
        thread = (await self.http.get(self.thread)).json()
        assert thread["status"] == "interrupted"
        [pause] = next(iter(thread["interrupts"].values()))
        request, decisions = pause["value"]["action_requests"][0], pause["value"]["review_configs"][0]
        return {"args": request["arguments"], "accept": "approve" in decisions["allowed_decisions"], **request}

    async def answer(self, one: dict[str, Any]) -> None:
        """Do ``sendHumanResponse``."""
        events = await self.stream({"command": {"resume": [one]}, "stream_mode": "events"})
        assert "error" not in {event for event, _ in events}, events


@asynccontextmanager
async def page(server: Server, kind: Any) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=server.url, headers=ALICE, timeout=60) as http:
        yield kind(http, (await http.post("/threads", json={})).json()["thread_id"])


async def answered(client: Client) -> list[tuple[str, str]]:
    messages = (await client.head())["values"]["messages"]
    return [(message["name"], message["status"]) for message in messages if message["type"] == "tool"]


def sent(server: Server) -> int:
    return len(server.sandbox.sent("alice@example.test"))


async def test_agent_chat_ui_shows_link_and_mail_and_sends_once_after_approval(server: Server) -> None:
    before = sent(server)
    async with page(server, ChatUI) as ui:
        consent = await ui.submit(GO_ON, stream_subgraphs=True, stream_resumable=True)
        [request] = consent["action_requests"]
        assert request["name"] == "connect_google" and request["args"]["open"].startswith("<http")
        await allow(consent)
        approval = await ui.decide(APPROVE)
        [request] = approval["action_requests"]
        assert request["name"] == "gmail_send_email" and request["args"]["to"] == "`bob@example.test`"
        assert sent(server) == before
        assert await ui.decide(APPROVE) is None
        assert ("gmail_send_email", "success") in await answered(ui) and sent(server) == before + 1
    async with page(server, ChatUI) as ui:  # connected by now
        assert (await ui.submit(GO_ON))["type"] == "deputize.approval"
        assert await ui.decide({"type": "reject", "message": "not him"}) is None
        assert ("gmail_send_email", "error") in await answered(ui) and sent(server) == before + 1


async def test_agent_inbox_lists_the_thread_and_its_answer_counts(server: Server) -> None:
    before = sent(server)
    async with page(server, AgentInbox) as inbox:
        await inbox.stream({"input": GO_ON, "stream_mode": "values"})
        if (shown := await inbox.first())["name"] == "connect_google":
            await allow((await inbox.head())["tasks"][-1]["interrupts"][-1]["value"])
            await inbox.answer(ACCEPT)
            shown = await inbox.first()
        assert shown["name"] == "gmail_send_email" and shown["accept"] and shown["args"]["to"] == "`bob@example.test`"
        await inbox.answer(ACCEPT)
        assert ("gmail_send_email", "success") in await answered(inbox) and sent(server) == before + 1
    async with page(server, AgentInbox) as inbox:
        await inbox.stream({"input": GO_ON, "stream_mode": "values"})
        await inbox.answer({"type": "response", "args": "not him"})
        assert ("gmail_send_email", "error") in await answered(inbox) and sent(server) == before + 1
