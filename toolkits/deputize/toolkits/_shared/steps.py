"""Steps that toolkits share: the generator type, and batches of requests."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, TypeVar

from deputize.core import Request
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.steps import Step

AT_ONCE: Final = 10  # requests

T = TypeVar("T")
Asks = Generator[Step, Any, T]
"""Steps that return a T: ``value = yield from asks``."""


def many(requests: Sequence[Request]) -> Asks[list[Any]]:
    """Return the responses to requests, sent ten at a time. The response to a missing or refused request is its error.

    A batch with a refusal is sent again one by one, so the requests must be repeatable.
    """
    answers: list[Any] = []
    for start in range(0, len(requests), AT_ONCE):
        batch = list(requests[start : start + AT_ONCE])
        try:
            answers += yield batch
        except (NotFound, InvalidInput) as refused:
            answers += [refused] if len(batch) == 1 else (yield from _one_by_one(batch))
    return answers


def _one_by_one(batch: Sequence[Request]) -> Asks[list[Any]]:
    answers: list[Any] = []
    for request in batch:
        try:
            answers.append((yield request))
        except (NotFound, InvalidInput) as refused:
            answers.append(refused)
    return answers
