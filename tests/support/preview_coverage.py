"""Checks that nothing unpreviewed is sent: what a tool's writes contain, compared with what its `Preview` said.

What is compared are the rendered rows and the pins, never the show's own data: people, who are compared there as
addresses, could hide a row that is missing. Ids that this act's own earlier writes were answered count as known.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import httpx

from deputize.core import Act, Call, Deputy, Preview, Verdict
from deputize.core.tools.preview import show_rows
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.provider_state import everything
from tests.support.sandbox_deputy import Clock, build

Arguments = Mapping[str, Any]
Make = Arguments | Callable[["ShownWorld"], Any]
"""The arguments of a call, or an async function of the world that finds them with other tools."""

IDS: Final = frozenset(
    {"id", "ts", "sha", "node_id", "number", "file_id", "message_ts", "channel", "upload_url", "canvas_id"}
    | {"uploadUrl", "assetUrl"}
)
"""Names under which a provider's answer to a write gives what the next write of the same act needs."""


@dataclass
class _Watched(httpx.AsyncBaseTransport):
    """Records requests, each write with its answer."""

    inner: httpx.AsyncBaseTransport
    writes: list[tuple[httpx.Request, httpx.Response]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = await self.inner.handle_async_request(request)
        await answer.aread()
        if request.method != "GET" and "token" not in request.url.path and not _is_read(request):
            self.writes.append((request, answer))
        return answer


@dataclass
class ShownWorld:
    """A deputy over the sandbox, the previews of its tools, and what they wrote.

    ``marks``: the ids that acts give to created objects, by which a second run finds them.
    """

    deputy: Deputy
    sandbox: Sandbox
    wire: _Watched
    shown: list[Preview] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)
    calls: int = 0

    async def act(self, tool: str, **arguments: Any) -> Any:
        """Make one call as Alice that is equal to no other."""
        self.calls += 1
        return await self.deputy.act(tool, arguments, user="alice", call=Call("t", "m", str(self.calls)))

    async def unseen(self, tool: str, make: Make, *, formats: Iterable[str] = ()) -> list[str]:
        """Return the words that were sent but not previewed, sorted.

        ``formats``: words of the provider's formats and paths.
        """
        arguments = await made(make, self)
        self.shown.clear()
        self.wire.writes.clear()
        await self.act(tool, **arguments)
        assert len(self.shown) == 1, f"{tool} showed {len(self.shown)} times"
        assert self.wire.writes, f"{tool} wrote nothing"
        known = shown_words(self.shown[0]) | set(formats) | {word for mark in self.marks for word in words(mark)}
        left = set[str]()
        for request, answer in self.wire.writes:
            left |= {word for text in texts_of(request) for word in words(text)} - known
            known |= _ids_in(answer)
        return sorted(left)

    async def asked_over(self, tool: str, make: Make, clock: Clock) -> list[Preview]:
        """Return the previews of a call whose user is asked: immediately, a minute later, and most of an hour later.
        Check that what was read for them has changed nothing at the provider."""
        arguments = await made(make, self)
        there = everything(self.sandbox)
        self.deputy.policy = self._ask
        self.shown.clear()
        for seconds in (0.0, 61.0, 3000.0):
            clock.now += seconds
            await self.deputy.check_calls([(tool, arguments, Call("t", "m", "over"))], user="alice")
        assert everything(self.sandbox) == there, f"{tool} changes something before its preview"
        return self.shown

    def _ask(self, act: Act) -> Verdict:
        self.shown.extend([act.show] if act.show else [])
        return Verdict.ASK


@asynccontextmanager
async def shown_world(scopes: Mapping[str, Iterable[str]], **more: Any) -> AsyncIterator[ShownWorld]:
    """Build a world in which Alice has granted these scopes, by provider. ``more``: for the deputy."""
    sandbox = Sandbox(**({"clock": more["clock"]} if "clock" in more else {}))
    wire, shown, marks = _Watched(sandbox.transport()), list[Preview](), set[str]()

    def policy(act: Act) -> Verdict:
        shown.extend([act.show] if act.show else [])
        marks.update(key.uuid for key in (act.key, *map(act.key.nth, range(1, 4))))
        return Verdict.ALLOW

    async with await build(sandbox, apps=apps(), transport=wire, policy=policy, **more) as deputy:
        for provider, wanted in scopes.items():
            give_grant(sandbox, deputy, "alice", list(wanted), provider=provider, email="alice@example.test")
        yield ShownWorld(deputy, sandbox, wire, shown, marks)


async def made(make: Make, world: ShownWorld) -> Arguments:
    """Return the arguments of a row, found with other tools if it says how."""
    found: Any = make
    return await found(world) if callable(found) else found  # type: ignore[no-any-return]


def words(text: str) -> set[str]:
    """Return adjacent letters and digits, in lower case."""
    return set(re.findall(r"[^\W_]+", text.casefold()))


def shown_words(show: Preview) -> set[str]:
    """Return what a person could read, and its pins."""
    rows = show_rows(show)
    return words(" ".join(text for row in rows for text in row)) | words(json.dumps(show.pins, ensure_ascii=False))


def texts_of(request: httpx.Request) -> Iterator[str]:
    """Yield every text that a write contains: in its path, its query and its body, however wrapped."""
    yield unquote(request.url.path)
    yield from (value for _, value in request.url.params.multi_items())
    kind, content = request.headers.get("content-type", ""), request.content
    if not content:
        return
    if "json" in kind:
        yield from _json_texts(json.loads(content))
    elif "form-urlencoded" in kind:
        for _, value in parse_qsl(content.decode(), keep_blank_values=True):
            yield from _maybe_json(value)
    else:
        yield sha256(content).hexdigest()  # a file


def _json_texts(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        if name == "" and isinstance(value.get("query"), str) and isinstance(value.get("variables"), Mapping):
            value = value["variables"]  # GraphQL: the document is a constant of ours
        for key, one in value.items():
            yield from _json_texts(one, str(key))
    elif isinstance(value, list):
        for one in value:
            yield from _json_texts(one, name)
    elif isinstance(value, str):
        named = name.lower()
        yield from (
            mail(value)
            if named == "raw"
            else _content(value)
            if named in ("content", "contents", "versiondata")
            else (value,)
        )
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _content(value: str) -> Iterator[str]:
    """Return a base64 file as its text or digest; or a text."""
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        yield value
        return
    try:
        yield content.decode()
    except UnicodeDecodeError:
        yield sha256(content).hexdigest()


def _maybe_json(value: str) -> Iterator[str]:
    """Return a form field, decoded if it is JSON."""
    if value[:1] in ("{", "["):
        try:
            yield from _json_texts(json.loads(value), "field")
        except ValueError:
            yield value
    else:
        yield value


def mail(raw: str) -> Iterator[str]:
    """Return everything that a recipient gets of a mail in base64url."""
    message = message_from_bytes(base64.urlsafe_b64decode(raw + "=="), policy=default)
    assert isinstance(message, EmailMessage)
    yield from (str(message[name] or "") for name in ("From", "To", "Cc", "Bcc", "Reply-To", "Subject"))
    for part in message.walk():
        content = part.get_payload(decode=True)
        if part.get_content_disposition() == "attachment":
            yield f"{part.get_filename()} {sha256(content).hexdigest() if isinstance(content, bytes) else ''}"
        elif part.get_content_maintype() == "text" and isinstance(part, EmailMessage):
            yield html.unescape(part.get_content())


def _is_read(request: httpx.Request) -> bool:
    """Return whether this is a POST that only reads: a GraphQL query, or a method of Slack's."""
    if request.url.host == "slack.com":
        return bool(_READS.search(request.url.path))
    if not request.url.path.endswith("/graphql"):
        return False
    return not str(json.loads(request.content).get("query", "")).lstrip().startswith("mutation")


_READS: Final = re.compile(r"\.(list|info|history|replies|members|conversations|lookupByEmail|getPermalink|context)$")


def _ids_in(answer: httpx.Response) -> set[str]:
    try:
        body = answer.json()
    except ValueError:
        return set()
    return {word for text in _named(body) for word in words(text)}


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name in IDS and isinstance(one, str | int):
                yield str(one)
            yield from _named(one)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)
