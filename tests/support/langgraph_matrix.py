"""Counts sent mails: each integration with a graph, resumed in each way, in memory or by a new process for every step.

``python -m tests.support.langgraph_matrix 50`` plays every cell 50 times and prints how often it came out as it should.
More words (``act_node``, ``disk``, ``parallel``) choose some of it. The requests of all processes wait at random, so
that every run of a race is another one; the seed of one that went wrong is printed.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from deputize.adapters.langgraph import requests_in
from deputize.core import PROVIDERS, Consent, Deputy, allow_all, ask_before_sending
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from deputize.toolkits.gmail import TOOLKIT
from tests.support.graph_builds import WAYS, graph_of, start_of
from tests.support.graphs import Context, Graph, config, sqlite_saver
from tests.support.sandbox_deputy import build, consent, new_vault

KEY: Final = bytes(range(11, 250, 7))[:32]
CONSENT, APPROVAL, WORD = "deputize.consent", "deputize.approval", "word"
MAILS: Final = {
    "granted": 1,
    "denied": 0,
    "rejected": 0,
    "early": 1,
    "double": 1,
    "parallel": 1,
    "another user": 1,
    "killed before": 0,
    "killed after": 1,
}
"""Courses of a conversation, and how many mails each sends: if it was cut off before sending, the number is
uncertain."""

PLAIN: Final = ("granted", "double", "parallel", "killed before", "killed after")
"""The same for our tools in a plain ``ToolNode``: never twice; a pausing neighbour may interrupt the first try."""


class Killed(BaseException):
    """Ends a run in the middle, in memory, where no process can be killed."""


@dataclass
class Line:
    """A transport on which every request waits a little; one may kill its process before it leaves, or when it has
    arrived."""

    waits: random.Random
    crash: str = ""
    in_memory: bool = True

    def wire(self) -> httpx.AsyncBaseTransport:
        """Return a transport for one event loop."""
        return _Wire(self, httpx.AsyncHTTPTransport(trust_env=False))

    def die(self) -> None:
        """End this run."""
        if self.in_memory:
            raise Killed
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Wire(httpx.AsyncBaseTransport):
    line: Line
    inner: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self.line.waits.random() * 0.01)
        deadly = self.line.crash and request.method == "POST" and request.url.path.endswith("/send")
        if deadly and self.line.crash == "before":
            self.line.die()
        response = await self.inner.handle_async_request(request)
        if deadly:
            await response.aread()
            self.line.die()
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(frozen=True)
class Cell:
    """One integration with a graph, and where its conversation is stored."""

    way: str
    mode: str
    store: str

    @property
    def expected(self) -> Mapping[str, set[int]]:
        """Return each course of a conversation, and how many mails it may send."""
        if self.way == "ToolNode":
            return {how: {0, 1} for how in PLAIN}
        return {how: {n} for how, n in MAILS.items()}


CELLS: Final = tuple(Cell(*cell) for cell in itertools.product(WAYS, ("sync", "async"), ("memory", "disk")))


@dataclass(frozen=True)
class Step:
    """One event of a conversation, by its method's name in `Seat`."""

    name: str
    user: str = "alice"
    resume: Mapping[str, Any] | None = None
    crash: str = ""


@dataclass
class Seen:
    """The result of a step: the name of its exception, the open pauses by id, and whether there is more to do."""

    raised: str
    pauses: Mapping[str, Any] = field(default_factory=dict)
    unfinished: bool = False


@dataclass
class Seat:
    """The actor of one step: a deputy, a graph, and a user."""

    cell: Cell
    deputy: Deputy
    graph: Graph

    async def run(self, given: Any, user: str = "alice") -> str:
        """Run the graph; return the name of its exception."""
        who = Context(user)
        try:
            if self.cell.mode == "sync":
                await asyncio.to_thread(self.graph.invoke, given, config(), context=who)
            else:
                await self.graph.ainvoke(given, config(), context=who)
        except (Exception, Killed) as e:
            return type(e).__name__
        return ""

    async def state(self) -> Any:
        """Return the thread as a client sees it."""
        if self.cell.mode == "sync":
            return await asyncio.to_thread(self.graph.get_state, config())
        return await self.graph.aget_state(config())

    async def take(self, step: Step) -> Seen:
        """Perform a step."""
        raised = await getattr(self, step.name)(step)
        state = await self.state()
        return Seen(raised or "", {pause.id: pause.value for pause in state.interrupts}, bool(state.next))

    async def begin(self, step: Step) -> str:
        """Start: the model requests the call; Bob could send his own mail, and in a plain ``ToolNode`` Alice has
        consented."""
        for user in ("bob", "alice") if self.cell.way == "ToolNode" else ("bob",):
            for one in await self.deputy.connect(user, "google", scopes=["gmail.readonly", "gmail.send"]):
                await self._consent(one, as_=f"{user}@example.test")
        return await self.run(start_of(self.cell.way))

    async def look(self, step: Step) -> None:
        """Read the state only."""

    async def allow(self, step: Step) -> None:
        """Follow every link as the user, and allow everything."""
        await self._visit(deny=False)

    async def deny(self, step: Step) -> None:
        """Follow every link as the user, and deny everything."""
        await self._visit(deny=True)

    async def _visit(self, *, deny: bool) -> None:
        asks = requests_in((await self.state()).interrupts, "consent")
        for consent_id in {ask["consent_id"] for ask in asks}:
            found = await self.deputy.consents.status(consent_id)
            assert found is not None
            await self._consent(found, deny=deny)

    async def _consent(self, one: Consent, **how: Any) -> None:
        async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
            await consent(self.deputy, browser, one, **how)

    async def go_on(self, step: Step) -> str:
        """Resume with these answers, or from where a run was interrupted."""
        return await self.run(Command(resume=step.resume) if step.resume else None, step.user)


async def new_deputy(cell: Cell, base: str, line: Line, folder: Path | None) -> Deputy:
    """Build a deputy whose Google is at ``base``."""
    return await build(
        vault=await new_vault(folder / "vault" if folder else None, KEY),
        transport=line.wire,
        toolkits=[TOOLKIT],
        policy=allow_all if cell.way == "ToolNode" else ask_before_sending,
        providers={"google": PROVIDERS["google"].moved_to(base)},
    )


@asynccontextmanager
async def seat_on_disk(cell: Cell, base: str, folder: Path, line: Line) -> AsyncIterator[Seat]:
    """Build a seat with everything read from disk."""
    async with AsyncExitStack() as stack:
        deputy = await stack.enter_async_context(await new_deputy(cell, base, line, folder))
        saver: Any
        if cell.mode == "sync":
            saver = stack.enter_context(sqlite_saver(folder / "checkpoints"))
        else:
            opened = AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints"))
            saver = await stack.enter_async_context(opened)
        yield Seat(cell, deputy, graph_of(cell.way, cell.mode, deputy, saver))


def _child(cell: Cell, base: str, folder: Path, step: Step, seed: float, answer: Connection) -> None:
    """Perform one step in another process."""

    async def taken() -> Seen:
        line = Line(random.Random(seed), step.crash, in_memory=False)  # noqa: S311 - no secret
        async with seat_on_disk(cell, base, folder, line) as seat:
            return await seat.take(step)

    answer.send(asyncio.run(taken()))


@dataclass
class Play:
    """One conversation, from the model's request to the end."""

    cell: Cell
    base: str
    folder: Path
    sandbox: Sandbox
    line: Line
    seen: Seen = field(default_factory=lambda: Seen(""))
    seat: Seat | None = None

    @property
    def open(self) -> set[str]:
        """Return the kinds of the open pauses."""
        return {pause["type"] for pause in self.seen.pauses.values()}

    async def take(self, name: str, user: str = "alice") -> None:
        """Perform a step."""
        self.seen = await self._one(Step(name, user))

    async def resume(self, decision: str = "", *, user: str = "alice", times: int = 1, crash: str = "") -> set[str]:
        """Answer every seen pause this many times concurrently; return the names of the exceptions.

        Without a decision it only resumes. If no pause was seen, an interrupted run continues.
        """
        answers: dict[str, Any] = {}
        for pause, asked in self.seen.pauses.items():
            ids = [ask["approval_id"] for ask in asked.get("approvals", ())] if decision else []
            answers[pause] = {"decisions": dict.fromkeys(ids, decision)} if ids else {"wake": True}
        if not answers and not self.seen.unfinished:
            answers = {"wake": True}
        step = Step("go_on", user, answers, crash)
        every = await asyncio.gather(*(self._one(step) for _ in range(times)))
        self.seen = every[0] if times == 1 and not crash else await self._one(Step("look"))
        return {seen.raised for seen in every}

    async def _one(self, step: Step) -> Seen:
        if self.cell.store == "disk":
            return await asyncio.to_thread(self._in_a_process, step)
        if self.seat is None:
            deputy = await new_deputy(self.cell, self.base, self.line, None)
            self.seat = Seat(self.cell, deputy, graph_of(self.cell.way, self.cell.mode, deputy, InMemorySaver()))
        self.line.crash = step.crash
        return await self.seat.take(step)

    def _in_a_process(self, step: Step) -> Seen:
        ours, theirs = FORK.Pipe(duplex=False)
        arguments = (self.cell, self.base, self.folder, step, self.line.waits.random(), theirs)
        process = FORK.Process(target=_child, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(60):
                raise TimeoutError(f"{self.cell} hung in {step}")
            taken: Seen = ours.recv()
            return taken
        except EOFError:
            assert step.crash, f"{self.cell} died in {step}"
            return Seen("SIGKILL")
        finally:
            process.join()
            ours.close()

    async def close(self) -> None:
        """Release what is kept in memory."""
        if self.seat:
            deputy = self.seat.deputy
            await asyncio.to_thread(lambda: deputy.run(deputy.http.close()))  # what sync graphs and exchanges used
            await deputy.close()

    def sent(self, who: str = "alice") -> int:
        """Return how many mails the user has sent."""
        return len(self.sandbox.sent(f"{who}@example.test"))


FORK: Final = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.support.langgraph_matrix", "tests.support.fork_preload"])


async def mails(play: Play, how: str) -> int:
    """Play a conversation to its end; return the number of mails that Alice has sent."""
    await play.take("begin")
    if play.cell.way == "ToolNode":
        await _plain(play, how)
    else:
        await _consented(play, how)
        if how != "denied":
            await _approved(play, how)
    for _ in range(2 if how in ("double", "parallel") else 0):
        await play.resume("approve")
    assert play.open == set(), f"{play.open} is open at the end"
    assert play.sent("bob") == 0, "Bob's account was used"
    return play.sent()


async def _plain(play: Play, how: str) -> None:
    """Play a plain node whose neighbour has paused: the whole node runs again."""
    assert play.open == {WORD}
    crash = how.removeprefix("killed ") if how.startswith("killed") else ""
    await play.resume(times=3 if how == "parallel" else 1, crash=crash)
    if play.seen.unfinished:
        await play.resume()


async def _consented(play: Play, how: str) -> None:
    """Play through the pause for consent."""
    assert play.open == {CONSENT}
    if how == "early":
        await play.resume()
        assert play.open == {CONSENT}, f"too early, and then {play.open}"
    if how == "another user":
        assert await play.resume(user="bob") == {"PolicyDenied"}
    await play.take("deny" if how == "denied" else "allow")
    await play.resume(times=3 if how == "parallel" else 1)
    expected = set() if how == "denied" else {APPROVAL}
    assert (play.open, play.sent()) == (expected, 0), f"consented, then {play.open} and {play.sent()} sent"


async def _approved(play: Play, how: str) -> None:
    """Play through the pause for approval."""
    if how == "early":
        await play.resume()
        assert (play.open, play.sent()) == ({APPROVAL}, 0), "a wake-up approves nothing"
    if how == "another user":
        assert await play.resume("approve", user="bob") == {"PolicyDenied"}
        await play.resume()  # LangGraph hands on what Bob said
        assert (play.open, play.sent()) == ({APPROVAL}, 0), "Bob approves nothing"
    crash = how.removeprefix("killed ") if how.startswith("killed") else ""
    decision = "reject" if how == "rejected" else "approve"
    raised = await play.resume(decision, times=3 if how == "parallel" else 1, crash=crash)
    if crash:
        assert raised <= {"SIGKILL", "Killed"}, f"{raised} instead of being killed"
        assert play.sent() == (crash == "after")
    if play.seen.unfinished:  # cut off; or the pause of a run that lost a race: one more resume finishes
        await play.resume("approve")


@asynccontextmanager
async def google() -> AsyncIterator[tuple[str, Sandbox]]:
    """Serve the sandbox over HTTP for all processes of a conversation."""
    sandbox = Sandbox()
    async with serve(sandbox.app) as base:
        yield base, sandbox


async def played(cell: Cell, how: str, seed: float) -> int:
    """Play one cell's conversation of this course, with its own sandbox and folder."""
    async with google() as (base, sandbox):
        with tempfile.TemporaryDirectory() as made:
            play = Play(cell, base, Path(made), sandbox, Line(random.Random(seed)))  # noqa: S311 - no secret
            try:
                return await mails(play, how)
            finally:
                await play.close()


def row(cell: Cell, shown: Mapping[str, Any]) -> str:
    """Return a row of the table."""
    return " | ".join([f"{cell.way:12} {cell.mode:5} {cell.store:6}", *(f"{how}: {n}" for how, n in shown.items())])


def chosen(words: Sequence[str]) -> Iterator[tuple[Cell, list[str]]]:
    """Return the cells and courses that these words select; of a kind that no word names, all."""
    for cell in CELLS:
        hows = [how for how in cell.expected if how in words or not MAILS.keys() & set(words)]
        ways = [way for way in WAYS if way in words] or list(WAYS)
        stores = [store for store in ("memory", "disk") if store in words] or ["memory", "disk"]
        if hows and cell.way in ways and cell.store in stores:
            yield cell, hows


async def main(times: int, words: Sequence[str]) -> int:
    """Play the chosen cells this often; return the number of conversations that went wrong."""
    wrong = 0
    for cell, hows in chosen(words):
        right = dict.fromkeys(hows, 0)
        for how, turn in itertools.product(hows, range(times)):
            seed = random.SystemRandom().random()
            try:
                count: Any = await played(cell, how, seed)
            except Exception as e:
                count = f"{type(e).__name__}: {e}"
            right[how] += count in cell.expected[how]
            if count not in cell.expected[how]:
                wrong += 1
                print(f"WRONG {cell} {how} turn {turn} seed {seed}: {count}", flush=True)
        print(row(cell, {how: f"{n}/{times}" for how, n in right.items()}), flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 1, sys.argv[2:]))))
