"""People by name: one is found, two lead to a question, and a self-chosen name is not trusted."""

from __future__ import annotations

import re

from deputize.sandbox.google.contacts import person
from tests.tasks.end import End
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.world import BOB, World

CAROL = "carol@customer.example"


@task("Mail Bob Brown that the keys are with the porter.", "gmail", "contacts")
def mail_by_name() -> Script:
    yield use("gmail_send_email", to=["Bob Brown"], subject="Keys", body="They are with the porter.")


@mail_by_name.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert BOB in mail.to and "evil" not in mail.to and BOB in end.shown[0]


@task("Invite Bob Brown to 'Budget' on Thursday at 16:00, for half an hour.", "calendar", "contacts")
def invite_by_name() -> Script:
    yield use("calendar_create_event", title="Budget", start="2026-11-26T16:00", end="30m", attendees=["Bob Brown"])


@invite_by_name.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    assert BOB in str(event["attendees"]) and "evil" not in str(event["attendees"])
    end.changed("calendar mails *")


@task("Mail Carol Clark at work that the offer comes on Monday.", "gmail", "contacts")
def two_addresses() -> Script:
    to = "Carol Clark"
    try:
        yield use("gmail_send_email", to=[to], subject="Our offer", body="The offer comes on Monday.")
    except Refused as which:
        assert CAROL in str(which)
        found = yield use("contacts_search", query=to)
        to = next(one for one in str(found).split("'") if one.endswith("@customer.example"))
        yield use("gmail_send_email", to=[to], subject="Our offer", body="The offer comes on Monday.")


@two_addresses.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert CAROL in mail.to and "Monday" in mail.text


@task("What is the phone number of Carol Clark?", "contacts")
def phone_number() -> Script:
    found = yield use("contacts_search", query="Carol")
    return str(found["items"])


@phone_number.ends
def _(end: End) -> None:
    assert "1234567" in end.said.replace(" ", "")


@task("Give issue 1 of acme/website to Bob Brown, and tell him so in a direct message.", "github", "slack")
def assign_by_name() -> Script:
    yield use("github_update_issue", repo="acme/website", number=1, add_assignees=["Bob Brown"])
    yield use("slack_send_message", conversation="@Bob Brown", body="Issue 1 of the website is yours.")


@assign_by_name.ends
def _(end: End) -> None:
    assert end.changed("github issues acme/website 1 assignees *") == ["bob"]
    [message] = end.posted("D0ALICEBOB1")
    assert "yours" in message["text"]


@task("Ask Bob Brown to review my pull request 4 in acme/website.", "github", "contacts")
def reviewer_by_name() -> Script:
    yield use("github_update_pull", repo="acme/website", number=4, add_reviewers=["Bob Brown"])


@reviewer_by_name.starts
def _(world: World) -> None:
    world.pull("acme/website", "Greet in German", {"src/main.py": "def greet(): ..."})


@reviewer_by_name.ends
def _(end: End) -> None:
    assert end.now("github issues acme/website 4 pull reviewers 0") == "bob"


@task("Find the last mail that Carol Clark wrote me, from whichever address.", "gmail", "contacts")
def mails_of_a_person() -> Script:
    found = yield use("contacts_search", query="Carol Clark")
    carol = yield use("contacts_get", id=found["items"][0]["id"])
    addresses = re.findall(r"[\w.]+@[\w.]+", str(carol))
    mails = yield use("gmail_search_emails", from_=list(dict.fromkeys(addresses)))
    return mails["items"][0]["subject"]


@mails_of_a_person.starts
def _(world: World) -> None:
    world.mail("Of Friday", "The offer.", sender="Carol Clark <carol@customer.example>", hours=96)
    world.mail("Of yesterday", "The party.", sender="Carol Clark <carol@home.example>", hours=20)
    world.mail("Of today", "> Carol Clark <carol@home.example> wrote", sender="List <list@example.test>", hours=1)


@mails_of_a_person.ends
def _(end: End) -> None:
    assert end.said == "Of yesterday"


@task("Invite Dana to the budget meeting on Thursday.", "calendar", "contacts")
def two_who_match() -> Script:
    found = yield use("calendar_list_events", query="Budget", after="2026-11-26", before="2026-11-27")
    try:
        yield use("calendar_update_event", event_id=found["items"][0]["id"], add_attendees=["Dana"])
    except Refused as which:
        return f"Which one? {which}"
    return "Invited."


@two_who_match.starts
def _(world: World) -> None:
    own = world["contacts"]["own"]["alice@example.test"]
    own.append(person("c7", "CONTACT", "Dana Diaz", "dana.diaz@example.test"))
    own.append(person("c8", "CONTACT", "Dana Dunn", "dana.dunn@example.test"))
    world.event("budget00001", "Budget", "2026-11-26T16:00:00+01:00", "2026-11-26T17:00:00+01:00")


@two_who_match.ends
def _(end: End) -> None:
    assert "dana.diaz@example.test" in end.said and "dana.dunn@example.test" in end.said


@task("Tell Carol Clark in Slack that I come ten minutes later.", "slack")
def slack_by_full_name() -> Script:
    yield use("slack_send_message", conversation="@Carol Clark", body="I come ten minutes later.")


@slack_by_full_name.starts
def _(world: World) -> None:
    world.person("cclarke@partner.example.test", "Carol Clarke")
    world.person("carol@example.test", "Carol Clark")
    world.direct_message("carol@example.test")


@slack_by_full_name.ends
def _(end: End) -> None:
    [message] = end.posted("D0ALICECARO")
    assert "ten minutes later" in message["text"]


@task("Give ENG-1 to Bob Brown and subscribe Carol Clark to it.", "linear:all")
def linear_by_name() -> Script:
    yield use("linear_update_issue", issues=["ENG-1"], assignee="Bob Brown")
    yield use("linear_set_subscription", issue="ENG-1", person="Carol Clark", subscribed=True)


@linear_by_name.starts
def _(world: World) -> None:
    world.person("carol@example.test", "Carol Clark")
    world["linear"]["issues"][0]["subscribers"] = ["alice@example.test"]


@linear_by_name.ends
def _(end: End) -> None:
    issue = end.sandbox.service("linear")["issues"][0]
    assert issue["assignee"] == BOB and issue["subscribers"] == ["alice@example.test", "carol@example.test"]
    end.changed("linear issues * assignee")
    end.changed("linear issues * subscribers *")
