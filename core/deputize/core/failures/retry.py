"""When to retry: the wait that a response asks for, and the wait before the same request is sent again."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from deputize.core.failures.outcome import Kind, Outcome
from deputize.core.failures.rules import Budget, RefusedAnswer, Rules

TRIES: Final = 3
"""The number of times that an act sends the same request."""
MAX_RETRY_WAIT_SECONDS: Final = 30.0
"""The longest wait between two tries. If the provider asks for more, the act ends with `RateLimited` instead."""
_SECONDS = r"[0-9]{1,9}(\.[0-9]{1,6})?"
_EPOCH = r"[0-9]{9,14}(\.[0-9]{1,6})?"


def with_wait(rules: Rules, seen: RefusedAnswer, outcome: Outcome) -> Outcome:
    """Return the outcome with the requested wait, at least a second. Retry-After (RFC 9110 10.2.3) takes priority."""
    if outcome.kind is Kind.AMBIGUOUS_WRITE:
        return outcome
    limited = outcome.kind is Kind.RATE_LIMITED
    budget = _exhausted_budget(rules, seen) if limited else None
    if budget:
        outcome = replace(outcome, about=outcome.about or budget.about)
    at = _retry_after(seen)
    if at is None and limited:
        at = float(seen.headers[budget.reset]) * budget.unit if budget else _message_time(rules, seen)
    return outcome if at is None else replace(outcome, wait=max(1.0, at - seen.now), backoff=False)


def _retry_after(seen: RefusedAnswer) -> float | None:
    """Return the time of Retry-After, in Unix seconds."""
    value = seen.headers.get("retry-after", "").strip()
    return seen.now + float(value) if re.fullmatch(_SECONDS, value) else http_date(value)


def _exhausted_budget(rules: Rules, seen: RefusedAnswer) -> Budget | None:
    """Return the exhausted budget, or None. Ignores a reset header that is not a point in time."""
    there = [b for b in rules.budgets if re.fullmatch(_EPOCH, seen.headers.get(b.reset, ""))]
    used = (b for b in there if seen.headers.get(b.left, "").strip() == "0")
    return next(used, None) or next((b for b in there if b.always), None)


def _message_time(rules: Rules, seen: RefusedAnswer) -> float | None:
    hit = re.search(rules.until, seen.text, re.IGNORECASE) if rules.until else None
    try:
        return _epoch(datetime.fromisoformat(hit[1])) if hit else None
    except (ValueError, OverflowError):
        return None


def http_date(value: str) -> float | None:
    """Return a header's date (RFC 9110 5.6.7) in Unix seconds, or None if it is invalid."""
    try:
        return _epoch(parsedate_to_datetime(value)) if value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _epoch(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def retry_delay(outcome: Outcome, attempt: int) -> float | None:
    """Return the seconds until the same request may be sent again, or None for never. ``attempt``: counts from 0."""
    limited = outcome.kind is Kind.RATE_LIMITED and (outcome.wait is not None or outcome.backoff)
    transient = outcome.kind is Kind.TRANSIENT and outcome.safe
    if attempt + 1 >= TRIES or not (limited or transient):
        return None
    pause = outcome.wait if outcome.wait is not None else _backoff(attempt)
    return pause if pause <= MAX_RETRY_WAIT_SECONDS else None


def _backoff(attempt: int) -> float:
    """Return 1, 2, 4 ... seconds, with jitter."""
    return float(2**attempt * random.uniform(0.8, 1.2))  # noqa: S311
