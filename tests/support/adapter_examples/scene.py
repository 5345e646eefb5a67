"""One conversation about a search and a mail, the same for every framework of `examples/adapters`.

``python -m tests.support.adapter_examples.strands``, in an environment that has Strands, prints each course of the
conversation, and ends with how many went wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deputize.core import Deputy, RequestPayload
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, consent

SEARCH: Final[dict[str, Any]] = {"name": "gmail_search_emails", "args": {"query": "from:bob"}, "id": "search"}
SEND: Final[dict[str, Any]] = {
    "name": "gmail_send_email",
    "args": {"to": ["bob@example.test"], "subject": "Re: Dinner on Friday?", "body": "Yes, gladly."},
    "id": "send",
}
CALLS: Final = (SEARCH, SEND)
"""What the scripted model calls in its first message. In its second, it repeats the results."""
PROMPT: Final = "Tell Bob yes."


@dataclass
class Scene:
    """A deputy on a sandbox, and Alice, who answers its requests.

    ``decision``: what she decides; "" if she leaves. ``early``: the first request is resumed before she opens its link.
    ``resumed_by``: the user who resumes her approval.
    """

    deputy: Deputy
    sandbox: Sandbox
    decision: Any = "approve"
    early: bool = False
    resumed_by: str = "alice"
    asked: list[str] = field(default_factory=list)
    approvals: set[str] = field(default_factory=set)

    @property
    def user(self) -> str:
        """The user of the next run."""
        return self.resumed_by if "approval" in self.asked else "alice"

    @property
    def is_over(self) -> bool:
        """True if another user has resumed Alice's run."""
        return "approval" in self.asked and self.asked[-1] != "approval"

    async def ask(self, request: RequestPayload) -> bool:
        """Answer a request as Alice, and return whether she did."""
        self.asked.append(request["type"].removeprefix("deputize."))
        if self.is_over or (self.early and len(self.asked) == 1):
            return True
        if request["type"] == "deputize.approval":
            self.approvals.add(request["approval_id"])
            if self.decision:
                await self.deputy.decide(request["approval_id"], self.decision, by="alice")
            return bool(self.decision)
        found = await self.deputy.get_consent(request["consent_id"])
        assert found is not None and found.link == request["link"]
        await consent(self.deputy, self.sandbox, found)
        return True

    async def ask_all(self, requests: Iterable[RequestPayload]) -> None:
        """Answer these requests, each once."""
        shown = {request["link"]: request for request in requests}
        for request in shown.values():
            await self.ask(request)


Play = Callable[[Scene], Awaitable[str]]
"""Let the agent make `CALLS`, answer its requests, and return its last words."""


@dataclass(frozen=True)
class Course:
    """A course of the conversation: its requests, the number of mails, and a word that the model reads at the end.

    ``plays``: how often the conversation is played, with the same calls.
    """

    name: str
    scene: dict[str, Any]
    asked: Sequence[str]
    mails: int
    reads: str
    plays: int = 1


PAUSED: Final = (
    Course("approved", {}, ("consent", "approval"), 1, "Sent."),
    Course("resumed early", {"early": True}, ("consent", "consent", "approval"), 1, "Sent."),
    Course("rejected", {"decision": "reject"}, ("consent", "approval"), 0, "declined"),
)
"""Courses in a framework with pauses: the calls of the message share a consent."""
STRANGER: Final = Course("resumed by another user", {"resumed_by": "bob"}, ("consent", "approval", "consent"), 0, "")
"""Bob resumes the run: his own account is asked for, and Alice's approval counts for nobody else."""
BLOCKED: Final = (
    Course("approved", {}, ("consent", "consent", "approval"), 1, "Sent."),
    Course("asked again", {"early": True}, ("consent", "consent", "consent", "approval"), 1, "Sent."),
    Course("rejected", {"decision": "reject"}, ("consent", "consent", "approval"), 0, "declined"),
    Course("left alone twice", {"decision": ""}, ("consent", "consent", "approval", "approval"), 0, "approv", plays=2),
)
"""Courses in a framework without pauses: each call asks for itself."""


async def went_wrong(play: Play, course: Course) -> bool:
    """Play a course, and print it."""
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        scene = Scene(deputy, sandbox, **course.scene)
        said = ""
        for _ in range(course.plays):
            said = await play(scene)
        mails = len(sandbox.sent("alice@example.test"))
        others = len(sandbox.sent("bob@example.test"))
    right = (sorted(scene.asked), mails, others) == (sorted(course.asked), course.mails, 0)
    right = right and course.reads in said and len(scene.approvals) == 1
    print(f"{course.name}: {mails} mails", "" if right else f"WRONG {scene.asked} {others} {said}", flush=True)
    return not right


async def wrong_courses(play: Play, courses: Sequence[Course]) -> int:
    """Play these courses, and return how many went wrong."""
    return sum([await went_wrong(play, course) for course in courses])


def main(play: Play, courses: Sequence[Course]) -> None:
    """End the program with how many courses went wrong."""
    sys.exit(asyncio.run(wrong_courses(play, courses)))


def as_json(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return calls as chat APIs write them."""
    return [
        {
            "id": one["id"],
            "type": "function",
            "function": {"name": one["name"], "arguments": json.dumps(one["args"])},
        }
        for one in calls
    ]
