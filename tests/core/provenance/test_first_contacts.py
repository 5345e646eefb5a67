"""A question begins with the person to whom the user has never written. No stranger can make an address known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import (
    Act,
    Approval,
    ApprovalRequired,
    Audience,
    Call,
    Deputy,
    Effect,
    InvalidInput,
    PolicyDenied,
    Preview,
    ProviderUnavailable,
    Request,
    Steps,
    Toolkit,
    User,
    Verdict,
    any_of,
    ask_before_sending,
)
from deputize.core.policy.find_policy import policy_file
from deputize.core.policy.policy import StoredPolicy
from deputize.core.provenance import contacts
from deputize.core.provenance.contacts import CONTACTS_TTL, canonical_address
from deputize.core.vault.backup import back_up
from deputize.core.vault.record import KINDS
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.google.contacts import person
from deputize.toolkits.calendar import TOOLKIT as CALENDAR
from deputize.toolkits.contacts import TOOLKIT as CONTACTS
from deputize.toolkits.contacts.saved import saved_addresses
from deputize.toolkits.gmail import TOOLKIT as GMAIL
from deputize.toolkits.gmail.sent import people_written_to
from tests.support.postgres import prepared_server
from tests.support.sandbox_deputy import Clock, build, new_vault

GOOGLE: Final = "https://www.googleapis.com/auth/"
MODIFY, SEND = f"{GOOGLE}gmail.modify", f"{GOOGLE}gmail.send"
SCOPES: Final = (MODIFY, f"{GOOGLE}calendar.events", f"{GOOGLE}contacts.readonly", f"{GOOGLE}contacts.other.readonly")
NOON: Final = 1_795_608_000.0  # 2026-11-25, 12:00 UTC
ALICE, BOB, EVE = "alice@example.test", "bob@example.test", "eve@evil.test"
ROW: Final = "first contact"
KEY: Final = b"k" * 32

RESULT: list[Any] = []
other = Toolkit("other", provider="google", api="gmail", shows=True)


@other.tool(needs=[any_of(MODIFY)])
def read() -> Steps:
    """Read what a stranger chose, in the form of a sent mail."""
    yield Request("GET", "/users/me/labels")
    return RESULT[0]


@other.tool(needs=[any_of(MODIFY, SEND)], effect=Effect.SENDS)
def invite(people: list[str], note: str = "") -> Steps:
    """Invite people, with a line that looks like deputize's own."""
    more: dict[str, Any] = {ROW: note or None}
    yield Preview("Invite", audience=Audience.PEOPLE, people=people, **more)
    yield Request("POST", "/users/me/labels", json={"name": "-".join(people)})
    return {"done": True}


class Desk:
    """A deputy of the real toolkits, as the agent of Alice."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy, clock: Clock) -> None:
        self.sandbox, self.deputy, self.clock, self.calls = sandbox, deputy, clock, 0
        self.judged: list[Act] = []

    def grant(self, *scopes: str, user: str = "alice", email: str = ALICE) -> None:
        give_grant(self.sandbox, self.deputy, user, [*scopes], provider="google", email=email)

    async def act(self, tool: str, user: str = "alice", id: str = "", **arguments: Any) -> Any:
        self.calls += 1
        call = Call("t", "m", id or f"c{self.calls}")
        return await self.deputy.act(tool, arguments, user=user, call=call)

    async def asked(self, *to: str, user: str = "alice", id: str = "", tool: str = "", **more: Any) -> Approval:
        """The question about a mail to these people."""
        arguments = more if tool else {"to": [*to], "subject": "Hello", "body": "See you", **more}
        with pytest.raises(ApprovalRequired) as asked:
            await self.act(tool or "gmail_send_email", user=user, id=id, **arguments)
        return asked.value.approval

    async def line(self, *to: str, **more: Any) -> str:
        """The first line of that question, "" if it is not about a first contact."""
        preview = (await self.asked(*to, **more)).preview
        assert ROW not in preview or next(iter(preview)) == ROW
        return preview.get(ROW, "")

    async def send(self, *to: str) -> None:
        """Send a mail that Alice approves."""
        waits = await self.asked(*to, id="sent " + to[0])
        await self.deputy.decide(waits, "approve", by="alice")
        await self.act("gmail_send_email", id="sent " + to[0], to=[*to], subject="Hello", body="See you")

    def searches(self) -> int:
        """Lists of mails that were requested so far."""
        return sum(one.path == "/gmail/v1/users/me/messages" for one in self.sandbox.requests)

    def mail(self, *labels: str, **headers: str) -> str:
        """Put a mail into Alice's mailbox. Returns its id."""
        made = EmailMessage()
        for name, value in ({"Subject": "Hello"} | headers).items():
            made[name] = value
        made.set_content("See you")
        return self.sandbox.mailbox(ALICE).add(made, labels=labels or ("INBOX",)).id

    async def mandate(self, *targets: str, tool: str = "gmail_send_email") -> None:
        await self.deputy.create_mandate(
            "alice", tools=[tool], targets=targets, max_acts=9, expires_at=self.clock() + 3600
        )


async def _desk(vault: Vault | None = None, **more: Any) -> Desk:
    clock = Clock(NOON)
    sandbox = Sandbox(clock=clock)
    kits = [GMAIL, CALENDAR, CONTACTS, other]
    desk = Desk(sandbox, await build(sandbox, vault=vault, apps=apps(), toolkits=kits, clock=clock, **more), clock)

    def policy(act: Act) -> Verdict:
        desk.judged.append(act)
        return ask_before_sending(act)

    desk.deputy.policy = policy
    return desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    one = await _desk()
    one.grant(*SCOPES)
    async with one.deputy:
        yield one


# ----------------------------------------------------------------- what is said


async def test_question_begins_with_the_person_to_whom_the_user_never_wrote(desk: Desk) -> None:
    said = "You have never written to eve@evil.test."
    assert await desk.line(EVE) == said
    assert await desk.line(BOB) == ""
    assert await desk.line(BOB, EVE) == said
    asked = await desk.asked(EVE)
    assert next(iter(asked.payload()["preview"].items())) == (ROW, said)
    event = {"title": "Talk", "start": "2026-11-27T10:00Z", "end": "2026-11-27T11:00Z"}
    assert await desk.line(tool="calendar_create_event", attendees=[EVE, BOB], **event) == said


async def test_question_names_ten_first_contacts_and_counts_the_rest(desk: Desk) -> None:
    lines = (await desk.line(*(f"p{number:02}@fresh.test" for number in range(12)))).splitlines()
    assert lines[0] == "You have never written to p00@fresh.test."
    assert lines[9:] == ["You have never written to p09@fresh.test.", "The same applies to 2 more."]
    assert desk.searches() == 10
    assert [one.checked for one in desk.judged[-1].first_contacts] == [True] * 10 + [False] * 2


async def test_approved_act_makes_the_person_known_without_a_search(desk: Desk) -> None:
    await desk.send(EVE)
    before = desk.searches()
    assert await desk.line(EVE) == "" and desk.searches() == before


async def test_rejected_or_failed_act_makes_nobody_known(desk: Desk) -> None:
    await desk.deputy.decide(await desk.asked(EVE), "reject", by="alice")
    assert await desk.line(EVE)
    waits = await desk.asked(EVE, id="fails")
    await desk.deputy.decide(waits, "approve", by="alice")
    desk.sandbox.switches.down = True
    with pytest.raises(ProviderUnavailable):
        await desk.act("gmail_send_email", id="fails", to=[EVE], subject="Hello", body="See you")
    desk.sandbox.switches.down = False
    assert await desk.line(EVE)


async def test_read_of_sent_mail_makes_its_recipients_known_without_a_search(desk: Desk) -> None:
    id = desk.mail("SENT", From=ALICE, To="Carol <carol@fresh.test>", Cc="dan@fresh.test", Bcc="fay@fresh.test")
    await desk.act("gmail_get_email", email_id=id)
    before = desk.searches()
    assert await desk.line("carol@fresh.test", "dan@fresh.test", "fay@fresh.test") == ""
    assert desk.searches() == before


async def test_search_finds_the_recipient_in_each_field_and_from_an_alias(desk: Desk) -> None:
    fields = (("To", ALICE), ("Cc", ALICE), ("Bcc", ALICE), ("To", "support@example.test"))
    for number, (field, sender) in enumerate(fields):
        desk.mail("SENT", From=sender, **{field: f"p{number}@fresh.test"})
        assert await desk.line(f"p{number}@fresh.test") == ""
    desk.mail("SENT", "TRASH", From=ALICE, To="gone@fresh.test")
    assert await desk.line("gone@fresh.test") == ""


async def test_address_that_was_not_found_is_searched_for_again_after_ten_minutes(desk: Desk) -> None:
    assert await desk.line(EVE) and await desk.line(EVE)
    assert desk.searches() == 1
    desk.mail("SENT", From=ALICE, To=EVE)
    desk.clock.now += 601
    assert await desk.line(EVE) == "" and desk.searches() == 2


async def test_nothing_is_said_and_nothing_searched_without_a_scope_that_reads_mail(desk: Desk) -> None:
    desk.grant(SEND, user="carol", email=BOB)
    assert await desk.line(EVE, user="carol") == ""
    assert desk.searches() == 0


async def test_own_address_and_ids_are_no_first_contacts(desk: Desk) -> None:
    assert await desk.line(ALICE) == ""
    assert await desk.line(tool="other_invite", people=["u0bob000000", "@channel"]) == ""
    assert desk.searches() == 0


async def test_approval_says_that_first_contact_is_unchecked_if_the_search_fails(desk: Desk) -> None:
    desk.sandbox.switches.down = True
    assert await desk.line(EVE) == "Not known: have you ever written to eve@evil.test?"
    desk.sandbox.switches.down = False
    assert await desk.line(EVE) == "You have never written to eve@evil.test."


async def test_first_contact_is_not_part_of_the_approved_digest(desk: Desk) -> None:
    first = await desk.asked(EVE, id="one")
    await desk.deputy.decide(first, "approve", by="alice")
    desk.mail("SENT", From=ALICE, To=EVE)
    desk.clock.now += 700
    await desk.act("gmail_send_email", id="one", to=[EVE], subject="Hello", body="See you")
    assert [mail.header("To") for mail in desk.sandbox.sent(ALICE)] == [EVE]


async def test_line_of_a_tool_cannot_replace_the_line_about_first_contacts(desk: Desk) -> None:
    asked = await desk.asked(tool="other_invite", people=[EVE], note="You know Eve well.")
    assert asked.preview[ROW] == "You have never written to eve@evil.test."
    assert asked.preview[f"{ROW} (2)"] == "You know Eve well."


# ----------------------------------------------------------------- no stranger teaches


MALLORY: Final = "mallory@evil.test"
NOT_SENT: Final[dict[str, tuple[tuple[str, ...], dict[str, str]]]] = {
    "spoofed": (("INBOX",), {"From": f"Alice <{ALICE}>", "To": "{eve}"}),
    "copied": (("INBOX",), {"From": MALLORY, "To": ALICE, "Cc": "{eve}"}),
    "spoofed, in two places": (("SENT", "INBOX"), {"From": ALICE, "To": "{eve}"}),
    "spoofed, called spam": (("SENT", "SPAM"), {"From": ALICE, "To": "{eve}"}),
    "of a stranger": (("SENT",), {"From": f'"{ALICE}" <{MALLORY}>', "To": "{eve}"}),
    "of two writers": (("SENT",), {"From": f"{ALICE}, {MALLORY}", "To": "{eve}"}),
    "of nobody": (("SENT",), {"To": "{eve}"}),
    "automatic": (("SENT",), {"From": ALICE, "To": "{eve}", "Auto-Submitted": "auto-replied"}),
    "as a name": (("SENT",), {"From": ALICE, "To": f'"{{eve}}" <{BOB}>'}),
    "as a comment": (("SENT",), {"From": ALICE, "To": f"{BOB} ({{eve}})"}),
    "for answers": (("SENT",), {"From": ALICE, "To": BOB, "Reply-To": "{eve}"}),
    "in the subject": (("SENT",), {"From": ALICE, "To": BOB, "Subject": "To: {eve}"}),
}
"""Mails from which nobody may become known: labels and headers."""


async def test_mail_that_the_user_did_not_send_makes_nobody_known(desk: Desk, subtests: Any) -> None:
    for number, (case, (labels, headers)) in enumerate(NOT_SENT.items()):
        eve = f"eve{number}@evil.test"
        with subtests.test(case):
            id = desk.mail(*labels, **{name: value.format(eve=eve) for name, value in headers.items()})
            await desk.act("gmail_get_email", email_id=id)
            await desk.act("gmail_search_emails", query="in:anywhere", detail="full")
            assert await desk.line(eve) == f"You have never written to {eve}."


async def test_mail_forwarded_in_a_sent_mail_does_not_add_known_contacts(desk: Desk) -> None:
    inner, outer = EmailMessage(), EmailMessage()
    inner["From"], inner["To"] = ALICE, EVE
    inner.set_content(f"To: {EVE}")
    outer["From"], outer["To"] = ALICE, BOB
    outer.set_content(f"> From: {ALICE}\n> To: {EVE}")
    outer.add_attachment(inner)
    id = desk.sandbox.mailbox(ALICE).add(outer, labels=("SENT",)).id
    await desk.act("gmail_get_email", email_id=id)
    assert await desk.line(EVE)


async def test_draft_of_the_agent_does_not_add_known_contacts(desk: Desk) -> None:
    await desk.act("gmail_save_draft", to=[EVE], subject="Hello", body="See you")
    found = await desk.act("gmail_search_emails", query="in:drafts", detail="full")
    await desk.act("gmail_get_email", email_id=found["items"][0]["id"])
    assert await desk.line(EVE)


async def test_event_does_not_add_known_contacts_whatever_it_contains(desk: Desk) -> None:
    """An organizer sets the answers of guests, and a booking page makes events of the user's for strangers."""
    event = {"title": "Talk", "start": "2026-11-27T10:00Z", "end": "2026-11-27T11:00Z"}
    waits = await desk.asked(tool="calendar_create_event", id="e", attendees=[BOB], **event)
    await desk.deputy.decide(waits, "approve", by="alice")
    await desk.act("calendar_create_event", id="e", attendees=[BOB], **event)
    [stored] = [one for one in _events(desk) if one.get("summary") == "Talk"]
    stored["attendees"].append({"email": EVE, "responseStatus": "accepted"})
    read = await desk.act("calendar_list_events", after="2026-11-27", before="2026-11-28")
    [id] = [one["id"] for one in read["items"] if one["title"] == "Talk"]
    one = await desk.act("calendar_get_event", event_id=id)
    assert EVE in json.dumps(one, default=str)
    assert await desk.line(EVE)


def _events(desk: Desk) -> Iterator[dict[str, Any]]:
    """Every event in the sandbox, as it is stored."""
    found: list[Any] = [desk.sandbox._world.services["calendar"]]
    for one in found:
        if isinstance(one, dict):
            if "attendees" in one and "summary" in one:
                yield one
            found += one.values()
        elif isinstance(one, list):
            found += one


async def test_saved_contact_makes_known_only_what_the_user_saved_a_week_ago(desk: Desk) -> None:
    """Not a collected address, a profile's own words, or what an agent has saved a moment ago."""
    old, late = "2026-11-01T09:00:00Z", "2026-11-25T11:00:00Z"
    own = desk.sandbox._world.services["contacts"]["own"][ALICE]
    own.append(person("c8", "CONTACT", "Zed Old", "old@fresh.test", changed=old))
    own.append(person("c9", "CONTACT", "Zed Late", "late@fresh.test", changed=late))
    own[-2]["emailAddresses"].append({"value": "profile@fresh.test", "metadata": {"source": {"type": "PROFILE"}}})
    collected = desk.sandbox._world.services["contacts"]["other"][ALICE]
    collected.append(person("o8", "OTHER_CONTACT", "Zed", "zed@fresh.test"))
    await desk.act("contacts_search", query="Zed")
    assert await desk.line("old@fresh.test") == ""
    for address in ("late@fresh.test", "profile@fresh.test", "zed@fresh.test"):
        assert await desk.line(address) == f"You have never written to {address}."


async def test_result_of_another_toolkit_makes_nobody_known(desk: Desk) -> None:
    headers = [{"name": "From", "value": ALICE}, {"name": "To", "value": EVE}]
    sent = {"labelIds": ["SENT"], "payload": {"headers": headers}, "written_to": [EVE]}
    RESULT[:] = [{"messages": [sent], **sent}]
    await desk.act("other_read")
    assert await desk.line(EVE)


async def test_arguments_of_a_read_do_not_add_known_contacts(desk: Desk) -> None:
    await desk.act("gmail_search_emails", to=[EVE], query=f"in:sent to:{EVE}")
    assert await desk.line(EVE)
    with pytest.raises(InvalidInput):
        await desk.act("gmail_correspondents", addresses=[EVE])


async def test_sent_mail_of_one_user_makes_nobody_known_to_another(desk: Desk) -> None:
    desk.grant(MODIFY, user="bob", email=BOB)
    await desk.send(EVE)
    assert await desk.line(EVE, user="bob")


async def test_similar_address_stays_a_first_contact(desk: Desk, subtests: Any) -> None:
    desk.mail("SENT", From=ALICE, To="carol@fresh.test")
    assert await desk.line("carol@fresh.test") == ""
    for similar in (
        *("carol+pay@fresh.test", "carol@pay.fresh.test", "carol@fresh.test.evil.test"),
        *("caroi@fresh.test", "ca.rol@fresh.test", "carol@fre5h.test"),
    ):
        with subtests.test(similar):
            assert await desk.line(similar) == f"You have never written to {similar}."


async def test_other_spellings_of_one_mailbox_are_known(desk: Desk) -> None:
    desk.mail("SENT", From=ALICE, To="Carol <Carol.Clark@GMail.com>")
    assert await desk.line("carol.clark@gmail.com") == ""
    for spelling in ("carolclark+news@gmail.com", "c.arolclark@googlemail.com"):
        assert await desk.line(spelling) == ""


def test_canonical_address_joins_only_what_the_provider_documents() -> None:
    assert canonical_address(" Bob@Example.TEST. ") == "bob@example.test"
    assert canonical_address("Bo.b+x@gmail.com") == canonical_address("bob@googlemail.com") == "bob@gmail.com"
    assert canonical_address("bo\u212a@x.test") != canonical_address("bok@x.test")  # a Kelvin sign
    assert canonical_address("b\u043eb@x.test") != canonical_address("bob@x.test")
    for text in ("", "bob", "@acme.example", "u0bob", "a@b@c.test", "a b@c.test", "+x@gmail.com", "Bob <bob@x.test>"):
        assert canonical_address(text) == ""


@pytest.mark.parametrize("find", [people_written_to, saved_addresses])
def test_malformed_response_teaches_nothing_and_raises_nothing(find: Callable[[Any, str, float], list[str]]) -> None:
    odd: list[Any] = [None, 1, "x", [], {}, [[]], {"messages": 1}, {"messages": [1, None]}, {"people": {}}]
    names = ("labelIds", "payload", "headers", "messages", "results", "connections", "person", "metadata", "sources")
    for value in list(odd):
        odd += [{name: value} for name in (*names, "emailAddresses")]
        odd.append({"labelIds": ["SENT"], "payload": {"headers": value}})
        odd.append({"resourceName": "people/1", "metadata": {"sources": value}, "emailAddresses": value})
        source = {"type": "CONTACT", "updateTime": value}
        odd.append({"resourceName": "people/1", "metadata": {"sources": [source]}, "emailAddresses": [{"value": EVE}]})
    assert all(find(one, ALICE, NOON) == [] for one in odd)


# ----------------------------------------------------------------- policy and mandates


async def test_mandate_for_a_domain_asks_before_a_first_contact(desk: Desk) -> None:
    await desk.mandate("@fresh.test")
    desk.mail("SENT", From=ALICE, To="old@fresh.test")
    await desk.act("gmail_send_email", to=["old@fresh.test"], subject="Hello", body="See you")
    assert await desk.line("new@fresh.test") == "You have never written to new@fresh.test."
    assert await desk.line("old@fresh.test", "new@fresh.test")
    await desk.send("new@fresh.test")
    await desk.act("gmail_send_email", to=["new@fresh.test"], subject="Again", body="See you")


async def test_mandate_that_names_the_address_covers_a_first_contact(desk: Desk) -> None:
    await desk.mandate("New@fresh.test", "@fresh.test")
    await desk.act("gmail_send_email", to=["new@fresh.test"], subject="Hello", body="See you")
    assert await desk.line("newer@fresh.test")


async def test_mandate_for_a_domain_asks_if_the_search_fails(desk: Desk) -> None:
    await desk.mandate("@fresh.test")
    desk.sandbox.switches.down = True
    assert await desk.line("new@fresh.test") == "Not known: have you ever written to new@fresh.test?"


async def test_mandate_for_a_domain_covers_everybody_there_if_nothing_can_be_known(desk: Desk) -> None:
    desk.grant(SEND, user="carol", email=BOB)
    await desk.deputy.create_mandate(
        "carol", tools=["gmail_send_email"], targets=["@fresh.test"], max_acts=9, expires_at=NOON + 60
    )
    await desk.act("gmail_send_email", user="carol", to=["new@fresh.test"], subject="Hello", body="See you")


async def test_policy_can_deny_first_contacts_and_allow_the_others(desk: Desk) -> None:
    def policy(act: Act) -> Verdict:
        return Verdict.DENY if act.first_contacts else Verdict.ALLOW

    desk.deputy.policy = policy
    await desk.act("gmail_send_email", to=[BOB], subject="Hello", body="See you")
    with pytest.raises(PolicyDenied):
        await desk.act("gmail_send_email", to=[EVE], subject="Hello", body="See you")
    assert [mail.header("To") for mail in desk.sandbox.sent(ALICE)] == [BOB]


def file_of(folder: Path, then: str, flag: str) -> StoredPolicy:
    """A policy file with one rule about first contacts."""
    default = {"allow": "ask", "deny": "allow"}[then]
    rule = f'id = "r"\nwhen = {{ first_contact = {flag} }}\nthen = "{then}"'
    path = folder / "policy.toml"
    path.write_text(f'version = 1\ndefault = "{default}"\n[[rules]]\n{rule}\n# end\n')
    path.chmod(0o600)
    return policy_file(path)


async def test_rule_of_a_file_fails_closed_if_nobody_can_know_first_contacts(desk: Desk, tmp_path: Path) -> None:
    desk.grant(SEND, user="carol", email=BOB)  # no account of hers can be searched
    mail: dict[str, Any] = {"to": [EVE], "subject": "Hello", "body": "See you"}
    desk.deputy.policy = file_of(tmp_path, "deny", "true")
    with pytest.raises(PolicyDenied):
        await desk.act("gmail_send_email", user="carol", **mail)
    desk.deputy.policy = file_of(tmp_path, "allow", "false")
    with pytest.raises(ApprovalRequired):
        await desk.act("gmail_send_email", user="carol", **mail)
    with pytest.raises(ApprovalRequired):
        await desk.act("gmail_send_email", **mail)
    await desk.act("gmail_send_email", **{**mail, "to": [BOB]})
    desk.deputy.policy = file_of(tmp_path, "deny", "true")
    await desk.act("gmail_send_email", **{**mail, "to": [BOB]})
    await desk.act("gmail_send_email", user="carol", **{**mail, "to": [BOB]})  # nobody but herself
    assert len(desk.sandbox.sent(ALICE)) == 2 and len(desk.sandbox.sent(BOB)) == 1


async def test_act_says_if_nobody_can_know_its_first_contacts(desk: Desk) -> None:
    desk.grant(SEND, user="carol", email=BOB)
    await desk.asked(EVE, user="carol")
    assert [one.first_contacts_known for one in desk.judged if one.show] == [True, False]
    desk.judged.clear()
    await desk.asked(EVE)
    assert [one.first_contacts_known for one in desk.judged if one.show] == [True, True]


async def test_policy_that_allows_first_contacts_causes_no_search(desk: Desk) -> None:
    desk.deputy.policy = lambda act: Verdict.ALLOW
    await desk.act("gmail_send_email", to=[EVE], subject="Hello", body="See you")
    assert desk.searches() == 0
    assert await desk.deputy.vault.scan("contacts") == [], "nobody has approved it"


async def test_policy_that_asks_about_every_read_prevents_contact_searches(desk: Desk) -> None:
    desk.deputy.policy = lambda act: Verdict.ASK
    assert await desk.line(EVE) == "" and desk.searches() == 0


# ----------------------------------------------------------------- the record


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.counterpart)])
async def vault(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Vault]:
    with ExitStack() as stack:
        if request.param == "postgres":
            store = open_store(stack.enter_context(prepared_server()).url, create=True)
            opened = await Vault.open(store, [KEY])
        else:
            opened = await new_vault(tmp_path / "v.sqlite" if request.param == "sqlite" else None, KEY)
        yield opened
        await opened.close()


async def test_record_is_the_same_in_each_store_and_goes_with_its_user(vault: Vault) -> None:
    desk = await _desk(vault)
    desk.grant(*SCOPES)
    await desk.send("carol@fresh.test")
    [record] = await vault.scan("contacts")
    plain = record.plain.reveal()
    assert b"carol" not in plain and b"fresh" not in plain and record.json["expires"] == NOON + CONTACTS_TTL
    fresh = await _desk(vault)
    fresh.sandbox, fresh.calls = desk.sandbox, 100
    assert await fresh.deputy.contacts.unknown(*await _act(fresh, "carol@fresh.test")) == ()
    await desk.deputy.erase(User("alice"))
    assert await vault.scan("contacts") == []
    assert await desk.deputy.contacts.unknown(*await _act(desk, "carol@fresh.test")) == ("carol@fresh.test",)


async def _act(desk: Desk, *people: str) -> tuple[Act, Any]:
    """An act of Alice's that reaches these people, and another account."""
    from deputize.core.vault.grant import Account

    tool = desk.deputy.catalog.tool("other_invite")
    show = Preview("Invite", audience=Audience.PEOPLE, people=people)
    made = Act(User("alice"), tool, {"people": [*people], "note": ""}, Effect.SENDS, Call("t"), "", "", "google")
    return made.having(show=show), Account("1", "x@example.test")


async def test_backup_contains_the_record_and_no_address(tmp_path: Path) -> None:
    vault = await new_vault(tmp_path / "v" / "vault.sqlite", KEY)
    desk = await _desk(vault)
    desk.grant(*SCOPES)
    await desk.send("carol@fresh.test")
    await back_up(vault, tmp_path / "backup", NOON)
    await desk.deputy.close()
    assert b"carol" not in (tmp_path / "backup").read_bytes()
    copy = await _desk(await new_vault(tmp_path / "backup", KEY))
    act, account = await _act(copy, "carol@fresh.test", EVE)
    assert await copy.deputy.contacts.unknown(act, account) == (EVE,)
    await copy.deputy.close()


async def test_record_is_bounded_and_forgets_the_oldest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "MAX_CONTACTS", 3)
    known, user = desk.deputy.contacts, User("alice")
    for number in range(5):
        await known.learn(user, [f"p{number}@fresh.test"])
    act, account = await _act(desk, *(f"p{number}@fresh.test" for number in range(5)))
    assert await known.unknown(act, account) == ("p0@fresh.test", "p1@fresh.test")


async def test_record_expires_a_year_after_it_last_grew_or_was_renewed(desk: Desk) -> None:
    known, user = desk.deputy.contacts, User("alice")
    await known.learn(user, ["carol@fresh.test"])
    desk.clock.now += CONTACTS_TTL * 0.6
    await known.learn(user, ["carol@fresh.test"])
    [record] = await desk.deputy.vault.scan("contacts")
    assert record.json["expires"] == desk.clock() + CONTACTS_TTL
    act, account = await _act(desk, "carol@fresh.test")
    desk.clock.now += CONTACTS_TTL - 1
    assert await known.unknown(act, account) == ()
    desk.clock.now += 61
    assert await known.unknown(act, account) == ("carol@fresh.test",)


async def test_record_keeps_what_two_processes_learn_at_once(tmp_path: Path) -> None:
    one = await _desk(await new_vault(tmp_path / "v.sqlite", KEY))
    two = await _desk(one.deputy.vault)
    user = User("alice")
    await one.deputy.contacts.learn(user, ["a@fresh.test"])
    await two.deputy.contacts.learn(user, ["b@fresh.test"])
    await one.deputy.contacts.learn(user, ["c@fresh.test"])
    act, account = await _act(two, "a@fresh.test", "b@fresh.test", "c@fresh.test")
    assert await two.deputy.contacts.unknown(act, account) == ()
    await one.deputy.close()


def test_kind_of_record_is_swept() -> None:
    assert "contacts" in KINDS


async def test_read_succeeds_if_the_record_cannot_be_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from deputize.core import StoreUnavailable

    async def unavailable(*_: Any) -> Any:
        raise StoreUnavailable("The store is away.")

    id = desk.mail("SENT", From=ALICE, To="carol@fresh.test")
    monkeypatch.setattr(desk.deputy.contacts, "_add", unavailable)
    assert json.dumps(await desk.act("gmail_get_email", email_id=id), default=str)


@pytest.mark.parametrize("word", ["domain", "contacts"])
async def test_search_finds_own_mail_if_only_certain_authors_are_trusted(word: str) -> None:
    desk = await _desk(trusted_authors={"gmail": word})
    desk.grant(*SCOPES)
    assert await desk.line(BOB) == ""
    assert await desk.line(EVE) == "You have never written to eve@evil.test."
    await desk.deputy.close()
