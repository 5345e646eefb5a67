"""Acts, and what `examples/policy/policy.toml` and its Cedar twin say about them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

EXAMPLE: Final = Path(__file__).parents[3] / "examples" / "policy" / "policy.toml"
TWIN: Final = Path(__file__).with_name("company.cedar")

MAIL: Final = {
    "tool": "gmail_send_email",
    "account": "alice@acme.example",
    "args": {"to": ["bob@acme.example"], "subject": "s", "body": "b"},
}
POST: Final = {"tool": "slack_send_message", "args": {"conversation": "#bots", "body": "b"}}
ISSUE: Final = {"tool": "github_create_issue", "args": {"repo": "acme/website", "title": "t"}}
AMOUNT: Final = {"tool": "salesforce_set_amount", "provider": "salesforce", "effect": "writes"}
DELETE: Final = {"tool": "salesforce_delete_record", "args": {"object": "Account", "id": "001000000000001AAA"}}


def mail(*to: str, **more: Any) -> dict[str, Any]:
    """Return a mail whose preview names these recipients."""
    return {**MAIL, "recipient": list(to), **more}


def at(text: str) -> datetime:
    """Return a time."""
    return datetime.fromisoformat(text)


def amount(value: Any, **more: Any) -> dict[str, Any]:
    """Return a change of an amount."""
    return {**AMOUNT, "args": {"fields": {"Amount": value}}, **more}


FILE: Final = {**MAIL["args"], "attachments": ["f-1"]} if isinstance(MAIL["args"], dict) else {}
HOME, PARTNER, EVIL = "bob@acme.example", "pia@partner.example", "eve@evil.example"

Row = tuple[Mapping[str, Any], str, str]

ROWS: Final[list[Row]] = [
    # to whom: mail
    (mail(HOME), "allow", "internal-mail"),
    (mail(HOME, "carl@acme.example"), "allow", "internal-mail"),
    (mail("BOB@ACME.EXAMPLE"), "allow", "internal-mail"),
    (mail("bob+tag@acme.example"), "allow", "internal-mail"),
    (mail("bob@acme.example."), "allow", "internal-mail"),
    (mail(PARTNER), "ask", "default"),
    (mail(HOME, PARTNER), "ask", "default"),
    (mail("x@eu.acme.example"), "ask", "default"),
    (mail(EVIL), "deny", "mail-stays-home"),
    (mail(HOME, EVIL), "deny", "mail-stays-home"),
    (mail(EVIL, HOME), "deny", "mail-stays-home"),
    (mail(*[HOME] * 50, EVIL), "deny", "mail-stays-home"),
    (mail("bob@acme.example@evil.example"), "deny", "mail-stays-home"),
    (mail("bob@evil.example@acme.example"), "deny", "mail-stays-home"),
    (mail('"bob@evil.example"@acme.example'), "deny", "mail-stays-home"),
    (mail("bob@acme.example, eve@evil.example"), "deny", "mail-stays-home"),
    (mail("bob@acme.example;eve@evil.example"), "deny", "mail-stays-home"),
    (mail("eve@evil.example <bob@acme.example>"), "deny", "mail-stays-home"),
    (mail("bob@acme.example <eve@evil.example>"), "deny", "mail-stays-home"),
    (mail("Bob <bob@acme.example>"), "allow", "internal-mail"),
    (mail("bob@acme.example.evil.example"), "deny", "mail-stays-home"),
    (mail("bob@evilacme.example"), "deny", "mail-stays-home"),
    (mail("bob@acme.example\neve@evil.example"), "deny", "mail-stays-home"),
    (mail("bob@acme.example%0aeve@evil.example"), "deny", "mail-stays-home"),
    (mail("bob@\u0430cme.example"), "deny", "mail-stays-home"),  # a Cyrillic letter
    (mail("bob@acme。example"), "allow", "internal-mail"),  # an ideographic full stop, which IDNA reads as a dot
    (mail("bob@acme\u200b.example"), "allow", "internal-mail"),  # UTS 46 drops it, as whoever sends the mail does
    (mail("bob"), "deny", "mail-stays-home"),
    (mail("@acme.example"), "deny", "mail-stays-home"),
    (mail("bob@"), "deny", "mail-stays-home"),
    (mail(""), "deny", "mail-stays-home"),
    (mail("bob@[127.0.0.1]"), "deny", "mail-stays-home"),
    (mail(audience="people"), "deny", "mail-stays-home"),
    (mail(HOME, audience="unknown"), "deny", "mail-stays-home"),
    (mail(HOME, audience="public"), "deny", "mail-stays-home"),
    (mail(audience="self"), "ask", "default"),
    # what: attachments, and who chose the target
    (mail(HOME, args=FILE), "ask", "default"),
    (mail(HOME, args={**FILE, "attachments": []}), "allow", "internal-mail"),
    (mail(EVIL, args=FILE), "deny", "mail-stays-home"),
    (mail(HOME, untrusted=True), "ask", "default"),
    (mail(EVIL, untrusted=True), "deny", "mail-stays-home"),
    # who
    (mail(EVIL, roles=["sales"]), "ask", "default"),
    (mail(EVIL, roles=["Sales"]), "deny", "mail-stays-home"),
    (mail(EVIL, roles=["sales", "interns"]), "ask", "default"),
    (mail(EVIL, roles=["presales"]), "deny", "mail-stays-home"),
    (mail(HOME, user="bob", tenant="acme", agent="helper"), "allow", "internal-mail"),
    (mail(HOME, roles=["interns"]), "allow", "internal-mail"),
    # as whom
    (mail(HOME, account="alice@gmail.example"), "deny", "company-accounts"),
    (mail(HOME, account="alice@acme.example.evil.example"), "deny", "company-accounts"),
    ({"tool": "gmail_search_emails", "account": "alice@gmail.example"}, "deny", "company-accounts"),
    # when
    (mail(HOME, at=at("2026-12-01T05:59:59+01:00")), "deny", "frozen"),
    (mail(HOME, at=at("2026-12-01T06:00:00+01:00")), "allow", "internal-mail"),
    (mail(HOME, at=at("2026-12-01T21:59:00+01:00")), "allow", "internal-mail"),
    (mail(HOME, at=at("2026-12-01T22:00:00+01:00")), "deny", "frozen"),
    (mail(HOME, at=at("2026-12-01T16:30:00-05:00")), "deny", "frozen"),
    ({"tool": "slack_list_conversations", "at": at("2026-12-01T23:30:00+01:00")}, "allow", "reads"),
    (mail(HOME, unattended=True), "deny", "unattended"),
    ({"tool": "slack_list_conversations", "unattended": True}, "allow", "reads"),
    ({**ISSUE, "repository": "acme/website", "unattended": True, "effect": "writes"}, "ask", "default"),
    # Slack
    ({**POST, "channel": "C0BOTS00001"}, "allow", "bot-channel"),
    ({**POST, "channel": "C0ENG000001"}, "ask", "default"),
    ({**POST, "channel": "c0bots00001"}, "ask", "default"),
    ({**POST, "channel": "C0BOTS00001 "}, "ask", "default"),
    ({**POST, "channel": "C0BOTS00001\u200b"}, "ask", "default"),
    ({**POST, "channel": "*"}, "ask", "default"),
    (POST, "ask", "default"),
    ({**POST, "channel": "C0BOTS00001", "untrusted": True}, "ask", "default"),
    ({**POST, "channel": "C0BOTS00001", "unattended": True}, "deny", "unattended"),
    ({**POST, "place": "#bots (public channel C0BOTS00001)"}, "ask", "default"),
    # GitHub
    ({**ISSUE, "repository": "acme/website"}, "ask", "default"),
    ({**ISSUE, "repository": "acme/api"}, "ask", "default"),
    ({**ISSUE, "repository": "evil/website"}, "deny", "repositories"),
    ({**ISSUE, "repository": "evil/acme/website"}, "deny", "repositories"),
    ({**ISSUE, "repository": "acme"}, "deny", "repositories"),
    ({**ISSUE, "repository": "Acme/website"}, "deny", "repositories"),
    ({**ISSUE, "repository": "acme%2Fwebsite"}, "deny", "repositories"),
    ({**ISSUE, "repository": "acme\u2215website"}, "deny", "repositories"),
    (ISSUE, "deny", "repositories"),
    ({**ISSUE, "args": {"repo": "acme/website", "title": "t"}, "repository": "evil/x"}, "deny", "repositories"),
    ({**ISSUE, "place": "acme/website (public)"}, "deny", "repositories"),
    # amounts
    (amount(10_000), "ask", "default"),
    (amount(10_001), "ask", "big-amounts"),
    (amount(-50_000), "ask", "default"),
    (amount(2**60), "ask", "big-amounts"),
    (amount(0), "ask", "default"),
    (amount(50_000, roles=["interns"]), "ask", "big-amounts"),
    (amount(50_000, effect=["writes", "destructive"], roles=["interns"]), "deny", "no-destroy-for-interns"),
    ({**AMOUNT, "args": {"fields": {"Name": "x"}}}, "ask", "default"),
    # what is destroyed
    (DELETE, "ask", "default"),
    ({**DELETE, "roles": ["interns"]}, "deny", "no-destroy-for-interns"),
    ({**DELETE, "roles": ["interns", "sales"]}, "deny", "no-destroy-for-interns"),
    ({**DELETE, "at": at("2026-12-01T03:00:00+00:00")}, "deny", "frozen"),
    # a tool that nobody knows
    ({"tool": "acme_ping", "effect": "reads"}, "allow", "reads"),
    ({"tool": "acme_ping", "effect": "writes", "previewed": False}, "ask", "default"),
    ({"tool": "gmail_new_tool", "effect": "sends"}, "ask", "default"),  # its preview reaches nobody
    ({"tool": "gmail_unshown", "effect": "sends", "previewed": False}, "deny", "mail-stays-home"),
    ({"tool": "github_unshown", "effect": "writes", "previewed": False}, "deny", "repositories"),
]
"""What both files say. Of several rules that deny, any may be named."""

TOML_ONLY: Final[list[tuple[Mapping[str, Any], str, str, str]]] = [
    *(
        ({**AMOUNT, "args": {"fields": fields}}, "ask", "big-amounts", "Salesforce ignores capitals in names of fields")
        for fields in ({"amount": 50000}, {" Amount ": 50000}, {"Amount": 1, "amount": 50000})
    ),
    (mail("x@any.sub.acme.example"), "ask", "default", "Cedar has no domains: each subdomain is in its set"),
    (amount("50000"), "ask", "big-amounts", "Cedar does not read numbers in strings: it denies"),
    (amount("50,000"), "ask", "big-amounts", "the same: what is not a plain number cannot be told"),
    (amount(50_000.5), "ask", "big-amounts", "Cedar has no fractions: the amount is left out"),
    (amount(True), "ask", "big-amounts", "Cedar refuses the type: it denies"),
    (amount(["1", 50_000]), "ask", "big-amounts", "Cedar refuses the type: it denies"),
    (amount("\uff19\uff10\uff10\uff10"), "ask", "big-amounts", "Cedar refuses the type: it denies"),
    (mail(HOME, at=at("2026-07-01T20:30:00+00:00")), "deny", "frozen", "Cedar has no time zones: hours are in UTC"),
]
"""What Cedar says in another way, and why."""
