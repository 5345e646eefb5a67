"""One user of the load: an MCP client, a browser, and their use, two things at a time."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import httpx
import httpx2

from deputize.sandbox import Page
from tests.cli.serving_world import Person
from tests.load.outcomes import Log, Told, told_of
from tests.load.witness import MARK, Witness
from tests.support.mcp_clients import Raw
from tests.support.token_issuer import TokenIssuer

ROUNDS, REPEATS, PAUSE = 6, 30, 1.0
"""Questions of one call; how often it is repeated during an outage; seconds between."""
TOKEN_LIVES: Final = 240.0
TO: Final = ["team@elsewhere.test"]
ACCEPT: Final = {"deputize": {"action": "accept"}}
STEPS: Final = {"read": 60, "draft": 22, "send": 15, "disconnect": 2, "remove": 1}
"""Steps in a hundred: read, write for oneself, send, disconnect on the page, remove the access at Google."""
TOOLS: Final = {"read": "gmail_search_emails", "draft": "gmail_save_draft", "send": "gmail_send_email"}


class PageFailed(Exception):
    """A page did not show what it should have, because of an outage."""


def said_on(page: Page) -> str:
    """Return the words of a page's main part, for a report."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.text.partition("<main")[2] or page.text).split())[:120]


@dataclass(frozen=True)
class Around:
    """What all users share.

    ``ends``: when they stop, by the monotonic clock; ``pause``: seconds between two steps; ``ramp``: seconds within
    which all have begun.
    """

    base: str
    issuer: TokenIssuer
    witness: Witness
    log: Log
    http: httpx2.AsyncClient
    ends: float
    pause: float
    ramp: float


@dataclass
class Caller:
    """A user. Each step in a lane waits for the one before; a disconnect waits for both lanes."""

    around: Around
    name: str
    random: Random
    raw: Raw = field(init=False)
    lanes: tuple[asyncio.Lock, asyncio.Lock] = field(default_factory=lambda: (asyncio.Lock(), asyncio.Lock()))
    browser: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A person uses one page after another."""
    saved: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.person, self._token_ends = Person(self.name), 0.0
        self.raw = Raw(self.around.http, f"{self.around.base}/mcp", "")

    async def lives(self) -> None:
        """Run both lanes to the end."""
        await asyncio.gather(self._lane(0), self._lane(1))

    async def _lane(self, number: int) -> None:
        await asyncio.sleep(self.random.random() * self.around.ramp)
        while time.monotonic() < self.around.ends:
            [step] = self.random.choices([*STEPS], [*STEPS.values()])
            try:
                await self._does(step, number)
            except Exception as error:  # the others go on, and it is said in the end
                self.around.log.wrong.append(f"{self.name}: {step} ended with {error!r}")
            left = max(0.0, self.around.ends - time.monotonic())
            await asyncio.sleep(min(left, self.random.expovariate(1 / self.around.pause)))

    async def _does(self, step: str, lane: int) -> None:
        if step in TOOLS:
            async with self.lanes[lane]:
                await self._calls(step)
        else:
            async with self.lanes[0], self.lanes[1]:
                await self._ends_access(at_provider=step == "remove")

    # ------------------------------------------------------------- calls

    async def _calls(self, step: str) -> None:
        subject = f"{self.name}-{step}-{next(self.numbers)}"
        if step == "read":
            wanted = self.random.choice(self.saved) if self.saved else ""
            self._has_read(await self._call(step, {"query": f"in:draft subject:{wanted or subject}"}), wanted)
            return
        self.around.log.writes[subject] = Told("unanswered", "still running")
        told = await self._call(step, {"to": TO, "subject": subject, "body": f"Number {subject}"})
        self.around.log.writes[subject] = told
        self.saved += [subject] * (told.what == "done" and step == "draft")

    def _has_read(self, told: Told, wanted: str) -> None:
        if told.what != "done":
            return
        found = {one[0] for one in MARK.finditer(told.text)}
        if strangers := {one for one in found if not one.startswith(f"{self.name}-")}:
            self.around.log.wrong.append(f"{self.name} has read {', '.join(sorted(strangers))}")
        if wanted and wanted not in found:
            self.around.log.wrong.append(f"{self.name} does not find {wanted}: {told.text[:200]}")

    async def _call(self, step: str, arguments: dict[str, Any]) -> Told:
        """Make one call to its end, repeated while something is unreachable, and once if its outcome is unknown."""
        unsure, told = False, Told("abandoned", "never called")
        for number in range(REPEATS):
            told = await self._once(step, arguments)
            if told.what == "done":
                self.around.log.counts[f"{step}: done"] += 1
                self.around.log.counts["done after it had been refused for a while"] += number > 0
                return told
            self.around.log.failed(told)
            if not told.later and (told.what != "unknown" or unsure):
                break
            unsure = unsure or told.what == "unknown"
            await asyncio.sleep(PAUSE)
        return Told("unknown", told.text) if unsure else told

    async def _once(self, step: str, arguments: dict[str, Any]) -> Told:
        """Make the call, and answer each question it leads to."""
        more: dict[str, Any] = {}
        for _ in range(ROUNDS):
            began = time.monotonic()
            answer = await self._posted(TOOLS[step], arguments, more)
            if isinstance(answer, Told):
                return answer
            took = time.monotonic() - began
            if answer.get("resultType") != "input_required":
                told = told_of(answer)
                if told.what == "done":
                    self.around.log.answered("reads" if step == "read" else "writes", began, took)
                    self.around.log.counts["sends that nobody was asked about"] += step == "send" and not more
                return told
            self.around.log.answered("questions", began, took)
            try:
                await self._answers(answer["inputRequests"]["deputize"]["params"]["url"])
            except (PageFailed, httpx.HTTPError, LookupError) as error:
                return Told("abandoned", f"page: {error or type(error).__name__}")
            more = {"inputResponses": ACCEPT, "requestState": answer["requestState"]}
        return Told("abandoned", "asked again and again")

    async def _posted(self, tool: str, arguments: dict[str, Any], more: dict[str, Any]) -> dict[str, Any] | Told:
        if time.monotonic() > self._token_ends:
            self._token_ends = time.monotonic() + TOKEN_LIVES
            self.raw = Raw(self.around.http, self.raw.url, self.around.issuer.token(self.name))
        try:
            answer = await self.around.http.post(self.raw.url, **self.raw.asking(tool, arguments, **more))
        except httpx2.HTTPError as error:
            return Told("unanswered", type(error).__name__)
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        if answer.status_code != 200:
            return Told("unanswered", f"HTTP {answer.status_code} {answer.text[:90]}")
        try:
            said = json.loads(lines[-1] if lines else answer.text)
        except ValueError:
            return Told("unanswered", "an answer that was cut off")
        return dict(said["result"]) if "result" in said else Told("unanswered", json.dumps(said["error"]))

    # ------------------------------------------------------------- pages

    @asynccontextmanager
    async def _page(self, kind: str) -> AsyncIterator[None]:
        async with self.browser:
            began = time.monotonic()
            try:
                yield
            except BaseException:
                self.person = Person(self.name)  # who has met a broken page begins anew, and signs in again
                raise
            self.around.log.answered(kind, began, time.monotonic() - began)

    async def _open(self, url: str) -> Page:
        """Open a page of the deputy, signed in."""
        page = await self.person.open(url)
        if page.status != 200 or any(form.offers("go") for form in page.forms):
            raise PageFailed(f"{page.status} instead of a page of {self.name}: {said_on(page)}")
        return page

    async def _answers(self, url: str) -> None:
        """Connect an account, or decide: mostly approve, often with a mandate, sometimes reject."""
        if "/connect/" in url:
            async with self._page("consents on pages"):
                await self._open(url)
                page = await self.person.browser.allow(url, as_=f"{self.name}@example.test")
                if "is connected" not in page.text:
                    raise PageFailed(f"{page.status} after a consent: {said_on(page)}")
            return
        async with self._page("approvals on pages"):
            page = await self._open(url)
            more = [form for form in page.forms if form.action.endswith("/more")]
            yes = [form for form in page.forms if "approve" in form.offers("decision")]
            if not yes:
                raise PageFailed(f"{page.status} instead of an approval's page: {said_on(page)}")
            how = self.random.choices(["approve", "mandate", "reject"], [50, 35, 15])[0]
            if how == "mandate" and more:
                done = await self.person.browser.submit(page, more[0], most="3", hours="1")
            else:
                done = await self.person.browser.submit(page, yes[0], decision=how.replace("mandate", "approve"))
            if done.status != 200:
                raise PageFailed(f"{done.status} after a decision")
            self.around.log.counts[f"decided: {how}"] += 1

    async def _ends_access(self, *, at_provider: bool) -> None:
        if at_provider:
            self.around.log.counts["access removed at the provider"] += self.around.witness.removed(self.name)
            return
        try:
            async with self._page("disconnects on pages"):
                page = await self._open(f"{self.around.base}/connections")
                for sure in ({}, {"sure": "yes"}):
                    forms = [form for form in page.forms if form.action.endswith("/revoke")]
                    if not forms:
                        return
                    page = await self.person.browser.submit(page, forms[0], **sure)
                if page.status != 200:
                    raise PageFailed(f"{page.status} after a disconnect")
        except (PageFailed, httpx.HTTPError, LookupError):
            self.around.log.counts["disconnects whose page failed"] += 1
            return
        self.around.witness.disconnected(self.name)
        self.around.log.counts["disconnected on the page"] += 1
