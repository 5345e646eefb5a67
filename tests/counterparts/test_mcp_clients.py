"""Clients of MCP that others wrote, over stdio and HTTP: what their user decides happens, and each effect once.

Each is played through the same courses, and what became of each is printed: one row of a table (``pytest -s``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import Approval, Consent
from tests.support.graphs import SEND
from tests.support.mcp_matrix import Talk, talking
from tests.support.mcp_talk import KINDS

OWN_PAGE: Final = "http://127.0.0.1:8736/connections"
COURSES: Final = {
    "granted": 1, "rejected": 0, "declined": 0, "edited": 1, "stranger": 1, "expired": 1, "anew": 1, "killed": 1,
    "again": 1,
}  # fmt: skip
"""How a call goes, and how many mails leave.

    declined   in the client, where it can say so to the server
    edited     the user says yes to other words, on our page
    stranger   somebody else has each link first: the consent's and the approval's
    anew       the client begins anew after a question, on stdio with another server
    killed     the server does (SIGKILL), between a question and its answer; the client stays where it can
    again      as granted, once more
"""
BY_CALL: Final = ("adapters", "llama")
"""On stdio these start a server for each call, which takes a second: only the `SHORT` courses run there."""
SHORT: Final = ("granted", "rejected", "edited", "stranger", "killed")
ALWAYS: Final = {
    "sdk": "http", "sdk legacy": "stdio", "sdk forms": "stdio", "fastmcp": "stdio", "fastmcp legacy silent": "http",
    "langchain": "http", "adapters": "http", "llama": "stdio",
}  # fmt: skip
"""The cases of each run: every library, every kind of link and of client, over both; the others are in `sweep`."""
CELLS: Final = [
    pytest.param(kind, over, marks=[] if ALWAYS.get(kind) == over else [pytest.mark.sweep])
    for kind in KINDS
    for over in ("http", "stdio")
]
FORGERIES: Final = ("approve", "reject")


def cannot(kind: str, over: str, course: str) -> str:
    """Return why this client cannot take the course as others do; this is then checked instead."""
    if course == "declined" and (kind.endswith("silent") or kind in BY_CALL):
        return "it asks nothing: its user declines on our page"
    if course == "declined" and kind in ("sdk legacy", "fastmcp legacy"):
        return "with a link of 2025-11-25 it tells no server: its user declines on our page"
    if course == "killed" and over == "stdio":
        ends = "its server has ended with the call" if kind in BY_CALL else "its connection ends with the server"
        return f"{ends}: another one is asked"
    if course == "killed" and kind == "sdk legacy forms":
        return "its call ends with the stream on which it was asked: it makes the call again"
    return ""


@dataclass
class Play:
    """One call of a client through one course."""

    talk: Talk
    kind: str
    over: str
    course: str
    rounds: int = 0
    done: int = 0
    lost: int = 0

    @property
    def order(self) -> dict[str, Any]:
        return {"call": SEND["name"], "arguments": SEND["args"] | {"subject": self.course}}

    async def played(self) -> dict[str, Any]:
        """Return what the client has at the end."""
        said = await self.talk.tell(**self.order)
        while True:
            self.rounds += 1
            assert self.rounds < 10, f"asked for ever: {said}"
            if self.course == "anew" and self.rounds == 1:
                said = await self.begun_anew(said)
            elif "ask" in said:
                said = await self.talk.tell(**await self.reply(said["ask"]))
            elif said.get("lost"):
                said = await self.after_a_loss(said)
            elif OWN_PAGE in said["text"]:
                assert said["error"] and not any(one.link in said["text"] for one in await self.talk.waiting())
                await self.at_our_page()
                said = await self.talk.tell(**self.order)
            elif said["text"] == "The client went no further.":
                await self.at_our_page()
                said = await self.talk.tell(**self.order)
            else:
                return said

    async def reply(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Return the user's answer to the client that asked."""
        form = ask["mode"] == "form"
        if self.course == "declined" and (form or "/approve/" in ask["url"]):
            return {"action": "decline"}
        if not form or self.course in ("edited", "stranger", "killed", "expired"):
            await self.at_our_page(form=form)
        said = "reject" if self.course == "rejected" else "approve"
        return {"action": "accept", "content": {"decision": said} if form else None}

    async def at_our_page(self, *, form: bool = False) -> None:
        """Do what Alice does there, and other users before her. ``form``: she decides in the client."""
        for one in await self.talk.waiting():
            self.done += 1
            if self.course == "killed" and self.done <= 2:
                assert await self.talk.life.kill() != (self.over == "stdio" and self.kind in BY_CALL)
            if self.course == "stranger" and self.done <= 2:
                return await self.stranger(one)
            if self.course == "expired" and self.done in (1, 3):
                return await self.talk.let_expire(one)  # the next round has another link
            if isinstance(one, Consent):
                await self.talk.consent(one)
            elif self.course == "edited":
                changed = self.order["arguments"] | {"body": "No, sorry."}
                await self.talk.deputy.decide(one, "edit", by="alice", arguments=changed)
            elif not form:
                no = self.course in ("rejected", "declined")
                await self.talk.deputy.decide(one, "reject" if no else "approve", by="alice")

    async def stranger(self, one: Consent | Approval) -> None:
        """Open the link as Bob before Alice does, and answer as he can; check that it has no effect."""
        bob, before = self.talk.browser("bob"), await self.kept()
        for page in [await bob.open(one.link), await bob.open(one.link)]:
            assert page.status in (403, 404) and not [form for form in page.forms if "decision" in str(form.data())]
        if isinstance(one, Approval):
            alices = await self.talk.browser("alice").open(one.link)
            [form] = [form for form in alices.forms if "approve" in form.offers("decision")]
            for decision in FORGERIES:
                assert (await bob.submit(alices, form, decision=decision)).status in (403, 404)
        assert await self.talk.deputy.pending("bob") == [] and await self.kept() == before

    async def kept(self) -> tuple[int, int, int]:
        """Return grants, decisions and mails: what increases once something was done."""
        vault = self.talk.deputy.vault
        decided = [one for one in await vault.scan("approval") if one.json["status"] != "pending"]
        return len(await vault.scan("grant")), len(decided), len(self.talk.sent(self.course))

    async def begun_anew(self, said: dict[str, Any]) -> dict[str, Any]:
        """Make the same call with a restarted client: it finds the same request."""
        if "ask" in said:
            await self.talk.tell(action="cancel")
        before = await self.talk.waiting()
        await self.talk.begin_anew()
        again = await self.talk.tell(**self.order)
        assert await self.talk.waiting() == before and len(before) == 1
        return again

    async def after_a_loss(self, said: dict[str, Any]) -> dict[str, Any]:
        """Repeat the call: only if the client has no other way, and on stdio over a new connection."""
        assert cannot(self.kind, self.over, self.course), said
        self.lost += 1
        if self.over == "stdio":
            await self.talk.begin_anew()
        return await self.talk.tell(**self.order)


@pytest.mark.counterpart
@pytest.mark.parametrize(("kind", "over"), CELLS)
async def test_users_decision_is_executed_once(kind: str, over: str, tmp_path: Path) -> None:
    async with talking(kind, over, tmp_path) as talk:
        courses = SHORT if over == "stdio" and kind in BY_CALL else tuple(COURSES)
        for course in courses:
            mails = COURSES[course]
            subject = "granted" if course == "again" else course
            if course in ("stranger", "expired", "killed"):  # so that both are asked: consent and approval
                await talk.deputy.revoke("alice", "google")
            play = Play(talk, kind, over, subject)
            said, why = await play.played(), cannot(kind, over, course)
            count = len(talk.sent(subject))
            print(f"{kind:22}{over:6}{course:10}{play.rounds:2} rounds {count} sent  {said['text'][:60]}  {why}")
            assert ("Sent." in said["text"]) == bool(mails), (course, said)
            assert mails or "declined" in said["text"].lower(), (course, said)
            assert count == (2 if course == "again" else mails), course
            assert ('"changed_by_user":{"body":"No, sorry."}' in said["text"]) == (course == "edited"), said
            assert bool(play.lost) == (course == "killed" and bool(why) and kind not in BY_CALL), (course, play)
        assert all(b"No, sorry." in mail and b"gladly" not in mail for mail in talk.sent("edited"))
        assert await talk.deputy.vault.scan("call") == [] and talk.sandbox.sent("bob@example.test") == []


@pytest.mark.counterpart
@pytest.mark.parametrize("kind", ["sdk", "sdk legacy", "fastmcp", "langchain", "adapters", "llama"])
async def test_client_output_schema_checks_pass(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fail a call whose result does not fit its schema, so a failure must not look like a result."""
    monkeypatch.setenv("SEARCH", "1")
    async with talking(kind, "http", tmp_path) as talk:
        found = await talk.tell(call="search_tools", arguments={"query": "send an email"})
        assert not found["error"] and "gmail_send_email" in found["text"], found
        none = await talk.tell(call="search_tools", arguments={"query": "zzz"})
        assert not none["error"] and "lost" not in none, none
        wrong = await talk.tell(call="search_tools", arguments={"query": ""})
        assert "lost" not in wrong, wrong
        unknown = await talk.tell(call="call_tool", arguments={"name": "gmail_fly", "arguments": {}})
        assert unknown["error"] and "No tool is called" in unknown["text"] and "lost" not in unknown, unknown
