"""gmail_search_emails: its requests to Gmail, and its paging."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput, NotFound, RateLimited
from deputize.core.vault.grant import Account
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from deputize.toolkits.gmail.query import AUTOMATED, build_query, includes_hidden, is_selective
from tests.support.lanes import examples
from tests.toolkits.mailbox import READONLY, Mailbox, leaf, message, own, system
from tests.toolkits.tool_driver import NOW, Done, Driver

GMAIL = Driver(TOOLKIT, frozenset({READONLY}))


def find(box: Mailbox, driver: Driver = GMAIL, **arguments: Any) -> Done:
    return driver.run("search_emails", arguments, box)


def listed(done: Done) -> dict[str, Any]:
    """Return the parameters of the list request."""
    return next(
        dict(one.params or {}) for one in done.requests if one.path in ("/users/me/messages", "/users/me/threads")
    )


@pytest.mark.parametrize(
    ("arguments", "q"),
    [
        ({"query": "has:attachment newer_than:7d"}, "has:attachment newer_than:7d"),
        ({"query": " a\nb\x00 "}, "a b"),
        ({"from": ["bob@example.test"]}, "from:bob@example.test"),
        ({"from": ["Bob <bob@example.test>"]}, "from:bob@example.test"),
        ({"from": ["Bob Builder"]}, 'from:"Bob Builder"'),
        ({"from": ["a@x.test", "b@x.test"]}, "{from:a@x.test from:b@x.test}"),
        ({"to": ["a@x.test OR from:eve"]}, 'to:"a@x.test OR from:eve"'),
        ({"from": ['a" OR in:trash "b']}, 'from:"a OR in:trash b"'),
        ({"from": ["-a"]}, 'from:"-a"'),
        ({"from": ["", " "]}, ""),
        ({"subject": "weekly numbers"}, "subject:(weekly numbers)"),
        ({"subject": '"weekly numbers"'}, 'subject:"weekly numbers"'),
        ({"subject": "a) OR in:trash (b"}, "subject:(a in trash b)"),
        ({"subject": "()"}, ""),
        ({"text": "from:eve -draft {x}"}, "from eve draft x"),
        ({"text": '"exact phrase" and more'}, '"exact phrase" and more'),
        ({"text": "a OR b AND c"}, "a b c"),
        ({"after": "2026-11-24T00:00Z"}, "after:1795478400"),
        ({"after": "-7d", "before": "now"}, f"after:{int(NOW) - 7 * 86400} before:{int(NOW)}"),
        ({"unread": True}, "is:unread"),
        ({"unread": False}, "is:read"),
        ({"skip_automated": True}, AUTOMATED),
        ({"from": ["b@x.test"], "subject": "s", "unread": True, "query": "q"}, "from:b@x.test subject:(s) is:unread q"),
    ],
)
def test_filters_become_one_query(arguments: dict[str, Any], q: str) -> None:
    params = listed(find(Mailbox(), **arguments))
    assert params.get("q", "") == q
    assert ("q" in params) == bool(q)


words = st.text(st.sampled_from('ab :(){}"-\n\x00'), max_size=30)


@settings(max_examples=examples(300), deadline=None)
@given(words, words, words)
def test_filter_value_cannot_leave_its_quotes(sender: str, subject: str, text: str) -> None:
    q = build_query(sender=[sender, "x@x.test"], subject=subject, text=text)
    outside = "".join(piece for at, piece in enumerate(q.split('"')) if at % 2 == 0)
    assert q.count('"') % 2 == 0 and "\n" not in q and "\x00" not in q
    assert outside.count("{") == outside.count("}") <= 1
    assert outside.count("(") == outside.count(")") <= 1
    assert set(part.lstrip("{") for part in outside.replace(":", ": ").split() if part.endswith(":")) <= {
        "from:",
        "subject:",
    }


@pytest.mark.parametrize(
    ("query", "everywhere"),
    [
        *(("in:spam", True), ("x in:Trash y", True), ("in:anywhere", True)),
        *(("-in:spam", False), ("in:spammers", False), ("win:spam", False)),
    ],
)
def test_spam_and_bin_are_searched_only_on_request(query: str, everywhere: bool) -> None:
    assert includes_hidden(query) is everywhere
    assert listed(find(Mailbox(), query=query)).get("includeSpamTrash", False) is everywhere
    assert listed(find(Mailbox(), spam_trash=True))["includeSpamTrash"] is True


@pytest.mark.parametrize(
    ("query", "chooses"),
    [
        *(("from:bob", True), ("-from:bob budget", True), ('"exact words"', True), ("{from:a from:b}", True)),
        *(("", False), ("-from:bob", False), ("-from:bob OR -x", False), ("in:anywhere", False), ("{-a -b}", False)),
        *(('-"a b"', False), ('-subject:"a b"', False), ("-", False), ("()", False)),
    ],
)
def test_query_is_selective_if_a_term_does_not_only_exclude(query: str, chooses: bool) -> None:
    assert is_selective(query) is chooses


def test_label_is_found_by_name_in_any_case_and_sent_by_id() -> None:
    box = Mailbox(labels=[system("INBOX"), own("Work/Reports", "Label_7")])
    done = find(box, label="work/reports")
    assert listed(done)["labelIds"] == ["Label_7"]
    assert [one.path for one in done.requests].count("/users/me/labels") == 1
    assert listed(find(box, label="INBOX"))["labelIds"] == ["INBOX"]
    assert listed(find(Mailbox(labels=[system("TRASH")]), label="trash"))["includeSpamTrash"] is True


def test_unknown_label_is_refused_with_similar_ones() -> None:
    box = Mailbox(labels=[own("Reports"), own("Receipts"), own("Family")])
    with pytest.raises(InvalidInput, match="label") as refused:
        find(box, label="Report")
    assert "Reports" in refused.value.hint and "Family" not in refused.value.hint


LONG = f"It&#39;s &lt;here&gt; and {'goes on and on ' * 17}&amp; on for ever, in all of its length"


def test_row_has_the_relevant_fields_without_empty_ones() -> None:
    box = Mailbox.of(
        message("m1", labels=["INBOX", "UNREAD", "STARRED", "Label_7"], snippet=LONG),
        message("m2", labels=["INBOX"]),
        labels=[own("Work", "Label_7")],
    )  # fmt: skip
    result = find(box).result
    assert result["items"][0] == {
        "id": "m1",
        "from": "Bob <bob@example.test>",
        "subject": "Hello",
        "date": "2026-11-24 14:00",
        "snippet": f"It's <here> and {'goes on and on ' * 17}& on for ever, in all of\u2026",
        "unread": True,
        "labels": ["STARRED", "Work"],
        "untrusted": True,
    }
    assert set(result["items"][1]) == {"id", "from", "subject", "date", "snippet", "untrusted"}
    assert (result["next"], result["truncated"], result["estimate"], result["time_zone"]) == (None, False, 2, "UTC")


def test_rows_are_fetched_as_headers_ten_at_a_time() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(25)))
    done = find(box, limit=25)
    assert len(done.result["items"]) == 25
    assert done.at_once == [2, 10, 10, 5]
    gets = [one for one in done.requests if one.path.endswith("{id}")]
    assert all(dict(one.params or {})["format"] == "metadata" for one in gets)
    assert all(len(dict(one.params or {})["metadataHeaders"]) <= 8 for one in gets)


def test_counting_fetches_no_email() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(7)))
    done = find(box, detail="count")
    assert done.result == {"estimate": 7}
    assert [one.path for one in done.requests] == ["/users/me/messages"]


def test_empty_search_is_a_result() -> None:
    assert find(Mailbox()).result["items"] == []


def test_full_rows_have_the_text_without_history_and_a_continuation() -> None:
    box = Mailbox.of(message("m1", "New words. " * 200 + "\n\nOn 1 Nov 2026, Al <al@x.test> wrote:\n> old"))
    row = find(box, detail="full").result["items"][0]
    assert row["body"].startswith("New words.") and "old" not in row["body"]
    assert len(row["body"]) < row["total_chars"] == 2199 and row["cut"] is True
    assert row["more"].startswith("gmail_get_email?message_id=m1&offset=")
    assert row["quoted_cut"] > 0


def test_body_stored_separately_by_gmail_is_marked_as_omitted() -> None:
    row = find(Mailbox.of(message("m1", leaf("text/plain", attachment="A1"))), detail="full").result["items"][0]
    assert row["body_omitted"] is True


def test_threads_are_listed_as_conversation_rows() -> None:
    box = Mailbox.of(
        message("m1", thread="t1", subject="Plan"),
        message("m2", thread="t1", subject="Re: Plan", sender="Carol <c@x.test>", labels=["UNREAD"], at=NOW + 60),
        message("m3", thread="t2"),
    )
    done = find(box, group="thread")
    assert done.result["items"][0] == {
        "thread": "t1",
        "subject": "Plan",
        "people": ["Bob <bob@example.test>", "Carol <c@x.test>"],
        "count": 2,
        "last": "2026-11-24 14:01",
        "unread": True,
        "snippet": "Hello Alice.",
        "untrusted": True,
    }
    assert len(done.result["items"]) == 2
    assert find(box, group="thread", detail="full").result["items"][0]["body"] == "Hello Alice."


def pages(box: Mailbox, **arguments: Any) -> list[list[str]]:
    """Return the ids of each page, to the end."""
    found: list[list[str]] = []
    cursor = None
    for _ in range(50):
        result = find(box, **arguments, **({"cursor": cursor} if cursor else {})).result
        found.append([row["id"] for row in result["items"]])
        cursor = result["next"]
        if cursor is None:
            return found
    raise AssertionError("paging does not end")


def test_paging_shows_everything_once_in_order() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(47)))
    assert pages(box, limit=20) == [[f"m{n}" for n in range(start, min(start + 20, 47))] for start in (0, 20, 40)]


def test_short_gmail_page_is_not_the_end() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(23)), page=10)
    assert [len(page) for page in pages(box, limit=20)] == [10, 10, 3]


def test_too_large_result_is_cut_between_rows_and_continues() -> None:
    box = Mailbox.of(*(message(f"m{n}", "Long words. " * 100) for n in range(30)))
    first = find(box, detail="full", limit=30)
    assert first.result["truncated"] is True
    assert tokens(first.result) <= 4000
    assert sum(first.at_once[1:]) < 30
    assert [one for page in pages(box, detail="full", limit=30) for one in page] == [f"m{n}" for n in range(30)]


def test_email_deleted_meanwhile_is_left_out() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(12)))

    def answer(request: Any) -> Any:
        if request.at.get("id") == "m3":
            raise NotFound("gone")
        return box(request)

    result = GMAIL.run("search_emails", {"limit": 12}, answer).result
    assert [row["id"] for row in result["items"]] == [f"m{n}" for n in range(12) if n != 3]


def test_rate_limit_is_raised() -> None:
    box = Mailbox.of(message("m1"))
    box.fail("GET", "/users/me/messages/{id}", RateLimited("wait", retry_after=3))
    with pytest.raises(RateLimited):
        find(box)


def test_relative_times_mean_the_same_on_every_page() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(5)))
    first = find(box, limit=2, after="-7d")
    later = Driver(TOOLKIT, frozenset({READONLY}), now=NOW + 3600)
    second = find(box, later, limit=2, after="-7d", cursor=first.result["next"])
    assert listed(second)["q"] == listed(first)["q"]


@pytest.mark.parametrize(
    "other",
    [
        *({"query": "x"}, {"from": ["b"]}, {"label": "INBOX"}, {"after": "-7d"}, {"unread": True}),
        *({"group": "thread"}, {"spam_trash": True}, {"skip_automated": True}),
    ],
)
def test_cursor_does_not_fit_other_filters(other: dict[str, Any]) -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(5)))
    cursor = find(box, limit=2).result["next"]
    with pytest.raises(InvalidInput, match="cursor"):
        find(box, cursor=cursor, **other)


def test_cursor_does_not_fit_another_account_or_tool() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(5)))
    cursor = find(box, limit=2).result["next"]
    with pytest.raises(InvalidInput, match="cursor"):
        find(box, Driver(TOOLKIT, account=Account("subject-of-bob", "alice@example.test")), cursor=cursor)
    with pytest.raises(InvalidInput, match="cursor"):
        GMAIL.run("list_drafts", {"cursor": cursor}, box)


def test_invalid_cursor_is_refused_before_any_request() -> None:
    box = Mailbox()
    with pytest.raises(InvalidInput, match="cursor"):
        find(box, cursor="m1")
    assert box.asked == []


def test_hidden_names_of_limit_and_cursor_are_accepted() -> None:
    box = Mailbox.of(*(message(f"m{n}") for n in range(5)))
    first = find(box, max_results=2).result
    assert len(first["items"]) == 2
    assert [row["id"] for row in find(box, n_emails=2, page_token=first["next"]).result["items"]] == ["m2", "m3"]
    with pytest.raises(InvalidInput):
        find(box, limit=2, max_results=3)
    assert not {"max_results", "page_token", "n_emails"} & set(
        TOOLKIT.tools["gmail_search_emails"].schema["properties"]
    )
