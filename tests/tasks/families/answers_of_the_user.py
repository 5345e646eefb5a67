"""The user's messages during a task: not yet connected, no, yes but otherwise, never mind."""

from __future__ import annotations

from tests.tasks.end import ALICE, End
from tests.tasks.person import SAYS_NO, Person, approves_only, edits
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.world import BOB, World

SITE, ENG = "acme/website", "C0ENG000001"


@task("Tell Bob that I am in for dinner.", "gmail", connected=False)
def consent_first() -> Script:
    found = yield use("gmail_search_emails", query="from:bob dinner")
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I am in.")


@consent_first.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert BOB in mail.to and BOB in end.shown[-1]


@task(
    "Tell #eng that I look at the deploy, and open an issue for it in acme/platform.",
    "slack",
    "github",
    connected=False,
)
def two_consents_at_once() -> Script:
    yield [
        use("slack_send_message", conversation="#eng", body="I look at the deploy."),
        use("github_create_issue", repo="acme/platform", title="The deploy fails"),
    ]


@two_consents_at_once.ends
def _(end: End) -> None:
    assert len(end.posted(ENG)) == 1 and len(end.changed("github issues acme/platform *")) == 1


@task("What is in my inbox?", "gmail", person=Person(allows=False), connected=False)
def consent_refused() -> Script:
    try:
        yield use("gmail_search_emails", query="in:inbox")
    except Refused as no:
        return f"I cannot see it: {no}"
    return "You let me in."


@consent_refused.ends
def _(end: End) -> None:
    assert "Dinner" not in end.read and "Dinner" not in end.said


@task("Mail bob@example.test: 'I quit.'", "gmail", person=SAYS_NO)
def never_mind() -> Script:
    try:
        yield use("gmail_send_email", to=[BOB], subject="News", body="I quit.")
    except Refused as no:
        return f"Not sent: {no}"
    return "Sent."


@never_mind.ends
def _(end: End) -> None:
    assert end.sent() == [] and "I quit" in end.shown[0] and "declined" in end.read


@task(f"Close issue 1 in {SITE}.", "github", person=SAYS_NO)
def not_closed() -> Script:
    try:
        yield use("github_update_issue", repo=SITE, number=1, state="closed")
    except Refused:
        return "It stays open."
    return "Closed."


@not_closed.ends
def _(end: End) -> None:
    assert "The greeting is rude" in end.shown[0]


@task("Tell #eng 'Deploy at 10.'", "slack", person=edits(body="Deploy at 11."))
def edited_message() -> Script:
    yield use("slack_send_message", conversation="#eng", body="Deploy at 10.")


@edited_message.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert "11" in message["text"] and "10" not in message["text"]


@task("Mail bob@example.test that the keys are with the porter.", "gmail", person=edits(subject="Your keys"))
def edited_subject() -> Script:
    yield use("gmail_send_email", to=[BOB], subject="Keys", body="They are with the porter.")


@edited_subject.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.subject == "Your keys" and BOB in mail.to and "porter" in mail.text


@task("Tell #eng and #random that lunch is ready.", "slack", person=approves_only("eng"))
def one_yes_and_one_no() -> Script:
    done = []
    for channel in ("#eng", "#random"):
        try:
            yield use("slack_send_message", conversation=channel, body="Lunch is ready.")
            done.append(channel)
        except Refused:
            continue
    return f"Told {', '.join(done)}."


@one_yes_and_one_no.ends
def _(end: End) -> None:
    assert len(end.posted(ENG)) == 1 and any("#random" in one for one in end.shown)


LATER = Person(speaks=("No, change the text to 'Merged today.' and delete nothing.",))


@task("Tell #eng 'Merged.'", "slack", person=LATER)
def second_thoughts() -> Script:
    sent = yield use("slack_send_message", conversation="#eng", body="Merged.")
    yield from _waits_for_the_user()
    yield use("slack_update_message", conversation="#eng", ts=sent["ts"], body="Merged today.")


def _waits_for_the_user() -> Script:
    yield []


@second_thoughts.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert message["text"] == "Merged today."


@task("Draft the mail to bob@example.test about the keys; I want to see it first.", "gmail",
      person=Person(speaks=("Send it.",)))  # fmt: skip
def draft_then_send() -> Script:
    draft = yield use("gmail_save_draft", to=[BOB], subject="Keys", body="They are with the porter.")
    yield from _waits_for_the_user()
    yield use("gmail_send_draft", draft_id=draft["draft_id"])


@draft_then_send.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert "porter" in mail.text and "porter" in end.shown[0] and not end.sandbox.mailbox(ALICE).drafts()


@task("Cancel my 1:1 with Bob on Thursday.", "calendar", person=SAYS_NO)
def meeting_stays() -> Script:
    found = yield use("calendar_list_events", query="1:1", after="2026-11-26", before="2026-11-27")
    try:
        yield use("calendar_delete_event", event_id=found["items"][0]["id"])
    except Refused:
        return "It stays."
    return "Cancelled."


@meeting_stays.starts
def _(world: World) -> None:
    world.event("onetoone001", "1:1 with Bob", "2026-11-26T10:00:00+01:00", "2026-11-26T10:30:00+01:00", [BOB])


@meeting_stays.ends
def _(end: End) -> None:
    assert "1:1 with Bob" in end.shown[0]


@task("Tell Bob that I am in for dinner.", "gmail", person=Person(unticked=("gmail.send",)), connected=False)
def reading_only() -> Script:
    found = yield use("gmail_search_emails", query="from:bob dinner")
    try:
        yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I am in.")
    except Refused as no:
        return f"Not sent: {no}"
    return "Sent."


@reading_only.ends
def _(end: End) -> None:
    assert end.sent() == [] and "Dinner on" in end.read and "did not allow" in end.read


@task("Tell #eng, #random and #design that lunch is ready.", "slack", person=approves_only("#design"))
def one_of_three_at_once() -> Script:
    channels = ("#eng", "#random", "#design")
    sent = yield [use("slack_send_message", conversation=name, body="Lunch is ready.") for name in channels]
    return f"{sum(not isinstance(one, Refused) for one in sent)} of 3 were told."


@one_of_three_at_once.ends
def _(end: End) -> None:
    assert len(end.posted("C0DESIGN001")) == 1 and len(end.shown) >= 3
