"""Answering, forwarding and finding mail."""

from __future__ import annotations

from tests.tasks.end import End
from tests.tasks.task import Script, task, use


@task("Tell Bob that I am in for dinner.", "gmail")
def dinner() -> Script:
    found = yield use("gmail_search_emails", query="from:bob dinner")
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I am in.")


@dinner.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.to == "Bob Brown <bob@example.test>" and "I am in" in mail.text
