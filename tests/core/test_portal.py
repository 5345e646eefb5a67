"""The process's one background loop: what is sent to it, what it finishes at exit, and that it never keeps a process
alive."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deputize.core import background_loop as portal_module
from deputize.core.background_loop import Portal, portal
from deputize.core.errors import InvalidInput, OutcomeUnknown
from deputize.core.http import Http

USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER", default="nobody")


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setattr(portal_module, "DRAIN_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(portal_module, "SHUTDOWN_STEP_TIMEOUT_SECONDS", 0.3)
    door = Portal()
    yield door
    door.close()


async def where() -> tuple[str, str, object]:
    await asyncio.sleep(0)
    return threading.current_thread().name, USER.get(), asyncio.get_running_loop()


async def others() -> set[asyncio.Task[object]]:
    await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


async def for_ever() -> None:
    await asyncio.Event().wait()


async def until(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, 5)


# ------------------------------------------------------------------ sync callers


def test_work_runs_on_one_thread_in_the_callers_context(door: Portal) -> None:
    USER.set("alice")
    first, second = door.run(where()), door.run(where())
    assert first == second
    assert first[:2] == ("deputize-portal", "alice")


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}])
def test_falsy_result_is_returned(door: Portal, result: object) -> None:
    async def work() -> object:
        return result

    assert door.run(work()) is result


def test_many_threads_run_concurrently_with_their_own_context(door: Portal) -> None:
    together, begun = threading.Barrier(64), set[int]()

    async def work(number: int) -> tuple[int, str]:
        begun.add(number)
        async with asyncio.timeout(60):
            while len(begun) < 64:  # noqa: ASYNC110  # one after another they would wait for ever
                await asyncio.sleep(0.01)
        return number, USER.get()

    def call(number: int) -> tuple[int, str]:
        USER.set(f"user{number}")
        together.wait(60)
        return door.run(work(number))

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(call, range(64))) == [(n, f"user{n}") for n in range(64)]


async def test_thread_with_a_running_loop_may_wait(door: Portal) -> None:
    name, _, loop = door.run(where())
    assert name == "deputize-portal"
    assert loop is not asyncio.get_running_loop()


def test_call_from_the_background_loop_itself_is_refused(door: Portal) -> None:
    async def inside() -> None:
        with pytest.raises(InvalidInput) as caught:
            door.run(where())
        assert caught.value.fix_by == "operator"
        with pytest.raises(InvalidInput):
            door.close()

    door.run(inside())


def test_exceptions_are_propagated_and_leave_no_task(door: Portal) -> None:
    async def broken() -> None:
        await asyncio.sleep(0)
        raise LookupError("no such thing")

    for _ in range(3):
        with pytest.raises(LookupError, match="no such thing"):
            door.run(broken())
    assert door.run(others()) == set()


class Odd(Exception):
    pass


async def odd() -> None:
    raise Odd


def seen(call: Callable[[], object]) -> weakref.ref[Odd]:
    try:
        call()
    except Odd as error:
        return weakref.ref(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("way", ["run", "hop"])
def test_propagated_exception_is_freed_after_it_is_caught(door: Portal, way: str) -> None:
    async def hopping() -> weakref.ref[Odd]:
        try:
            await door.hop(odd)
        except Odd as error:
            return weakref.ref(error)
        raise AssertionError("nothing was raised")

    gc.collect()
    gc.disable()
    try:
        ref = seen(lambda: door.run(odd())) if way == "run" else asyncio.run(hopping())
        door.run(asyncio.sleep(0))
        assert ref() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("end", [SystemExit(4), KeyboardInterrupt()])
def test_system_exit_in_work_does_not_end_the_background_loop(door: Portal, end: BaseException) -> None:
    async def leaving() -> None:
        raise end

    with pytest.raises(type(end)):
        door.run(leaving())
    assert door.run(where())[0] == "deputize-portal"


# ------------------------------------------------------------------ hops


async def test_hops_from_two_loops_run_on_the_background_loop(door: Portal) -> None:
    def elsewhere() -> tuple[str, str, object]:
        USER.set("bob")
        return asyncio.run(door.hop(where))

    USER.set("alice")
    bobs, alices = await asyncio.gather(asyncio.to_thread(elsewhere), door.hop(where))
    assert bobs[1] == "bob"
    assert alices[1] == "alice"
    assert bobs[0] == alices[0] == "deputize-portal"
    assert bobs[2] is alices[2] is not asyncio.get_running_loop()


def test_hop_from_the_background_loop_itself_works(door: Portal) -> None:
    assert door.run(door.hop(where))[0] == "deputize-portal"


async def test_cancelled_caller_does_not_cancel_its_hop(door: Portal) -> None:
    begun, finished = threading.Event(), threading.Event()

    async def refresh() -> None:
        begun.set()
        await asyncio.sleep(0.1)
        finished.set()

    task = asyncio.create_task(door.hop(refresh))
    assert await until(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not finished.is_set()
    assert await until(finished)


def test_hop_outlives_its_callers_loop(door: Portal, caplog: pytest.LogCaptureFixture) -> None:
    finished = threading.Event()

    async def refresh() -> None:
        await asyncio.sleep(0.1)
        finished.set()
        raise LookupError("nobody is there to hear it")

    async def leave() -> None:
        task = asyncio.create_task(door.hop(refresh))
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(leave())
    assert finished.wait(5)
    assert door.run(others()) == set()
    assert caplog.records == []


async def test_hop_exception_before_its_first_await_is_propagated(door: Portal) -> None:
    async def broken() -> None:
        raise LookupError("at once")

    with pytest.raises(LookupError):
        await door.hop(broken)
    with pytest.raises(ZeroDivisionError):
        await door.hop(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert await door.hop(others) == set()


# ------------------------------------------------------------------ what stays open


def noting(name: str, notes: list[tuple[str, object]]) -> AbstractAsyncContextManager[str]:
    @asynccontextmanager
    async def context() -> AsyncIterator[str]:
        notes.append((f"enter {name}", asyncio.current_task()))
        try:
            yield name
        finally:
            await asyncio.sleep(0)
            notes.append((f"leave {name}", asyncio.current_task()))

    return context()


async def test_entered_contexts_are_exited_in_reverse_by_the_same_task(door: Portal) -> None:
    notes: list[tuple[str, object]] = []
    assert await door.enter(noting("a", notes)) == "a"
    assert await asyncio.to_thread(lambda: door.run(door.enter(noting("b", notes)))) == "b"
    assert [name for name, _ in notes] == ["enter a", "enter b"]
    await asyncio.to_thread(door.close)
    assert [name for name, _ in notes] == ["enter a", "enter b", "leave b", "leave a"]
    assert notes[0][1] is notes[3][1]
    assert notes[1][1] is notes[2][1]


async def test_error_while_entering_a_context_is_raised_to_the_caller(door: Portal) -> None:
    @asynccontextmanager
    async def taken() -> AsyncIterator[str]:
        raise LookupError("taken")
        yield ""

    with pytest.raises(LookupError, match="taken"):
        await door.enter(taken())
    assert await door.hop(others) == set()


# ------------------------------------------------------------------ closing


def test_close_finishes_hops_before_exiting_contexts(door: Portal) -> None:
    notes: list[tuple[str, object]] = []

    async def refresh() -> None:
        await asyncio.sleep(0.1)
        notes.append(("saved", None))

    def hopping() -> None:
        asyncio.run(door.hop(refresh))

    door.run(door.enter(noting("server", notes)))
    thread = threading.Thread(target=hopping)
    thread.start()
    while not door._hops:
        time.sleep(0.005)
    door.close()
    door.close()
    thread.join()
    assert [name for name, _ in notes] == ["enter server", "saved", "leave server"]


@pytest.mark.processes
def test_closed_background_loop_refuses_work_and_a_new_loop_accepts_it(door: Portal) -> None:
    door.close()
    with pytest.raises(InvalidInput):
        door.run(where())
    with pytest.raises(InvalidInput):
        asyncio.run(door.hop(where))
    old = portal()
    assert portal() is old
    old.close()
    assert portal() is not old
    assert portal().run(where())[0] == "deputize-portal"


def cut_off(call: Callable[[], object]) -> None:
    with pytest.raises(OutcomeUnknown):
        call()


def test_close_cancels_unfinished_work_and_informs_callers(door: Portal) -> None:
    calls: list[Callable[[], object]] = [lambda: door.run(for_ever()), lambda: asyncio.run(door.hop(for_ever))]
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(cut_off, call) for call in calls]
        while not (door._works and door._hops):
            time.sleep(0.005)
        began = time.monotonic()
        door.close()
        for end in ends:
            end.result(5)
    assert 0.3 <= time.monotonic() - began < 30


def test_close_cancels_work_before_exiting_its_contexts(door: Portal) -> None:
    notes: list[tuple[str, object]] = []
    begun = threading.Event()

    async def child() -> None:
        begun.set()
        try:
            await for_ever()
        finally:
            notes.append(("child cancelled", None))

    async def work() -> None:
        kept = asyncio.create_task(child())
        try:
            await asyncio.shield(kept)
        finally:
            notes.append(("work cancelled", None))

    door.run(door.enter(noting("server", notes)))
    thread = threading.Thread(target=cut_off, args=(lambda: door.run(work()),))
    thread.start()
    assert begun.wait(5)
    door.close()
    thread.join(5)
    assert [name for name, _ in notes] == ["enter server", "work cancelled", "leave server", "child cancelled"]


@pytest.mark.processes
def test_close_releases_callers_of_work_that_ignores_cancellation(
    door: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()

    async def stubborn() -> None:
        while True:
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(cut_off, lambda: door.run(stubborn()))
        assert begun.wait(5)
        door.close()
        end.result(5)
    door._works.clear()
    gc.collect()
    assert "stubborn" in caplog.text  # asyncio's word on it, here and not at the end of all tests


@pytest.mark.processes
def test_close_is_time_limited_when_work_blocks_the_loop(door: Portal) -> None:
    let_go = threading.Event()

    async def blocking() -> None:
        let_go.wait(10)

    thread = threading.Thread(target=lambda: door.run(blocking()))
    thread.start()
    began = time.monotonic()
    door.close()
    assert time.monotonic() - began < 5
    let_go.set()
    thread.join(5)
    assert not thread.is_alive()


def test_transports_of_the_background_loop_close_with_it(door: Portal) -> None:
    closed: list[str] = []

    class Counted(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(threading.current_thread().name)

    http = Http(lambda: Counted(lambda _: httpx.Response(200)))
    door.run(http.send(httpx.Request("GET", "https://api.example.test")))
    assert closed == []
    door.close()
    assert closed == ["deputize-portal"]


# ------------------------------------------------------------------ the end of a process

BEGIN = """
import asyncio, atexit, os, sys, threading, time
from deputize.core import background_loop as module
from deputize.core.background_loop import portal

def note(text):
    with open(sys.argv[1], "a") as file:
        file.write(text + "\\n")

async def for_ever():
    try:
        await asyncio.Event().wait()
    finally:
        note("cancelled")

async def refresh():
    note("begun")
    await asyncio.sleep(0.4)
    note("saved")

async def leave_refreshing():
    task = asyncio.create_task(portal().hop(refresh))
    await asyncio.sleep(0.1)
    task.cancel()
"""

FORKED_IS_FINE = ("-W", "ignore:This process:DeprecationWarning")


class Ended:
    def __init__(self, script: str, notes: Path, *options: str) -> None:
        command = [sys.executable, "-W", "error", *options, "-c", BEGIN + script, str(notes)]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.notes_file = notes

    def wait(self) -> Ended:
        try:
            self.said, self.complained = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.said, self.complained = self.process.communicate()
            pytest.fail(f"it did not end: {self.notes} {self.complained}")
        self.took = time.monotonic() - self.began
        self.code = self.process.returncode
        return self

    @property
    def notes(self) -> list[str]:
        return self.notes_file.read_text().split() if self.notes_file.exists() else []


@pytest.mark.processes
def test_refresh_in_flight_at_exit_is_saved_and_the_exit_code_kept(tmp_path: Path) -> None:
    script = """
atexit.register(lambda: note("vault-closed"))
asyncio.run(leave_refreshing())
sys.exit(3)
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert (ended.code, ended.complained) == (3, "")
    assert ended.notes == ["begun", "saved", "vault-closed"]


@pytest.mark.processes
def test_refresh_can_save_through_a_store_thread_during_exit(tmp_path: Path) -> None:
    script = """
from queue import SimpleQueue
from concurrent.futures import Future
jobs = SimpleQueue()
def owner():
    while (job := jobs.get()) is not None:
        job[0].set_result(job[1]())
thread = threading.Thread(target=owner, daemon=True)
thread.start()
atexit.register(lambda: (jobs.put(None), thread.join(), note("owner-ended")))

async def saving():
    await asyncio.sleep(0.3)
    future = Future()
    jobs.put((future, lambda: note("owner-saved")))
    await asyncio.wrap_future(future)

async def main():
    task = asyncio.create_task(portal().hop(saving))
    await asyncio.sleep(0.1)
    task.cancel()
asyncio.run(main())
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert (ended.code, ended.complained, ended.notes) == (0, "", ["owner-saved", "owner-ended"])


@pytest.mark.processes
def test_endless_waiter_does_not_block_exit(tmp_path: Path) -> None:
    script = """
threading.Thread(target=lambda: portal().run(for_ever()), daemon=True).start()
while not portal()._works:
    time.sleep(0.01)
sys.exit(5)
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert ended.code == 5
    assert ended.notes == ["cancelled"]
    assert ended.took < 10


@pytest.mark.processes
@pytest.mark.parametrize(
    "stubborn", ["await asyncio.sleep(0.05)", "time.sleep(60)"], ids=["ignores cancelling", "blocks the loop"]
)
def test_endless_work_does_not_block_exit(tmp_path: Path, stubborn: str) -> None:
    script = f"""
atexit.register(lambda: note("exit-call"))  # called after the portal's own, which is registered later
module.DRAIN_TIMEOUT_SECONDS = module.SHUTDOWN_STEP_TIMEOUT_SECONDS = 0.2
async def work():
    note("begun")
    while True:
        try:
            {stubborn}
        except asyncio.CancelledError:
            note("ignored")
threading.Thread(target=lambda: portal().run(work()), daemon=True).start()
time.sleep(0.3)
sys.exit(6)
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert ended.code == 6
    assert ended.notes[0] == "begun"
    assert ended.notes[-1] == "exit-call"
    assert ended.took < 10


@pytest.mark.processes
def test_endless_hop_is_cancelled_at_exit(tmp_path: Path) -> None:
    script = """
module.DRAIN_TIMEOUT_SECONDS = 0.5
async def main():
    task = asyncio.create_task(portal().hop(for_ever))
    await asyncio.sleep(0.1)
    task.cancel()
asyncio.run(main())
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert (ended.code, ended.complained, ended.notes) == (0, "", ["cancelled"])


def test_ctrl_c_while_waiting_cancels_the_work(tmp_path: Path) -> None:
    script = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what started the tests may ignore it

async def work():
    note("up")
    await for_ever()
try:
    portal().run(work())
except KeyboardInterrupt:
    portal().run(asyncio.sleep(0.1))
    note("interrupted")
"""
    ended = Ended(script, tmp_path / "notes")
    for _ in range(2000):
        if ended.notes:
            break
        time.sleep(0.01)
    ended.process.send_signal(signal.SIGINT)
    ended.wait()
    assert (ended.code, ended.complained, ended.notes) == (0, "", ["up", "cancelled", "interrupted"])


@pytest.mark.processes
def test_forked_processes_each_get_a_working_background_loop(tmp_path: Path) -> None:
    script = """
async def name():
    return os.getpid()

parent = os.getpid()
atexit.register(lambda: os.getpid() == parent and note("parents-exit-call"))
before = portal()
assert before.run(name()) == os.getpid()
def wait():
    try:
        before.run(for_ever())
    except module.OutcomeUnknown:
        pass
threading.Thread(target=wait, daemon=True).start()
while not before._works:
    time.sleep(0.01)
child = os.fork()
if not child:
    try:
        before.run(name())
    except module.InvalidInput:
        note("old-refused")
    before.close()
    assert portal() is not before
    assert portal().run(name()) == os.getpid()
    asyncio.run(leave_refreshing())
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert portal() is before
assert before.run(name()) == os.getpid()
assert asyncio.run(before.hop(name)) == os.getpid()
"""
    ended = Ended(script, tmp_path / "notes", *FORKED_IS_FINE).wait()
    assert (ended.code, ended.complained) == (0, "")
    assert ended.notes == ["old-refused", "begun", "saved", "cancelled", "parents-exit-call"]


@pytest.mark.processes
@pytest.mark.parametrize("use", ["pass", "portal().run(asyncio.sleep(0)); gc.collect()"], ids=["unused", "used"])
def test_exiting_forked_child_keeps_the_parents_background_loop(tmp_path: Path, use: str) -> None:
    script = f"""
import gc
portal().run(asyncio.sleep(0))
child = os.fork()
if not child:
    {use}
    sys.exit(8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
portal().run(refresh())
"""
    ended = Ended(script, tmp_path / "notes", *FORKED_IS_FINE).wait()
    assert (ended.code, ended.complained, ended.notes) == (0, "", ["begun", "saved"])


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_child_finishes_its_refresh(tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(
        BEGIN
        + f"""
def child():
    asyncio.run(leave_refreshing())

if __name__ == "__main__":
    import multiprocessing
    portal().run(asyncio.sleep(0))
    process = multiprocessing.get_context("{method}").Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0
"""
    )
    command = [sys.executable, "-W", "error", *FORKED_IS_FINE, str(tmp_path / "program.py"), str(tmp_path / "notes")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "notes").read_text().split() == ["begun", "saved"]


@pytest.mark.processes
def test_exit_handler_cannot_start_a_background_loop(tmp_path: Path) -> None:
    script = """
def late():
    try:
        portal().run(refresh())
    except module.InvalidInput:
        note("refused")
atexit.register(late)
portal()
"""
    ended = Ended(script, tmp_path / "notes").wait()
    assert (ended.code, ended.complained, ended.notes) == (0, "", ["refused"])
