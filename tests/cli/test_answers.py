"""Answers at the terminal: approve, refuse, approve similar acts; and decisions made on the page during the
question."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from deputize.sandbox import Browser
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import LINK, click, talk

PAGE = r"(http://127\.0\.0\.1:\d+/me/\S+/approve/\S+)"


def mail(subject: str, to: str = "bob@acme.example") -> str:
    return json.dumps({"to": [to], "subject": subject, "body": "Are you there?"})


def decided(link: str, decision: str) -> None:
    """Press a button of an approval's page."""

    async def press() -> None:
        async with httpx.AsyncHTTPTransport() as network:
            browser = Browser(network)
            page = await browser.open(link)
            await browser.submit(page, page.forms[0], decision=decision)

    asyncio.run(press())


def sent(provider: Provider) -> int:
    return len(provider.sandbox.sent("alice@example.test"))


@pytest.mark.processes
@pytest.mark.parametrize(("decision", "code"), [("approve", 0), ("reject", 1)])
def test_terminal_notices_a_decision_on_the_page(home: Path, provider: Provider, decision: str, code: int) -> None:
    settings = connected(home, provider, "gmail.send")
    with talk("act", "gmail_send_email", mail("Hello"), home=home, env=settings) as acting:
        link = acting.hear(PAGE)[1]
        acting.hear("Do this?")
        acting.strike("y")  # half an answer
        decided(link, decision)
        acting.hear(f"Decided on the page: {'approved' if code == 0 else 'rejected'}")
        assert acting.ends() == code, acting.heard
    assert sent(provider) == 1 - code


@pytest.mark.processes
def test_terminal_decision_differing_from_the_pages_reports_what_counts(home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    with talk("act", "gmail_send_email", mail("Hello"), home=home, terminal=False, env=settings) as acting:
        decided(acting.hear(PAGE)[1], "reject")
        acting.say("y")
        acting.hear("Decided on the page: rejected")
        assert acting.ends() == 1 and "[declined]" in acting.heard


@pytest.mark.processes
def test_answer_m_creates_a_mandate_that_is_listed_and_ended(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    first = cli("act", "gmail_send_email", mail("One"), stdin="m\nmany\n2\n\n", **settings)
    assert first.exit_code == 0 and "reaches only: bob@acme.example" in first.stderr
    assert "A number from 1 to 200, please." in first.stderr
    for subject in ("Two", "Three"):
        assert cli("act", "gmail_send_email", mail(subject), **settings).exit_code == 0
    for asked in (mail("Four"), mail("Five", "eve@evil.test")):
        assert "[approval_required]" in cli("act", "gmail_send_email", asked, **settings).stderr
    assert sent(provider) == 3
    [listed] = json.loads(cli("mandates", "--json", **settings).stdout)
    assert (listed["tools"], listed["targets"]) == (["gmail_send_email"], ["bob@acme.example"])
    assert (listed["used"], listed["max_acts"], listed["audience"]) == (2, 2, "people")
    shown = cli("mandates", **settings).stdout
    assert "2 of 2 times used" in shown and f"deputize mandates end {listed['id']}" in shown
    assert cli("mandates", "end", listed["id"], **settings).exit_code == 0
    assert "agents ask you each time" in cli("mandates", **settings).stdout
    again = cli("mandates", "end", listed["id"], **settings)
    assert again.exit_code == 1 and "[not_found]" in again.stderr


@pytest.mark.processes
def test_leaving_the_mandate_prompt_decides_nothing(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    for typed in ("m\n", "m\n5\n"):
        left = cli("act", "gmail_send_email", mail("One"), stdin=typed, **settings)
        assert left.exit_code == 1 and "[approval_required]" in left.stderr
    assert sent(provider) == 0 and json.loads(cli("mandates", "--json", **settings).stdout) == []


@pytest.mark.processes
def test_demo_notices_a_decision_on_the_page(home: Path) -> None:
    with talk("demo", "--no-browser", home=home) as chatting:
        for said in ("anything from Bob this week?", "answer him yes"):
            chatting.hear("you> ")
            chatting.say(said)
            click(chatting.hear(LINK)[1])
        page = chatting.hear(PAGE)[1]
        chatting.hear("Do this?")
        decided(page, "approve")
        chatting.hear("Decided on the page: approved")
        chatting.hear("you> ")
        chatting.say("/quit")
        assert chatting.ends() == 0
