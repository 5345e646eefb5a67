"""Hands each question to a user, and what became of it, to functions of your application: `BaseDeputy.on_question`.

A function runs in the background, so no call waits for it. It receives the changes of one question in order. A process
reports what it does itself; a question that expires is reported by the process that asked it, within a minute.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias
from weakref import WeakValueDictionary

from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput
from deputize.core.user_requests import (
    Approval,
    ApprovalPayload,
    ApprovalStatus,
    Consent,
    ConsentPayload,
    ConsentStatus,
)
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.user import User

FUNCTION_SECONDS: Final = 30.0
"""Seconds after which a function's work on one change is abandoned."""
MAX_WAITING: Final = 1000
"""Changes that wait for a function, and open questions whose expiry is reported. Further ones are not reported."""
CLOSE_SECONDS: Final = 5.0
"""Seconds that closing a deputy waits for functions."""

QuestionStatus = Literal["asked", "decided", "expired", "superseded"]
log = logging.getLogger("deputize")


class ConsentChangePayload(ConsentPayload):
    """A consent and what has happened to it, as JSON; see `QuestionChange`."""

    change: QuestionStatus
    user: str
    tenant: str
    status: ConsentStatus


class ApprovalChangePayload(ApprovalPayload):
    """An approval and what has happened to it, as JSON; see `QuestionChange`."""

    change: QuestionStatus
    user: str
    tenant: str
    status: ApprovalStatus


@frozen
class QuestionChange(ValueObject):
    """A question to a user, and what has happened to it.

    ``asked``: it is new, or its link is (of a consent with the same id). ``decided``: see the question's ``status``. A
    rejection can follow an approval, until the act begins. ``superseded``: the act began without it, or it is asked
    again; then the new question, with the next id, is reported too. ``user``: whose agent asks. If the question is an
    approval with ``approvers``, another user with that role decides. ``thread``: the conversation that waits for the
    question, as its framework names it; only in `BaseDeputy.ended_questions`.
    """

    change: QuestionStatus
    user: User
    question: Consent | Approval
    thread: str = ""

    @property
    def approvers(self) -> str:
        """The role whose members are asked instead of the user, or ""."""
        return self.question.approvers if isinstance(self.question, Approval) else ""

    @property
    def link(self) -> str:
        """The page of those who are asked: the user, or the members of the role."""
        link, end = self.question.link, f"/approve/{self.question.id}"
        return f"{link.removesuffix(end)}/others/{self.question.id}" if self.approvers and link else link

    def payload(self) -> ConsentChangePayload | ApprovalChangePayload:
        """Return the question's payload as JSON, with the change, the user and the status."""
        change, user, tenant = self.change, self.user.id, self.user.tenant
        if isinstance(one := self.question, Consent):
            return {**one.payload(), "change": change, "user": user, "tenant": tenant, "status": one.status}
        payload = one.payload()
        payload["link"] = self.link
        return {**payload, "change": change, "user": user, "tenant": tenant, "status": one.status}


OnQuestion: TypeAlias = Callable[[QuestionChange], Awaitable[None] | None]
"""Sync or async function of your application. Its exceptions are logged by their type and change nothing."""


class QuestionFeed:
    """The functions of one deputy that receive its questions."""

    def __init__(self) -> None:
        self.functions: list[OnQuestion] = []
        self._open: dict[str, QuestionChange] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._turns = WeakValueDictionary[tuple[int, str], asyncio.Lock]()
        self._begun = 0

    def tell(self, change: QuestionStatus, user: User, question: Consent | Approval) -> None:
        """Hand a change to the functions, in the background."""
        told = QuestionChange(change, user, question)
        self._open.pop(question.id, None)
        if change == "asked" and len(self._open) < MAX_WAITING:
            self._open[question.id] = told
        for place, function in enumerate(self.functions):
            if self._begun >= MAX_WAITING:
                log.warning("on_question is too slow: %d changes wait, and one more was not reported.", self._begun)
                return
            self._begun += 1
            try:
                portal().begin(self._hand_over(place, function, told))
            except InvalidInput:  # the process ends
                self._begun -= 1

    async def _hand_over(self, place: int, function: OnQuestion, told: QuestionChange) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101
        self._waiting.add(task)
        try:
            async with self._turns.setdefault((place, told.question.id), asyncio.Lock()):
                async with asyncio.timeout(FUNCTION_SECONDS):
                    is_async = inspect.iscoroutinefunction(function)
                    work = function(told) if is_async else await asyncio.to_thread(function, told)
                    if work is not None:
                        await work
        except Exception as failure:  # its text may contain the question
            log.warning("on_question failed: %s", type(failure).__name__)
        finally:
            self._begun -= 1
            self._waiting.discard(task)

    def take_expired(self, now: float) -> list[QuestionChange]:
        """Return the questions of this process that were not closed here and have expired, and forget them."""
        return [self._open.pop(one.question.id) for one in [*self._open.values()] if one.question.expires_at <= now]

    async def wait(self) -> None:
        """Wait until the functions have received all changes, for at most `CLOSE_SECONDS` seconds."""
        if self._begun:
            try:
                await portal().hop(self._wait)
            except InvalidInput:  # the portal has closed, and the tasks with it
                return

    async def _wait(self) -> None:
        if waiting := {task for task in self._waiting if task.get_loop() is asyncio.get_running_loop()}:
            await asyncio.wait(waiting, timeout=CLOSE_SECONDS)
