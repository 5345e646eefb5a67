"""Clients of MCP that others wrote, over stdio and HTTP: what their user decides happens, and each effect once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.adapters.mcp import DeputyServer
from deputize.core import Approval, Consent, Deputy, InvalidInput, User
from deputize.core.portal import portal
from deputize.core.web.local_server import serve
from deputize.sandbox import Sandbox
from tests.cli.driving import free_port
from tests.support.counterparts import mcp_before_python, mcp_python
from tests.support.graphs import SEND
from tests.support.house import consent
from tests.support.mcp_clients import by_bearer, served
from tests.support.mcp_process import beside
from tests.support.mcp_talk import KINDS

ROOT: Final = Path(__file__).parents[2]
OWN_PAGE: Final = "http://127.0.0.1:8736/connections"
COURSES: Final = {
    "granted": 1, "rejected": 0, "edited": 1, "somebody else": 1, "expired": 1, "restarted": 1, "again": 1,
}  # fmt: skip
"""How a call goes, and how many mails leave. In "restarted" client and server are; over HTTP the server once more."""
SHORT: Final = ("granted", "rejected", "restarted")
"""What is played where a client starts a server of ours for each call, which takes a second."""


@dataclass
class Web:
    """Our server over HTTP, which can be ended and begun anew at the same address while its clients stay."""

    folder: Path
    google: str
    port: int = field(default_factory=free_port)
    life: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def begin(self) -> None:
        """One life, in which nothing is left of those before it but the vault."""
        await self.life.aclose()
        deputy = await self.life.enter_async_context(await beside(self.folder, self.google))
        self.life.push_async_callback(portal().hop, deputy.http.close)  # what is sent from there
        server = DeputyServer(deputy, tools=["gmail"])
        server.performing.longest_wait = 1.0
        await self.life.enter_async_context(served(server.app(by_bearer), self.port))


@dataclass
class Talk:
    """A client in a process of its own, and the person who uses it."""

    child: asyncio.subprocess.Process
    deputy: Deputy
    sandbox: Sandbox
    web: Web
    intruders: int = 0
    late: set[str] = field(default_factory=set)

    async def tell(self, **what: Any) -> dict[str, Any]:
        """An order, or an answer; what it comes to."""
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(json.dumps(what).encode() + b"\n")
        return await self.heard()

    async def heard(self) -> dict[str, Any]:
        """The next thing that the client says."""
        assert self.child.stdout
        line = await asyncio.wait_for(self.child.stdout.readline(), 180)  # seconds, where the machine is busy
        found: dict[str, Any] = json.loads(line)
        return found

    async def played(self, course: str) -> dict[str, Any]:
        """One call to its end."""
        arguments = SEND["args"] | {"subject": course}
        order: dict[str, Any] = {"call": SEND["name"], "arguments": arguments}
        said, rounds = await self.tell(**order), 0
        while True:
            rounds += 1
            assert rounds < 8, f"asked for ever: {said}"
            if "ask" in said:
                if course == "restarted" and rounds == 1:
                    said = await self.begun_anew(await self.tell(action="cancel"), order)
                    continue
                await self.answer(course, arguments)
                said = await self.tell(action="accept")
            elif OWN_PAGE in said["text"]:
                assert said["error"] and not any(one.link in said["text"] for one in await self.waiting())
                if course == "restarted" and rounds == 1:
                    said = await self.begun_anew(said, order)
                    continue
                await self.answer(course, arguments)
                said = await self.tell(**order)
            else:
                return said

    async def begun_anew(self, said: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
        """The same call by a client that was started anew, to a server that was: it finds the same question."""
        before = await self.waiting()
        assert (await self.tell(restart=True))["text"] == "ready"
        again = await self.tell(**order)
        assert await self.waiting() == before and len(before) == 1
        await self.web.begin()  # and now without a word to its client
        return again

    async def waiting(self) -> list[Consent | Approval]:
        """What Alice is asked."""
        return await self.deputy.pending("alice")

    async def answer(self, course: str, arguments: dict[str, Any]) -> None:
        """Alice, at her own page."""
        for one in await self.waiting():
            if course == "expired" and one.id not in self.late and len(self.late) < 2:
                await self.let_expire(one)
                return  # the next round has another link
            if isinstance(one, Approval):
                if course == "edited":
                    changed = arguments | {"body": "No, sorry."}
                    await self.deputy.decide(one, "edit", by="alice", arguments=changed)
                else:
                    await self.deputy.decide(one, "reject" if course == "rejected" else "approve", by="alice")
                continue
            if course == "somebody else" and not self.intruders:
                self.intruders += 1
                with pytest.raises(InvalidInput):
                    await self.deputy.consents.start(one.link.rpartition("/")[2], User("bob"))
                return  # that link is none any more: the next round has another
            async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
                await consent(self.deputy, browser, one)

    async def let_expire(self, one: Consent | Approval) -> None:
        """As if it had waited for longer than it counts."""
        vault, kind = self.deputy.vault, "approval" if isinstance(one, Approval) else "consent"
        name = "expires" if kind == "approval" else "ticket_expires"
        for record in await vault.scan(kind):
            if record.json.get("status", record.json.get("state")) in ("pending", "created"):
                assert await vault.swap(record, record.json | {name: 1.0})
        assert one not in await self.waiting()
        self.late.add(one.id)

    def sent(self, course: str) -> list[bytes]:
        """The mails of a course that have left."""
        mails = [mail.raw for mail in self.sandbox.sent("alice@example.test")]
        return [mail for mail in mails if f"Subject: {course}".encode() in mail]


@asynccontextmanager
async def talking(kind: str, over: str, folder: Path) -> AsyncIterator[Talk]:
    """A client of this kind at a server of ours."""
    python, sandbox = mcp_before_python() if kind == "adapters" else mcp_python(), Sandbox()
    async with serve(sandbox.app) as base, await beside(folder, base) as deputy:
        web = Web(folder, base)
        async with web.life:
            await web.begin()
            ours = [sys.executable, "-m", "tests.support.mcp_process", str(folder), base]
            target = [f"http://127.0.0.1:{web.port}/mcp"] if over == "http" else ours
            child = await asyncio.create_subprocess_exec(
                python, "tests/support/mcp_talk.py", kind, *target,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip
            talk = Talk(child, deputy, sandbox, web)
            try:
                assert (await talk.heard())["text"] == "ready"
                yield talk
                assert child.stdin
                child.stdin.close()
                await asyncio.wait_for(child.wait(), 20)
            finally:
                await portal().hop(deputy.http.close)
                if child.returncode is None:
                    child.kill()
                    await child.wait()


@pytest.mark.counterpart
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of httpx, closed late
@pytest.mark.parametrize("over", ["http", "stdio"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_user_decides_happens_once(kind: str, over: str, tmp_path: Path) -> None:
    async with talking(kind, over, tmp_path) as talk:
        courses = SHORT if over == "stdio" and kind in ("adapters", "llama") else tuple(COURSES)
        for course in courses:
            mails = COURSES[course]
            if course in ("somebody else", "expired"):  # at the link of a consent, so one is needed again
                await talk.deputy.revoke("alice", "google")
            said = await talk.played("granted" if course == "again" else course)
            assert ("Sent." in said["text"]) == bool(mails), (course, said)
            if course == "rejected":
                assert "declined" in said["text"].lower()
            count = 2 if course == "again" else mails
            assert len(talk.sent("granted" if course == "again" else course)) == count, course
        for edited in talk.sent("edited"):
            assert b"No, sorry." in edited and b"gladly" not in edited
        assert await talk.deputy.vault.scan("call") == []
