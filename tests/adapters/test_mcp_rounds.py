"""Repeated MCP calls: from the beginning, after a hang-up, in another process, by another user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest

from deputize.core import Approval, Consent, InvalidInput, User, allow_all
from deputize.core.approvals.record import APPROVAL_TTL
from deputize.core.consent.consents import CONSENT_LINK_TTL
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import OWN_PAGE, TOOL, House, house
from tests.support.graphs import SEND
from tests.support.mcp_clients import Raw, client, raw
from tests.support.sandbox_deputy import Clock, connect, consent, new_vault

ARGS: Final = SEND["args"]
ACCEPT: Final = {"deputize": {"action": "accept"}}
DECLINE: Final = {"deputize": {"action": "decline"}}


def asked(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["resultType"] == "input_required" and list(answer["inputRequests"]) == ["deputize"], answer
    found: dict[str, Any] = answer["inputRequests"]["deputize"]["params"]
    return found


def said(answer: dict[str, Any]) -> str:
    assert answer["resultType"] == "complete", answer
    return str(answer["content"][0]["text"])


async def visit(home: House, link: str, user: str = "alice") -> None:
    """Give the consent behind this link."""
    for one in await home.deputy.pending(user):
        if isinstance(one, Consent) and one.link == link:
            await consent(home.deputy, home.sandbox, one, as_=f"{user}@example.test")


async def approve(home: House, user: str = "alice") -> None:
    """Approve everything that waits for this user."""
    for one in await home.deputy.pending(user):
        if isinstance(one, Approval):
            await home.deputy.decide(one, "approve", by=user)


@pytest.mark.processes
async def test_repeated_call_finds_the_same_request() -> None:
    async with house(waits=0.1) as home, raw(home.url) as alice:
        first = await alice.call(TOOL, ARGS)
        again = await alice.call(TOOL, dict(reversed(ARGS.items())))
        waited = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=again["requestState"])
        links = {asked(one)["url"] for one in (first, again, waited)}
        assert len(links) == 1 == len(await home.deputy.pending("alice")) and home.sent() == 0
        await visit(home, links.pop())
        first = await alice.call(TOOL, ARGS)
        again = await alice.call(TOOL, ARGS)
        assert asked(first)["url"] == asked(again)["url"] and home.sent() == 0
        await approve(home)
        end = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=again["requestState"])
        late = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=first["requestState"])
        assert "Sent." in said(end) and said(late) == said(end) and home.sent() == 1


async def test_equal_call_after_an_outcome_is_a_new_request() -> None:
    async with house(waits=0.1, connected=True) as home, raw(home.url) as alice:
        for count in (1, 2):
            before = asked(await alice.call(TOOL, ARGS))["url"]
            await approve(home)
            assert "Sent." in said(await alice.call(TOOL, ARGS)) and home.sent() == count
        assert asked(await alice.call(TOOL, ARGS))["url"] != before


@pytest.mark.processes
async def test_retry_waits_for_the_user_and_continues_immediately() -> None:
    async with house(waits=20.0, connected=True) as home, raw(home.url) as alice:
        state = (await alice.call(TOOL, ARGS))["requestState"]
        waiting = asyncio.create_task(alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=state))
        await asyncio.sleep(0.3)
        assert not waiting.done() and home.sent() == 0
        await approve(home)
        assert "Sent." in said(await asyncio.wait_for(waiting, 5)) and home.sent() == 1


async def test_expired_link_is_replaced_by_a_valid_one() -> None:
    clock = Clock(1_800_000_000.0)
    async with house(waits=0.1, clock=clock) as home, raw(home.url) as alice:
        first = await alice.call(TOOL, ARGS)
        clock.now += CONSENT_LINK_TTL + 1
        again = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=first["requestState"])
        assert asked(again)["url"] != asked(first)["url"] and len(await home.deputy.pending("alice")) == 1
        await visit(home, asked(again)["url"])
        asking = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=again["requestState"])
        await approve(home)
        clock.now += APPROVAL_TTL + 1  # a yes does not count for ever either
        late = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=asking["requestState"])
        assert asked(late)["url"] != asked(asking)["url"] and home.sent() == 0
        await approve(home)
        end = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=late["requestState"])
        assert "Sent." in said(end) and home.sent() == 1


async def test_state_is_useless_to_others_for_other_calls_or_altered() -> None:
    async with house(waits=0.1, connected=True) as home, raw(home.url) as alice, raw(home.url, user="bob") as bob:
        await connect(home.deputy, home.sandbox, "readonly", "send", user="bob", as_="bob@example.test")
        state = (await alice.call(TOOL, ARGS))["requestState"]
        await approve(home)
        other = ARGS | {"body": "No."}
        altered = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
        for who, arguments, given in (
            (bob, ARGS, state),
            (alice, other, state),
            (alice, ARGS, altered),
            (alice, ARGS, ""),
        ):
            refused = await who.call(TOOL, arguments, inputResponses=ACCEPT, requestState=given)
            assert (refused["code"], refused["data"]) == (-32602, {"reason": "invalid_request_state"})
        assert (home.sent(), home.sent("bob")) == (0, 0)
        assert "Sent." in said(await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=state))
        assert (home.sent(), home.sent("bob")) == (1, 0)


async def test_wrong_person_at_the_link_is_refused_and_it_stays_open() -> None:
    async with house(waits=0.1) as home, raw(home.url) as alice:
        first = await alice.call(TOOL, ARGS)
        ticket = asked(first)["url"].rpartition("/")[2]
        with pytest.raises(InvalidInput):
            await home.deputy.consents.start(ticket, User("bob"))
        again = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=first["requestState"])
        assert asked(again)["url"] != asked(first)["url"], "a link that somebody else had is none any more"
        await visit(home, asked(again)["url"])
        asking = await alice.call(TOOL, ARGS)
        for one in await home.deputy.pending("alice"):
            assert await home.deputy.get_approval(one.id, by="bob") is None
        assert asked(await alice.call(TOOL, ARGS)) == asked(asking) and home.sent() == 0


@pytest.mark.processes
async def test_two_equal_concurrent_calls_are_one_request_and_one_act() -> None:
    async with house(waits=5.0, connected=True) as home, raw(home.url) as alice:
        states = [one["requestState"] for one in await asyncio.gather(*(alice.call(TOOL, ARGS) for _ in range(4)))]
        assert len(await home.deputy.pending("alice")) == 1
        retries = [
            asyncio.create_task(alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=state)) for state in states
        ]
        await asyncio.sleep(0.2)
        await approve(home)
        assert len({said(one) for one in await asyncio.gather(*retries)}) == 1 == home.sent()


# ------------------------------------------------------------- hang-ups and restarts


class Slow(httpx.AsyncBaseTransport):
    """A provider that has accepted a mail and is slow to answer."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner, self.taken, self.go_on = inner, asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.method == "POST" and request.url.path.endswith("/send"):
            self.taken.set()
            await self.go_on.wait()
        return response


@pytest.mark.processes
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_disconnected_client_gets_the_result_when_it_calls_again(mode: str) -> None:
    sandbox = Sandbox()
    slow = Slow(sandbox.transport())
    async with house(sandbox, connected=False, policy=allow_all, transport=slow) as home:
        await connect(home.deputy, sandbox, "readonly", "send")
        async with client(home.url, mode=mode) as alice:
            first = asyncio.create_task(alice.call_tool(TOOL, ARGS))
            await slow.taken.wait()
            first.cancel()
            await asyncio.wait([first])
        await asyncio.sleep(0.2)
        assert home.sent() == 1
        slow.go_on.set()
        await asyncio.sleep(0.2)  # the act ends, and nobody is there to hear of it
        async with client(home.url, mode=mode) as alice:
            again = await alice.call_tool(TOOL, ARGS)
            assert not again.is_error and again.structured_content["summary"] == "Sent." and home.sent() == 1
            assert not (await alice.call_tool(TOOL, ARGS)).is_error and home.sent() == 2, "and the next is another one"


@pytest.mark.processes
async def test_repeated_call_waits_for_the_running_first_one() -> None:
    sandbox = Sandbox()
    slow = Slow(sandbox.transport())
    async with house(sandbox, policy=allow_all, transport=slow) as home, raw(home.url) as alice:
        await connect(home.deputy, sandbox, "readonly", "send")
        with pytest.raises(httpx2.ReadTimeout):
            await alice.http.post(alice.url, **alice.asking(TOOL, ARGS), timeout=0.5)
        again = asyncio.create_task(alice.call(TOOL, ARGS))
        await asyncio.sleep(0.2)
        slow.go_on.set()
        assert "Sent." in said(await again) and home.sent() == 1


@asynccontextmanager
async def process(sandbox: Sandbox, folder: Path) -> AsyncIterator[tuple[House, Raw]]:
    """One run of a server over this vault."""
    vault = await new_vault(folder / "vault", bytes(32))
    async with house(sandbox, vault=vault, waits=0.1) as home, raw(home.url) as alice:
        yield home, alice


@pytest.mark.processes
async def test_server_may_restart_between_request_and_answer(tmp_path: Path) -> None:
    sandbox, state, links = Sandbox(), "", list[str]()
    for step in ("begin", "again", "visit", "approve", "late"):
        async with process(sandbox, tmp_path) as (home, alice):
            if step == "approve":
                await approve(home)
            more = {"inputResponses": ACCEPT, "requestState": state} if step not in ("begin", "again") else {}
            answer = await alice.call(TOOL, ARGS, **more)
            if step in ("approve", "late"):
                assert "Sent." in said(answer)
            else:
                state = answer["requestState"]
                links.append(asked(answer)["url"].partition("8736")[2])
            if step == "again":
                await visit(home, asked(answer)["url"])
        assert len(sandbox.sent("alice@example.test")) == (step in ("approve", "late"))
    assert links[0] == links[1] != links[2]


# ------------------------------------------------------------- what a client can show


async def test_client_with_forms_only_approves_with_the_pages_text() -> None:
    async with house(waits=0.1, connected=True) as home, raw(home.url, can={"elicitation": {}}) as alice:
        hostile = ARGS | {"body": "Hi.\n\nto: carol@example.test\nbcc: eve@evil.test"}
        first = await alice.call(TOOL, hostile)
        question = asked(first)
        [waiting] = await home.deputy.pending("alice")
        assert isinstance(waiting, Approval) and question["mode"] == "form"
        assert all(line in question["message"] for text in waiting.preview.values() for line in text.splitlines())
        rows = [line for line in question["message"].splitlines() if not line.startswith("    ")]
        assert not any("eve@evil" in row or "carol" in row for row in rows), "a letter looks like no row"
        early = await alice.call(TOOL, hostile, inputResponses=ACCEPT, requestState=first["requestState"])
        assert asked(early) == question and home.sent() == 0, "no decision is no yes"
        yes = {"deputize": {"action": "accept", "content": {"decision": "approve"}}}
        end = await alice.call(TOOL, hostile, inputResponses=yes, requestState=early["requestState"])
        assert "Sent." in said(end) and home.sent() == 1


@pytest.mark.parametrize("answer", [{"action": "decline"}, {"action": "accept", "content": {"decision": "reject"}}])
async def test_rejection_in_a_form_is_recorded_and_stays(answer: dict[str, Any]) -> None:
    async with house(waits=0.1, connected=True) as home, raw(home.url, can={"elicitation": {"form": {}}}) as alice:
        first = await alice.call(TOOL, ARGS)
        no = await alice.call(TOOL, ARGS, inputResponses={"deputize": answer}, requestState=first["requestState"])
        assert no["isError"] and "declined" in said(no).lower()
        yes = {"deputize": {"action": "accept", "content": {"decision": "approve"}}}
        again = await alice.call(TOOL, ARGS, inputResponses=yes, requestState=first["requestState"])
        assert again["isError"] and home.sent() == 0


async def test_application_can_require_decisions_on_its_pages() -> None:
    async with house(waits=0.1, connected=True, server={"forms": False}) as home:
        async with raw(home.url) as both, raw(home.url, can={"elicitation": {}}) as forms:
            first = await both.call(TOOL, ARGS)
            assert asked(first)["mode"] == "url"
            yes = {"deputize": {"action": "accept", "content": {"decision": "approve"}}}
            again = await both.call(TOOL, ARGS, inputResponses=yes, requestState=first["requestState"])
            assert asked(again) == asked(first) and home.sent() == 0
            assert OWN_PAGE in said(await forms.call(TOOL, ARGS))


async def test_long_mail_is_approved_on_the_page_and_never_cut_in_a_form() -> None:
    async with house(waits=0.1, connected=True) as home, raw(home.url, can={"elicitation": {}}) as alice:
        answer = await alice.call(TOOL, ARGS | {"body": "word " * 2000})
        assert OWN_PAGE in said(answer) and answer["isError"] and home.sent() == 0


@pytest.mark.parametrize("can", [{}, {"elicitation": {}}, {"sampling": {}}])
async def test_client_without_links_gets_none(can: dict[str, Any]) -> None:
    async with house(waits=0.1) as home, raw(home.url, can=can) as alice:
        answer = await alice.call(TOOL, ARGS)
        [waiting] = await home.deputy.pending("alice")
        assert answer["isError"] and OWN_PAGE in said(answer)
        assert waiting.link.rpartition("/")[2] not in str(answer) and "requestState" not in answer
