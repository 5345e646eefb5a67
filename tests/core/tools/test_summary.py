"""Summaries of acts: the clearest names of what an act reached and changed, whatever its tool previews."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Audience, Change, Preview
from deputize.core.tools.preview import shown_file
from deputize.core.tools.summary import NO_SUMMARY, Summary, summarize_arguments, summarize_preview


def about(where: str = "", people: tuple[str, ...] = (), context: Any = None, **fields: Any) -> str:
    show = Preview("Do it", audience=Audience.SELF, where=where, people=people, context=context, **fields)
    return summarize_preview(show).about


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": ["a@x.test", "b@x.test"], "cc": ["c@x.test"], "subject": "Hi"}, "a@x.test, b@x.test, c@x.test · “Hi”"),
        ({"to": [f"{n}@x.test" for n in range(9)], "text": "Yo"}, "0@x.test, 1@x.test, 2@x.test and 6 more · “Yo”"),
        ({"people": ("@channel", "u0bob", "dora@x.test"), "text": "Yo"}, "dora@x.test · “Yo”"),
        ({"title": Change("Old", "New"), "where": "#eng"}, "“Old → New” · #eng"),
        ({"title": Change("Same", "Same")}, "“Same”"),
        ({"labels": Change(["A"], ["A", "B"])}, "labels: B"),
        ({"labels": Change(["A", "B"], ["A"])}, "labels: B → (removed)"),
        ({"labels": Change(["A"], ["A"]), "state": Change("open", "closed")}, "state: open → closed"),
        ({"description": Change("Before", "")}, "description: Before → (emptied)"),
        (
            {"files": [shown_file("a.pdf", "application/pdf", b"a"), shown_file("b", "text/plain", b"b")]},
            "2 files: “a.pdf”",
        ),
        ({"change": "archive", "context": {"emails": ["One", "Two", "Three"]}}, "3 emails: “One” · change: archive"),
        ({"number": 7, "on": True, "nothing": "", "due": "today"}, "due: today"),
        ({"number": 7}, ""),
    ],
)
def test_summary_names_people_object_and_place(fields: dict[str, Any], expected: str) -> None:
    assert about(**fields) == expected


def test_summary_is_one_line_of_about_200_characters_for_any_text() -> None:
    long = "\u202e\u200b word\n" * 10_000
    found = summarize_preview(
        Preview("Do it", audience=Audience.SELF, where=long, to=[long, long, long], subject=Change(long, f"x{long}"))
    )
    assert "\n" not in found.about and "\u202e" not in found.about and len(found.about) < 230
    assert Summary.unpack(found.pack()) == found


@pytest.mark.parametrize(
    "arguments", [{}, {"to": None, "title": 3}, {"name": {"before": {"before": {}}, "after": [[1]]}}]
)
def test_arguments_without_a_text_have_no_phrases(arguments: dict[str, Any]) -> None:
    assert summarize_arguments(arguments).parts == ()


def test_empty_string_is_no_summary() -> None:
    assert Summary.unpack("") is NO_SUMMARY
