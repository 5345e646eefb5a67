"""The sandbox's Google for a tool driver: requests in, responses or typed errors out. No deputy and no client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import httpx

from deputize.core import (
    Answer,
    File,
    Keep,
    ParseFile,
    Preview,
    PublicRequest,
    Request,
    ResolvePerson,
    SaveNote,
    Steps,
    Take,
    TimeZone,
    Toolkit,
    Undo,
    Wait,
)
from deputize.core.acts.build_request import address_of, headers_and_body
from deputize.core.acts.provider_errors import error_of
from deputize.core.errors import DeputizeError, NotFound, OutcomeUnknown
from deputize.core.failures import Kind, classify
from deputize.core.providers import GOOGLE
from deputize.core.tools.steps import Try
from deputize.sandbox import Sandbox
from deputize.sandbox.accounts import account_of
from deputize.sandbox.http_types import Ask
from tests.toolkits.tool_driver import KEY, NOW, Done, Driver, next_of, whom

ALICE, BOB = "alice@example.test", "bob@example.test"


class Lacking(Exception):
    """Google reports a missing scope. A tool cannot continue: the deputy asks the user."""


@dataclass
class Desk:
    """One person's Google. ``sent``: every request as sent; ``lose``: how many responses to writes are lost."""

    toolkit: Toolkit
    granted: frozenset[str]
    sandbox: Sandbox = field(default_factory=lambda: Sandbox(clock=lambda: NOW))
    person: str = ALICE
    sent: list[httpx.Request] = field(default_factory=list)
    lose: dict[str, int] = field(default_factory=dict)
    before: list[Callable[[Request], None]] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    public: list[PublicRequest] = field(default_factory=list)
    outside: Callable[[PublicRequest], Answer] = lambda request: Answer(200, {}, b"")
    waited: float = 0.0
    zones: list[str] = field(default_factory=list)
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        self.token = self.sandbox.give("google", self.person, sorted(self.granted | {"openid"}))["access_token"]

    def run(self, name: str, arguments: Mapping[str, Any] | None = None, **how: Any) -> Any:
        """Return the tool's result."""
        return self.ran(name, arguments, **how).result

    def ran(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        key: Any = KEY,
        noted: Mapping[str, Any] | None = None,
        now: float = NOW,
        stop: int = 0,
    ) -> Done:
        """Run the tool. ``stop``: interrupt it after this many steps, as if the process had died."""
        account = account_of("google", self.person)
        driver = Driver(self.toolkit, self.granted, account, key, now, zone=self.zone)
        steps = driver.start(name, arguments or {}, noted)
        return self.drive(steps, stop)

    def drive(self, steps: Steps, stop: int = 0) -> Done:
        """Answer every step until the tool returns."""
        done = Done()
        step = next_of(steps, lambda: next(steps), done)
        for n in range(1, 500):
            if step is None:
                return done
            try:
                answer = self.answer(step, done)
            except DeputizeError as failure:
                step = next_of(steps, lambda failure=failure: steps.throw(failure), done)  # type: ignore[misc]
            else:
                if n == stop:
                    steps.close()
                    return done
                step = next_of(steps, lambda answer=answer: steps.send(answer), done)  # type: ignore[misc]
        raise AssertionError("the tool does not come to an end")

    def answer(self, step: Any, done: Done) -> Any:
        """Return what the runtime would send back."""
        match step:
            case Preview():
                done.shown.append(step)
                return None
            case Undo():
                done.undone_by.append(step)
                return None
            case SaveNote():
                done.notes.append(json.loads(json.dumps(dict(step.data))))
                return None
            case Wait():
                self.waited += step.seconds
                return None
            case TimeZone():
                self.zones += [step.name] if step.name else []
                return ZoneInfo(step.name) if step.name else UTC if step.argument else None
            case Keep():
                handle = f"file_{len(self.files):010}"
                self.files[handle] = step.file
                size = len(step.file.content)
                return {"file": handle, "name": step.file.name, "mime": step.file.mime, "size": size, "expires": "x"}
            case ResolvePerson():
                return whom(step)
            case Take():
                if step.handle not in self.files:
                    raise NotFound("unknown handle")
                return self.files[step.handle]
            case ParseFile():
                return import_module(step.module).parse(step.question, step.content)
            case Try():
                return [self._tried(one, done) for one in step.requests]
            case PublicRequest():
                self.public.append(step)
                return self.outside(step)
            case list():
                done.at_once.append(len(step))
                assert 0 < len(step) <= 10
                return [self.answer(one, done) for one in step]
        done.requests.append(step)
        return self.send(step)

    def _tried(self, request: Request, done: Done) -> Any:
        try:
            return self.answer(request, done)
        except (DeputizeError, Lacking):
            return None

    def send(self, request: Request) -> Any:
        """Send one request, judged as the engine judges it."""
        for look in list(self.before):
            look(request)
        leaving = outgoing(request, self.toolkit.api or self.toolkit.name)
        self.sent.append(leaving)
        headers = {name.lower(): value for name, value in leaving.headers.items()}
        headers["authorization"] = f"Bearer {self.token}"
        path = leaving.url.raw_path.decode().partition("?")[0]
        query = parse_qs(leaving.url.query.decode(), keep_blank_values=True)
        ask = Ask(request.method, leaving.url.host, path, query, headers, leaving.content)
        reply = self.sandbox._play(ask).reply
        assert reply is not None
        if request.call != "read" and reply.status < 300 and self.lose.get(request.path, 0) > 0:
            self.lose[request.path] -= 1
            raise OutcomeUnknown("lost")
        outcome = classify(GOOGLE.rules, request.call, reply.status, dict(reply.headers), reply.body)
        if outcome.kind is Kind.OK and request.whole:
            return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, outcome.data)
        if outcome.kind is Kind.OK:
            return outcome.data
        if outcome.kind is Kind.MISSING_SCOPE:
            raise Lacking(request.method, request.path)
        raise error_of(outcome, "Google")


def outgoing(request: Request, api: str) -> httpx.Request:
    """Return the request as sent, without a token."""
    headers, body = headers_and_body(request, GOOGLE.apis.request_headers)
    url = address_of(GOOGLE.apis.roots[request.api or api], request)
    return httpx.Request(request.method, url, content=body or None, headers=headers)
