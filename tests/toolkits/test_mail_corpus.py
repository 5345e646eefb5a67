"""A corpus of mails, hostile and honest: visible text is read, invisible text is removed or marked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.data.mails.corpus import golden
from tests.toolkits.data.mails.corpus.tongues import TONGUES
from tests.toolkits.data.mails.honest import HONEST, LANGUAGES, OTHERS, SHAPES
from tests.toolkits.data.mails.hostile import HOSTILE, SAID, SEEN
from tests.toolkits.data.mails.insider import INSIDER
from tests.toolkits.mailbox import READONLY, Mailbox, container, leaf, message
from tests.toolkits.tool_driver import Driver

READER = Driver(TOOLKIT, frozenset({READONLY}))


def read(html: str, plain: str = "") -> dict[str, Any]:
    """Return what a model is shown of a mail with this HTML."""
    page = leaf("text/html", html)
    payload = container("alternative", leaf("text/plain", plain), page) if plain else page
    found: dict[str, Any] = READER.run("get_email", {"message_id": "m1"}, Mailbox.of(message("m1", payload))).result
    return found


def test_mail_corpus_is_large() -> None:
    assert len(HOSTILE) > 100 and len(HONEST) > 60 and len(LANGUAGES) >= 8


def test_text_hidden_by_a_hostile_mail_is_removed_and_counted_or_marked(subtests: pytest.Subtests) -> None:
    for trick, mail in HOSTILE.items():
        with subtests.test(trick=trick):
            shown = read(mail.html)
            assert SEEN in shown["body"]
            if mail.marked:
                assert "hidden" in shown
            else:
                assert SAID not in shown["body"] and "Mallory" not in str(shown)
                assert shown.get("hidden_removed", 0) >= len(SAID.replace(" ", "")) or trick.startswith("comment")


@pytest.mark.processes
def test_text_hidden_by_an_insider_is_removed_or_marked(subtests: pytest.Subtests) -> None:
    for trick, mail in INSIDER.items():
        with subtests.test(trick=trick):
            shown = read(mail.html)
            assert SEEN in shown["body"]
            assert "Mallory" not in shown["body"] or "hidden" in shown


def test_plain_part_only_text_does_not_reach_the_model() -> None:
    shown = read(f"<p>{SEEN}</p>", plain=f"{SEEN}\n{SAID}")
    assert shown["body"] == SEEN and "hidden" not in shown
    shown = read("<img src=cid:x>", plain=SAID)
    assert shown["body"] == SAID and "text/plain" in shown["hidden"]


def test_honest_mail_loses_nothing_and_is_unmarked(subtests: pytest.Subtests) -> None:
    for shape in SHAPES:
        for language, words in LANGUAGES.items():
            with subtests.test(shape=shape, language=language):
                shown = read(HONEST[f"{shape}, {language}"].html)
                assert "hidden" not in shown
                quoted = read_whole(HONEST[f"{shape}, {language}"].html)
                assert {word for word in (words.hello, words.price) if word not in quoted} == set()
    for name, mail in OTHERS.items():
        with subtests.test(name=name):
            shown = read(mail.html)
            assert ("hidden" in shown) is mail.marked and shown["body"]


def read_whole(html: str) -> str:
    """The same, with quoted history."""
    arguments = {"message_id": "m1", "part": "quoted"}
    box = Mailbox.of(message("m1", leaf("text/html", html)))
    return re.sub(r"\s+", " ", READER.run("get_email", arguments, box).result["body"])


def test_preheader_is_hidden_text_and_counted() -> None:
    shown = read(HONEST["newsletter, en"].html)
    assert shown["hidden_removed"] >= len("preview") and "preview" not in shown["body"]


def test_golden_corpus_is_large() -> None:
    assert len(golden.FAMILIES) * len(TONGUES) > 270
    assert {path.name for path in golden.FOLDER.iterdir()} == {golden.path_of(one).name for one in golden.FAMILIES}


@pytest.mark.parametrize("family", golden.FAMILIES, ids=lambda family: family.__name__)
def test_mail_is_read_answered_and_forwarded_like_its_golden_text(family: golden.Family) -> None:
    became = golden.golden(family)
    assert became == golden.path_of(family).read_text(encoding="utf-8")
    assert "only in html" not in became  # all that leaves was in the text that was shown
