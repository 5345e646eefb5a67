"""From a tool's steps to the provider's responses: what is retried, what is not, and which error the caller gets."""

from __future__ import annotations

import inspect
import json
import re
import sys
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from deputize.core import (
    Call,
    Conflict,
    ConsentRequired,
    DeputizeError,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    Request,
    ScopeNotGranted,
    User,
)
from deputize.core.acts import provider_requests as exchange
from tests.core.consent.test_consents import House
from tests.support import gmail_toolkit
from tests.support.faults import GMAIL_API, TOKEN, answer, broken, shown
from tests.support.gmail_toolkit import FALSY, MAIL, READ, SEND
from tests.support.probe_toolkit import probing
from tests.support.sandbox_deputy import consent, set_sleep


def google(status: int, reason: str, message: str = "") -> Any:
    """Return a refusal in Google's wording."""
    return answer(status, {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}})


# ------------------------------------------------------------- what is repeated


async def test_status_401_refreshes_once_and_the_write_is_sent_once(house: House) -> None:
    house.sandbox.expire_access_tokens()
    assert (await house.act("send", **MAIL))["id"]
    assert house.mails == 1 and house.line.count(TOKEN) == 1 and house.line.count(GMAIL_API) == 2


async def test_status_429_is_waited_out_and_the_write_is_sent_once(house: House) -> None:
    house.line.answers[GMAIL_API] = [answer(429, {}, retry_after="2"), google(403, "rateLimitExceeded")]
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    set_sleep(house.deputy, sleep)
    assert (await house.act("send", **MAIL))["id"]
    assert house.mails == 1 and waited[0] == 2 and len(waited) == 2


async def test_persistent_429_raises_rate_limited_and_allows_a_later_call(house: House) -> None:
    house.line.answers[GMAIL_API] = [answer(429, {}, retry_after="2")] * 3 + [answer(429, {}, retry_after="600")]
    for wait in (2, 600):
        with pytest.raises(RateLimited) as caught:
            await house.act("send", **MAIL)
        assert caught.value.retry_after == wait
    assert house.line.count(GMAIL_API) == 4 and house.mails == 0
    assert (await house.act("send", **MAIL))["id"] and house.mails == 1


async def test_daily_limit_is_not_retried(house: House) -> None:
    reason = {"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "dailyLimitExceeded"}]}}
    house.line.answers[GMAIL_API] = [answer(403, reason)] * 2
    with pytest.raises(RateLimited):
        await house.act("search")
    assert house.line.count(GMAIL_API) == 1


@pytest.mark.parametrize("fault", [answer(503), answer(500), broken(), broken(httpx.ReadTimeout)])
async def test_failed_read_is_tried_three_times(house: House, fault: Any) -> None:
    house.line.answers[GMAIL_API] = [fault] * 2
    assert await house.act("search")
    house.line.answers[GMAIL_API] = [fault] * 3
    with pytest.raises(ProviderUnavailable):
        await house.act("search")
    assert house.line.count(GMAIL_API) == 6


@pytest.mark.parametrize("fault", [answer(503), answer(500), answer(502), broken(), broken(httpx.RemoteProtocolError)])
async def test_D9_write_with_lost_or_broken_answer_is_sent_once(house: House, fault: Any) -> None:
    house.line.answers[GMAIL_API] = [fault]
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await house.act("send", **MAIL)
    assert house.line.count(GMAIL_API) == 1


async def test_D9_unsent_write_can_be_retried(house: House) -> None:
    house.line.answers[GMAIL_API] = [broken(httpx.ConnectError)] * 3
    with pytest.raises(ProviderUnavailable):
        await house.act("send", **MAIL)
    assert (await house.act("send", **MAIL))["id"] and house.mails == 1


async def test_write_dropped_after_commit_is_outcome_unknown_and_sent_once(house: House) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail")
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await house.act("send", **MAIL)
    assert house.mails == 1


# ------------------------------------------------------------- what is told


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (google(404, "notFound"), NotFound),
        (google(403, "forbidden"), NotFound),
        (google(409, "alreadyExists"), Conflict),
        (google(412, "conditionNotMet"), Conflict),
        (google(403, "domainPolicy"), OrgBlocked),
        (google(400, "invalidArgument"), InvalidInput),
        (google(403, "accessNotConfigured"), InvalidInput),
    ],
)
@pytest.mark.parametrize("tool", ["search", "send"])
async def test_refusal_raises_typed_error_and_records_no_outcome(
    house: House, fault: Any, kind: type[DeputizeError], tool: str
) -> None:
    house.line.answers[GMAIL_API] = [fault]
    arguments = MAIL if tool == "send" else {}
    with pytest.raises(kind):
        await house.act(tool, **arguments)
    assert house.line.count(GMAIL_API) == 1
    assert await house.act(tool, **arguments)  # refused, so it may be done now


async def test_A19_missing_api_scope_is_requested_once(house: House) -> None:
    house.line.answers[GMAIL_API] = [google(403, "insufficientPermissions")] * 3
    with pytest.raises(ConsentRequired) as caught:
        await house.act("send", **MAIL)
    assert caught.value.consent.scopes == (SEND,)
    assert (await consent(house.deputy, house.sandbox, caught.value.consent)).status == "granted"
    with pytest.raises(ScopeNotGranted):
        await house.act("send", **MAIL)
    assert house.mails == 0


async def test_E3_narrowest_of_the_accepted_scopes_is_requested(house: House) -> None:
    house.line.answers[GMAIL_API] = [google(403, "insufficientPermissions")]
    with pytest.raises(ConsentRequired) as caught:
        await house.act("widely_allowed")
    assert caught.value.consent.scopes == (READ,)


async def test_E4_token_echoed_by_the_provider_is_not_repeated(house: House) -> None:
    grant = await house.grant()
    assert grant
    token = grant.access_token.reveal()
    for status in (400, 403, 404, 409, 500):
        house.line.answers[GMAIL_API] = [google(status, "invalidArgument", f"bad token {token}")] * 3
        with pytest.raises(DeputizeError) as caught:
            await house.act("search")
        house.line.answers.clear()
        printed = shown(caught.value)
        assert token not in printed, status
    assert token not in json.dumps(house.deputy.audit.rows())


async def test_L4_lost_request_error_does_not_show_the_token(house: House) -> None:
    grant = await house.grant()
    assert grant
    house.line.answers[GMAIL_API] = [broken()] * 3
    with pytest.raises(ProviderUnavailable) as caught:
        await house.act("search")
    assert grant.access_token.reveal() not in shown(caught.value)


# ------------------------------------------------------------- tools that do not behave


async def test_read_tool_that_writes_is_stopped_before_sending(house: House) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.act("lying", **MAIL)
    assert caught.value.fix_by == "operator" and house.line.seen == [] and house.mails == 0


async def test_read_tool_that_saves_a_note_is_stopped(house: House) -> None:
    with pytest.raises(InvalidInput):
        await house.act("noting")


async def test_concurrent_requests_return_in_order(house: House) -> None:
    ids = await house.act("search")
    assert len(ids) > 2 and await house.act("many", ids=ids) == ids
    assert await house.act("many", ids=[]) == []


async def test_concurrent_requests_are_all_awaited_when_one_fails(house: House) -> None:
    ids = await house.act("search")
    with pytest.raises((NotFound, InvalidInput)):
        await house.act("many", ids=[ids[0], "nosuchid", ids[1]])
    assert house.line.count(GMAIL_API) == 4


async def test_two_concurrent_writes_of_one_act_are_both_sent(house: House) -> None:
    house.store.pause = 0.001  # a store that takes its time, as one on disk does
    assert len(await house.act("pair", **MAIL)) == 2
    assert house.mails == 2
    await house.act("pair", **MAIL)
    assert house.mails == 2


async def test_one_failed_concurrent_write_makes_the_outcome_unknown(house: House) -> None:
    house.line.answers[GMAIL_API] = [google(400, "invalidArgument")]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await house.act("pair", **MAIL)
    assert house.mails == 1


@pytest.mark.parametrize("returns", FALSY)
async def test_falsy_results_are_returned_and_recorded_unchanged(house: House, returns: str) -> None:
    expected = FALSY[returns]
    for _ in range(2):
        for tool, arguments in (("falsy", {}), ("label", {"name": "Lunch"})):
            found = await house.act(tool, returns=returns, **arguments)
            assert found == expected and type(found) is type(expected)
    assert house.line.count(GMAIL_API, "POST") == 1


@pytest.mark.parametrize("tool", ["broken", "strange", "broken_at_once", "broken_read", "strange_read"])
async def test_broken_tool_raises_typed_error_without_values(house: House, tool: str) -> None:
    value = "canary-value"
    arguments = {
        "broken": MAIL | {"body": value},
        "strange": {"name": value},
        "broken_at_once": {"body": value},
        "broken_read": {"body": value},
        "strange_read": {},
    }[tool]
    with pytest.raises(DeputizeError) as caught:
        await house.act(tool, **arguments)
    assert value not in f"{caught.value} {caught.value.hint}" and caught.value.__cause__ is None
    last = house.deputy.audit.rows()[-1]
    assert (last["event"], last["tool"], last["decision"]) == ("act.result", f"gmail_{tool}", caught.value.code)


@pytest.mark.parametrize("tool", ["broken_at_once", "broken_read", "broken"])
async def test_broken_tool_log_names_line_and_message(
    house: House, caplog: pytest.LogCaptureFixture, tool: str
) -> None:
    arguments = (MAIL if tool == "broken" else {}) | {"body": "wrong key"}
    with pytest.raises(DeputizeError) as caught:
        await house.act(tool, **arguments)
    [said] = [one for one in caplog.records if "bug in the tool" in one.message]
    assert said.levelname == "WARNING" and "wrong key" not in caught.value.message
    at = re.fullmatch(rf"gmail_{tool}: bug in the tool: KeyError at (.+):(\d+): .*wrong key.", said.message)
    assert at and at[1] == gmail_toolkit.__file__
    lines, start = inspect.getsourcelines(getattr(gmail_toolkit, tool))
    assert ("no such field" if tool == "broken" else "raise KeyError(body)") in lines[int(at[2]) - start]


async def test_broken_tool_log_contains_no_secret(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await house.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant is not None
    token = grant.access_token.reveal()
    signed = "https://files.example.test/up?sig=abcdef1234"
    echoed = f"{token} {quote(token, safe='')} {json.dumps(token)} Bearer zzzz1234ZZZZ5678 {signed}\nforged: line"
    monkeypatch.setattr(gmail_toolkit, "KeyError", ValueError, raising=False)  # its text is as it was given
    with pytest.raises(DeputizeError):
        await house.act("broken_read", body=echoed)
    said = caplog.text
    assert "bug in the tool" in said and "files.example.test/up" in said
    assert token not in said and "zzzz1234" not in said and "abcdef1234" not in said
    assert not [line for line in said.splitlines() if line.startswith("forged")]


async def test_broken_tool_log_is_fast_for_any_message(house: House, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with pytest.raises(DeputizeError):
        await house.act("broken_read", body="https://" * 12_500)
    assert "bug in the tool" in caplog.text and time.monotonic() - began < 3  # it was 11 s


class Mute(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise ValueError("no text")


async def test_broken_tool_is_logged_when_its_message_cannot_be_rendered(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gmail_toolkit, "KeyError", Mute, raising=False)
    with pytest.raises(InvalidInput):
        await house.act("broken_at_once", body="x")
    assert "bug in the tool: Mute at " in caplog.text


async def test_unexpected_answer_form_is_provider_unavailable(house: House) -> None:
    house.line.answers[GMAIL_API] = [answer(200, ["no", "object"])]
    with pytest.raises(ProviderUnavailable, match="Google has another form than the tool expects") as caught:
        await house.act("search")
    assert caught.value.sent and caught.value.__cause__ is None


@pytest.mark.parametrize(("tool", "sent"), [("broken", 1), ("strange", 0)])
async def test_tool_that_breaks_after_its_write_is_recorded_as_unknown(house: House, tool: str, sent: int) -> None:
    arguments = MAIL if tool == "broken" else {"name": "Lunch"}
    with pytest.raises(Exception):  # noqa: B017
        await house.act(tool, **arguments)
    with pytest.raises(OutcomeUnknown):
        await house.act(tool, **arguments)
    assert house.line.count(GMAIL_API, "POST") == 1 and house.mails == sent


async def test_tool_that_breaks_before_its_write_is_not_recorded_as_unknown(house: House) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"at_once: bug in the tool \(\w+\)\. Nothing was changed\."):
            await house.act("broken_at_once", body="x")
    assert house.line.seen == []


@pytest.mark.parametrize(("place", "sent"), [("deputize.core.acts.sse_resume", 0), ("classify", 1)])
async def test_broken_tool_error_says_unchanged_only_if_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, place: str, sent: int
) -> None:
    """The tool's module cannot be loaded, since another release was installed or no file can be opened; or it has a
    bug."""
    if sent:
        monkeypatch.setattr(exchange, place, lambda *_, **__: 1 / 0)
    else:
        monkeypatch.setitem(sys.modules, place, None)
    call = Call("t", "m", "1")
    async with probing() as probe:
        probe.line.answers[GMAIL_API] = [answer(200, {})] * 2
        write = Request("POST", "/users/me/messages/send", json={}, resumes=True)
        for _ in range(2):
            with pytest.raises(OutcomeUnknown if sent else InvalidInput):
                await probe.run(write, tool="write", call=call)
        assert probe.line.count(GMAIL_API, "POST") == sent


async def test_grant_that_dies_during_a_read_needs_new_consent(house: House) -> None:
    ids = await house.act("search")
    house.sandbox.expire_access_tokens()
    house.line.answers[TOKEN] = [answer(400, {"error": "invalid_grant"})]
    with pytest.raises(ReconsentRequired):
        await house.act("many", ids=ids)


async def test_conflict_error_has_its_reason(house: House) -> None:
    house.line.answers[GMAIL_API] = [google(412, "conditionNotMet")]
    with pytest.raises(Conflict, match=r"conflict \(stale\): the object changed since it was read\.") as caught:
        await house.act()
    assert caught.value.reason == "stale"
