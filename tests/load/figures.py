"""A load's report as tables: answer times, failures, events, and each server's memory."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import quantiles
from typing import Final

from tests.load.course import WARM, Report

AFTER: Final = 10.0
"""Seconds after an outage in which an answer still counts as part of it."""


def shown(report: Report) -> str:
    """Return the whole report."""
    parts = [_latencies(report), _failures(report), _counts(report), _memory(report), _verdict(report)]
    return "\n".join(line for part in parts for line in part)


def _latencies(report: Report) -> Iterator[str]:
    seconds = report.ended - report.began
    plan = report.plan
    yield f"{plan.users} users, {seconds:.0f} s, seed {plan.seed}, access tokens live {plan.lives:.0f} s"
    for name, start, end in report.troubles:
        yield f"  {name}: from {start - report.began:.0f} s to {end - report.began:.0f} s"
    yield f"{'':22}{'count':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}   ms"
    for kind, took in sorted(report.log.took.items()):
        calm = [seconds for when, seconds in took if not _troubled(report, when)]
        for words, values in ((kind, [seconds for _, seconds in took]), ("  of them in calm", calm)):
            if len(values) > 1:
                marks = quantiles(values, n=100, method="inclusive")
                row = "".join(f"{one * 1000:9.0f}" for one in (marks[49], marks[94], marks[98], max(values)))
                yield f"{words:22}{len(values):8}{row}"


def _troubled(report: Report, when: float) -> bool:
    return any(start - 1 <= when <= end + AFTER for _, start, end in report.troubles)


def _failures(report: Report) -> Iterator[str]:
    yield "calls that did not end as done, by what was said:"
    yield from (f"{count:8}  {words}" for words, count in report.log.failures.most_common())


def _counts(report: Report) -> Iterator[str]:
    yield "what happened:"
    both = {**report.counts, **report.log.counts}
    yield from (f"{count:8}  {name}" for name, count in sorted(both.items()))
    ends = [told.what for told in report.log.writes.values()]
    yield f"{len(ends):8}  writes: " + ", ".join(f"{ends.count(what)} {what}" for what in sorted(set(ends)))


def _memory(report: Report) -> Iterator[str]:
    yield "memory of the servers, MB:"
    for name, row in report.memory.items():
        warm = warmed(report, row)
        yield (
            f"  {name:26} first {row[0][1]:.0f}, warm {warm[0][1]:.0f}, last {row[-1][1]:.0f}, most "
            f"{max(mb for _, mb in row):.0f}; slope of the last half {slope(row[len(row) // 2 :]):+.2f} a minute"
        )


def warmed(report: Report, row: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return measurements after this process's warm-up, a part of the whole."""
    return [one for one in row if one[0] >= row[0][0] + WARM * report.plan.seconds] or row[-1:]


def slope(row: list[tuple[float, float]]) -> float:
    """Return MB a minute, by least squares."""
    middle = sum(at for at, _ in row) / len(row)
    spread = sum((at - middle) ** 2 for at, _ in row)
    return 60 * sum((at - middle) * mb for at, mb in row) / spread if spread else 0.0


def _verdict(report: Report) -> Iterator[str]:
    yield f"wrong: {len(report.wrong)}"
    yield from (f"  {one}" for one in report.wrong[:40])
