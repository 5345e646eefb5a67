"""The seeded mailboxes. All dates are relative to the sandbox's clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from deputize.sandbox.google.gmail.letters import Letter, letters_to_alice, letters_to_bob
from deputize.sandbox.google.gmail.mailbox import Json, Label, Mailbox
from deputize.sandbox.people import ALICE, BOB, Person

ALIASES = {ALICE.email: ("support@example.test",)}


def seed_mailboxes(people: Iterable[Person], now: float) -> dict[str, Mailbox]:
    """Return a mailbox for each person; the decoy's is empty."""
    boxes = {person.email: Mailbox(person.email) for person in people}
    for person in people:
        boxes[person.email].settings = _settings(person, ALIASES.get(person.email, ()))
    boxes[ALICE.email].labels = {"Label_1": Label("Label_1", "Travel"), "Label_2": Label("Label_2", "Receipts/2026")}
    for email, letter, at, raw in _generate_letters(now // 60 * 60):
        thread = seeded_id(email, letter.thread) if letter.thread else ""
        id = seeded_id(email, letter.slug)
        boxes[email].add(raw, letter.labels, int(at * 1000), thread_id=thread, id=id)
    return boxes


def seeded_id(email: str, slug: str) -> str:
    """Return the id of a seeded mail, or of its thread: the same in every sandbox."""
    return "19" + hashlib.sha256(f"{email}/{slug}".encode()).hexdigest()[:14]


@lru_cache(maxsize=8)
def _generate_letters(minute: float) -> list[tuple[str, Letter, float, bytes]]:
    """Return owner, letter, time and bytes of every mail, oldest first; cached, because generation is slow."""
    return [
        (email, letter, at, letter.raw or _generate_mail(letter, at))
        for email, letters in ((ALICE.email, letters_to_alice(minute)), (BOB.email, letters_to_bob(minute)))
        for letter in sorted(letters, key=lambda letter: -letter.hours_ago)
        for at in [minute - letter.hours_ago * 3600]
    ]


def _settings(person: Person, aliases: tuple[str, ...]) -> Json:
    """Return the initial settings of a mailbox, with verified ``aliases`` beside the main address."""
    both: Json = {"displayName": person.name, "signature": ""}
    more: Json = {"treatAsAlias": True, "verificationStatus": "accepted"}
    return {
        "vacation": {"enableAutoReply": False},
        "filters": [],
        "autoForwarding": {"enabled": False},
        "forwardingAddresses": [],
        "sendAs": [
            {"sendAsEmail": person.email, "isPrimary": True, "isDefault": True} | both,
            *({"sendAsEmail": alias} | both | more for alias in aliases),
        ],
    }


def _generate_mail(letter: Letter, at: float) -> bytes:
    message = EmailMessage(policy=SMTP)
    domain = letter.sender.rpartition("@")[2].strip("<> ")
    incoming = "SENT" not in letter.labels
    if incoming:
        message["Delivered-To"] = letter.to.rpartition("<")[2].strip("<> ")
        verdict = "pass" if letter.genuine else "fail"
        message["Authentication-Results"] = (
            f"mx.google.com; dkim={verdict} header.i=@{domain}; spf={verdict} smtp.mailfrom={domain}; "
            f"dmarc={verdict} header.from={domain}"
        )
    message["From"], message["To"], message["Subject"] = letter.sender, letter.to, letter.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    message["Message-ID"] = f"<{letter.slug}@mail.{domain}>"
    for name, value in letter.headers.items():
        message[name] = value
    message.set_content(letter.text, charset=letter.charset, cte=letter.cte)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    for file in letter.files:
        message.add_attachment(file.content, maintype=file.kind[0], subtype=file.kind[1], filename=file.name)
    return message.as_bytes()
