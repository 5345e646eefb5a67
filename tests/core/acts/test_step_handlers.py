"""What a tool may yield besides a plain request, and what each step returns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, get_args, get_origin
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest

from deputize.core import (
    Answer,
    Call,
    DeputizeError,
    File,
    InvalidInput,
    Keep,
    NotFound,
    OutcomeUnknown,
    Preview,
    Request,
    Secret,
    Steps,
    Take,
    TimeZone,
    Toolkit,
    User,
    Wait,
    any_of,
)
from deputize.core.tools.steps import HEADERS, MIB, Step, Try
from tests.support.faults import GMAIL_API, answer, broken
from tests.support.gmail_toolkit import READ
from tests.support.probe_toolkit import Probe, probing
from tests.support.sandbox_deputy import set_sleep

PATH = "/users/me/messages"
CALENDAR = ("www.googleapis.com", "/calendar")
TOKYO = ZoneInfo("Asia/Tokyo")  # read before any loop runs


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    async with probing() as made:
        yield made


def said(status: int = 200, content: bytes = b"", **headers: str) -> Any:
    own = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda request: httpx.Response(status, content=content, headers=own)


# ------------------------------------------------------------- another root


async def test_request_uses_the_api_root_it_names(probe: Probe) -> None:
    probe.line.answers[CALENDAR] = [answer(200, {"id": "primary"})]
    assert await probe.run(Request("GET", "/calendars/primary", api="calendar")) == {"id": "primary"}
    assert str(probe.line.sent[0].url) == "https://www.googleapis.com/calendar/v3/calendars/primary"


@pytest.mark.parametrize("api", ["slack", "https://evil.example.test", "Gmail", "gmail/.."])
async def test_D1_unlisted_api_root_is_refused(probe: Probe, api: str) -> None:
    with pytest.raises(InvalidInput):
        await probe.run(Request("GET", PATH, api=api))
    assert probe.line.sent == []


# ------------------------------------------------------------- headers


async def test_request_sets_allowed_headers(probe: Probe) -> None:
    await probe.run(Request("GET", PATH, headers={"Accept": "text/plain", "If-None-Match": '"x"', "prefer": "a=b"}))
    sent = probe.line.sent[0].headers
    assert (sent["accept"], sent["if-none-match"], sent["prefer"]) == ("text/plain", '"x"', "a=b")
    assert sent.get_list("accept") == ["text/plain"] and sent["authorization"].startswith("Bearer ")


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Authorization", "host", "cookie", "content-length", "transfer-encoding", "x-goog-user"),
        *("connection", "x-http-method-override", "accept\r\nx: y", "accept ", "", "x-forwarded-for", "accept\x00"),
    ],
)
async def test_D5_forbidden_header_is_refused(probe: Probe, name: str) -> None:
    with pytest.raises(InvalidInput):
        await probe.run(Request("GET", PATH, headers={name: "x"}))
    assert probe.line.sent == []


@pytest.mark.parametrize(
    "value", ["", " ", "a\r\nx: y", "a\nb", "a\x00", "ä", " a", "a ", "x" * 1001, "\u2028", 7, None]
)
@pytest.mark.parametrize("name", sorted(HEADERS)[:1])
async def test_D5_invalid_header_value_is_refused(probe: Probe, name: str, value: Any) -> None:
    with pytest.raises(InvalidInput):
        await probe.run(Request("GET", PATH, headers={name: value}))
    with pytest.raises(InvalidInput):
        await probe.run(Request("POST", PATH, content=b"x", content_type=value or "\n", repeat="read"))
    assert probe.line.sent == []


# ------------------------------------------------------------- raw and whole


@pytest.mark.parametrize("content", [b"", b"plain", b'{"a": 1}', b"[1]", b"\xff\x00", b"<html>", b'"text"', b"null"])
async def test_raw_bytes_are_returned_unchanged(probe: Probe, content: bytes) -> None:
    probe.line.answers[GMAIL_API] = [said(200, content, content_type="application/json")]
    assert await probe.run(Request("GET", PATH, raw=True)) == content


async def test_raw_content_that_looks_like_a_refusal_is_returned(probe: Probe) -> None:
    content = b'{"ok": false, "error": "token_revoked", "errors": [{"type": "FORBIDDEN"}], "data": null}'
    probe.line.answers[GMAIL_API] = [said(200, content)]
    assert await probe.run(Request("GET", PATH, raw=True)) == content


async def test_refused_raw_request_raises_as_usual(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(404, {"error": {"code": 404}})]
    with pytest.raises(NotFound):
        await probe.run(Request("GET", PATH, raw=True))


async def test_whole_answer_has_lowercase_headers_without_cookies(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [
        said(200, b'{"a": 1}', ETag='"7"', Link="<x>; rel=next", Set_Cookie="sid=1", WWW_Authenticate="Bearer x")
    ]
    got = await probe.run(Request("GET", PATH, whole=True))
    assert isinstance(got, Answer) and (got.status, got.data) == (200, {"a": 1})
    assert got.headers["etag"] == '"7"' and got.headers["link"] == "<x>; rel=next"
    assert not {"set-cookie", "www-authenticate", "ETag"} & got.headers.keys()


async def test_whole_raw_request_returns_answer_with_bytes(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(200, b'{"a": 1}')]
    assert (await probe.run(Request("GET", PATH, whole=True, raw=True))).data == b'{"a": 1}'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_D2_redirect_is_returned_as_whole_answer_and_not_followed(probe: Probe, status: int) -> None:
    probe.line.answers[GMAIL_API] = [said(status, location="https://evil.example.test/x?sig=1")]
    got = await probe.run(Request("GET", PATH, whole=True))
    assert (got.status, got.headers["location"]) == (status, "https://evil.example.test/x?sig=1")
    assert [request.url.host for request in probe.line.sent] == ["gmail.googleapis.com"]


async def test_not_modified_is_returned_as_whole_answer(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(304, etag='"7"')]
    got = await probe.run(Request("GET", PATH, whole=True, headers={"if-none-match": '"7"'}))
    assert (got.status, got.data) == (304, None)


@pytest.mark.parametrize(("status", "kind"), [(401, DeputizeError), (404, NotFound), (409, DeputizeError)])
async def test_refusal_is_raised_for_whole_requests(probe: Probe, status: int, kind: type[DeputizeError]) -> None:
    probe.line.answers[GMAIL_API] = [answer(status)] * 2
    with pytest.raises(kind):
        await probe.run(Request("GET", PATH, whole=True))


async def test_redirected_write_counts_as_done_and_is_not_repeated(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(302, location="/elsewhere"), answer(404)]

    def body() -> Steps:
        yield Request("POST", PATH, json={}, whole=True)
        yield Request("GET", PATH)

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await probe.script(body, tool="write", call=Call("t", "m", "c"))
    assert [method for method, _, _ in probe.line.seen] == ["POST", "GET"]


@pytest.mark.parametrize("status", [307, 308])
async def test_refusal_after_a_redirected_write_is_a_plain_refusal(probe: Probe, status: int) -> None:
    probe.line.answers[GMAIL_API] = [said(status, location="/elsewhere"), answer(404)]

    def body() -> Steps:
        yield Request("POST", PATH, json={}, whole=True)
        yield Request("POST", PATH, json={})

    with pytest.raises(NotFound):
        await probe.script(body, tool="write", call=Call("t", "m", "c"))


# ------------------------------------------------------------- how much


async def test_D6_too_long_answer_is_invalid_input_and_not_retried(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(200, b"x" * 101)] * 3
    with pytest.raises(InvalidInput, match="answer_too_long"):
        await probe.run(Request("GET", PATH, raw=True, max_bytes=100))
    assert len(probe.line.sent) == 1


async def test_tool_can_request_a_longer_answer(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(200, b"x" * (11 * MIB))]
    assert len(await probe.run(Request("GET", PATH, raw=True, max_bytes=12 * MIB))) == 11 * MIB


async def test_D6_answer_limit_above_fifty_mebibytes_is_refused(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(200, bytes(50 * MIB + 1))]
    with pytest.raises(InvalidInput):
        await probe.run(Request("GET", PATH, raw=True, max_bytes=2**40))


async def test_write_with_too_long_answer_is_outcome_unknown(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [said(200, b"x" * 101)]
    with pytest.raises(OutcomeUnknown):
        await probe.run(Request("POST", PATH, json={}, max_bytes=100), tool="write")


# ------------------------------------------------------------- steps that are none, and lists


@pytest.mark.parametrize(
    "step",
    [None, "GET", 7, (), {}, [Wait(1)], [Request("GET", PATH), Take("file_aaaaaaaaaa")], [[Request("GET", PATH)]]],
)
async def test_unknown_step_stops_the_tool_before_sending(probe: Probe, step: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        await probe.run(step)
    assert caught.value.fix_by == "operator" and probe.line.sent == []


# ------------------------------------------------------------- waiting


async def test_wait_step_lasts_as_requested_up_to_its_limit(probe: Probe) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    set_sleep(probe.deputy, sleep)
    assert await probe.run(Wait(10), Wait(0), Wait(10), Wait(10)) is None
    assert waited == [10, 0, 10, 10]
    for steps in ([Wait(10.1)], [Wait(-1)], [Wait(float("nan"))], [Wait(float("inf"))], [Wait(10)] * 4):
        waited.clear()
        with pytest.raises(InvalidInput) as caught:
            await probe.run(*steps)
        assert caught.value.fix_by == "operator" and sum(waited) <= 30


async def test_try_step_accepts_at_most_ten_reads_and_no_write(probe: Probe) -> None:
    read, write = Request("GET", PATH), Request("POST", PATH, json={})
    assert len(await probe.run(Try([read] * 10))) == 10
    for tried in ([read] * 11, [read, write]):
        probe.line.sent.clear()
        with pytest.raises(InvalidInput, match="more than 10 requests at once, or writes"):
            await probe.run(Try(tried), tool="write")
        assert probe.line.sent == []


async def test_step_of_a_derived_class_uses_its_base_handler(probe: Probe) -> None:
    class Search(Request):
        """A request type with a tool's own attribute."""

    probe.line.answers[GMAIL_API] = [answer(200, {"found": 1})]
    assert await probe.run(Search("GET", PATH)) == {"found": 1}


async def test_every_step_except_preview_has_a_handler(probe: Probe) -> None:
    kinds = {get_origin(kind) or kind for kind in get_args(Step)}
    assert kinds - probe.deputy.runner.handlers.keys() == {Preview}


async def test_too_long_wait_after_a_write_is_outcome_unknown(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(200)]
    with pytest.raises(OutcomeUnknown):
        await probe.run(Request("POST", PATH, json={}), Wait(11), tool="write")


async def test_provider_with_a_long_outage_is_not_waited_for(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(503, {}, retry_after="3600")] * 3
    with pytest.raises(DeputizeError):
        await probe.run(Request("GET", PATH))
    assert len(probe.line.sent) == 1


# ------------------------------------------------------------- files


async def test_stored_file_is_loaded_by_its_handle(probe: Probe) -> None:
    kept = await probe.run(Keep(File("a.txt", "text/plain", b"hello")))
    assert set(kept) == {"file", "name", "mime", "size", "expires"} and json.dumps(kept)
    assert await probe.run(Take(kept["file"])) == File("a.txt", "text/plain", b"hello")


async def test_unknown_file_handle_is_raised_in_the_tool_which_can_continue(probe: Probe) -> None:
    def body() -> Steps:
        try:
            yield Take("file_aaaaaaaaaa")
        except NotFound as unknown:
            return str(unknown)

    assert await probe.script(body) == "Unknown file handle."


async def test_lost_raw_read_is_retried(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [broken(), said(200, b"x")]
    assert await probe.run(Request("GET", PATH, raw=True)) == b"x"


# ------------------------------------------------------------- what a provider sends back of ours


@pytest.mark.parametrize("status", [200, 302])
async def test_token_echoed_in_a_header_is_masked(probe: Probe, status: int) -> None:
    sent: list[str] = []

    def echo(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        sent.append(token)
        where = f"https://x.example.test/?t={quote(token, safe='')}"
        return httpx.Response(
            status, content=b"{}", headers={"x-debug": f"got {token}", "location": where, "etag": "7"}
        )

    probe.line.answers[GMAIL_API] = [echo]
    got = await probe.run(Request("GET", PATH, whole=True))
    assert got.headers["x-debug"] == "got ***" and got.headers["etag"] == "7"
    assert sent[0] not in str(got) and quote(sent[0], safe="") not in str(got)


async def test_escaped_echo_of_a_token_is_masked(probe: Probe) -> None:
    grant = await probe.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant is not None
    token = "00D5g!AQ/x+y=" + "z" * 40  # what Salesforce's look like, and more
    await probe.deputy.vault.replace(grant, replace(grant, access_token=Secret(token)))
    escaped = token.replace("/", "\\/")
    as_dotnet = token.replace("+", "\\u002B").replace("=", "\\u003d")
    within_a_text = as_dotnet.replace("\\", "\\\\")
    all_of_it = "".join(f"\\u{ord(c):04X}" for c in token)
    in_an_address = quote(token, safe="").replace("%", "\\u0025")
    echoes = [token, quote(token, safe=""), quote(token), escaped, as_dotnet, within_a_text, all_of_it, in_an_address]
    probe.line.answers[GMAIL_API] = [said(200, f'{{"echo": "{one}"}}'.encode()) for one in echoes]
    for one in echoes:
        assert await probe.run(Request("GET", PATH)) == {"echo": "***"}, one


async def test_too_long_answer_error_hints_at_a_smaller_request(subtests: pytest.Subtests) -> None:
    kit = Toolkit("lists", provider="google", api="gmail")

    @kit.tool(needs=[any_of(READ)])
    def rows(limit: int = 20) -> Steps:
        """Rows."""
        yield Request("GET", PATH, max_bytes=100, raw=not limit)

    @kit.tool(needs=[any_of(READ)])
    def row() -> Steps:
        """A row."""
        yield Request("GET", PATH, max_bytes=100)

    async with probing(kits=[kit]) as probe:
        for limit, says in ((40, "limit=10,"), (3, "limit=1,"), (1, "does not help"), (0, "100 bytes"), (None, "100")):
            tool, arguments = ("lists_row", {}) if limit is None else ("lists_rows", {"limit": limit})
            with subtests.test(limit=limit):
                probe.line.answers[GMAIL_API] = [said(200, b"x" * 101), answer(400)]
                with pytest.raises(InvalidInput, match="answer_too_long") as refused:
                    await probe.deputy.act(tool, arguments, user="alice")
                assert says in refused.value.hint
                with pytest.raises(InvalidInput, match="refused the request") as refused:
                    await probe.deputy.act(tool, arguments, user="alice")
                assert refused.value.hint == ""


async def test_stored_file_expiry_is_in_the_users_time_zone() -> None:
    kit = Toolkit("keeps", provider="google", api="gmail")

    @kit.tool(needs=[any_of(READ)])
    def one() -> Steps:
        """Keep a file."""
        yield TimeZone(TOKYO.key)
        return (yield Keep(File("a.txt", "text/plain", b"hello")))

    async with probing(kits=[kit]) as probe:
        told = await probe.deputy.act("keeps_one", {}, user="alice")
    assert told["expires"].endswith("+09:00")
