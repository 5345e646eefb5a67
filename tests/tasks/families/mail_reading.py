"""Finding, summarising and tidying mail."""

from __future__ import annotations

from tests.tasks.end import End
from tests.tasks.reading import full, pages, whole
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, World

DECIDED = "We take the house by the lake"


def _debate(world: World) -> None:
    """Add a conversation of 40 mails, of which every fifth is long."""
    for n in range(1, 41):
        text = f"Point {n}: code M-{n:02d}.\n\n" + "In other words, and at length. " * (70 if n % 5 == 0 else 3)
        answers = f"<m{70000 + n - 1}@mail.example.test>" if n > 1 else ""
        last = f"\n\n{DECIDED}." if n == 40 else f"\n\nEnd of {n}."
        world.mail("Re: House" if answers else "House", text + last, hours=80 - n, answers=answers)


@task("Summarise the conversation about the house: which codes were named, and what was decided?", "gmail")
def summarise_thread() -> Script:
    found = yield use("gmail_search_emails", subject="House", group="thread")
    texts = dict[str, str]()
    for row in (yield from pages("gmail_get_thread", thread_id=found["items"][0]["thread"])):
        texts[row["date"]] = yield from full(row, "body", "gmail_get_email", message_id=row["id"])
    codes = [text.partition("code ")[2][:4] for text in texts.values()]
    return f"{', '.join(codes)}. {texts[max(texts)].rstrip()[-60:]}"


summarise_thread.starts(_debate)


@summarise_thread.ends
def _(end: End) -> None:
    assert all(f"M-{n:02d}" in end.said for n in range(1, 41)) and DECIDED in end.said
    assert all(f"End of {n}." in end.read for n in range(1, 40)), "each was read to its end"


LONG_MAIL = "\n\n".join(
    f"Paragraph {n} of the contract says what the one before it has said, but longer." for n in range(170)
)


@task("What is the order number in the long contract mail? It stands at its very end.", "gmail")
def end_of_a_long_mail() -> Script:
    found = yield use("gmail_search_emails", subject="contract")
    _, text = yield from whole("gmail_get_email", "body", message_id=found["items"][0]["id"])
    return text.rpartition("Order ")[2]


@end_of_a_long_mail.starts
def _(world: World) -> None:
    world.mail("The contract", f"{LONG_MAIL}\n\nOrder 77-4410-9.\n", sender="Law <law@firm.example.test>")


@end_of_a_long_mail.ends
def _(end: End) -> None:
    assert "77-4410-9" in end.said


@task("Archive what newsletters and social sites have sent to my inbox. Leave everything else.", "gmail")
def archive_newsletters() -> Script:
    for label in ("CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL"):
        rows = yield from pages("gmail_search_emails", query="in:inbox", label=label)
        yield use("gmail_update_emails", action="archive", message_ids=[row["id"] for row in rows])


@archive_newsletters.ends
def _(end: End) -> None:
    changed = end.changed(f"gmail {ALICE} mails * labels")
    assert len(changed) == 2 and not any("INBOX" in labels for labels in changed)


def _monday(world: World) -> None:
    world.mail("Server down", "Production is down since 13:40. Please call me, this cannot wait.", hours=0.2)
    world.mail("Photos", "Here are the photos of the summer party. No answer needed.", hours=0.3)
    world.mail("Signature", "I need your signature on the lease by tonight, or we lose the flat.", hours=0.4)


@task("Look at what is unread from Bob and star what cannot wait until tomorrow.", "gmail")
def triage() -> Script:
    rows = yield from pages("gmail_search_emails", from_=["Bob"], unread=True, detail="full")
    urgent = [row["id"] for row in rows if "cannot wait" in row["body"] or "tonight" in row["body"]]
    yield use("gmail_update_emails", action="star", message_ids=urgent)


triage.starts(_monday)


@triage.ends
def _(end: End) -> None:
    changed = end.changed(f"gmail {ALICE} mails * labels")
    assert len(changed) == 2 and all("STARRED" in labels for labels in changed)


@task(
    "Put all mails of tickets@trains.example.test under my label Travel, and make a label 'Travel/Vienna'.",
    "gmail",
    "gmail:more",
)
def label() -> Script:
    rows = yield from pages("gmail_search_emails", from_=["tickets@trains.example.test"])
    yield use("gmail_update_emails", message_ids=[row["id"] for row in rows], add_labels=["Travel"])
    yield use("gmail_manage_label", action="create", name="Travel/Vienna")


@label.starts
def _(world: World) -> None:
    world.mail("Your seat", "Seat 12.", sender="Night Trains <tickets@trains.example.test>")


@label.ends
def _(end: End) -> None:
    assert "Travel/Vienna" in str(end.changed(f"gmail {ALICE} labels *"))
    [labels] = end.changed(f"gmail {ALICE} mails * labels")
    assert "Label_1" in labels


@task("Unsubscribe me from the Garden Shop.", "gmail", "gmail:more")
def unsubscribe() -> Script:
    found = yield use("gmail_search_emails", query="garden shop in:inbox")
    yield use("gmail_unsubscribe", message_id=found["items"][0]["id"])


@unsubscribe.ends
def _(end: End) -> None:
    assert end.sandbox.count("shop.example.test", "/unsubscribe", method="POST") == 1


@task("Is there an invoice that I have to pay? How much is it, and when is it due?", "gmail")
def what_is_due() -> Script:
    found = yield use("gmail_search_emails", query="invoice has:attachment")
    mail = yield use("gmail_get_email", message_id=found["items"][0]["id"])
    return str(mail["body"])


@what_is_due.ends
def _(end: End) -> None:
    assert "118.40" in end.said and "14 days" in end.said


@task("How much is a cable in the list of items of invoice 1042?", "gmail")
def inside_an_attachment() -> Script:
    found = yield use("gmail_search_emails", subject="Invoice 1042", detail="full")
    mail = found["items"][0]
    file = yield use("gmail_get_attachment", message_id=mail["id"], part="items.csv")
    return next(line for line in str(file["text"]).splitlines() if line.startswith("cable"))


@inside_an_attachment.ends
def _(end: End) -> None:
    assert "9.80" in end.said


@task("Throw away the mail with the prize, it is spam anyway, and mark the sign-in mail unread.", "gmail")
def bin_and_unread() -> Script:
    prize = yield use("gmail_search_emails", subject="You have won", spam_trash=True)
    yield use("gmail_update_emails", action="trash", message_ids=[prize["items"][0]["id"]])
    sign_in = yield use("gmail_search_emails", subject="New sign-in")
    yield use("gmail_update_emails", action="unread", message_ids=[sign_in["items"][0]["id"]])


@bin_and_unread.ends
def _(end: End) -> None:
    trashed, unread = sorted(end.changed(f"gmail {ALICE} mails * labels"), key=lambda labels: "UNREAD" in labels)
    assert {"TRASH"} <= {*trashed, *unread} and "UNREAD" in unread


@task("From now on, mark mails of news@shop.example.test read and archive them.", "gmail:more")
def make_a_filter() -> Script:
    yield use("gmail_manage_filter", action="create", from_="news@shop.example.test", archive=True, mark_read=True)


@make_a_filter.ends
def _(end: End) -> None:
    [made] = end.changed(f"gmail {ALICE} settings filters *")
    assert "news@shop.example.test" in str(made) and "INBOX" in str(made) and "UNREAD" in str(made)


@task("To whom did I owe the answer on the budget, and what did he ask?", "gmail")
def who_waits() -> Script:
    found = yield use("gmail_search_emails", subject="budget", query="in:inbox")
    mail = yield use("gmail_get_email", message_id=found["items"][0]["id"])
    return f"{mail['from']}: {mail['body']}"


@who_waits.ends
def _(end: End) -> None:
    assert "Bob" in end.said and "January" in end.said


@task("Star the unread mails of Bob's that cannot wait until tomorrow, going by how they begin.", "gmail")
def triage_by_excerpts() -> Script:
    rows = yield from pages("gmail_search_emails", from_=["Bob"], unread=True)
    urgent = [row["id"] for row in rows if "cannot wait" in row["snippet"] or "by tonight" in row["snippet"]]
    yield use("gmail_update_emails", action="star", message_ids=urgent)


triage_by_excerpts.starts(_monday)


@triage_by_excerpts.ends
def _(end: End) -> None:
    changed = end.changed(f"gmail {ALICE} mails * labels")
    assert len(changed) == 2 and all("STARRED" in labels for labels in changed)


JOIN = "https://teams.example.test/l/meetup-join/" + "19ab" * 80


@task("What is the whole link behind 'here' in Bob's mail 'Sync'?", "gmail")
def whole_link() -> Script:
    found = yield use("gmail_search_emails", subject="Sync")
    _, links = yield from whole("gmail_get_email", "links", message_id=found["items"][0]["id"], part="links")
    return links


@whole_link.starts
def _(world: World) -> None:
    world.mail("Sync", "Please join.", html=f"<p>Please join <a href='{JOIN}'>here</a>.</p>")


@whole_link.ends
def _(end: End) -> None:
    assert JOIN in end.said


FLIGHTS = "".join(
    f"<tr><td>LH {n}<td>{'<img alt=luggage src=cid:l>' if n % 3 == 0 else ''}<td>{400 - 13 * n}" for n in range(1, 15)
)
TABLE = (
    "<table><tr><th rowspan=2>Flight<th colspan=2>Offer<tr><th><img alt='with luggage' src=cid:w><th>Euro"
    f"{FLIGHTS}</table>"
)


@task("Which of the flights in the agency's mail is the cheapest with luggage?", "gmail")
def table_in_a_mail() -> Script:
    found = yield use("gmail_search_emails", subject="Flights")
    _, text = yield from whole("gmail_get_email", "body", message_id=found["items"][0]["id"])
    rows = [[cell.strip() for cell in line.split("|")] for line in text.split("\n") if line.startswith("LH")]
    luggage = next(line.split(" | ") for line in text.split("\n") if "with luggage" in line).index(
        "[image: with luggage]"
    )
    fitting = [row for row in rows if "luggage" in row[luggage]]
    return min(fitting, key=lambda row: int(row[-1]))[0]


@table_in_a_mail.starts
def _(world: World) -> None:
    world.mail("Flights", "See the table.", sender="Agency <trips@agency.example.test>", html=f"<p>Offers:</p>{TABLE}")


@table_in_a_mail.ends
def _(end: End) -> None:
    assert end.said == "LH 12"
