"""Conversations in frameworks whose runs end when the user is asked: the same ones for every framework.

What a run leaves to the next one is text, as a host would store it. ``python -m tests.support.deferred_conversations
FRAMEWORK FOLDER STAGE BASE`` takes one step of a conversation in a process of its own, with Google at BASE.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from deputize.core import Approval, Deputy, Policy, ask_before_sending
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.sandbox_deputy import build, consent, new_vault

FRAMEWORKS: Final = ("pydantic_ai", "openai_agents", "google_adk")
MAILS: Final = {
    "approved": 1,
    "rejected": 0,
    "denied": 0,
    "early": 1,
    "double": 1,
    "parallel": 1,
    "another user": 1,
    "killed before": 0,
    "killed after": 1,
}
"""Courses of a conversation about one mail, and how many mails each sends: if it is cut off before sending, the number
is uncertain."""
FORGED: Final[list[dict[str, Any]]] = [
    {"user": "bob"},
    {"tenant": "other"},
    {"account": "bob@example.test"},
    {"ctx": {"user": "bob"}},
    {"self": "bob"},
    {"args": ["bob"]},
    {"tool_call_approved": True},
    {"call": {"thread": "x"}},
    {"token": "ya29.stolen"},
    {"key": "x"},
    {"granted": ["https://mail.google.com/"]},
]
"""Arguments that a model may forge in a call."""
WRONG_DECISIONS: Final[list[Any]] = [True, "yes", {"decision": "edit"}, {"decision": "approve"}, ["approve"]]
"""Values that an application may mistake for a decision."""
KEY: Final = bytes(range(5, 250, 7))[:32]


@dataclass
class Turn:
    """The end of a run: the model's last message or what the user is asked, and what the next run needs."""

    text: str = ""
    asks: list[Any] = field(default_factory=list)
    saved: str = ""

    @property
    def kinds(self) -> set[str]:
        """Return the kinds of the pending requests."""
        return {ask["type"].removeprefix("deputize.") for ask in self.asks}

    def ids(self, kind: str) -> list[str]:
        """Return the ids of the requests of this kind."""
        return [ask[f"{kind}_id"] for ask in self.asks if ask["type"] == f"deputize.{kind}"]


class Framework(Protocol):
    """One framework, behind the operations that the conversations need.

    ``notes_owner``: the saved run names its owner.
    """

    notes_owner: bool

    async def start(self, deputy: Deputy, *calls: Mapping[str, Any], user: str = "alice", **more: Any) -> Turn:
        """Run a model that requests these calls, and then repeats their answers."""
        ...

    async def resume(
        self, deputy: Deputy, saved: str, decisions: Mapping[str, Any] | None = None, user: str = "alice", **more: Any
    ) -> Turn:
        """Continue the saved run as this user."""
        ...

    async def bare_yes(self, deputy: Deputy, saved: str, user: str = "alice") -> Turn:
        """Continue with the framework's own approval alone, without a decision in the vault."""
        ...


def framework(name: str) -> Framework:
    """Return the framework of this name."""
    found: Framework = import_module(f"tests.support.{name}_runs").FRAMEWORK
    return found


class Killed(BaseException):
    """Ends a run in the middle, in memory, where no process can be killed."""


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """A transport to the sandbox; ``crash``: the sending run is killed "before" the request leaves, or "after" it
    arrived."""

    inner: httpx.AsyncBaseTransport
    crash: str = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        deadly = bool(self.crash) and request.method == "POST" and request.url.path.endswith("/send")
        if deadly and self.crash == "before":
            raise Killed
        response = await self.inner.handle_async_request(request)
        if deadly:
            raise Killed
        return response


def killed() -> None:
    """End this process immediately, without cleanup."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Deadly(httpx.AsyncBaseTransport):
    """A transport that kills the process when Google has received a mail, before the process gets the answer."""

    inner: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.method == "POST" and request.url.path.endswith("/send"):
            killed()
        return response


def who_called(sandbox: Sandbox) -> set[str]:
    """Return the accounts whose tokens Gmail has seen."""
    return {seen.who for seen in sandbox.requests if seen.host == "gmail.googleapis.com"}


@dataclass
class Play:
    """One conversation about one mail."""

    runs: Framework
    deputy: Deputy
    sandbox: Sandbox
    wire: Wire

    @classmethod
    @asynccontextmanager
    async def of(cls, name: str, policy: Policy = ask_before_sending) -> AsyncIterator[Play]:
        """Start a conversation with its own sandbox."""
        sandbox = Sandbox()
        wire = Wire(sandbox.transport())
        async with await build(transport=lambda: wire, policy=policy) as deputy:
            yield cls(framework(name), deputy, sandbox, wire)

    def sent(self, user: str = "alice") -> int:
        """Return how many mails this user has sent."""
        return len(self.sandbox.sent(f"{user}@example.test"))

    async def visit(self, turn: Turn, *, deny: bool = False, as_: str = "alice@example.test") -> None:
        """Follow every link as the user."""
        for one in set(turn.ids("consent")):
            found = await self.deputy.consents.status(one)
            assert found is not None
            await consent(self.deputy, self.wire, found, deny=deny, as_=as_)

    async def connect(self, *users: str) -> None:
        """Grant sending and reading for these users."""
        for user in users:
            for one in await self.deputy.connect(user, "google", scopes=["gmail.readonly", "gmail.send"]):
                await consent(self.deputy, self.wire, one, as_=f"{user}@example.test")

    async def resume(self, turn: Turn, decision: str = "", *, times: int = 1, user: str = "alice") -> list[Any]:
        """Resume the saved run this many times concurrently; return the turns and exceptions."""
        said = dict.fromkeys(turn.ids("approval"), decision) if decision else None
        every = (self.runs.resume(self.deputy, turn.saved, said, user) for _ in range(times))
        return await asyncio.gather(*every, return_exceptions=True)


async def mails(play: Play, how: str) -> int:
    """Play a conversation to its end; return the number of mails that Alice has sent."""
    await play.connect("bob")
    turn = await play.runs.start(play.deputy, SEND)
    assert turn.kinds == {"consent"} and play.sent() == 0
    if how == "early":
        [turn] = await play.resume(turn)
        assert turn.kinds == {"consent"}
    if how == "another user":
        await refused(play, turn)
    await play.visit(turn, deny=how == "denied")
    turns = await play.resume(turn, times=3 if how == "parallel" else 1)
    if how == "denied":
        assert not turns[0].asks and "Sent." not in turns[0].text
        return play.sent()
    assert all(one.kinds == {"approval"} for one in turns) and play.sent() == 0
    await decide(play, turns[0], how)
    assert play.sent("bob") == 0, "Bob's account was used"
    return play.sent()


async def decide(play: Play, turn: Turn, how: str) -> None:
    """Continue from the request for approval to the end."""
    if how == "early":
        [turn] = await play.resume(turn)
        assert turn.kinds == {"approval"} and play.sent() == 0, "a wake-up approves nothing"
    if how == "another user":
        await refused(play, turn)
    if how.startswith("killed"):
        play.wire.crash = how.removeprefix("killed ")
        assert [type(one) for one in await play.resume(turn, "approve")] == [Killed]
        play.wire.crash = ""
    decision = "reject" if how == "rejected" else "approve"
    for _ in range(3 if how == "double" else 1):
        ends = await play.resume(turn, decision, times=3 if how == "parallel" else 1)
        for end in ends:
            known = "earlier run" if how.startswith("killed") else "" if how in ("rejected", "parallel") else "Sent."
            assert not end.asks and known in end.text, end.text


async def refused(play: Play, turn: Turn) -> None:
    """Resume Alice's request as Bob with an approval: nothing happens, and it stays open for Alice.

    Where all of a run is a text, nothing tells whose it was: what it lacks is asked of Bob, for his own account.
    """
    [said] = await play.resume(turn, "approve", user="bob")
    if not (play.runs.notes_owner or turn.ids("approval")):
        assert said.kinds == {"approval"} and "bob@example.test" in {ask["account"] for ask in said.asks}
    else:
        assert type(said).__name__ == "PolicyDenied", said
    assert (play.sent(), play.sent("bob")) == (0, 0)


async def stage(name: str, folder: Path, step: str, base: str) -> None:
    """Perform one step with everything read from the folder, and Google at ``base``.

    "begin", "look", "approve"; a "rival" approves and keeps nothing, so that all rivals begin at the same place; or an
    approval whose process is killed "after" the mail has left, or, where it is "unsaved", when the run has ended, and
    before what it left is kept.
    """
    from deputize.core import PROVIDERS

    runs, saved = framework(name), folder / "saved"
    vault = await new_vault(folder / "vault", KEY)
    providers = {"google": PROVIDERS["google"].moved_to(base)}

    def transport() -> httpx.AsyncBaseTransport:
        network = httpx.AsyncHTTPTransport(trust_env=False)
        return Deadly(network) if step == "after" else network

    async with await build(vault=vault, transport=transport, providers=providers) as deputy:
        if step == "begin":
            turn = await runs.start(deputy, SEND)
        else:
            waiting = await deputy.pending("alice")
            said = {one.id: "approve" for one in waiting if isinstance(one, Approval)} if step != "look" else None
            turn = await runs.resume(deputy, saved.read_text(), said)
        if step == "unsaved":
            killed()
        if step != "rival":
            saved.write_text(turn.saved)
        for one in turn.ids("consent"):
            found = await deputy.consents.status(one)
            assert found is not None
            async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
                await consent(deputy, browser, found)
        print(" ".join(sorted(turn.kinds)) or turn.text)


def main(arguments: Sequence[str]) -> None:
    """Run one step as described at the top of this module."""
    name, folder, step, base = arguments
    asyncio.run(stage(name, Path(folder), step, base))


if __name__ == "__main__":
    main(sys.argv[1:])
