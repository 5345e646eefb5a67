"""Collects every secret that crosses the wire, and searches for each of them in any bytes that are left behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

_FORM = ("code", "code_verifier", "refresh_token", "client_secret", "token", "state")
_REPLY = ("access_token", "refresh_token", "id_token")


@dataclass(repr=False)
class Wiretap(httpx.AsyncBaseTransport):
    """A transport that records every token, code, verifier, state and client secret in either direction."""

    inner: httpx.AsyncBaseTransport
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # secret -> what it is

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if bearer:
            self.secrets.setdefault(bearer, scheme.lower())
        self._params(parse_qsl(request.url.query.decode()))
        if b"=" in content[:200]:
            self._params(parse_qsl(content.decode("utf8", "replace")))
        answer = await self.inner.handle_async_request(request)
        self._reply(await answer.aread())
        self._params(parse_qsl(urlsplit(answer.headers.get("location", "")).query))
        return answer

    def _params(self, pairs: Iterable[tuple[str, str]]) -> None:
        for name, value in pairs:
            if name in _FORM and len(value) > 8:
                self.secrets.setdefault(value, name)

    def _reply(self, body: bytes) -> None:
        try:
            reply = json.loads(body)
        except ValueError:
            return
        for name in _REPLY if isinstance(reply, Mapping) else ():
            if isinstance(reply.get(name), str):
                self.secrets.setdefault(reply[name], name)

    def kinds(self) -> set[str]:
        """Return the kinds of secrets seen: a canary that saw none proves nothing."""
        return set(self.secrets.values())


def hits(secrets: Mapping[str, str], sinks: Mapping[str, bytes | str]) -> list[str]:
    """Return where a secret, or a usual encoding of it, is readable: ``kind in sink``."""
    found = []
    for name, sink in sinks.items():
        data = sink if isinstance(sink, bytes) else sink.encode("utf8", "surrogatepass")
        found += [f"{kind} in {name}" for secret, kind in secrets.items() if any(f in data for f in _forms(secret))]
    return found


_TOO_MUCH_FOR_CHANCE: Final = 8
"""Number of base64 characters that cannot occur by chance: shorter pieces occur in ids and signatures now and then."""


def _forms(secret: str) -> Iterator[bytes]:
    plain = secret.encode()
    yield plain
    yield quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    for offset in range(3):  # wherever it lies inside a longer base64 text
        inside = base64.b64encode(b"\0" * offset + plain)[4:-4]
        if len(inside) >= _TOO_MUCH_FOR_CHANCE:
            yield inside
    yield plain.hex().encode()


def files(folder: Path) -> dict[str, bytes]:
    """Return the raw bytes of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def walk_error(error: BaseException | None) -> Iterator[str]:
    """Return everything that an exception says and holds, including its causes and contexts."""
    while error is not None:
        yield repr(error)
        yield repr(vars(error))
        yield repr(error.args)
        error = error.__cause__ or error.__context__


def frames(error: BaseException) -> Iterator[tuple[str, FrameType]]:
    """Yield every frame that an error holds, including its causes and contexts, with its location."""
    todo, met = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        todo += [e for e in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())) if e is not None]
        trace = one.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            yield f"{code.co_filename}:{trace.tb_lineno} {code.co_qualname}", trace.tb_frame
            trace = trace.tb_next


def frame_hits(error: BaseException, secrets: Mapping[str, str], *, but: tuple[str, ...] = ("/tests/",)) -> list[str]:
    """Return where a secret is in the locals of a frame: in the repr of each value and of what it contains."""
    return [
        f"{hit} as {name}"
        for where, frame in frames(error)
        if not any(part in where for part in but)
        for name, value in frame.f_locals.items()
        for hit in hits(secrets, {where: "\n".join(_deep(value, 4))})
    ]


def _deep(value: Any, depth: int) -> Iterator[str]:
    try:
        yield repr(value)
    except Exception as e:  # an object that is not finished yet
        yield type(e).__name__
    if depth and isinstance(value, Mapping):
        for one in (*value.keys(), *value.values()):
            yield from _deep(one, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _deep(one, depth - 1)


def dump(value: Any) -> str:
    """Return a value as text, as a log or a debugger would show it."""
    return f"{value!r}\n{value}\n{json.dumps(value, default=repr)}"
