"""Counters, gauges and histograms in Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/

Labels are named when a metric is made, and their values are words from the code; callers keep their number small.
Thread-safe.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of durations, in seconds."""

Values = tuple[str, ...]


class Metric:
    """A metric with a number for each combination of label values. ``kind``: ``counter`` or ``gauge``."""

    def __init__(self, name: str, kind: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.kind, self.help, self.labels = name, kind, help, tuple(labels)
        self._numbers: dict[Values, float] = {} if labels else {(): 0.0}
        self._turn = threading.Lock()

    def add(self, *values: str, by: float = 1.0) -> None:
        """Add to the number. ``values``: of the labels, in their order."""
        with self._turn:
            self._numbers[values] = self._numbers.get(values, 0.0) + by

    def put(self, *values: str, to: float) -> None:
        """Set the number."""
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
            counts, total = self._found.get(values) or ([0] * (len(SECONDS) + 1), 0.0)
            counts[bisect_left(SECONDS, seconds)] += 1
            self._found[values] = counts, total + seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines for Prometheus: each bucket includes those below it."""
        yield from _head(self.name, self.help, "histogram")
        with self._turn:
            found = sorted((values, list(accumulate(counts)), total) for values, (counts, total) in self._found.items())
        for values, counts, total in found:
            for bound, count in zip([*(f"{one:g}" for one in SECONDS), "+Inf"], counts, strict=True):
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
