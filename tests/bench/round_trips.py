"""Round trips to Postgres in a row of a read, a write and an approved act: ``python -m tests.bench.round_trips``.

A proxy between the deputy and the server delays each direction by 1 ms, then by 5 ms. So the difference of the times,
divided by 8 ms, is the number of trips in a row, whatever the acts cost otherwise. The proxy counts them too: the most
trips of which none overlaps another. The last table says which statements the server ran (`pg_stat_statements`).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from deputize.core import ApprovalRequired, Call, Deputy, User, allow_all, ask_before_sending
from deputize.core.audit import Audit
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.toolkits.gmail import TOOLKIT
from tests.support.postgres import Server, postgres_server
from tests.support.sandbox_deputy import build, connect

DELAYS: Final = (0.001, 0.005)
USER: Final = User("alice", "acme")
"""A user of a tenant: the tenant's data key costs no round trip once it is cached."""
MAIL: Final = {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes, gladly."}
STATEMENTS: Final = """
    SELECT calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) FROM pg_stat_statements
    JOIN pg_roles ON pg_roles.oid = userid WHERE query NOT LIKE '%%pg_stat_statements%%' ORDER BY calls DESC LIMIT 16
"""
Work = Callable[[Deputy, int], Awaitable[object]]


@dataclass
class Trip:
    """What a client sent before it got an answer, and when the answer had come."""

    begin: float
    end: float = 0.0


@dataclass
class SlowServer:
    """A Postgres server behind a proxy on a socket. ``delay``: seconds in each direction. ``trips``: all so far."""

    server: Server
    folder: Path
    delay: float = 0.0
    trips: list[Trip] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    async def serve(self, closing: threading.Event) -> None:
        name = ".s.PGSQL.5432"
        home = dict(part.split("=") for part in self.server.dsn.split())["host"]

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back, there = await asyncio.open_unix_connection(f"{home}/{name}")
            latest: list[Trip] = []

            def ask() -> None:
                if not latest or latest[-1].end:
                    latest[:] = [Trip(time.monotonic())]
                    self.trips.append(latest[-1])

            def answer() -> None:
                if latest:
                    latest[-1].end = time.monotonic()

            try:
                with suppress(asyncio.CancelledError):  # at the end: else Python 3.11 logs it
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._carry(reader, there, ask, None))
                        both.create_task(self._carry(back, writer, None, answer))
            finally:
                for one in (there, writer):
                    one.close()

        async with await asyncio.start_unix_server(meet, self.folder / name) as server:
            await asyncio.to_thread(closing.wait)
            server.close()

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        come: Callable[[], None] | None,
        gone: Callable[[], None] | None,
    ) -> None:
        """Carry bytes on, each after the delay."""
        waiting = asyncio.Queue[tuple[float, bytes]]()

        async def pass_on() -> None:
            data = b"more"
            while data:
                due, data = await waiting.get()
                await asyncio.sleep(due - time.monotonic())
                if gone and data:
                    gone()
                sink.write(data)
            if sink.can_write_eof():
                sink.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(pass_on())
            data = b"more"
            while data:
                try:
                    data = await source.read(1 << 16)
                except OSError:
                    data = b""
                if come and data:
                    come()
                waiting.put_nowait((time.monotonic() + self.delay, data))


@contextmanager
def slow_server() -> Iterator[SlowServer]:
    """A server with empty tables, behind the proxy, which runs on a thread of its own."""
    with postgres_server() as server, tempfile.TemporaryDirectory(prefix="slow-") as folder:
        server.stop()
        server.more = ("-c", "shared_preload_libraries=pg_stat_statements")
        server.start()
        migrate(Address.of(server.url))
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE EXTENSION pg_stat_statements")
        slow, closing = SlowServer(server, Path(folder)), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(slow.serve(closing)), daemon=True)
        thread.start()
        while not (slow.folder / ".s.PGSQL.5432").exists():
            time.sleep(0.01)
        try:
            yield slow
        finally:
            closing.set()
            thread.join(5)


@asynccontextmanager
async def acting(slow: SlowServer) -> AsyncIterator[Deputy]:
    """A deputy as in production: vault and audit in the database, Alice connected."""
    sandbox = Sandbox()
    vault = await Vault.open(open_store(slow.url, create=True), [b"k" * 32])
    audit = Audit(PostgresAudit(Address.of(slow.url)), vault.keys.audit)
    deputy = await build(sandbox, vault=vault, audit=audit, toolkits=[TOOLKIT])
    try:
        await connect(deputy, sandbox, "readonly", "send", "compose", user=USER)
        yield deputy
    finally:
        await deputy.close()
        audit.close()


async def read(deputy: Deputy, number: int) -> None:
    """Search the mail."""
    await deputy.act("gmail_search_emails", {"query": f"lunch {number}"}, user=USER, call=_call(number))


async def write(deputy: Deputy, number: int) -> None:
    """Send a mail that nobody is asked about: a draft, which is noted, then the mail."""
    deputy.policy = allow_all
    await deputy.act("gmail_send_email", MAIL, user=USER, call=_call(number))


async def approved_act(deputy: Deputy, number: int) -> None:
    """Ask about a mail, approve it, and send it."""
    deputy.policy = ask_before_sending
    call = _call(number)
    try:
        await deputy.act("gmail_send_email", MAIL, user=USER, call=call)
    except ApprovalRequired as asked:
        await deputy.decide(asked.approval, "approve", by=USER)
    await deputy.act("gmail_send_email", MAIL, user=USER, call=call)


def _call(number: int) -> Call:
    return Call("thread", "message", f"call{number}-{time.monotonic_ns()}")


ACTS: Final[Mapping[str, Work]] = {"read": read, "write": write, "approved act": approved_act}


@dataclass
class Counted:
    """The trips of one kind of act. ``seconds``: the time of each act; ``in_a_row``: the trips of each."""

    seconds: list[float] = field(default_factory=list)
    in_a_row: list[int] = field(default_factory=list)
    all_trips: list[int] = field(default_factory=list)


async def count(slow: SlowServer, deputy: Deputy, work: Work, times: int) -> Counted:
    """Do the act so many times, and count."""
    found = Counted()
    for number in range(times):
        await asyncio.to_thread(deputy.audit.flush)
        await asyncio.sleep(4 * slow.delay + 0.02)  # what was left to do in the background
        first, begin = len(slow.trips), time.monotonic()
        await work(deputy, number)
        end = time.monotonic()
        trips = [trip for trip in slow.trips[first:] if 0 < trip.end <= end]
        found.seconds.append(end - begin)
        found.in_a_row.append(in_a_row(trips))
        found.all_trips.append(len(slow.trips) - first)
    return found


def in_a_row(trips: list[Trip]) -> int:
    """The most trips of which none overlaps another."""
    number, free = 0, 0.0
    for trip in sorted(trips, key=lambda trip: trip.end):
        if trip.begin >= free:
            number, free = number + 1, trip.end
    return number


async def measure(slow: SlowServer, times: int) -> None:
    """Print all figures."""
    async with acting(slow) as deputy:
        for name, work in ACTS.items():
            await count(slow, deputy, work, 8)  # connections, prepared statements
            with psycopg.connect(slow.server.dsn, autocommit=True) as admin:
                admin.execute("SELECT pg_stat_statements_reset()")
                by_delay = []
                for slow.delay in DELAYS:
                    by_delay.append(await count(slow, deputy, work, times))
                slow.delay = 0.0
                few, many = (min(one.seconds) for one in by_delay)
                slope = (many - few) / (2 * (DELAYS[1] - DELAYS[0]))
                counts = Counter(one for found in by_delay for one in found.in_a_row)
                print(
                    f"{name}: {slope:.1f} trips in a row by time ({few * 1e3:.1f} ms, {many * 1e3:.1f} ms);"
                    f" counted: {dict(sorted(counts.items()))}; all trips: "
                    f"{statistics.median(n for found in by_delay for n in found.all_trips):g}"
                )
                for calls, query in admin.execute(STATEMENTS.encode()).fetchall():
                    if calls >= times / 4:
                        print(f"    {calls / (2 * times):5.1f}  {query}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acts", type=int, default=20, help="of each kind, at each delay")
    arguments = parser.parse_args()
    with slow_server() as slow:
        asyncio.run(measure(slow, arguments.acts))


if __name__ == "__main__":
    main()
