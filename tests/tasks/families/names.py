"""People by name: one is found, two lead to a question, and a self-chosen name is not trusted."""

from __future__ import annotations

from tests.tasks.end import End
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.world import BOB

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
