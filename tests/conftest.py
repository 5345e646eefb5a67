"""Shared setup of all tests: nothing leaves the machine, few processes are started, and emulate runs on request."""

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
    """Add the option to run one of several equal parts of the lane `sweep`."""
    parser.addoption("--sweep-part", metavar="N/OF", help="of the lane 'sweep', run this part of all cases: 2/3")


def pytest_configure(config: pytest.Config) -> None:
    """Try all examples of each property if no lane is left out; generate all cases if one could be selected."""
    if in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    lanes = str(config.getoption("markexpr"))
    Run.whole, Run.sweeps = lanes == "", "not sweep" not in lanes or any("[" in asked for asked in config.args)
    part = config.getoption("--sweep-part")
    Run.part = Part.read(str(part)) if part else None
    config.addinivalue_line("markers", "connected(*scopes, user=, as_=): a user whose Gmail is connected")
    config.addinivalue_line("markers", "every(n): a long drill of parts that have tests of their own; see `Part.has`")
    config.addinivalue_line("markers", "vcr: set by langchain-tests on tests of chat models, which are none of ours")


MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in there


def in_memory() -> bool:
    """Return whether test files can be in memory: vault and audit sync each write, which takes time on a disk.

    Tests kill processes, never a machine.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)):
        return False
    return not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > 2e9


def pytest_unconfigure() -> None:
    """Drop audits left open by a test, for example of a killed program: their folders are gone, and nothing is lost."""
    if writer := sys.modules.get("deputize.core.audit.writer"):
        writer._living.clear()


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Generate no case of the lane `sweep` if it does not run."""
    yield
    if not Run.sweeps:
        few(metafunc)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Import no file whose tests are all in a lane that is left out."""
    if Run.sweeps or collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    return True if _IN_A_LANE.search(collection_path.read_text(encoding="utf-8")) else None


_IN_A_LANE: Final = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(LANES)})\b", re.MULTILINE)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect thousands of tests and their imports without garbage collection, which is a third of the time.

    Afterwards the collected objects are frozen, because they stay to the end.
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
    """Let each process start with other files of a folder, so that they do not all compile the same ones at once."""
    report = yield
    if isinstance(collector, pytest.Directory) and report.passed:
        report.result = staggered(report.result, worker(collector.config))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the collected tests in one order; move most cases of a test with many to the lane `sweep`, before lanes are
    left out; of that, take the part."""
    if worker(config) is not None:
        items.sort(key=lambda item: item.path)
    thin(items)
    if part := Run.part:
        config.hook.pytest_deselected(items=[item for item in items if not part.has(item)])
        items[:] = [item for item in items if part.has(item)]


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """Fail any connection, request or name lookup beyond this machine.

    Uses an audit hook, since other plugins restore `socket.socket` after each test; once added, it can only be
    disabled.
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
    """Return how many processes this one has started so far."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += event in ("subprocess.Popen", "os.fork", "os.forkpty")

    sys.addaudithook(hook)
    return lambda: count


@pytest.fixture(autouse=True)
def few_processes(request: pytest.FixtureRequest, started: Callable[[], int]) -> Iterator[None]:
    """Fail a test outside of the lanes that starts more than two processes: it belongs into `processes`."""
    before = started()
    yield
    if not any(request.node.get_closest_marker(lane) for lane in LANES):
        assert started() - before <= MAX_PROCESSES, "so many processes belong into the lane 'processes'"


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Restore loggers: the command line silences them for its whole process, and other tests read some of them."""
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
    """Return the name that is looked up; None for an address, which needs no lookup."""
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
    """Start emulate's Google for each module: a start takes about a fifth of a second."""
    require_emulate()
    with Emulate("google") as emulate:
        yield emulate


@pytest.fixture
def strict_google(emulate_google: Emulate) -> StrictTransport:
    """Google's addresses for one test: seeded again, strict, with scopes enforced by Google's own documents."""
    emulate_google.reset()
    documents = (Discovery.of("gmail.v1"), Discovery.of("calendar.v3"))
    return StrictTransport(emulate_google.urls, documents=documents)
