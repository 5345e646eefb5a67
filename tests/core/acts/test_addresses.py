"""Where a request may go: no argument chooses the host, and a path segment stays in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.core import (
    PROVIDERS,
    Call,
    DeputizeError,
    Deputy,
    Effect,
    InvalidInput,
    Provider,
    Request,
    Run,
    Steps,
    Toolkit,
    allow_all,
    any_of,
)
from deputize.core.acts.build_request import segment
from deputize.core.acts.provider_requests import ProviderTransport
from deputize.core.http.aiohttp import _parts
from deputize.sandbox import Sandbox
from tests.support.faults import GMAIL_API, Line, answer, shown
from tests.support.gmail_toolkit import ALL, READ, gmail
from tests.support.sandbox_deputy import build, connect

yarl = pytest.importorskip("yarl")
ROOT = PROVIDERS["google"].apis.roots["gmail"]

HOSTILE = [
    *("", " ", ".", "..", " .. ", "a/b", "/", "//evil.example.test", "a\\b", "..\\..", "%2e%2e", "%2F", "a%00", "%"),
    *("a\r\nX-Evil: 1", "a\nb", "a\tb", "a\x00b", "\x7f", "\u00a0..", "https://evil.example.test/x", "\u2028../x"),
]
INNOCENT = [
    "a",
    "18c2f",
    "a b",
    "ä",
    "a?x=1#y",
    "a@b",
    "a:b",
    "user@evil.example.test",
    "...",
    "a..b",
    "~",
    "{id}",
    "a;b=c",
]


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await build(sandbox, toolkits=[gmail, WILD], transport=line, policy=allow_all)
    await connect(deputy, sandbox, *ALL)
    line.seen.clear()
    line.sent.clear()
    yield deputy
    await deputy.close()


WILD = Toolkit("wild", provider="google", api="gmail")


@WILD.tool(needs=[any_of(READ)])
def fetch(path: str) -> Steps:
    """A careless tool whose argument is the whole path."""
    return (yield Request("GET", path))


@WILD.tool(needs=[any_of(READ)], effect=Effect.READS)
def verb(method: str) -> Steps:
    """A careless tool whose argument is the method."""
    return (yield Request(method, "/users/me/messages"))


def line_of(deputy: Deputy) -> Line:
    line = deputy.http._shared
    assert isinstance(line, Line)
    return line


@pytest.mark.parametrize("value", HOSTILE)
def test_D4_path_segment_with_traversal_characters_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        segment("id", value)
    assert str(caught.value) == "id: not an id."


@pytest.mark.parametrize("value", [None, 7, b"x", ["x"], {"x": 1}])
def test_D4_path_segment_that_is_not_a_string_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        segment("id", value)


@pytest.mark.parametrize("value", INNOCENT)
def test_D4_path_segment_with_safe_characters_is_percent_encoded(value: str) -> None:
    assert unquote(segment("id", value)) == value and not set(segment("id", value)) & set("/?#\\ @:;{}")


def _url(request: Request) -> str:
    """Return the address of a request, as sent by a Gmail tool."""

    class Tool:
        api, name = "gmail", "gmail_get"

    class Act:
        tool = Tool

    class Exchange:
        provider, act = PROVIDERS["google"], Act

    from deputize.core.acts import provider_requests as exchange

    return exchange.Exchange._url(Exchange, request)  # type: ignore[arg-type]


_segments = st.text(min_size=1, max_size=60)


@given(first=_segments, second=_segments, query=st.dictionaries(st.text(max_size=9), st.text(max_size=30), max_size=3))
async def test_D4_built_url_parses_to_the_same_segments_on_both_transports(
    first: str, second: str, query: dict[str, str]
) -> None:
    try:
        url = _url(Request("GET", "/users/{first}/x/{second}", {"first": first, "second": second}, params=query))
    except InvalidInput:
        return
    made = httpx.Request("GET", url)
    own = made.url.raw_path.decode("ascii")
    fast = str(yarl.URL((await _parts(made))[0], encoded=True).raw_path_qs)
    for target in (own, fast):
        path = target.partition("?")[0]
        assert [unquote(part) for part in path.split("/")] == ["", "gmail", "v1", "users", first, "x", second]
    assert made.url.netloc == b"gmail.googleapis.com" and not made.url.userinfo and not made.url.fragment
    assert own == fast


@given(value=st.text(st.sampled_from("./\\%2eEfF@:?#; \t\r\n\u00a0ab"), max_size=12))
def test_D4_path_argument_of_dots_slashes_and_percents_stays_one_segment(value: str) -> None:
    try:
        made = httpx.URL(f"https://gmail.googleapis.com/a/{segment('id', value)}/b")
    except InvalidInput:
        return
    assert made.host == "gmail.googleapis.com" and made.raw_path.count(b"/") == 3
    assert unquote(made.raw_path.decode().split("/")[2]) == value


@pytest.mark.parametrize(
    "path",
    [
        *("users", "//evil.example.test/x", "https://evil.example.test/x", "/../../evil", "/a/../b", "/a/.."),
        *("/a?x=1", "/a#x", "/a\\b", "/a b", "@evil.example.test", ".evil.example.test", ":443/x", "/a//b"),
        *("/./a", "/%2e%2e/%2e%2e/oauth", "/%2E./x", "/a\r\nHost: evil", "/a\x00b", "/a/%2f..%2f"),
    ],
)
async def test_D1_path_that_leaves_the_api_root_is_not_sent(deputy: Deputy, path: str) -> None:
    with pytest.raises(InvalidInput):
        await deputy.act("wild_fetch", {"path": path}, user="alice")
    assert line_of(deputy).sent == []


async def test_D1_argument_naming_another_host_sends_nothing_there(deputy: Deputy) -> None:
    for value in HOSTILE:
        with pytest.raises(InvalidInput):
            await deputy.act("gmail_get", {"id": value}, user="alice")
    for value in INNOCENT:
        with pytest.raises(DeputizeError):
            await deputy.act("gmail_get", {"id": value}, user="alice")
    assert {(request.url.scheme, request.url.netloc) for request in line_of(deputy).sent} == {
        ("https", b"gmail.googleapis.com")
    }


async def test_D4_id_longer_than_a_url_is_invalid_input(deputy: Deputy) -> None:
    with pytest.raises(InvalidInput):
        await deputy.act("gmail_get", {"id": "x" * 70_000}, user="alice")
    assert line_of(deputy).sent == []


async def test_D4_query_longer_than_a_url_is_invalid_input(deputy: Deputy) -> None:
    with pytest.raises(InvalidInput):
        await deputy.act("gmail_search", {"query": "x" * 70_000}, user="alice")
    assert line_of(deputy).sent == []


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
async def test_lone_surrogate_in_argument_is_invalid_input(deputy: Deputy, text: str) -> None:
    for tool, argument in (("gmail_get", "id"), ("gmail_search", "query"), ("wild_fetch", "path")):
        with pytest.raises(InvalidInput):
            await deputy.act(tool, {argument: text}, user="alice")


@pytest.mark.parametrize("method", ["GET /evil HTTP/1.1\r\nX: y", "PUT", "DELETE", "PATCH", "get", "", "QUERY"])
async def test_read_tool_cannot_send_write_methods(deputy: Deputy, method: str) -> None:
    with pytest.raises(DeputizeError):
        await deputy.act("wild_verb", {"method": method}, user="alice")
    assert line_of(deputy).sent == []


@pytest.mark.parametrize(
    "root",
    [
        *("https://evil.example.test/gmail/v1", "https://gmail.googleapis.com.evil.example.test/v1"),
        *(
            "https://gmail.googleapis.com:8443/v1",
            "https://gmail.googleapis.com./v1",
            "https://gma\u0456l.googleapis.com/v1",
        ),
        "https://gmail.googleapis.com@evil.example.test/v1",
    ],
)
async def test_D1_token_is_not_attached_to_a_foreign_host(root: str) -> None:
    google = PROVIDERS["google"]
    if "@" in root or not root.isascii():
        await _nothing_leaves(_unchecked(google, root))
    else:
        await _nothing_leaves(replace(google, apis=replace(google.apis, roots={"gmail": root})))


@pytest.mark.parametrize("plain_http", [False, True], ids=["provider", "stand-in"])
async def test_D1_token_is_not_sent_to_the_provider_without_tls(plain_http: bool) -> None:
    row = replace(PROVIDERS["google"], plain_http=plain_http)
    assert "without TLS" in await _nothing_leaves(_unchecked(row, "http://gmail.googleapis.com/gmail/v1"))


def _unchecked(row: Provider, root: str) -> Provider:
    """Return the provider with an API root that it would refuse itself."""
    object.__setattr__(spoilt := replace(row), "apis", replace(row.apis, roots={"gmail": root}))
    return spoilt


async def _nothing_leaves(row: Provider) -> str:
    """Check that a read at this provider is refused, and that nothing is sent; return the error."""
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await build(sandbox, toolkits=[gmail], transport=line, providers={"google": row})
    await connect(deputy, sandbox, *ALL)
    grant = (await deputy.vault.list_grants(_alice()))[0]
    line.sent.clear()
    with pytest.raises(DeputizeError) as caught:
        await deputy.act("gmail_search", {}, user="alice")
    assert line.sent == []
    assert grant.access_token.reveal() not in shown(caught.value)
    await deputy.close()
    return str(caught.value)


def _alice() -> Any:
    from deputize.core import User

    return User("alice")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["https://evil.example.test/x", "http://gmail.googleapis.com/x", "/gmail/v1/x"])
async def test_D2_redirect_is_not_followed_with_the_token(deputy: Deputy, status: int, target: str) -> None:
    line = line_of(deputy)
    line.answers[GMAIL_API] = [answer(status, {}, location=target)] * 5
    with pytest.raises(DeputizeError):
        await deputy.act("gmail_search", {}, user="alice", call=Call(id="1"))
    assert {str(request.url) for request in line.sent} == {f"{ROOT}/users/me/messages"}


async def test_D3_tool_receives_neither_token_nor_http_client() -> None:
    told = {"key", "granted", "account", "noted", "now", "zone", "zone_known", "trusted_authors", "can_ask"}
    assert Run.__dataclass_fields__.keys() == told | {"grant"}  # a name for it, and no way to it
    assert "token" not in str({tool.name: tool.schema for tool in gmail.tools.values()})
    assert ProviderTransport.__dataclass_fields__.keys() >= {"services", "refresher"}


def test_lone_surrogate_error_names_unicode() -> None:
    for request in (
        Request("GET", "/users/{id}", at={"id": "a\ud800"}),
        Request("GET", "/users", params={"q": "a\ud800"}),
    ):
        with pytest.raises(InvalidInput, match=r"lone surrogate \(invalid Unicode\)"):
            _url(request)
