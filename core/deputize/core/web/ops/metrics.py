"""``/metrics`` of one process: counters of its deputy, for Prometheus and other readers of its format.

The counters count audit events, so each act, refresh and revocation counts once, in the process where it began. No
label contains a user, a tenant, an account, an id or a text: labels are tools, providers and words from the code. The
gauges of the vault (`deputize_waiting`, `deputize_revocations_due`) are the same in all of its processes.

The text is Prometheus' format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import accumulate
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deputize.core.approvals.record import ApprovalRecord
from deputize.core.audit.events import (
    ActResult,
    ApprovalApproved,
    ApprovalEdited,
    ApprovalRejected,
    ApprovalRequested,
    AuditLost,
    ConsentEnded,
    ConsentRequested,
    Event,
    GrantCleared,
    GrantEndsSoon,
    GrantSuspected,
    RevokeTried,
    TokenRefreshed,
    TokenRefreshFailed,
)
from deputize.core.base_deputy import BaseDeputy
from deputize.core.consent.record import OPENABLE, ConsentRecord
from deputize.core.errors import DeputizeError
from deputize.core.vault.stores.protocol import Backup, HeldLock, Store
from deputize.core.vault.vault import Record, Vault

OTHER: Final = "other"
"""The label for unknown names: one that a model made up, or a provider that was removed."""
GAUGE_TTL: Final = 60.0
"""Seconds for which the gauges of the vault are cached."""
MAX_COUNTED_RECORDS: Final = 10_000
"""The number of records of a kind that are counted at most."""
APPROVALS: Final = (ApprovalRequested, ApprovalApproved, ApprovalRejected, ApprovalEdited)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of durations, in seconds."""

Values = tuple[str, ...]
T = TypeVar("T")

BEYOND: Final = ("on_failover", "timeline", "watch", "lock_and_read")
"""Methods beyond the protocol (`FailsOver`, `Watches`): ``isinstance`` does not find them by ``__getattr__``."""
TIMED: Final = {"tails": "scan", "read": "get", "write": "swap"}
"""Timed methods beyond the protocol (`Tails`, `Batches`), and the operations that they count as."""


class MeasuredStore(Store):
    """A store whose operations are timed, except lock waits. ``took``: receives seconds and the operation's name."""

    def __init__(self, store: Store, took: Callable[[float, str], None]) -> None:
        self._store, self._took = store, took
        for name in BEYOND:
            if hasattr(store, name):
                setattr(self, name, getattr(store, name))
        for name, operation in TIMED.items():
            if method := getattr(store, name, None):
                setattr(self, name, partial(self._time_call, operation, method))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)  # methods of stores in other packages

    @property
    def local_reads(self) -> bool:
        return self._store.local_reads

    @property
    def in_order(self) -> bool:
        return self._store.in_order

    @property
    def backup(self) -> Backup | None:
        return self._store.backup

    async def get(self, kind: str, key: str) -> bytes | None:
        return await self._time("get", self._store.get(kind, key))

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        return await self._time("insert", self._store.insert(kind, key, value))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        return await self._time("swap", self._store.swap(kind, key, old, new))

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        return await self._time("delete", self._store.delete(kind, key, old))

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        return await self._time("scan", self._store.scan(kind, prefix, after=after, most=most))

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        return self._store.lock(name, timeout)

    async def close(self) -> None:
        await self._store.close()

    def _time_call(self, operation: str, method: Callable[..., Awaitable[T]], *values: Any) -> Awaitable[T]:
        return self._time(operation, method(*values))

    async def _time(self, operation: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await work
        finally:
            self._took(time.monotonic() - began, operation)


class Metric:
    """A metric with a number for each combination of label values. ``kind``: ``counter`` or ``gauge``."""

    def __init__(self, name: str, kind: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.kind, self.help, self.labels = name, kind, help, tuple(labels)
        self._numbers: dict[Values, float] = {} if labels else {(): 0.0}
        self._turn = threading.Lock()

    def add(self, *values: str, by: float = 1.0) -> None:
        """Add to the number for these label values, which are in the order of the labels."""
        with self._turn:
            self._numbers[values] = self._numbers.get(values, 0.0) + by

    def put(self, *values: str, to: float) -> None:
        """Set the number for these label values."""
        with self._turn:
            self._numbers[values] = to

    def clear(self) -> None:
        """Delete all numbers."""
        with self._turn:
            self._numbers.clear()

    def lines(self) -> Iterator[str]:
        """Yield the lines for Prometheus."""
        yield from _head(self.name, self.help, self.kind)
        with self._turn:
            numbers = sorted(self._numbers.items())
        for values, number in numbers:
            yield f"{self.name}{_labels(self.labels, values)} {_number(number)}"


class Histogram:
    """A histogram of durations in seconds, by label values."""

    def __init__(self, name: str, help: str, labels: Sequence[str]) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        self._found: dict[Values, tuple[list[int], float]] = {}
        self._turn = threading.Lock()

    def took(self, seconds: float, *values: str) -> None:
        """Add one duration."""
        with self._turn:
            counts, total = self._found.get(values) or ([0] * (len(DURATION_BUCKETS) + 1), 0.0)
            counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
            self._found[values] = counts, total + seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines for Prometheus. Each bucket includes the smaller ones."""
        yield from _head(self.name, self.help, "histogram")
        with self._turn:
            found = sorted((values, list(accumulate(counts)), total) for values, (counts, total) in self._found.items())
        for values, counts, total in found:
            for bound, count in zip([*(f"{one:g}" for one in DURATION_BUCKETS), "+Inf"], counts, strict=True):
                yield f"{self.name}_bucket{_labels((*self.labels, 'le'), (*values, bound))} {count}"
            yield f"{self.name}_sum{_labels(self.labels, values)} {_number(total)}"
            yield f"{self.name}_count{_labels(self.labels, values)} {counts[-1]}"


def render_metrics(metrics: Sequence[Metric | Histogram]) -> str:
    """Return the text of all metrics."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _head(name: str, help: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


def _labels(names: Values, values: Values) -> str:
    pairs = [f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Metrics:
    """The metrics of one deputy in this process, counted from now on."""

    def __init__(self, deputy: BaseDeputy) -> None:
        self.deputy, self._until = deputy, 0.0
        self.acts = Metric("deputize_acts_total", "counter", "Calls that have ended.", ("tool", "provider", "outcome"))
        self.act_seconds = Histogram("deputize_act_seconds", "How long calls took.", ("provider",))
        self.refreshes = Metric("deputize_refreshes_total", "counter", "Refreshes of tokens.", ("provider", "outcome"))
        self.approvals = Metric("deputize_approvals_total", "counter", "What became of approvals.", ("outcome",))
        self.consents = Metric(
            "deputize_consents_total", "counter", "What became of consents.", ("provider", "outcome")
        )
        self.revocations = Metric(
            "deputize_revocations_total", "counter", "Revocations sent to providers.", ("provider", "outcome")
        )
        self.suspected = Metric(
            "deputize_suspected_grants_total",
            "counter",
            "Grants whose token the API refuses, and those whose token it accepts again.",
            ("provider", "outcome"),
        )
        self.ending = Metric(
            "deputize_ending_grants_total", "counter", "Grants in use whose end was announced.", ("provider",)
        )
        self.lost = Metric("deputize_audit_rows_lost_total", "counter", "Rows that the disk refused for too long.")
        self.failing = Metric("deputize_audit_failing", "gauge", "1 while rows of the audit cannot be written.")
        self.waiting = Metric(
            "deputize_waiting", "gauge", "Questions to users that wait, in the whole vault.", ("kind",)
        )
        self.due = Metric(
            "deputize_revocations_due", "gauge", "Tokens that wait to be revoked at providers, in the whole vault."
        )
        self.export_lag = Metric(
            "deputize_audit_export_lag_seconds",
            "gauge",
            "Age of the oldest audit row that a collector may not have.",
            ("collector",),
        )
        self.store = Histogram("deputize_store_seconds", "How long the store took.", ("operation",))
        deputy.audit.listeners.append(self.count_event)
        deputy.vault.store = MeasuredStore(deputy.vault.store, self.store.took)

    def app(self) -> Starlette:
        """Return an application that serves the metrics at ``/metrics``, without authentication."""
        return Starlette(routes=[Route("/metrics", self.serve_metrics)])

    async def serve_metrics(self, request: Request) -> Response:
        """Return the current metrics."""
        self.failing.put(to=float(self.deputy.audit.failing))
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + GAUGE_TTL
            await self._read_gauges()
        said = [one for one in vars(self).values() if isinstance(one, Metric | Histogram)]
        return Response(render_metrics(said), media_type=CONTENT_TYPE)

    def count_event(self, event: Event) -> None:
        """Count an audit event."""
        if isinstance(event, ActResult):
            known = event.call.act_id or event.call.effect
            tool = event.call.tool if known else OTHER
            provider = self._provider(event.call.provider)
            self.acts.add(tool, provider, event.decision)
            self.act_seconds.took(event.duration_ms / 1000, provider)
        elif isinstance(event, TokenRefreshed | TokenRefreshFailed):
            outcome = "done" if isinstance(event, TokenRefreshed) else "failed"
            self.refreshes.add(self._provider(event.grant.provider), outcome)
        elif isinstance(event, GrantSuspected | GrantCleared):
            self.suspected.add(self._provider(event.grant.provider), _last_word(event))
        elif isinstance(event, GrantEndsSoon):
            self.ending.add(self._provider(event.grant.provider))
        elif isinstance(event, APPROVALS):
            self.approvals.add(_last_word(event))
        elif isinstance(event, ConsentRequested | ConsentEnded):
            self.consents.add(self._provider(event.consent.provider), _last_word(event))
        elif isinstance(event, RevokeTried):
            self.revocations.add(self._provider(event.tokens.provider), _last_word(event))
        elif isinstance(event, AuditLost):
            self.lost.add(by=event.rows)

    def _provider(self, name: str) -> str:
        return name if not name or name in self.deputy.providers else OTHER

    async def _read_gauges(self) -> None:
        """Read the gauges from the vault, or clear them if the vault does not answer."""
        now, vault = self.deputy.clock(), self.deputy.vault
        try:
            for kind, waits in WAITS.items():
                self.waiting.put(kind, to=await _count_waiting(vault, kind, waits, now))
            self.due.put(to=len(await vault.store.scan("outbox", most=MAX_COUNTED_RECORDS)))
            if self.deputy.shipping:
                for name, lag in (await self.deputy.shipping.lags()).items():
                    self.export_lag.put(name, to=round(lag, 3))
        except DeputizeError:
            self.export_lag.clear()
            self.waiting.clear()
            self.due.clear()
            self._until = 0.0


def _approval_waits(row: Record, now: float) -> bool:
    return any(one.waits(now) for one in ApprovalRecord.read_all([row]))


def _consent_waits(row: Record, now: float) -> bool:
    return any(one.status in OPENABLE and one.expires > now for one in ConsentRecord.read_all([row]))


WAITS: Final = {"approval": _approval_waits, "consent": _consent_waits}


async def _count_waiting(vault: Vault, kind: str, waits: Callable[[Record, float], bool], now: float) -> int:
    found = looked = 0
    async for records, _ in vault.pages(kind):
        found += sum(waits(record, now) for record in records)
        looked += len(records)
        if looked >= MAX_COUNTED_RECORDS:
            break
    return found


def _last_word(event: Event) -> str:
    """Return the last part of the event's name: ``granted`` of ``consent.granted``."""
    return event.event.rpartition(".")[2]
