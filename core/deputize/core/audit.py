"""Who did what, for whom, by whose consent: one line per event, chained under a key.

`Audit` writes, `read` shows, `verify` proves. Each process is a writer with a chain of its own, in files
``{writer}.{n}.jsonl`` that only ever grow. A row is one line of JSON, in ASCII:

    {"ts": UTC ns, "writer": ..., "seq": 0, 1, 2..., "event": ..., facts..., "prev": ..., "mac": ...}

``mac`` is keyed BLAKE2b over ``prev`` and the exact bytes of the line before ``,"mac":``; ``prev`` is the mac of the
row before, across files; the first is derived from the writer. So whoever can write the files, but lacks the key,
cannot edit, remove, add or move a row unseen, except at the end: that takes a head kept elsewhere (``anchor``).

Rows wait in memory and one thread makes all that wait durable with one write and one sync, at the latest half a
second after the first, at once when somebody awaits `Audit.settle`. A crash loses at most what nobody awaited in that
time; an unwritable disk loses nothing up to `WAITING` rows, then the oldest, and the row ``audit.lost`` says how many.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import heapq
import hmac
import json
import logging
import math
import os
import threading
import time
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as _quote
from pathlib import Path
from typing import Any, Literal, TypeAlias

from deputize.core.errors import InvalidInput, SettingsError, StoreUnavailable

Mode: TypeAlias = Literal["standard", "strict"]
Fact: TypeAlias = str | int | float | bool | Sequence[str] | None
Row: TypeAlias = dict[str, Any]

GATHER = 0.5  # seconds a row may wait for others when nobody awaits it
CROWD = 0.001  # seconds an awaited row waits for others that are awaited
GROUP = 1000  # rows in one write at most, and between two anchors
WAITING = 50_000  # rows kept while the disk refuses them
KEPT = 100_000  # rows kept where there is no folder
LONGEST = 4096  # characters of one string
ITEMS, ITEM = 100, 256  # strings of one list, and characters of each

_BLOCK = 1 << 16
_TAIL = len(',"mac":""}\n') + 32
_RESERVED = frozenset({"ts", "writer", "seq", "event", "prev", "mac"})
_log = logging.getLogger(__name__)


class _Key:
    """What one audit key does, each use apart from the others (hashlib: BLAKE2 personalization)."""

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or not 32 <= len(key) <= blake2b.MAX_KEY_SIZE:
            raise SettingsError("An audit key must be 32 to 64 bytes.", hint="Make one with secrets.token_bytes(32).")
        self._row = blake2b(key=key, digest_size=16, person=b"deputize.row")
        self._value = blake2b(key=key, digest_size=16, person=b"deputize.value")
        self._first = blake2b(key=key, digest_size=16, person=b"deputize.first")
        self.id = blake2b(key=key, digest_size=4, person=b"deputize.id").hexdigest()

    def row(self, prev: str, body: str) -> str:
        """The mac of a row."""
        mac = self._row.copy()
        mac.update((prev + body).encode("ascii"))
        return mac.hexdigest()

    def first(self, writer: str) -> str:
        """What the first row of a chain has as ``prev``."""
        mac = self._first.copy()
        mac.update(os.fsencode(writer))
        return mac.hexdigest()

    def value(self, parts: Sequence[str | bytes]) -> str:
        """The mac of some values, each behind its length."""
        mac = self._value.copy()
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            mac.update(len(data).to_bytes(8, "big") + data)
        return mac.hexdigest()

    def made(self, row: Row, line: bytes) -> bool:
        """Whether this key made the row that stands on the line."""
        body, tail = line[:-_TAIL].decode("ascii"), line[-_TAIL:].decode("ascii")
        return tail == f',"mac":"{row["mac"]}"}}\n' and hmac.compare_digest(self.row(row["prev"], body), row["mac"])


# --- from facts to text: on the path of every act, so by hand -----------------------------------------------------


def _real(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'"{value}"'


def _list(values: Iterable[str]) -> str:
    return f"[{','.join(map(_quote, values))}]"


_FORMS: dict[type, Callable[[Any], str]] = {
    str: _quote,
    int: int.__repr__,
    float: _real,
    bool: {True: "true", False: "false"}.__getitem__,
    list: _list,
    tuple: _list,
}
_names: dict[str, str] = {}


def _render(event: str, facts: Mapping[str, Fact], most: float = LONGEST) -> str:
    """A row's own part, ``"event":...,facts``, without the empty ones."""
    parts = ['"event":', _quote(event)]
    try:
        for name, value in facts.items():
            if isinstance(value, str):
                if value:
                    parts.append(_names[name])
                    parts.append(_quote(value))
            elif value or value == 0:
                parts.append(_names[name])
                parts.append(_FORMS[type(value)](value))
    except (KeyError, TypeError, ValueError):  # a name not met so far, or a rarer type
        return _render_any(event, facts)
    text = "".join(parts)
    return text if len(text) <= most else _render_any(event, facts)


def _render_any(event: str, facts: Mapping[str, Fact]) -> str:
    """The same for new names and for values of any type and length. Raises InvalidInput for a name of ours."""
    if taken := _RESERVED.intersection(facts):
        raise InvalidInput(f"An audit fact cannot be called {min(taken)!r}.", fix_by="operator")
    if len(_names) > 1000:
        _names.clear()
    _names.update({name: f",{_quote(name)}:" for name in facts})
    return _render(_cut(event), {name: _plain(value) for name, value in facts.items()}, math.inf)


def _plain(value: object) -> Fact:
    """The value, cut where it is long. Of a strange object no more than its type: who knows what it would show."""
    match value:
        case None | bool():
            return value
        case str():
            return _cut(value)
        case int():
            return int.__int__(value) if value.bit_length() <= 64 else _cut(hex(value))
        case float():
            return float.__float__(value)
        case bytes() | bytearray() | memoryview():
            return f"<{type(value).__name__}>"
        case AbstractSet() | Sequence():
            items = [_cut(item, ITEM) if isinstance(item, str) else f"<{type(item).__name__}>" for item in value]
            items = sorted(items) if isinstance(value, AbstractSet) else items
            return items if len(items) <= ITEMS else [*items[:ITEMS], f"... {len(items) - ITEMS} more"]
    return f"<{type(value).__name__}>"


def _cut(text: str, most: int = LONGEST) -> str:
    text = str.__str__(text)
    mark = f"... {len(text)} characters"
    return text if len(text) <= most else text[: most - len(mark)] + mark


# --- where rows go ------------------------------------------------------------------------------------------------


class _Memory:
    """Rows of a process that keeps no files: the latest `KEPT`."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque(maxlen=KEPT)

    def append(self, data: bytes) -> None:
        self.lines.extend(data.splitlines(keepends=True))

    def ends_after(self, size: int) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is open."""


class _Files:
    """The files of one writer. One grows by whole groups until it is full, gone or failing; then the next begins."""

    def __init__(self, folder: Path, writer: str, limit: int) -> None:
        self.folder, self._writer, self._limit = folder, writer, limit
        self._number, self._size, self._fd = 0, 0, -1

    @property
    def _path(self) -> Path:
        return self.folder / f"{self._writer}.{self._number}.jsonl"

    def append(self, data: bytes) -> None:
        """All of the data, durable, or OSError and none of it."""
        if self._fd >= 0 and (self._size >= self._limit or self._gone()):
            self.close()
        try:
            if self._fd < 0:
                self._begin()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except BaseException:
            self._take_back()
            raise
        self._size += len(data)

    def ends_after(self, size: int) -> bool:
        """Whether the file that grows ends once so many bytes more are in it."""
        return (self._size if self._fd >= 0 else 0) + size >= self._limit

    def close(self) -> None:
        """End the file that grows, if there is one."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._number += 1
            os.close(fd)

    def _begin(self) -> None:
        self._size = 0
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # a file is durable when its name is
        finally:
            os.close(folder)

    def _gone(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _take_back(self) -> None:
        """Leave the file as the last group left it, for good: after a failed sync its pages prove nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):  # then a partial last line stays, which readers expect
            os.ftruncate(self._fd, self._size)
            if self._size == 0:
                os.unlink(self._path)
        with contextlib.suppress(OSError):
            self.close()


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:  # removed meanwhile
        return 0


def _checked(folder: Path) -> Path:
    """The folder, made if need be. SettingsError if anybody else could read or write there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        modes = [folder.stat().st_mode, *map(_mode, folder.glob("*.jsonl"))]
    except OSError as error:
        raise SettingsError(f"The audit folder cannot be used: {error.strerror}.", hint=f"Check {folder}.") from None
    if any(mode & 0o077 for mode in modes):
        raise SettingsError(
            "The audit folder or a file in it is open to others than its owner.",
            hint=f"Give {folder} mode 0700 and its files 0600, and find out who looked or wrote.",
        )
    return folder


# --- writing ------------------------------------------------------------------------------------------------------

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop | None, "asyncio.Future[None] | concurrent.futures.Future[None]"]


class Audit:
    """Writes the rows of this process. Safe for threads, event loops and forks (a child is another writer).

    ``folder``: where the files go (mode 0700, made if need be), None to keep rows in memory. ``key``: 32 to 64 bytes,
    not the vault's. ``old_keys``: earlier ones; chains that end under one of them are closed by a ``key.rotated`` row
    each. ``mode``: how callers treat a write of theirs; in ``strict`` they await `settle` before its side effect.
    ``clock``: UTC seconds. ``anchor``: is given, as a line, the row ``chain.anchor`` after every 1,000 rows, at the end
    of a file (of about ``rotate_bytes``) and when the object closes; keep the lines elsewhere, for `verify`. It runs on
    the writing thread and must not wait for this object. Raises SettingsError for a bad key, mode or folder.
    """

    writer: str
    """Random id of this object in this process; names its files."""

    def __init__(
        self,
        folder: Path | None,
        key: bytes,
        *,
        old_keys: Sequence[bytes] = (),
        mode: Mode = "standard",
        clock: Callable[[], float] = time.time,
        anchor: Callable[[str], None] | None = None,
        rotate_bytes: int = 64 << 20,
    ) -> None:
        if mode not in ("standard", "strict"):
            raise SettingsError("The audit mode is 'standard' or 'strict'.")
        self.mode: Mode = mode
        self._key, *older = map(_Key, (key, *old_keys))
        self._clock, self._anchor, self._limit = clock, anchor, rotate_bytes
        self._folder = folder and _checked(folder)
        self._inline = folder is None  # no thread: whoever writes, commits
        self._begin()
        _living.add(self)
        if self._folder and older:
            self._close_older(self._folder, [self._key, *older])

    def _begin(self) -> None:
        """All that belongs to one process."""
        self.writer = os.urandom(8).hex()
        self._seq, self._prev = 0, self._key.first(self.writer)
        self._since_anchor, self._lost, self._failing = 0, 0, False
        self._queue: deque[tuple[float, str]] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._anchors: deque[str] = deque()
        self._state, self._io = threading.Lock(), threading.Lock()
        self._bell, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._awake, self._crowd = False, 0
        self._sink = _Files(self._folder, self.writer, self._limit) if self._folder else _Memory()

    def _close_older(self, folder: Path, keys: Sequence[_Key]) -> None:
        files = _files(folder)
        closed = {(mark.writer, mark.seq, mark.mac) for mark in _rotations(files, keys)}
        for writer, paths in files.items():
            row, line = _head(paths)
            age = _age(row, line, keys) if row else None
            if row and age and (writer, row["seq"], row["mac"]) not in closed:
                self.write(
                    "key.rotated",
                    key=self._key.id,
                    old_key=keys[age].id,
                    closed=writer,
                    closed_seq=row["seq"],
                    closed_mac=row["mac"],
                )

    def write(self, event: str, /, **facts: Fact) -> None:
        """Queue a row. Empty facts are left out, long strings cut at 4,096 characters. Never waits for the disk.

        Facts must not be secrets or raw arguments: see `digest`. ``act.intent`` and ``act.result`` of one act carry the
        same fact ``act``. Raises InvalidInput for a fact named like a field of every row. After `close` the row is
        still written, at once, or StoreUnavailable raised.
        """
        self._queue.append((self._clock(), _render(event, facts)))
        if not self._awake:
            self._ring()

    async def settle(self) -> None:
        """Wait until every row written so far is durable.

        Raises StoreUnavailable if they cannot be written now. They go on waiting, so a caller that then refuses the act
        writes its ``act.result`` too.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._ask((loop, future)):
            await future

    def flush(self) -> None:
        """The same as `settle`, blocking."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        if self._ask((None, future)):
            future.result()

    def digest(self, *parts: str | bytes) -> str:
        """Stands for values that no row may show: equal for equal parts, not to be guessed without the key. 32 hex."""
        return self._key.value(parts)

    def rows(self) -> list[Row]:
        """All rows of the folder, or of memory, oldest first. Raises StoreUnavailable."""
        self.flush()
        if isinstance(self._sink, _Memory):
            return [json.loads(line) for line in list(self._sink.lines)]
        return list(read(self._sink.folder))

    def close(self) -> None:
        """Make all rows durable and end the thread; again does nothing. Raises StoreUnavailable if rows were left."""
        with self._state:
            self._inline = True
            thread, self._thread = self._thread, None
            self._bell.set()
            self._hurry.set()
        if thread:
            thread.join()
        self._awake = False
        try:
            self._serve(ending=True)
        finally:
            with self._io:
                self._sink.close()

    def _ask(self, waiter: _Waiter) -> bool:
        """Whether the thread will answer the waiter. If not, what waits has been written here."""
        with self._state:
            if self._wake():
                self._waiters.append(waiter)
                self._hurry.set()
                return True
        self._commit()
        return False

    def _ring(self) -> None:
        with self._state:
            if self._wake():
                return
        self._commit()

    def _wake(self) -> bool:
        """Whether the thread sees to it (with _state held)."""
        if self._thread is None and not self._inline:
            thread = threading.Thread(target=self._run, name="audit", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or the system has no thread left
                self._inline = True
            else:
                self._thread = thread
        if not self._inline:
            self._awake = True
            self._bell.set()
        return not self._inline

    def _run(self) -> None:
        while not self._inline:
            self._bell.wait()
            if self._hurry.wait(GATHER) and self._crowd > 1:
                time.sleep(CROWD)  # several waited last time: more are about to
            self._bell.clear()
            self._hurry.clear()
            self._awake = False  # before the rows are taken: whoever writes from here on rings again
            try:
                self._serve()
            except StoreUnavailable:
                with self._state:
                    self._wake()

    def _serve(self, *, ending: bool = False) -> None:
        waiters = [self._waiters.popleft() for _ in range(len(self._waiters))]
        self._crowd = len(waiters)
        reason = "The audit ended."
        try:
            self._commit(ending=ending)
            reason = ""
        except StoreUnavailable as error:
            reason = error.message
            raise
        finally:
            _tell(waiters, reason)

    def _commit(self, *, ending: bool = False) -> None:
        """Make what waits now durable, group by group. Raises StoreUnavailable; what is not durable goes on waiting."""
        try:
            with self._io:
                left = len(self._queue)
                while left > 0:
                    left -= self._group(left)
                if ending and self._anchor and self._since_anchor:
                    self._group(0, anchor=True)
        except Exception as error:
            raise self._refused(error) from None
        if self._failing:
            self._failing = False
            _log.warning("Audit rows can be written again.")
        self._publish()

    def _group(self, most: int, *, anchor: bool = False) -> int:
        """Write up to so many rows, and an anchor where one is due. Returns how many of those that waited."""
        taken = [self._queue.popleft() for _ in range(min(most, GROUP - self._since_anchor))]
        try:
            lost = [(self._clock(), _render("audit.lost", {"rows": self._lost}))] if self._lost else []
            lines, seq, prev = self._chained([*lost, *taken], self._seq, self._prev)
            due = anchor or self._since_anchor + len(lines) >= GROUP or self._sink.ends_after(sum(map(len, lines)))
            if due and self._anchor:
                last, seq, prev = self._chained([(self._clock(), _render("chain.anchor", {}))], seq, prev)
                lines += last
            self._sink.append("".join(lines).encode("ascii"))
        except BaseException:
            self._queue.extendleft(reversed(taken))
            raise
        self._seq, self._prev, self._lost = seq, prev, 0
        self._since_anchor = 0 if due else self._since_anchor + len(lines)
        if due and self._anchor:
            self._anchors.append(lines[-1])
        return len(taken)

    def _chained(self, rows: Iterable[tuple[float, str]], seq: int, prev: str) -> tuple[list[str], int, str]:
        """The rows as lines, and where the chain then stands."""
        writer, mac, lines = self.writer, self._key.row, []
        for ts, text in rows:
            body = f'{{"ts":{int(ts * 1e6)}000,"writer":"{writer}","seq":{seq},{text},"prev":"{prev}"'
            prev = mac(prev, body)
            lines.append(f'{body},"mac":"{prev}"}}\n')
            seq += 1
        return lines, seq, prev

    def _refused(self, error: Exception) -> StoreUnavailable:
        """What to raise when the disk says no. Says so in the log, once, and keeps what waits within bounds."""
        reason = str(error.strerror if isinstance(error, OSError) else type(error).__name__)
        if not self._failing:
            self._failing = True
            _log.error("Audit rows cannot be written, and wait in memory: %s", reason)
        while len(self._queue) > WAITING:
            self._queue.popleft()
            self._lost += 1
        return StoreUnavailable(f"The audit cannot be written: {reason}.", hint="Free space, or restore its folder.")

    def _publish(self) -> None:
        while self._anchor and self._anchors:
            try:
                self._anchor(self._anchors.popleft().rstrip())
            except Exception as error:
                _log.error("An audit anchor could not be kept: %s", type(error).__name__)


def _tell(waiters: Iterable[_Waiter], reason: str) -> None:
    """Answer whoever waits, with one call into each event loop."""
    by_loop = defaultdict(list)
    for loop, future in waiters:
        by_loop[loop].append(future)
    for loop, futures in by_loop.items():
        if loop is None:
            _answer(futures, reason)
        else:
            with contextlib.suppress(RuntimeError):  # closed: nobody waits there any more
                loop.call_soon_threadsafe(_answer, futures, reason)


def _answer(futures: Iterable[asyncio.Future[None] | concurrent.futures.Future[None]], reason: str) -> None:
    for future in futures:
        if future.done():
            continue
        if reason:
            future.set_exception(StoreUnavailable(reason))
        else:
            future.set_result(None)


_living: weakref.WeakSet[Audit] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for audit in list(_living):
        try:
            audit.close()
        except StoreUnavailable as error:
            _log.error("Audit rows are lost: %s", error)


def _begin_again() -> None:
    """In a forked child: what waits there is the parent's to write."""
    for audit in list(_living):
        audit._sink.close()
        audit._begin()


os.register_at_fork(after_in_child=_begin_again)


# --- reading ------------------------------------------------------------------------------------------------------


def read(folder: Path, *, follow: bool = False, poll: float = 0.5) -> Iterator[Row]:
    """The rows of a folder, by time, over all writers; nothing is proved. Raises StoreUnavailable.

    A line that is not whole yet is left out, an unreadable one is a row ``unreadable``. With ``follow`` it never
    ends: it looks for new rows every ``poll`` seconds.
    """
    at: dict[Path, int] = {}
    while True:
        chains = [_rows(writer, paths, at) for writer, paths in _files(folder).items()]
        yield from heapq.merge(*chains, key=_time_of)
        if not follow:
            return
        time.sleep(poll)


def _time_of(row: Row) -> int:
    ts: int = row["ts"]
    return ts


def _rows(writer: str, paths: Iterable[Path], at: dict[Path, int]) -> Iterator[Row]:
    ts = 0
    for path in paths:
        for end, line in _lines(path, at.get(path, 0)):
            if line.endswith(b"\n"):
                at[path] = end
                row = _parsed(line) or {"ts": ts, "writer": writer, "event": "unreadable"}
                ts = row["ts"]
                yield row


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of each writer, in order."""
    if not folder.is_dir():
        raise StoreUnavailable("There is no audit folder.", hint=f"Looked for {folder}.")
    found: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in folder.glob("*.jsonl"):
        writer, _, number = path.stem.rpartition(".")
        if writer and number.isdecimal():
            found[writer].append((int(number), path))
    return {writer: [path for _, path in sorted(numbered)] for writer, numbered in sorted(found.items())}


def _lines(path: Path, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from byte ``at``, each with the offset behind it. Between blocks no file is open."""
    rest = b""
    while block := _block(path, at + len(rest)):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            at += len(line) + 1
            yield at, line + b"\n"
    if rest:
        yield at + len(rest), rest


def _block(path: Path, at: int, size: int = _BLOCK) -> bytes:
    """Bytes of a file; a negative ``at`` counts from its end."""
    try:
        with path.open("rb") as file:
            file.seek(at if at >= 0 else max(0, file.seek(0, os.SEEK_END) + at))
            return file.read(size)
    except FileNotFoundError:  # removed meanwhile
        return b""
    except OSError as error:
        raise StoreUnavailable(f"The audit cannot be read: {error.strerror}.", hint=f"Check {path}.") from None


def _parsed(line: bytes) -> Row | None:
    """The row of a line, None if it is none of ours."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"ts": int, "writer": str, "seq": int, "event": str, "prev": str, "mac": str}
    if not line.isascii() or not isinstance(row, dict) or not all(isinstance(row.get(k), t) for k, t in kinds.items()):
        return None
    return row if row["prev"].isascii() and row["mac"].isascii() else None


# --- proving ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What is wrong with a chain, and where.

    ``kind``: ``partial`` (a last line that a crash left unfinished: tolerated), ``unreadable``, ``foreign`` (another
    writer's row), ``altered`` (its mac does not fit), ``missing`` (rows before this one), ``moved`` (not its place),
    ``broken`` (does not continue the row before), ``beginning`` (the first rows are gone and no anchor vouches for
    what is left), ``truncated`` (the end is gone), ``anchor`` (an anchor that is forged, or tells another story),
    ``unknown_key`` (no given key made this chain), ``old_key`` (ends under an older key, and no ``key.rotated`` row
    closed it there: start an `Audit` with ``old_keys``).
    """

    kind: str
    writer: str
    seq: int
    detail: str


@dataclass(frozen=True)
class Report:
    """What `verify` found. ``orphans``: ``act.intent`` rows whose outcome no row tells; those of acts that are running
    now are among them."""

    rows: int
    writers: int
    findings: tuple[Finding, ...]
    orphans: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Nothing was changed, as far as keys and anchors can tell."""
        return all(finding.kind == "partial" for finding in self.findings)


@dataclass(frozen=True)
class _Mark:
    """Somebody's word on which mac a row had. ``age``: of the key that vouches, -1 for an anchor from outside."""

    writer: str
    seq: int
    mac: str
    age: int


def verify(folder: Path, keys: Sequence[bytes], *, anchors: Iterable[str] = ()) -> Report:
    """Walk every chain of a folder. ``keys``: the audit key, then older ones, newest first. ``anchors``: lines that
    ``anchor`` was given, whatever a log put before them. Raises SettingsError for a bad key, StoreUnavailable."""
    if not keys:
        raise SettingsError("The audit cannot be verified without its key.")
    ring = [_Key(key) for key in keys]
    files = _files(folder)
    outside, findings = _outside(anchors, ring)
    marks: defaultdict[str, dict[int, _Mark]] = defaultdict(dict)
    for mark in sorted([*_rotations(files, ring), *outside], key=lambda mark: -mark.age):
        marks[mark.writer][mark.seq] = mark  # the newest key has the last word
    chains = [_Chain(writer, ring, marks[writer]) for writer in sorted({*files, *(mark.writer for mark in outside)})]
    for chain in chains:
        for path in files.get(chain.writer, ()):
            for _, line in _lines(path):
                chain.take(line)
        findings += chain.end()
    newest = min((chain.age for chain in chains if chain.age is not None), default=0)
    findings += [finding for chain in chains for finding in chain.unclosed(newest)]
    return Report(sum(chain.rows for chain in chains), len(files), tuple(findings), _orphans(chains))


class _Chain:
    """One writer's rows, checked as they pass."""

    def __init__(self, writer: str, ring: Sequence[_Key], marks: Mapping[int, _Mark]) -> None:
        self.writer, self.ring, self.marks = writer, ring, marks
        self.rows, self.seq, self.mac = 0, -1, ""
        self.age: int | None = None
        self.findings: list[Finding] = []
        self.intents: defaultdict[str, list[Row]] = defaultdict(list)
        self.results: Counter[str] = Counter()

    def take(self, line: bytes) -> None:
        """The next line."""
        row = _parsed(line)
        if not line.endswith(b"\n"):
            self._find("partial", self.seq + 1, "an unfinished last line")
        elif row is None:
            self._find("unreadable", self.seq + 1, "a line that is no row")
        elif row["writer"] != self.writer:
            self._find("foreign", row["seq"], "a row of another writer")
        else:
            self.rows += 1
            genuine = self._genuine(row, line)
            if self._in_place(row) or (genuine and row["seq"] > self.seq):
                self.seq, self.mac = row["seq"], row["mac"]
            if genuine:
                self._pair(row)

    def end(self) -> list[Finding]:
        """All that was found, now that the last line has passed."""
        if self.rows and self.age is None:
            return [Finding("unknown_key", self.writer, 0, "none of the keys made this chain")]
        last = max(filter(self._mark, self.marks), default=-1)
        if last > self.seq:
            self._find("truncated", self.seq + 1, f"the rows up to {last} are gone")
        return self.findings

    def unclosed(self, newest: int) -> list[Finding]:
        """A finding if the chain is under an older key than others, and its end not closed under a newer one."""
        if self.age is None or self.age <= newest or self._mark(self.seq):
            return []
        return [Finding("old_key", self.writer, self.seq, "an older key, and no key.rotated row closed it here")]

    def _mark(self, seq: int) -> _Mark | None:
        """What is known of a row from outside, or from somebody with a newer key than this chain's."""
        mark = self.marks.get(seq)
        return mark if mark and mark.age < (0 if self.age is None else self.age) else None

    def _find(self, kind: str, seq: int, detail: str) -> None:
        self.findings.append(Finding(kind, self.writer, seq, detail))

    def _genuine(self, row: Row, line: bytes) -> bool:
        """Whether the chain's key made the row as it stands; the first that a key made decides which key that is."""
        if self.age is None:
            self.age = _age(row, line, self.ring)
        genuine = self.age is not None and self.ring[self.age].made(row, line)
        if not genuine:
            self._find("altered", row["seq"], "its mac does not fit")
        return genuine

    def _in_place(self, row: Row) -> bool:
        """Whether the row continues the chain; says what is wrong if not."""
        seq, prev = row["seq"], row["prev"]
        mark, before = self._mark(seq), self._mark(seq - 1)
        if mark and mark.mac != row["mac"]:
            self._find("anchor", seq, "an anchor names another row")
        if self.seq < 0 and seq > 0:
            vouched = before is not None and before.mac == prev
            return vouched or self._wrong("beginning", seq, f"the rows before {seq} are gone and no anchor ends there")
        if seq > self.seq + 1:
            return self._wrong("missing", self.seq + 1, f"rows {self.seq + 1} to {seq - 1}")
        if seq <= self.seq:
            return self._wrong("moved", seq, f"comes after row {self.seq}")
        due = self.mac or (prev if self.age is None else self.ring[self.age].first(self.writer))
        return prev == due or self._wrong("broken", seq, "does not continue the row before it")

    def _wrong(self, kind: str, seq: int, detail: str) -> bool:
        self._find(kind, seq, detail)
        return False

    def _pair(self, row: Row) -> None:
        """A result closes the latest open intent of its act, unless it only says that nobody knows."""
        if row["event"] == "act.intent":
            self.intents[_act(row)].append(row)
        elif row["event"] == "act.result" and row.get("decision") != "outcome_unknown":
            if _act(row) in self.intents:
                self.intents[_act(row)].pop()
                if not self.intents[_act(row)]:
                    del self.intents[_act(row)]
            elif row.get("decision") == "done":
                self.results[_act(row)] += 1  # told by another process, from what it found recorded


def _act(row: Row) -> str:
    """What makes two rows the same act's."""
    return repr(row.get("act") or [row.get(name) for name in ("tenant", "user", "thread", "run", "call_id", "tool")])


def _orphans(chains: Iterable[_Chain]) -> tuple[Row, ...]:
    told = sum((chain.results for chain in chains), Counter[str]())
    open_ = [row for chain in chains for act, rows in chain.intents.items() for row in rows[told[act] :]]
    return tuple(sorted(open_, key=_time_of))


def _age(row: Row, line: bytes, ring: Sequence[_Key]) -> int | None:
    """Which key made the row: its place in the ring, None if none did."""
    return next((age for age, key in enumerate(ring) if key.made(row, line)), None)


def _outside(anchors: Iterable[str], ring: Sequence[_Key]) -> tuple[list[_Mark], list[Finding]]:
    marks, findings = [], []
    for text in filter(str.strip, anchors):
        line = text[text.find("{") :].strip().encode("ascii", "replace") + b"\n"
        row = _parsed(line)
        if row and _age(row, line, ring) is not None:
            marks.append(_Mark(row["writer"], row["seq"], row["mac"], -1))
        else:
            findings.append(Finding("anchor", row["writer"] if row else "", row["seq"] if row else 0, "not ours"))
    return marks, findings


def _rotations(files: Mapping[str, Sequence[Path]], ring: Sequence[_Key]) -> list[_Mark]:
    """What the ``key.rotated`` rows vouch for; they stand at the beginning of chains."""
    marks = []
    for paths in files.values():
        for _, line in _lines(paths[0]):
            row = _parsed(line)
            if row is None or row["event"] != "key.rotated":
                break
            seq, age = row.get("closed_seq"), _age(row, line, ring)
            if isinstance(seq, int) and age is not None:
                marks.append(_Mark(str(row.get("closed")), seq, str(row.get("closed_mac")), age))
    return marks


def _head(paths: Iterable[Path]) -> tuple[Row | None, bytes]:
    """The last whole row of a chain."""
    for path in reversed(list(paths)):
        for line in reversed(_block(path, -16 * _BLOCK, 16 * _BLOCK).splitlines(keepends=True)):
            if line.endswith(b"\n") and (row := _parsed(line)):
                return row, line
    return None, b""
