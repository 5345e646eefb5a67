"""Names of people in arguments, through the public API: searched in every product that the user has connected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deputize.core import (
    Account,
    ApprovalRequired,
    Call,
    ConsentRequired,
    Deputy,
    InvalidInput,
    NotFound,
    Run,
    Toolkit,
    allow_all,
)
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.google.contacts import person
from deputize.toolkits.linear import TOOLKIT as LINEAR_KIT
from deputize.toolkits.slack import TOOLKIT as SLACK_KIT
from tests.support.sandbox_deputy import build
from tests.toolkits.tool_driver import KEY, NOW, drive

ALICE, BOB, EVE = "alice@example.test", "bob@example.test", "bob@evil.test"
GOOGLE = (
    "gmail.send",
    "gmail.readonly",
    "calendar",
    "contacts.readonly",
    "contacts.other.readonly",
    "directory.readonly",
)
SLACK = ("users:read", "users:read.email", "im:write", "im:read", "chat:write", "im:history", "channels:read")
SLACK_MORE = ("groups:read", "mpim:read")


class Office:
    """Alice's deputy, connected to everything."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy) -> None:
        self.sandbox, self.deputy, self.calls = sandbox, deputy, 0

    async def act(self, tool: str, **arguments: Any) -> Any:
        self.calls += 1
        return await self.deputy.act(tool, arguments, user="alice", call=Call("t", "m", f"c{self.calls}"))

    async def shown(self, tool: str, **arguments: Any) -> str:
        """Return everything that a person reads in the request."""
        with pytest.raises(ApprovalRequired) as caught:
            await self.act(tool, **arguments)
        return "\n".join(f"{name}: {text}" for name, text in caught.value.approval.preview.items())

    async def refused(self, tool: str, **arguments: Any) -> str:
        with pytest.raises((InvalidInput, NotFound)) as caught:
            await self.act(tool, **arguments)
        return f"{caught.value.message} {caught.value.hint}"

    @property
    def contacts(self) -> Any:
        return self.sandbox._world.services["contacts"]

    def profile(self, who: str, **changed: Any) -> None:
        """Set a user's profile in Slack."""
        self.sandbox._world.services["slack"].setdefault("profiles", {})[who] = changed


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    sandbox = Sandbox()
    async with await build(sandbox, apps=apps()) as deputy:
        give_grant(sandbox, deputy, "alice", GOOGLE, provider="google", email=ALICE)
        give_grant(sandbox, deputy, "alice", [*SLACK, *SLACK_MORE], provider="slack", email=ALICE)
        give_grant(sandbox, deputy, "alice", ["read", "write"], provider="linear", email=ALICE)
        give_grant(sandbox, deputy, "alice", ["api", "openid"], provider="salesforce", email=ALICE)
        give_grant(sandbox, deputy, "alice", ["repo", "read:org"], provider="github", email=ALICE)
        yield Office(sandbox, deputy)


async def test_find_people_identifies_a_person_in_each_product(office: Office) -> None:
    found = await office.act("find_people", who="Bob Brown")
    bob = found["people"][0]
    assert bob["name"] == "Bob Brown" and bob["addresses"] == [BOB] and "untrusted" not in bob
    assert bob["slack"] == "U0BOB000000" and bob["linear"] and bob["salesforce"].startswith("005")
    assert bob["contacts"] == ["people/100000000000000000003", "people/c1"]
    assert found["people"][1:] == [
        {
            "name": "Bob Brown",
            "github": "bob",
            "found_in": ["github: member"],
        },  # of the same name, which proves nothing
        {
            "name": "Bob Brown",
            "addresses": [EVE],
            "found_in": ["contacts: other contact"],
            "untrusted": True,
        },
    ]


async def test_mail_to_bob_goes_to_the_previewed_address_not_an_impostors(office: Office) -> None:
    shown = await office.shown("gmail_send_email", to=["Bob Brown"], cc=["me"], subject="Lunch", body="Yes?")
    assert BOB in shown and EVE not in shown and ALICE in shown
    office.deputy.policy = allow_all
    sent = await office.act("gmail_send_email", to=["bob brown"], subject="Lunch", body="Yes?")
    assert BOB in str(sent["to"]) and EVE not in str(sent)
    [mail] = office.sandbox.sent(ALICE)
    assert EVE not in str(mail)


async def test_two_bobs_in_the_directory_are_listed_and_nothing_is_sent(office: Office) -> None:
    office.contacts["directory"].append(person("m9", "DOMAIN_PROFILE", "Bob Brown", "bob.brown2@example.test"))
    said = await office.refused("gmail_send_email", to=["Bob Brown"], subject="Lunch", body="Yes?")
    assert BOB in said and "bob.brown2@example.test" in said and "to[0]" in said
    assert office.sandbox.sent(ALICE) == []


async def test_contact_with_two_addresses_is_not_guessed(office: Office) -> None:
    said = await office.refused("gmail_send_email", to=["Carol Clark"], subject="Offer", body="Here it is.")
    assert "carol@customer.example" in said and "carol@home.example" in said


async def test_unknown_sender_is_only_a_candidate(office: Office) -> None:
    office.contacts["other"][ALICE] = [person("o2", "OTHER_CONTACT", "Chief Executive", EVE)]
    said = await office.refused("gmail_send_email", to=["Chief Executive"], subject="x", body="y")
    assert EVE in said and "their own word" in said


async def test_slack_display_name_of_a_colleague_is_ambiguous(office: Office) -> None:
    office.profile("U0DECOY0000", real_name="Bob Brown")
    said = await office.refused("gmail_send_email", to=["Bob Brown"], subject="Lunch", body="Yes?")
    assert BOB in said and "decoy@example.test" in said


async def test_invitation_accepts_names(office: Office) -> None:
    when = {"start": "2027-03-01T09:00", "end": "2027-03-01T09:30", "time_zone": "Europe/Berlin"}
    shown = await office.shown("calendar_create_event", title="Lunch", attendees=["Bobby"], **when)
    assert BOB in shown and EVE not in shown
    times = await office.act("calendar_find_times", attendees=["Bob Brown"], duration="30m")
    assert times["items"]


async def test_name_from_another_product_finds_the_person(office: Office) -> None:
    office.contacts["own"][ALICE].append(person("c8", "CONTACT", "Robert the Red", BOB))
    assert BOB in await office.shown("linear_create_issue", team="ENG", title="t", assignee="Robert the Red")
    assert "Bob Brown (@bob)" in await office.shown("slack_send_message", conversation="@Robert the Red", text="Hi")
    said = await office.refused("linear_create_issue", team="ENG", title="t", assignee="Nobody at all")
    assert "nothing has the name" in said


async def test_address_causes_no_lookup_in_other_products(office: Office) -> None:
    office.deputy.policy = allow_all
    before = len(office.sandbox.requests)
    await office.act("gmail_send_email", to=[BOB], subject="Lunch", body="Yes?")
    hosts = {seen.host for seen in office.sandbox.requests[before:]}
    assert hosts == {"gmail.googleapis.com"}


async def test_nobody_is_guessed_while_a_product_is_down(office: Office) -> None:
    office.sandbox.switches.faults["POST", "/api/users.list"] = [(503, {}, {})] * 9
    said = await office.refused("gmail_send_email", to=["Bob Brown"], subject="Lunch", body="Yes?")
    assert "not guessed while slack" in said and BOB in said and office.sandbox.sent(ALICE) == []


async def test_slack_guest_or_outsider_is_not_a_member(office: Office) -> None:
    office.profile("U0DECOY0000", real_name="Grace")
    for mark, checked in (("is_restricted", True), ("is_stranger", False)):
        [row] = drive_reader(SLACK_KIT, {"id": "U0DECOY0000", "name": "g", "real_name": "Grace", mark: True})
        assert (row["known"], row["verified"], row["untrusted"]) == (False, checked, True)
    [row] = drive_reader(SLACK_KIT, {"id": "U0DECOY0000", "name": "g", "real_name": "Grace"})
    assert (row["known"], row["verified"]) == (True, True)
    for gone in ({"deleted": True}, {"is_bot": True}):
        assert drive_reader(SLACK_KIT, {"id": "U0DECOY0000", "name": "g", "real_name": "Grace", **gone}) == []


def drive_reader(kit: Toolkit, user: dict[str, Any]) -> Any:
    """Return what a reader of people makes of the only user of the workspace."""
    assert kit.reads_people is not None
    granted = frozenset({"users:read", "users:read.email"})
    run = Run(KEY, granted, Account("T0ACME00001:U0ALICE0000", "alice"), None, NOW)
    steps = kit.reads_people.begin({"who": "grace"}, lambda: run)
    user = {"profile": {"email": "grace@acme.example", "real_name": user["real_name"]}} | user
    return drive(steps, lambda request: {"ok": True, "members": [user]}).result["people"]


async def test_linear_guest_is_not_in_the_organization() -> None:
    assert LINEAR_KIT.reads_people is not None
    for guest in (True, False):
        user = {"id": "L1", "name": "Grace", "displayName": "grace", "email": "g@acme.example", "guest": guest}
        steps = LINEAR_KIT.reads_people.steps("grace")
        answer = {"data": {"users": {"nodes": [user]}}}
        [row] = drive(steps, lambda _, answer=answer: answer).result["people"]  # type: ignore[misc]
        assert (row["known"], row["verified"]) == (not guest, True)


async def test_missing_slack_email_scope_is_reported() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, apps=apps()) as deputy:
        give_grant(sandbox, deputy, "alice", ["users:read"], provider="slack", email=ALICE)
        found = await Office(sandbox, deputy).act("find_people", who=BOB)
        assert found["people"] == []
        assert "slack (@alice in Acme): email addresses: not granted: users:read.email" in found["not_looked_at"]


# ----------------------------------------------------------------- GitHub


ISSUE: dict[str, Any] = {"repo": "acme/website", "title": "Broken"}


async def test_issue_is_assigned_to_the_member_of_that_name(office: Office) -> None:
    shown = await office.shown("github_create_issue", **ISSUE, assignees=["Bob Brown"])
    assert "assignees: bob" in shown.splitlines()
    said = await office.refused("github_create_issue", **ISSUE, assignees=["Nobody at all"])
    assert "assignees[0]" in said and "what github calls the person" in said


async def test_address_maps_to_a_login_only_in_a_verified_domain(office: Office) -> None:
    said = await office.refused("github_create_issue", **ISSUE, assignees=[BOB])
    assert "assignees[0]" in said
    office.sandbox._world.services["github"]["orgs"]["acme"]["verified_domains"] = ["example.test"]
    shown = await office.shown("github_create_issue", **ISSUE, assignees=[BOB])
    assert "assignees: bob" in shown.splitlines()
    found = await office.act("find_people", who=BOB)
    assert found["people"][0]["github"] == "bob" and found["people"][0]["slack"] == "U0BOB000000"


async def test_login_causes_no_people_search(office: Office) -> None:
    before = len(office.sandbox.requests)
    await office.shown("github_create_issue", **ISSUE, assignees=["bob"])
    assert {seen.host for seen in office.sandbox.requests[before:]} == {"api.github.com"}
    assert not [seen for seen in office.sandbox.requests[before:] if seen.path == "/graphql"]


async def test_reviewer_may_be_a_person_or_a_team(office: Office) -> None:
    shown = await office.shown("github_update_pull", repo="acme/website", number=3, add_reviewers=["Bob Brown"])
    assert "reviewers: bob\n" in shown
    teams = await office.shown("github_update_pull", repo="acme/website", number=3, add_reviewers=["acme/docs"])
    assert "docs" in teams


# ----------------------------------------------------------------- beside the rest of the deputy


async def test_mandate_for_an_address_covers_its_owners_name(office: Office) -> None:
    until = office.deputy.clock() + 3600
    await office.deputy.create_mandate("alice", tools=["gmail_send_email"], targets=[BOB], max_acts=2, expires_at=until)
    sent = await office.act("gmail_send_email", to=["Bob Brown"], subject="Lunch", body="Yes?")
    assert BOB in str(sent["to"])
    office.contacts["own"][ALICE][0] = person("c1", "CONTACT", "Bob Brown", EVE)
    office.contacts["directory"].clear()
    assert EVE in await office.refused("gmail_send_email", to=["Bob Brown"], subject="Lunch", body="Yes?")
    assert len(office.sandbox.sent(ALICE)) == 1


async def test_person_resolved_before_approval_is_the_one_used(office: Office) -> None:
    arguments = {"to": ["Bob Brown"], "subject": "Lunch", "body": "Yes?"}
    call = Call("t", "m", "one")
    [asked] = await office.deputy.check_calls([("gmail_send_email", arguments, call)], user="alice")
    assert isinstance(asked, ApprovalRequired) and BOB in str(asked.approval.preview)
    await office.deputy.decide(asked.approval, "approve", by="alice")
    assert await office.deputy.check_calls([("gmail_send_email", arguments, call)], user="alice") == [None]
    before = len(office.sandbox.requests)
    sent = await office.deputy.act("gmail_send_email", arguments, user="alice", call=call)
    assert BOB in str(sent["to"])
    assert {seen.host for seen in office.sandbox.requests[before:]} == {"gmail.googleapis.com"}  # nothing is read twice


async def test_only_the_named_contact_list_is_requested() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, apps=apps()) as deputy:
        give_grant(sandbox, deputy, "alice", ["contacts.readonly"], provider="google", email=ALICE)
        office = Office(sandbox, deputy)
        found = await office.act("contacts_search", query="bob")
        assert set(found["not_searched"]) == {"other", "directory"} and await deputy.pending("alice") == []
        with pytest.raises(ConsentRequired) as caught:
            await office.act("contacts_search", query="bob", sources=["directory"])
        new = [
            one
            for one in caught.value.consent.scopes
            if one.endswith(("directory.readonly", "contacts.other.readonly"))
        ]
        assert [one.rpartition("/")[2] for one in new] == ["directory.readonly"]


@pytest.mark.parametrize(
    "name", ["B\u043eb Brown", "Bob\u200b Brown\u202e", "\uff22ob Brown", "bob  brown", "BOB BROWN"]
)
async def test_lookalike_name_is_never_taken(office: Office, name: str) -> None:
    if name.isascii():
        assert BOB in await office.shown("gmail_send_email", to=[name], subject="x", body="y")
    else:
        said = await office.refused("gmail_send_email", to=[name], subject="x", body="y")
        assert BOB in said and office.sandbox.sent(ALICE) == []


@pytest.mark.parametrize(
    "name", ["Bob\r\nBcc: eve@evil.test", "Bob\x00Brown", "' OR Name != '", '"} OR {"', "%", "@", "_"]
)
async def test_hostile_names_stay_names(office: Office, name: str) -> None:
    said = await office.refused("gmail_send_email", to=[name], subject="x", body="y")
    assert "to" in said and office.sandbox.sent(ALICE) == []
    with pytest.raises((InvalidInput, NotFound)):
        await office.act("linear_create_issue", team="ENG", title="t", assignee=name)
