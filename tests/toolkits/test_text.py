"""Outside text: any bytes, any charset, nothing invisible, cut to size."""

from __future__ import annotations

import encodings
import itertools
import pkgutil
import time
import unicodedata
from encodings import aliases

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.toolkits._shared.text import Outside, clean, clip, codec, decode, window
from deputize.toolkits.github.prose import Prose
from tests.support.lanes import examples

ALIASES = sorted(
    {*aliases.aliases, *aliases.aliases.values(), *(m.name for m in pkgutil.iter_modules(encodings.__path__))}
)
ODD_CHARSETS = ["", "x-unknown", "utf-8\x00", "é", "a" * 500, "../aliases", "unicode_escape", "rot13", "zlib", "idna"]
JOINERS = {"\u200c", "\u200d"}
HIDDEN = [
    *("\x00", "\x08", "\x1b", "\x7f", "\x85", "\x9b"),
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"),
    *("\u202a", "\u202e", "\u2066", "\u2069"),
    *("\U000e0000", "\U000e0041", "\U000e007f", "\U000e0100", "\U000e01ef"),
]


def test_every_python_codec_reads_any_bytes() -> None:
    everything = bytes(range(256)) * 2 + b"\\d\\x41 +AGE- =?utf-8?q?x?= xn--a \x1b$B~~~\xff"
    for charset, data in itertools.product(ALIASES, (b"", b"plain", everything, everything[::-1])):
        assert isinstance(decode(data, charset), str), charset


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=60), st.sampled_from(ALIASES + ODD_CHARSETS) | st.text(max_size=30))
def test_any_bytes_and_charset_are_decoded(data: bytes, charset: str) -> None:
    assert isinstance(decode(data, charset), str)


@pytest.mark.parametrize(
    ("text", "written", "declared"),
    [
        ("Grüße aus Köln", "utf-8", "iso-8859-1"),
        ("Grüße aus Köln", "utf-8", "us-ascii"),
        ("Grüße aus Köln", "utf-8", ""),
        ("Grüße aus Köln", "latin-1", "us-ascii"),
        ("Grüße aus Köln", "latin-1", "x-no-such-charset"),
        ("“smart” quotes…", "cp1252", "iso-8859-1"),
        ("联通", "gbk", "gb2312"),
        ("日本語①", "cp932", "Shift_JIS"),
        ("日本語", "iso2022_jp", "iso-2022-jp"),
        ("한국어 똠", "cp949", "euc-kr"),
        ("привет", "koi8_r", "KOI8-R"),
        ("привет", "utf-8", "windows-1251"),
        ("naïve", "utf-16", "utf-16"),
        ("日本語", "cp932", "x-sjis"),
    ],
)
def test_wrong_or_wider_charset_is_read_as_written(text: str, written: str, declared: str) -> None:
    assert decode(text.encode(written), declared) == text


@pytest.mark.parametrize("name", ["zlib", "bz2", "hex", "base64", "rot13", "uu", "quopri", "idna", "punycode",
                                  "unicode_escape", "raw-unicode-escape", "undefined", "mbcs", "oem"])  # fmt: skip
def test_python_transform_that_is_no_charset_is_not_used(name: str) -> None:
    assert codec(name) == ""


def test_undecodable_bytes_become_replacement_characters() -> None:
    assert decode(b"ab\xff\xfecd", "utf-8") == "ab\ufffd\ufffdcd"


@pytest.mark.parametrize("character", HIDDEN, ids=lambda c: f"U+{ord(c):04X}")
def test_invisible_characters_are_removed_and_counted(character: str) -> None:
    assert clean(f"pay{character} now{character}") == ("pay now", 2)


def test_letters_emoji_newlines_and_tabs_stay() -> None:
    text = "Zoë\tשדה\n日本語 👋 e\u0301"
    assert clean(text) == (unicodedata.normalize("NFC", text), 0)


def test_line_ends_become_newlines_and_lone_surrogates_visible() -> None:
    assert clean("a\r\nb\rc\ud800") == ("a\nb\nc\ufffd", 0)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(st.characters() | st.sampled_from(HIDDEN), max_size=200))
def test_cleaning_is_idempotent(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, 0)
    assert not set(once) & (set(HIDDEN) - JOINERS)
    once.encode()


SPELT = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: I want
    "\u0915\u094d\u200d\u0937",  # Hindi: a half form
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala: sri
    *("👩\u200d💻", "👨\u200d👩\u200d👧", "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈"),
]


@pytest.mark.parametrize("text", SPELT)
def test_joiner_that_spells_a_word_or_emoji_stays(text: str) -> None:
    assert clean(f"a {text} b") == (f"a {text} b", 0)
    assert Prose().prose(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "pay\u200dpal",
            "pay\u200cpal",
            "\u200d",
            "x\u200d👩",
            "👩\u200dx",
            "👩\u200c💻",
            "👩\u200d\u200d💻",
            "1\u200d2",
        ),
        *("\u0645\u200c", "\u200c\u0645", "\u0645\u200c\u200c\u062e", "\u0645\u200b\u200c\u062e", "ab\u200d\u0645"),
        *("שד\u200dה", "日\u200d本"),
    ],
)
def test_joiner_without_visible_effect_is_removed(text: str) -> None:
    shown, hidden = clean(text)
    assert not set(shown) & JOINERS and hidden == sum(one in "\u200b\u200c\u200d" for one in text)


@pytest.mark.sweep
def test_text_of_only_combining_marks_is_cleaned_quickly() -> None:
    began = time.process_time()
    clean("a" + "\u0301\u0316" * 500_000)
    assert time.process_time() - began < 10


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=300), st.integers(8, 100))
def test_clipped_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = clip(text, limit)
    assert len(line.encode(errors="replace")) <= limit
    assert "\n" not in line and line == line.strip()
    assert line.rstrip("\u2026").rstrip() in " ".join(text.split()) or not line.endswith("\u2026")


def test_clipped_line_ends_at_a_word_with_an_ellipsis() -> None:
    assert clip("The quarterly numbers are in", 20) == "The quarterly\u2026"


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=500), st.integers(4, 60))
def test_windows_of_a_text_add_up_to_the_text(text: str, limit: int) -> None:
    pieces, offset = [], 0
    for _ in range(len(text) + 1):
        piece, more = window(text, offset, limit)
        assert len(piece.encode()) <= limit
        pieces.append(piece)
        if more is None:
            break
        assert more > offset
        offset = more
    assert "".join(pieces) == text


def test_window_beyond_the_end_is_empty() -> None:
    assert window("short", 99, 10) == ("", None)


def test_untrusted_text_counts_hidden_characters_of_all_fields() -> None:
    outside = Outside()
    row: dict[str, object] = {"subject": outside.line("in\u200bvoice\nnow"), "name": outside.line("\u202eBob", 40)}
    outside.mark(row)
    assert row == {"subject": "invoice now", "name": "Bob", "untrusted": True, "hidden_removed": 2}
