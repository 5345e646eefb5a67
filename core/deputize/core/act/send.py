"""Where a request meets a token: the only place. Runs a tool's steps as a user and turns answers into results.

The host is the provider's, by construction and checked again on the address that is really used; redirects are not
followed; a token that was refused is replaced once; only what is safe is repeated; a write whose answer was lost is
never repeated but reported to the tool, which may look.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_plus

from deputize.core.act.ledger import Entry
from deputize.core.act.policy import Act
from deputize.core.act.toolkit import Effect, Note, Request, Step, Steps
from deputize.core.errors import (
    Conflict,
    DeputizeError,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
)
from deputize.core.failures import Kind, Outcome, classify, lost, still_refused
from deputize.core.http import Http, LeanRequest
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.refresh import GrantLost, Refresher
from deputize.core.vault.grant import Grant

TRIES: Final = 3
LONGEST_WAIT: Final = 30.0
LONGEST_URL: Final = 16384
_HEADERS: Final = (("accept", "application/json"), ("user-agent", "deputize/0.1"))
_PLACE = re.compile(r"\{(\w+)\}")
_TEMPLATE = re.compile(r"(?:/(?!\.{1,2}(?:/|$))(?:[\w.~:@!$&'()*+,;=-]|\{\w+\})+)+", re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\%]")

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]


class MissingScope(Exception):
    """The provider says that the token lacks a scope, whatever the vault believed. ``needed``: any one of them."""

    def __init__(self, needed: tuple[str, ...]) -> None:
        super().__init__("missing scope")
        self.needed = needed


@dataclass
class Sender:
    """Performs acts: over one pooled client, with tokens that are good now."""

    http: Http
    providers: Mapping[str, Provider]
    refresher: Refresher
    clock: Callable[[], float] = time.time
    sleep: Sleep = asyncio.sleep

    async def perform(self, act: Act, grant: Grant, entry: Entry | None = None) -> Any:
        """The tool's result. ``entry`` is the act's row in the ledger; without one nothing but reads can be sent.

        Raises the `DeputizeError` that the tool let pass, `MissingScope`, or the refresher's ``GrantLost``.
        """
        run = Run(self, act, self.providers[act.provider].for_grant(grant.extra), grant, entry)
        injected = {name: run.offered(name) for name in act.tool.injected}
        return await run.drive(act.tool.steps(**act.arguments, **injected))


@dataclass
class Run:
    """One tool's steps on their way.

    ``wrote``: how many writes the provider has confirmed; ``doubt``: whether the answer to one was lost.
    """

    sender: Sender
    act: Act
    provider: Provider
    grant: Grant
    entry: Entry | None
    wrote: int = 0
    doubt: bool = False

    def offered(self, name: str) -> Any:
        """What a tool may ask the runtime for; see `deputize.core.act.toolkit.INJECTED`."""
        match name:
            case "key":
                return self.act.key
            case "granted":
                return self.grant.scopes
            case "account":
                return self.grant.account
            case "noted":
                return self.entry.noted if self.entry else None
            case _:
                return self.sender.clock()

    async def drive(self, steps: Steps) -> Any:
        """Send each step, hand its answer or its failure to the tool, until the tool returns."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._step(step)
                except DeputizeError as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        except (DeputizeError, GrantLost, MissingScope) as failure:
            if isinstance(failure, OutcomeUnknown) or not (self.wrote or self.doubt):
                raise
        except Exception as e:
            log.debug("%s failed by itself: %s", self.act.tool.name, type(e).__name__)
            if not (self.wrote or self.doubt):
                raise InvalidInput(f"{self.act.tool.name} failed by itself.", fix_by="operator") from None
        finally:
            steps.close()
        raise OutcomeUnknown(f"{self.act.tool.name}: part of it may have been done before it failed.")

    async def _step(self, step: Step) -> Any:
        if isinstance(step, Request):
            return await self._answer(step)
        if isinstance(step, Note):
            if self.entry is None:
                raise InvalidInput(f"{self.act.tool.name} keeps a note but writes nothing.", fix_by="operator")
            return await self.entry.note(step.data)
        answers = await asyncio.gather(*(self._answer(one) for one in step), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _answer(self, request: Request) -> Any:
        """The provider's answer, after whatever may safely be tried again has been."""
        url = self._url(request)
        await self._allowed(request)
        grant = self.grant
        attempt = 0
        while True:
            outcome = await self._send(request, url, grant)
            if outcome.kind is Kind.REFRESH_ONCE:
                renewed = await self._renewed(grant)
                outcome, grant = await self._send(request, url, renewed), renewed
            if outcome.kind is Kind.OK:
                self.wrote += request.call != "read" and not request.prepares
                return outcome.data
            self.doubt |= outcome.kind is Kind.AMBIGUOUS_WRITE and not request.prepares
            pause = self._pause(outcome, request, attempt)
            if pause is None:
                raise await self._failure(outcome, grant)
            await self.sender.sleep(pause)
            attempt += 1

    async def _allowed(self, request: Request) -> None:
        """A write needs a row in the ledger, durable before it leaves; a tool that only reads cannot send one."""
        if request.call == "read":
            return
        if self.entry is None or self.act.effect is Effect.READS:
            raise InvalidInput(f"{self.act.tool.name} is declared to read only, but writes.", fix_by="operator")
        await self.entry.claim()

    async def _send(self, request: Request, url: str, grant: Grant) -> Outcome:
        try:
            answer = await self.sender.http.send(self._with_token(request, url, grant))
        except ProviderUnavailable as e:
            return lost(request.call, sent=e.sent)
        return classify(
            self.provider.rules,
            request.call,
            answer.status_code,
            answer.headers,
            answer.content,
            granted=grant.scopes,
            needs=() if answer.status_code < 300 else self._needs(),
            now=self.sender.clock(),
        )

    def _needs(self) -> list[tuple[str, ...]]:
        return [(need.ask, *sorted(need.accepts - {need.ask})) for need in self.act.needs]

    def _with_token(self, request: Request, url: str, grant: Grant) -> LeanRequest:
        """The request as it leaves. The one place where a token meets a host, which must be the provider's own."""
        headers = list(_HEADERS)
        content = request.content or b""
        if request.json is not None:
            content = jsonlib.dumps(request.json, separators=(",", ":")).encode()
            headers.append(("content-type", "application/json"))
        elif request.content_type:
            headers.append(("content-type", request.content_type))
        made = LeanRequest(request.method, url, (), content)
        if made.scheme != "https" and not (self.provider.plain_http and _loopback(made.netloc)):
            raise InvalidInput(f"{self.act.tool.name} may not send a token in the clear.", fix_by="operator")
        if made.netloc not in self.provider.hosts:
            raise InvalidInput(f"{self.act.tool.name} may not call this host.", fix_by="operator")
        made.given = (*headers, ("authorization", f"Bearer {grant.access_token.reveal()}"))
        return made

    def _url(self, request: Request) -> str:
        """The API's root, the path with each placeholder as one segment, the query."""
        root = self.provider.api.get(self.act.tool.api)
        if root is None:
            raise InvalidInput(f"{self.provider.label} has no API called {self.act.tool.api!r}.", fix_by="operator")
        if not _TEMPLATE.fullmatch(request.path):
            raise InvalidInput("A path must stay below the API's root.", fix_by="operator")
        try:
            path = _PLACE.sub(lambda place: segment(place[1], request.at[place[1]]), request.path)
            url = root + path + _query(request.params)
        except UnicodeEncodeError:
            raise InvalidInput("An argument holds half a character.", hint="Send whole text.") from None
        if len(url) > LONGEST_URL:
            raise InvalidInput("The arguments are too long for an address.", hint="Ask for less at once.")
        return url

    def _pause(self, outcome: Outcome, request: Request, attempt: int) -> float | None:
        """Seconds until the request may be sent again; None: never."""
        if attempt + 1 >= TRIES:
            return None
        if outcome.kind is Kind.RATE_LIMITED and (outcome.wait is not None or outcome.backoff):
            pause = outcome.wait if outcome.wait is not None else _backoff(attempt)
            return pause if pause <= LONGEST_WAIT else None
        if outcome.kind is Kind.TRANSIENT and outcome.safe:
            return outcome.wait if outcome.wait is not None else _backoff(attempt)
        return None

    async def _renewed(self, grant: Grant) -> Grant:
        """The grant after its token was refused. A token refused right after a refresh is a dead grant."""
        self.grant = await self.sender.refresher.live(grant, failed=grant.access_token)
        return self.grant

    async def _failure(self, outcome: Outcome, grant: Grant) -> Exception:
        """What a refusal means to whoever called."""
        if outcome.kind is Kind.REFRESH_ONCE:
            outcome = still_refused(self.provider.rules, refreshed=True)
        if outcome.kind is Kind.REAUTH:
            return await self.sender.refresher.bury(grant, outcome.detail or "rejected")
        if outcome.kind is Kind.MISSING_SCOPE:
            return MissingScope(outcome.needed)
        return error_of(outcome, self.provider.label)


def error_of(outcome: Outcome, label: str) -> DeputizeError:
    """The typed error for a provider's refusal, in words a model may read."""
    match outcome.kind:
        case Kind.RATE_LIMITED:
            return RateLimited(f"{label} asks to wait before the next request.", retry_after=outcome.wait)
        case Kind.HIDDEN_OR_NOT_FOUND:
            if outcome.detail == "user_lacks_rights":
                return NotFound(f"{label}: this user has no right to do that.")
            return NotFound(f"{label}: not found, or not visible to this user.")
        case Kind.CONFLICT:
            return Conflict(f"{label}: the state differs ({outcome.detail or 'conflict'}).", reason=outcome.detail)
        case Kind.ORG_BLOCKED:
            return OrgBlocked(f"{label}: the organization blocks this.", url=outcome.url, hint="Ask an administrator.")
        case Kind.AMBIGUOUS_WRITE:
            return OutcomeUnknown(f"{label} did not say whether it was done.")
        case Kind.INVALID_INPUT:
            return InvalidInput(f"{label} refused the request ({outcome.detail or 'invalid'}).", fix_by=outcome.fix_by)
        case _:
            return ProviderUnavailable(f"{label} could not answer now.")


def segment(name: str, value: str) -> str:
    """One path segment, encoded. Raises `InvalidInput` for what could leave its place."""
    if not isinstance(value, str) or value.strip() in ("", ".", "..") or _FORBIDDEN.search(value):
        raise InvalidInput(f"{name}: not an id.", hint="Use an id as another tool of this toolkit returned it.")
    return quote(value, safe="")


def _loopback(netloc: str) -> bool:
    return netloc.rpartition(":")[0] in ("127.0.0.1", "[::1]")


def _query(params: Mapping[str, Any] | None) -> str:
    """The query, empty for none: lists repeat their name, None is left out, true and false are in lower case."""
    pairs = []
    for name, value in (params or {}).items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                text = str(one).lower() if isinstance(one, bool) else str(one)
                pairs.append(f"{quote_plus(name)}={quote_plus(text)}")
    return "?" + "&".join(pairs) if pairs else ""


def _backoff(attempt: int) -> float:
    """1, 2, 4 ... seconds, with jitter."""
    return float(2**attempt * random.uniform(0.8, 1.2))  # noqa: S311
