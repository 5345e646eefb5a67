"""Runs a tool step by step: requests are returned, responses are passed in. No client and no token."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from importlib import import_module
from typing import Any, Final

from deputize.core import (
    Account,
    ActKey,
    Effect,
    File,
    Keep,
    ParseFile,
    Preview,
    PublicRequest,
    Request,
    ResolvePerson,
    Run,
    SaveNote,
    Steps,
    Take,
    Toolkit,
    Undo,
    Wait,
)
from deputize.core import Answer as Reply
from deputize.core.errors import DeputizeError, InvalidInput, NotFound

ALICE: Final = Account("subject-of-alice", "alice@example.test")
KEY: Final = ActKey.of("tenant", "alice", "thread", "message", "call", "tool")
NOW: Final = 1795528800.0  # 2026-11-24 14:00 UTC

Answer = Callable[[Request], Any]


@dataclass
class Done:
    """How a tool ran: its result, every request in order, the requests that ran at once, and its notes."""

    result: Any = None
    requests: list[Request] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    kept: list[File] = field(default_factory=list)
    shown: list[Preview] = field(default_factory=list)
    undone_by: list[Undo] = field(default_factory=list)
    files: Mapping[str, File] = field(default_factory=dict)
    public: list[PublicRequest] = field(default_factory=list)
    outside: Callable[[PublicRequest], Reply] = lambda request: Reply(200, {}, b"")


@dataclass
class Driver:
    """Starts the tools of one toolkit with the values that the runtime injects."""

    toolkit: Toolkit
    granted: frozenset[str] = frozenset()
    account: Account = ALICE
    key: ActKey = KEY
    now: float = NOW
    files: Mapping[str, File] = field(default_factory=dict)
    outside: Callable[[PublicRequest], Reply] = lambda request: Reply(200, {}, b"")
    zone: tzinfo = UTC

    def start(self, name: str, arguments: Mapping[str, Any], noted: Mapping[str, Any] | None = None) -> Steps:
        """Return the steps of a call, with validated arguments."""
        tool = self.toolkit.tools[f"{self.toolkit.name}_{name}"]
        known = self.zone is not UTC
        run = Run(self.key, self.granted, self.account, noted, self.now, self.zone, zone_known=known)
        return tool.begin(tool.validate(arguments), lambda: run)

    def run(
        self, name: str, arguments: Mapping[str, Any], answer: Answer, noted: Mapping[str, Any] | None = None
    ) -> Done:
        """Run the whole call. A read-only tool may neither write nor keep notes."""
        tool = self.toolkit.tools[f"{self.toolkit.name}_{name}"]
        done = drive(self.start(name, arguments, noted), answer, begun=Done(files=self.files, outside=self.outside))
        if tool.effect_of(tool.validate(arguments)) is Effect.READS:
            assert not done.notes
            assert all(request.call == "read" for request in done.requests)
        return done


def drive(steps: Steps, answer: Answer, most: int = 2000, begun: Done | None = None) -> Done:
    """Answer every step until the tool returns, as the runtime does: failures are raised where the tool waits."""
    done = begun or Done()
    step = next_of(steps, lambda: next(steps), done)
    for _ in range(most):
        if step is None:
            return done
        try:
            sent = _answer(step, answer, done)
        except DeputizeError as failure:
            step = next_of(steps, lambda failure=failure: steps.throw(failure), done)  # type: ignore[misc]
        else:
            step = next_of(steps, lambda sent=sent: steps.send(sent), done)  # type: ignore[misc]
    raise AssertionError("the tool does not come to an end")


def next_of(steps: Steps, ask: Callable[[], Any], done: Done) -> Any:
    """Return the next step, or None once there is a result."""
    try:
        return ask()
    except StopIteration as stop:
        done.result = json.loads(json.dumps(stop.value))
        assert done.result == stop.value
        return None


PEOPLE: Final = {"Bob": "bob@example.test"}
"""The people in the user's accounts, for tools that look up names."""


def whom(step: ResolvePerson) -> str:
    """Look up a person."""
    if step.who in PEOPLE and step.wanted == "address":
        return PEOPLE[step.who]
    raise InvalidInput(f"{step.field}: nobody whom the user or the organisation knows is {step.who}.")


def _answer(step: Any, answer: Answer, done: Done) -> Any:
    if isinstance(step, Preview):
        done.shown.append(step)
        return None
    if isinstance(step, Undo):
        done.undone_by.append(step)
        return None
    if isinstance(step, SaveNote):
        done.notes.append(json.loads(json.dumps(dict(step.data))))
        return None
    if isinstance(step, Wait):
        done.waits.append(step.seconds)
        return None
    if isinstance(step, Keep):
        done.kept.append(step.file)
        size = len(step.file.content)
        return {"file": "file_kept000000", "name": step.file.name, "mime": step.file.mime, "size": size, "expires": "x"}
    if isinstance(step, ResolvePerson):
        return whom(step)
    if isinstance(step, Take):
        if step.handle not in done.files:
            raise NotFound("No file has this handle.")
        return done.files[step.handle]
    if isinstance(step, ParseFile):
        return import_module(step.module).parse(step.question, step.content)
    if isinstance(step, PublicRequest):
        done.public.append(step)
        return done.outside(step)
    if isinstance(step, Request):
        done.requests.append(step)
        return answer(step)
    assert isinstance(step, list) and 0 < len(step) <= 10
    done.requests += step
    done.at_once.append(len(step))
    answers: list[Any] = []
    for request in step:
        try:
            answers.append(answer(request))
        except DeputizeError as failure:
            answers.append(failure)
    for one in answers:
        if isinstance(one, DeputizeError):
            raise one
    return answers


def text_places(schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """List the paths in a tool's arguments at which any text is allowed."""
    known: Mapping[str, Any] = defs or schema.get("$defs", {})
    schema = known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    match schema.get("type"):
        case "string":
            return [] if "enum" in schema or "const" in schema else [()]
        case "array":
            return [(0, *path) for path in text_places(schema["items"], known)]
        case "object" if "properties" in schema:
            parts = schema["properties"].items()
            return [(name, *path) for name, part in parts for path in text_places(part, known)]
        case "object":
            return [("Name",)]
    return []


def strings(value: Any) -> list[str]:
    """List every string of a result, names of fields included."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings(one)] + list(value)
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []
