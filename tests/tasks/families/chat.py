"""Slack: informing people, and finding out what was said."""

from __future__ import annotations

import re
from typing import Any

from deputize.sandbox.slack.seed import user_id
from tests.tasks.end import End
from tests.tasks.reading import full, pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, World

ENG, DESIGN, GENERAL, DM = "C0ENG000001", "C0DESIGN001", "C0GENERAL01", "D0ALICEBOB1"
DEPLOY = "The staging deploy failed again"


@task("Tell #eng that the retry change is reviewed.", "slack")
def tell_a_channel() -> Script:
    yield use("slack_send_message", conversation="#eng", body="The retry change is reviewed.")


@tell_a_channel.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert "retry change is reviewed" in message["text"] and "thread_ts" not in message


@task("Answer in the thread of Bob's message in #eng about the failed deploy: it is fixed.", "slack")
def answer_in_the_thread() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#eng")
    message = next(row for row in rows if DEPLOY in row["text"])
    yield use("slack_send_message", conversation="#eng", thread_ts=message["ts"], body="It is fixed.")


@answer_in_the_thread.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert message["thread_ts"] == "1795435200.000102" and "fixed" in message["text"]


@task("Answer the direct message of Bob Brown: Thursday is fine.", "slack")
def answer_a_direct_message() -> Script:
    rows = yield from pages("slack_get_messages", conversation="@Bob Brown")
    assert "Lunch" in rows[-1]["text"]
    yield use("slack_send_message", conversation="@Bob Brown", body="Thursday is fine.")


@answer_a_direct_message.ends
def _(end: End) -> None:
    [message] = end.posted(DM)
    assert "Thursday is fine" in message["text"]


@task("In my last message in #eng, 'Looking into it.', say that it is done. Do not post a new one.", "slack")
def edit_the_last() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#eng")
    mine = next(row for row in reversed(rows) if "Alice" in row["from"])
    yield use("slack_update_message", conversation="#eng", ts=mine["ts"], body="Looked into it, done.")


@edit_the_last.ends
def _(end: End) -> None:
    assert "done" in end.now(f"slack channels {ENG} messages 1795438800.000103 text")
    end.changed(f"slack channels {ENG} messages 1795438800.000103 edited")


@task("Delete my message about the budget in #leads.", "slack:all")
def delete_one() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#leads")
    mine = next(row for row in rows if "budget" in row["text"])
    yield use("slack_delete_message", conversation="#leads", ts=mine["ts"])


@delete_one.ends
def _(end: End) -> None:
    assert end.posted("G0LEADS0001") == [None]


@task("Put a tada on Bob's welcome in #general.", "slack")
def react() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#general")
    welcome = next(row for row in rows if "Welcome" in row["text"])
    yield use("slack_react", conversation="#general", ts=welcome["ts"], emoji="tada")


@react.ends
def _(end: End) -> None:
    [made] = end.changed(f"slack channels {GENERAL} messages * reactions")
    assert "tada" in str(made)


@task("What does the alert bot say in #eng?", "slack")
def what_the_bot_says() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#eng")
    return str(rows[-1]["text"])


@what_the_bot_says.starts
def _(world: World) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "INC-77 db-primary: disk 98% full"}}
    world.say(ENG, "New incident", hours=0.1, blocks=[section], bot_id="B0ALERTS001", username="Alerts")


@what_the_bot_says.ends
def _(end: End) -> None:
    assert "INC-77" in end.said and "98%" in end.said


@task("Make a private channel 'offsite' with Bob (bob@example.test) in it, and its topic 'May'.", "slack:all")
def make_a_channel() -> Script:
    yield use("slack_create_channel", name="offsite", private=True, topic="May", invite=["bob@example.test"])


@make_a_channel.ends
def _(end: End) -> None:
    [channel] = end.changed("slack channels *")
    assert (channel["name"], channel["is_private"], channel["topic"]) == ("offsite", True, "May")
    assert "U0BOB000000" in str(channel["members"])


@task("Set my status to 'At the dentist' until 17:00 today.", "slack:all")
def status() -> Script:
    yield use("slack_set_status", text="At the dentist", emoji="tooth", until="2026-11-24T17:00")


@status.ends
def _(end: End) -> None:
    profile = str(end.changed("slack profiles U0ALICE0000"))
    assert "At the dentist" in profile


@task("Pin Bob's question about the retry change in #eng.", "slack:all")
def pin() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#eng")
    yield use("slack_pin", conversation="#eng", ts=next(row["ts"] for row in rows if "retry change" in row["text"]))


@pin.ends
def _(end: End) -> None:
    assert "1795518000.000104" in str(end.changed(f"slack channels {ENG} pins"))


@task("How many deploys failed in week 46, says the file in #eng?", "slack", "slack:more")
def read_a_file() -> Script:
    files = yield use("slack_list_files", conversation="#eng")
    file = yield use("slack_get_file", file_id=files["items"][0]["id"])
    return str(next(line for line in file["text"].splitlines() if line.startswith("46,")).rpartition(",")[2])


@read_a_file.ends
def _(end: End) -> None:
    assert end.said.strip() == "3" or " 3 " in f" {end.said} "


@task("Who said where the build number 1042 is, and in which channel?", "slack")
def find() -> Script:
    found = yield use("slack_search", query="1042")
    return f"{found['items'][0]['from']} in {found['items'][0]['channel']}"


@find.ends
def _(end: End) -> None:
    assert "Bob" in end.said and "eng" in end.said


@task("Tell the group @engineers in #eng that production is down, so that all of them are notified.", "slack")
def notify_a_group() -> Script:
    sent = yield use("slack_send_message", conversation="#eng", body="@engineers production is down.")
    assert "reaches_nobody" not in sent


@notify_a_group.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert "<!subteam^S0ENGINEERS" in message["text"] and "production is down" in message["text"]


def _debate(world: World) -> None:
    """Add a thread of 40 answers in #design, of which every fifth is long."""
    first = world.say(DESIGN, "Which colour? Answer in the thread.", hours=60)
    for n in range(1, 41):
        text = f"Point {n}: code S-{n:02d}. " + "Said in other words, and at length. " * (60 if n % 5 == 0 else 2)
        by = ALICE if n % 3 == 0 else "bob@example.test"
        world.say(DESIGN, f"{text}End of {n}.", by=by, hours=58 - n, thread=first)


@task("Summarise the thread about the colour in #design: which codes were named?", "slack")
def summarise_thread() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#design")
    first = next(row for row in rows if "Which colour" in row["text"])
    texts = list[str]()
    for row in (yield from pages("slack_get_messages", conversation="#design", thread_ts=first["ts"])):
        texts.append((yield from full(row, "text", "slack_get_messages", conversation="#design", ts=row["ts"])))
    return ", ".join(text.partition("code ")[2][:4] for text in texts)


summarise_thread.starts(_debate)


@summarise_thread.ends
def _(end: End) -> None:
    assert all(f"S-{n:02d}" in end.said for n in range(1, 41))
    assert all(f"End of {n}." in end.read for n in range(1, 41)), "each was read to its end"


@task("Bob mailed me a link to a Slack message. What was decided in that thread?", "slack", "gmail")
def message_link_in_a_mail() -> Script:
    found = yield use("gmail_search_emails", from_=["Bob"], subject="The colours", detail="full")
    link = re.findall(r"https://acme\.slack\.com/\S+", found["items"][0]["body"])[0]
    rows = yield from pages("slack_get_messages", conversation=link)
    return next(row["text"] for row in rows if "ecided" in row["text"])


@message_link_in_a_mail.starts
def _(world: World) -> None:
    first = world.say(DESIGN, "Which blue?", hours=9)
    answers = [
        world.say(DESIGN, "Decided: the dark one." if n == 28 else f"Thought {n}.", hours=9 - n / 10, thread=first)
        for n in range(1, 31)
    ]
    link = f"https://acme.slack.com/archives/{DESIGN}/p{answers[4].replace('.', '')}?thread_ts={first}&cid={DESIGN}"
    world.mail("The colours", f"Here it was: {link}")


@message_link_in_a_mail.ends
def _(end: End) -> None:
    assert "dark one" in end.said


@task("Which questions to me in direct messages have I not answered yet?", "slack")
def unanswered_questions() -> Script:
    places = yield from pages("slack_list_conversations", types=["dm"])
    told = []
    for place in places:
        rows = yield from pages("slack_get_messages", conversation=place["id"])
        last = rows[-1] if rows else {"from": "Alice", "text": ""}
        if "Alice" not in last["from"] and "?" in last["text"]:
            how = "answered with a reaction only" if last.get("reactions") else "not answered"
            told.append(f"{place['name']}: {last['text']} ({how})")
    return "; ".join(told)


@unanswered_questions.starts
def _(world: World) -> None:
    world.say(DM, "Yes, gladly.", by=ALICE, hours=5)
    for email, name in (("carol@example.test", "Carol Clark"), ("dana@example.test", "Dana Diaz")):
        world.person(email, name)
        question = f"Can I have your slides, says {name}?"
        mark: dict[str, Any] = (
            {"reactions": [{"name": "thumbsup", "users": [user_id(ALICE)]}]} if name == "Dana Diaz" else {}
        )
        world.say(world.direct_message(email), question, by=email, hours=90, **mark)


@unanswered_questions.ends
def _(end: End) -> None:
    carol, dana = sorted(end.said.split("; "))
    assert "Carol" in carol and carol.endswith("(not answered)")
    assert "Dana" in dana and dana.endswith("(answered with a reaction only)")
