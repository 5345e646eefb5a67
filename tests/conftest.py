"""What every test shares: nothing leaves the machine, few processes are started, and emulate where it is asked for."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.counterparts import require_emulate
from tests.support.discovery import Discovery
from tests.support.emulate import Emulate
from tests.support.lanes import LANES, MAX_PROCESSES, Part, Run, few, staggered, thin, worker
from tests.support.strict_emulate import StrictTransport


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run take one of some equal parts of the lane `sweep`."""
    parser.addoption("--sweep-part", metavar="N/OF", help="of the lane 'sweep', run this part of all cases: 2/3")


def pytest_configure(config: pytest.Config) -> None:
    """Look at all examples of each property where no lane is left out; make all cases where one could be asked for."""
    if in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    lanes = str(config.getoption("markexpr"))
    Run.whole, Run.sweeps = lanes == "", "not sweep" not in lanes or any("[" in asked for asked in config.args)
    part = config.getoption("--sweep-part")
    Run.part = Part.read(str(part)) if part else None
    config.addinivalue_line("markers", "connected(*scopes, user=, as_=): a user whose Gmail is connected")
    config.addinivalue_line("markers", "vcr: set by langchain-tests on tests of chat models, which are none of ours")


MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in there


def in_memory() -> bool:
    """Whether the files of tests can be in memory: a vault and an audit sync each write, which a disk takes its time
    for. What is tried is processes that end, never a machine that does."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)):
        return False
    return not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > 2e9


def pytest_unconfigure() -> None:
    """Audits that a test has left open, in a program that died, say: their folders are gone, and nothing is lost."""
    if writer := sys.modules.get("deputize.core.audit.writer"):
        writer._living.clear()


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Make no case that the lane `sweep` would take where it does not run."""
    yield
    if not Run.sweeps:
        few(metafunc)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Import no file of which nothing could run, since all of it is in a lane that is left out."""
    if Run.sweeps or collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    return True if _IN_A_LANE.search(collection_path.read_text(encoding="utf-8")) else None


_IN_A_LANE: Final = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(LANES)})\b", re.MULTILINE)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Make thousands of tests, and import all that they need, without a look for garbage: that is a third of the time.

    What is there afterwards stays to the end, so no later look goes through it again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each process begin with other files of a folder, so that they do not all compile the same ones at once."""
    report = yield
    if isinstance(collector, pytest.Directory) and report.passed:
        report.result = staggered(report.result, worker(collector.config))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what was collected in one order; leave most cases of a test with many to the lane `sweep`, before lanes are
    left out; of that, take the part."""
    if worker(config) is not None:
        items.sort(key=lambda item: item.path)
    thin(items)
    if part := Run.part:
        config.hook.pytest_deselected(items=[item for item in items if not part.has(item)])
        items[:] = [item for item in items if part.has(item)]


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """Fail whatever connects, sends or looks a name up beyond this machine.

    An audit hook, since other plugins put `socket.socket` back after each test; once added, it can only sleep.
    """
    awake = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if awake and event in _OUTWARD and (target := _OUTWARD[event](*arguments)) and not _is_local(target):
            pytest.fail(f"a test tried to reach {target}")

    sys.addaudithook(hook)
    yield
    awake = False


@pytest.fixture(scope="session")
def started() -> Callable[[], int]:
    """How many processes this one has started so far."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += event in ("subprocess.Popen", "os.fork", "os.forkpty")

    sys.addaudithook(hook)
    return lambda: count


@pytest.fixture(autouse=True)
def few_processes(request: pytest.FixtureRequest, started: Callable[[], int]) -> Iterator[None]:
    """Fail a test outside of the lanes that starts more than a pair of processes: it belongs into `processes`."""
    before = started()
    yield
    if not any(request.node.get_closest_marker(lane) for lane in LANES):
        assert started() - before <= MAX_PROCESSES, "so many processes belong into the lane 'processes'"


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """The command line silences loggers for its whole process; other tests listen to some of them."""
    names = ("httpx", "httpcore", "uvicorn", "aiohttp", "asyncio", "deputize")
    before = {name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names}
    yield
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers[:] = handlers


def _peer(connection: socket.socket, address: Any) -> str | None:
    internet = connection.family in (socket.AF_INET, socket.AF_INET6)
    return str(address[0]) if internet and address else None


def _name(host: str | bytes | None, *_: object) -> str | None:
    """The name that is looked up; None for an address, which needs no look-up."""
    name = host.decode() if isinstance(host, bytes) else host
    return None if not name or _is_address(name) else name


_OUTWARD: Final[dict[str, Callable[..., str | None]]] = {
    "socket.connect": _peer,
    "socket.sendto": _peer,
    "socket.sendmsg": _peer,
    "socket.getaddrinfo": _name,
    "socket.gethostbyname": _name,
}


def _is_local(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def emulate_google() -> Iterator[Emulate]:
    """emulate's Google, fresh for each module: a start takes about a fifth of a second."""
    require_emulate()
    with Emulate("google") as emulate:
        yield emulate


@pytest.fixture
def strict_google(emulate_google: Emulate) -> StrictTransport:
    """Google's addresses for one test: seeded afresh, strict, with scopes enforced by Google's own documents."""
    emulate_google.reset()
    documents = (Discovery.of("gmail.v1"), Discovery.of("calendar.v3"))
    return StrictTransport(emulate_google.urls, documents=documents)
