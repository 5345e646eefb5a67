"""One table of invisible characters: written out in approval requests, removed from what models read."""

from __future__ import annotations

import unicodedata

import pytest

from deputize.core.visible_text import as_read, replaced, visible, without_hidden
from deputize.toolkits._shared.text import clean

HIDDEN = [
    *("\u202e", "\u2066", "\u200b", "\u200e", "\u061c", "\u034f", "\u115f", "\u180e", "\u2060", "\u2800", "\u3164"),
    *("\ufeff", "\uffa0", "\ufff9", "\U0001d173", "\U000e0041", "\U000e0101", "\xad", "\x00", "\x1b", "\x9b", "\r"),
    *("\u2028", "\ud800"),
]
NEEDED = [
    "\u0645\u06cc\u200c\u062e\u0648",
    "क्\u200dष",
    "ක්\u200dෂ",
    "👩\u200d👩\u200d👧",
    "❤\ufe0f\u200d🔥",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\u1820\u180b",
    "⠓\u2800⠊",
]


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_invisible_characters_are_escaped_or_removed(character: str) -> None:
    assert visible(f"a{character}b") == f"a[U+{ord(character):04X}]b"
    assert without_hidden(f"a{character}b") == "ab"
    assert replaced(f"a{character}b", lambda one: "?") == ("a?b", 1)


@pytest.mark.parametrize("text", NEEDED, ids=ascii)
def test_joiners_in_letters_and_emoji_are_kept(text: str) -> None:
    assert visible(text) == without_hidden(text) == text
    assert clean(text) == (unicodedata.normalize("NFC", text), 0)


@pytest.mark.parametrize(
    "text", ["a\u200cb", "\u200d", "я\u200dв", "👩\u200d\u200d👧", "🏴\U000e0061\U000e007f", "a\ufe0f"]
)
def test_joiner_outside_letters_and_emoji_is_hidden_text(text: str) -> None:
    assert "[U+" in visible(text) and clean(text)[1] > 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("b\u043eb@example.test", "b[U+043E]b@example.test"),
        ("p\u0430yp\u0430l", "p[U+0430]yp[U+0430]l"),
        ("\u0391lice", "[U+0391]lice"),
        ("example\u2024com", "example[U+2024]com"),
        ("https://bank.test\u2044evil.test", "https://bank.test[U+2044]evil.test"),
        ("alice\uff20evil.test", "alice[U+FF20]evil.test"),
    ],
)
def test_characters_resembling_latin_ones_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["привет, мир", "Ελλάδα", "日本。語", "5\xa0µm", "naïve café", "a\nb\tc", "שלום"])
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert visible(text) == without_hidden(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bob@\u0430\u0440\u0440\u04cf\u0435.com", "bob@\u0430\u0440\u0440\u04cf\u0435.com [xn--80ak6aa92e.com]"),
        (
            "see \u0455\u0441\u043e\u0440\u0435.com, please",
            "see \u0455\u0441\u043e\u0440\u0435.com [xn--e1argc3h.com], please",
        ),
        ("https://b\xfccher.example/a", "https://b\xfccher.example [xn--bcher-kva.example]/a"),
        (
            "https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
            "https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444 [xn--e1afmkfd.xn--p1ai]",
        ),
        ("a@p\u0430ypal.com", "a@p[U+0430]ypal.com [xn--pypal-4ve.com]"),
        ("eve@exa\u0301mple.com", "eve@exa\u0301mple.com [xn--exmple-qta.com]"),
        ("https://stra\xdfe.de.", "https://stra\xdfe.de. [xn--strae-oqa.de]"),
        ("\u0441\u043e\u0440\u0443.pdf", "\u0441\u043e\u0440\u0443.pdf [xn--n1aebk.pdf]"),
        ("bob@-\u0430-.com", "bob@-\u0430-.com [no host has this name]"),
    ],
)
def test_non_ascii_host_is_shown_in_punycode(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text", ["См. пункт 3.Далее", "naïve.txt", "Ende.Übrigens", "résumé.pdf", "日本語", "é" * 60_000 + "." * 60_000]
)
def test_text_that_is_not_a_host_is_unchanged(text: str) -> None:
    assert visible(text) == text


def test_line_ends_are_normalized() -> None:
    assert visible("a\r\nb") == "a\nb" and visible("pay 1\rpay 9") == "pay 1[U+000D]pay 9"


@pytest.mark.parametrize(
    "text", ["b\u043eb@evil.test", "BOB\uff20Evil\u2024test", "b\u200bob@evil.test", "b\x7fob@evil.test"]
)
def test_lookalike_texts_are_read_as_equal(text: str) -> None:
    assert as_read(text) == "bob@evil.test"


def test_words_of_another_script_are_not_read_as_latin() -> None:
    assert as_read("пример") != as_read("primer") and as_read("Straße") == "strasse"
