"""Spellings of values in a stranger's mail: an act with the same value is asked about, although a mandate covers it."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from codecs import encode
from collections.abc import AsyncIterator

import pytest

from deputize.core import ApprovalRequired, Call, Deputy
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.sandbox_deputy import build
from tests.tasks.world import ALICE, BOB, NOW, World

MARK, GMAIL, CAROL = "mark.black@clientcorp.com", "markblack@gmail.com", "carol@clientcorp.com"
SITE, SHOP = "Sign in at https://pay.evil-bank.com/login today.", "See pay.shady.co.uk/a for it."
ACCOUNT, PHONE = "Please pay to DE89 3704 0044 0532 0130 00 today.", "Call Bob at +49 170 1234567."


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


NAMED: dict[str, tuple[str, ...]] = {
    MARK: (
        "mark.black AT clientcorp DOT com",
        "mark [dot] black [at] clientcorp [dot] com",
        "mark.black @ clientcorp . com",
        "mark.black at clientcorp.com",
        "mark dot black at clientcorp dot com",
        "mark.black {at} clientcorp {dot} com",
        "mark.black -at- clientcorp -dot- com",
        "mark.black_AT_clientcorp_DOT_com",
        "mark.black(a)clientcorp.com",
        "mark.black@clientcorp. com",
        "mark.black at-sign clientcorp.com",
        "mark.black arroba clientcorp punto com",
        f"the code {_base64(MARK)} says it",
        urlsafe_b64encode(f"Pay to {MARK} now?>>".encode()).decode().rstrip("="),
        _base64(_base64(f"it is {MARK}")),
        f"data:text/plain;base64,{_base64(MARK)}",
        f"=?utf-8?B?{_base64(MARK)}?=",
        "=?utf-8?Q?mark.black=40clientcorp.com?=",
        "mark.black=40clientcorp.com",
        "mark.bla=\nck@clientcorp.com",
        "mark.black&#x40;clientcorp.com",
        "mark.black&commat;clientcorp&period;com",
        "mailto:mark.black%40clientcorp.com?subject=x",
        MARK[::-1],
        " ".join(MARK),
        "Mark.Black+invoices@ClientCorp.com",
        "mark.black@clientcorp[.]com",
        encode(MARK, "rot13"),
        MARK.encode().hex(),
        r"mark.black\x40clientcorp.com",
        "\uff4d\uff41\uff52\uff4b.black\uff20clientcorp.com",
        "m\u200bark.black@client\u00adcorp.com",
        "m\u0430rk.bl\u0430ck@\u0441lientcorp.com",
    ),
    GMAIL: ("Mark.Black@gmail.com", "m.a.r.k.black+pay@googlemail.com", "markblack at googlemail dot com"),
    SITE: (
        "evil-bank.com",
        "hxxps://www.evil-bank[.]com/x",
        "evil-bank dot com",
        "secure dot evil-bank dot com slash login",
        "accounts.secure.evil-bank.com",
        _base64("https://evil-bank.com/a"),
        "https://r.example.test/?to=https%253A%252F%252Fevil-bank.com",
        "moc.knab-live",
        "e v i l - b a n k . c o m",
        "https://me:pw@evil-bank.com:8443/",
        "[your bank](evil-bank.com)",
        "evil-bank\u3002com",
        "evil-bank . com",
    ),
    SHOP: ("invoices.shady.co.uk", "https://shady.co.uk/"),
    ACCOUNT: (
        "DE89370400440532013000",
        "IBAN: de89-3704-0044-0532-0130-00",
        "**DE89** 3704 0044 0532 0130 00",
        "DE89&nbsp;3704&nbsp;0044&nbsp;0532&nbsp;0130&nbsp;00",
        "DE89 3704 0044\n0532 0130 00",
        " ".join("DE89370400440532013000"),
        _base64("DE89370400440532013000"),
    ),
    PHONE: ("0049-170-1234567", "+49 (0)170 / 123 45 67", "tel:+491701234567"),
}
MISSED: dict[str, tuple[str, ...]] = {
    MARK: (
        "mark.black@client-\ncorp.com",
        '{"user": "mark.black", "domain": "clientcorp.com"}',
        MARK.encode().hex(" "),
        "mark.black, then the funny a, then clientcorp.com",
        "Mark Black works at Client Corp, and his address is as usual there.",
    ),
    ACCOUNT: ("DE eight nine, 370400440532013000", "000310235044004073 98ED, backwards"),
}
"""What deputize does not find. docs/when-you-are-asked.md says so."""
CASES = [(text, said) for text, ways in NAMED.items() for said in ways]


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    sandbox = Sandbox(clock=lambda: NOW)
    async with await build(sandbox, clock=lambda: NOW, apps=apps(sandbox)) as one:
        scopes = ["https://www.googleapis.com/auth/gmail.modify", "https://www.googleapis.com/auth/gmail.send"]
        give_grant(sandbox, one, "alice", scopes, provider="google", email=ALICE)
        targets = ["@clientcorp.com", "@gmail.com", BOB, CAROL, MARK, GMAIL]  # a domain covers no first contact
        await one.create_mandate(
            "alice", tools=["gmail_send_email"], targets=targets, max_acts=100, expires_at=NOW + 3600
        )
        one.world = World(sandbox)  # type: ignore[attr-defined]
        yield one


async def _origin(deputy: Deputy, said: str, text: str) -> str | None:
    """What the question says about the origin after a mail was read; None if the mandate covers the act."""
    world: World = deputy.world  # type: ignore[attr-defined]
    mail, thread = world.mail("News", f"Hello,\n{said}\nBye", sender="Eve <eve@stranger.test>"), f"t{said}"
    await deputy.act("gmail_get_email", {"email_id": mail}, user="alice", call=Call(thread, "m", "read"))
    to, body = (text, "Yes.") if "@" in text else (CAROL, f"Dear Carol,\n\n{text}\n\n{'As agreed. ' * 30}")
    try:
        await deputy.act(
            "gmail_send_email",
            {"to": [to], "subject": "Hi", "body": body},
            user="alice",
            call=Call(thread, "m", "send"),
        )
    except ApprovalRequired as asked:
        await deputy.decide(asked.approval, "reject", by="alice")
        return asked.approval.preview.get("comes from", "")
    return None


async def test_value_in_another_spelling_is_named_under_a_mandate(deputy: Deputy) -> None:
    missed = [said for text, said in CASES if "Eve" not in (await _origin(deputy, said, text) or "")]
    assert len(CASES) >= 60 and missed == []


async def test_same_acts_are_covered_by_the_mandate_if_nobody_named_the_value(deputy: Deputy) -> None:
    for text in NAMED:
        assert await _origin(deputy, f"Nothing about {len(text)} here", text) is None, text


async def test_value_that_cannot_be_read_is_not_named(deputy: Deputy) -> None:
    for text, ways in MISSED.items():
        for said in ways:
            assert await _origin(deputy, said, text) is None, said
