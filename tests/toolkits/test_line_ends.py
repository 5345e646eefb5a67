"""Line ends, the byte order mark and the final newline of a text file."""

from __future__ import annotations

import itertools
import random
import time
from typing import Final

import pytest

from deputize.toolkits._shared.line_ends import (
    BOM,
    append_lines,
    count_lines,
    form_change,
    form_of,
    line_ends,
    replace_all,
    replace_range,
    split_lines,
    with_lf,
)

ENDS: Final = {
    "LF": [b"\n"],
    "CRLF": [b"\r\n"],
    "CR": [b"\r"],
    "mixed": [b"\r\n", b"\n", b"\n", b"\r\n"],
}


def made(kind: str, *, bom: bool = False, final: bool = True, lines: int = 5) -> bytes:
    """Return a file of distinct lines, with line ends of these kinds in turn."""
    ends = itertools.islice(itertools.cycle(ENDS[kind]), lines)
    text = b"".join(b"line %d" % n + end for n, end in enumerate(ends, 1))
    return (BOM if bom else b"") + (text if final else text.rstrip(b"\r\n"))


FILES: Final = [
    pytest.param(made(kind, bom=bom, final=final), id=f"{kind}{'-bom' * bom}{'-final' * final}")
    for kind in ENDS
    for bom in (True, False)
    for final in (True, False)
]


@pytest.mark.parametrize("data", FILES)
def test_file_is_unchanged_when_its_lines_are_written_back(data: bytes) -> None:
    lines = with_lf(data)
    assert b"\r" not in lines and not lines.startswith(BOM)
    assert replace_all(data, lines) == data
    for first, last in itertools.combinations(range(6), 2):
        part = b"".join(line + b"\n" for line, _ in split_lines(data)[first:last])
        assert replace_range(data, first, last, part) == data
        assert replace_range(data, first, last, part.removesuffix(b"\n")) == data


@pytest.mark.parametrize("data", FILES)
def test_other_bytes_stay_when_lines_are_replaced(data: bytes) -> None:
    lines = split_lines(data)
    ended = bool(lines[-1][1])
    for first, last in itertools.combinations_with_replacement(range(6), 2):
        for new in (b"", b"new", b"new\nnewer\n", b"new\r\nnewer"):
            now = split_lines(replace_range(data, first, last, new))
            count = len(split_lines(new))
            before, after = now[:first], now[first + count :]
            assert [one for one, _ in now[first : first + count]] == [one for one, _ in split_lines(new)]
            assert [one for one, _ in before + after] == [one for one, _ in lines[:first] + lines[last:]]
            kept = [*zip(before, lines[:first], strict=True), *zip(after, lines[last:], strict=True)]
            assert all(one == old for one, old in kept if old[1] and one is not now[-1])
            assert not now or bool(now[-1][1]) == ended
            assert {end for _, end in now} <= {end for _, end in lines} | {b""}
            assert replace_range(data, first, last, new).startswith(BOM) == data.startswith(BOM)


@pytest.mark.parametrize("data", FILES)
def test_kept_lines_keep_their_line_ends_when_a_file_is_replaced(data: bytes) -> None:
    new = with_lf(data).replace(b"line 3", b"third\nand a half")
    was, now = split_lines(data), split_lines(replace_all(data, new))
    assert now[:2] + now[4:] == was[:2] + was[3:]
    assert [line for line, _ in now[2:4]] == [b"third", b"and a half"] and now[2][1] == was[2][1]
    assert replace_all(data, b"a\nb").startswith(BOM) == data.startswith(BOM)
    assert bool(split_lines(replace_all(data, b"a\nb\n\n"))[-1][1]) == bool(was[-1][1])


def test_random_file_is_unchanged_when_written_back() -> None:
    dice = random.Random(20261201)  # noqa: S311 - the same files in every run
    pieces = [b"\n", b"\r\n", b"\r", b"a", b"b", b"\xff", b"", b"\\u{000D}"]
    for _ in range(3_000):
        data = (BOM if dice.random() < 0.3 else b"") + b"".join(dice.choices(pieces, k=dice.randrange(12)))
        lines = split_lines(data)
        assert b"".join(line + end for line, end in lines) == data.removeprefix(BOM)
        first, last = sorted(dice.choices(range(len(lines) + 1), k=2))
        same = b"".join(line + end for line, end in lines[first:last])
        if (b"\n" in same) == (b"\n" in data):
            assert replace_range(data, first, last, same) == data
        assert replace_all(data, data) == data
        assert count_lines(data) == len(lines)
        for new in (b"new", b"new\n", b"new\r\nnewer\r\n", b""):
            assert append_lines(data, new) == replace_range(data, len(lines), len(lines), new)


def test_cr_inside_a_line_is_no_line_end_if_the_file_has_lf() -> None:
    assert split_lines(b"a\rb\n\rc\r\r\n") == [(b"a\rb", b"\n"), (b"\rc\r", b"\r\n")]
    assert split_lines(b"a\rb") == [(b"a", b"\r"), (b"b", b"")]
    assert replace_range(b"a\rb\nc\n", 1, 2, b"d") == b"a\rb\nd\n"


def test_new_line_ends_like_the_one_it_replaces() -> None:
    mixed = b"1\r\n2\n3\r\n"
    assert replace_range(mixed, 1, 2, b"two\nhalf") == b"1\r\ntwo\nhalf\n3\r\n"
    assert replace_range(mixed, 1, 1, b"new") == b"1\r\nnew\r\n2\n3\r\n"
    assert replace_range(mixed, 3, 3, b"4") == mixed + b"4\r\n"
    assert replace_range(b"1\r\n2", 2, 2, b"3\n") == b"1\r\n2\r\n3"
    assert replace_range(b"1", 1, 1, b"2\r\n3\r\n") == b"1\r\n2\r\n3"
    assert replace_range(b"", 0, 0, b"2\r\n") == b"2\r\n"


def test_binary_content_has_no_line_ends_to_keep() -> None:
    assert replace_all(b"\x00\r\n", b"a\nb") == b"a\nb"
    assert form_change(b"\x00\r\n", b"a\nb") is None
    assert replace_all(b"", b"a\r\nb") == b"a\r\nb" and replace_all(BOM, b"a\r\nb") == BOM + b"a\r\nb"


def test_line_end_form_is_described_in_words() -> None:
    assert form_of(b"a\n") == "LF" and line_ends(b"a") == "" and form_of(b"a") == "LF, no final newline"
    assert form_of(BOM + b"a\r\nb") == "CRLF, byte order mark, no final newline"
    assert form_of(b"a\rb\r") == "CR" and line_ends(b"a\nb\r\nc\n") == "mixed: 2 LF, 1 CRLF"


def test_line_end_change_is_reported_for_equal_looking_texts() -> None:
    assert form_change(b"a\r\nb\r\n", b"a\r\nB\r\n") is None
    assert form_change(b"a\r\n", b"a\n") == ("CRLF", "LF")
    assert form_change(b"a\n", b"a") == ("LF", "LF, no final newline")
    assert form_change(BOM + b"a\n", b"a\n") == ("LF, byte order mark", "LF")
    assert form_change(None, b"a\n") is None and form_change(None, b"a\r\n") == ("", "CRLF")
    swapped = form_change(b"a\nb\r\n", b"a\r\nb\n")
    assert swapped == ("mixed: 1 LF, 1 CRLF", "mixed: 1 LF, 1 CRLF, in other lines")


def test_kept_blank_lines_stay_when_the_last_line_is_removed() -> None:
    assert replace_range(b"a\n\n\nb", 3, 4, b"") == b"a\n\n"
    assert replace_range(b"a\r\n\r\nb", 2, 3, b"\n") == b"a\r\n"
    assert replace_all(b"a\n\n\nb", b"a\n\n\n") == b"a\n\n"
    assert replace_range(b"a\nb", 1, 2, b"\n\n") == b"a", "its own end goes, and new lines that hold nothing"


def test_megabyte_of_blank_lines_is_replaced_quickly() -> None:
    """A model may write them, and the event loop waits for it."""
    began = time.monotonic()
    assert replace_all(b"a", b"a" + b"\n" * 1_000_000) == b"a"
    assert time.monotonic() - began < 10  # it was a quarter of an hour


def test_random_edits_keep_every_byte_outside() -> None:
    """Including invalid UTF-8, CRs inside lines, marks, and Python's other line ends."""
    rng = random.Random(20261201)  # noqa: S311
    texts, ends = [b"a", b"", b" ", b"\xff", b"x\x0b", b"\xc2\x85", b"c\rd"], [b"\n", b"\r\n"]
    for _ in range(3000):
        old = rng.choice([b"", BOM]) + rng.choice(texts) + rng.choice(ends)
        old += b"".join(rng.choice(texts) + rng.choice(ends) for _ in range(rng.randint(0, 5))) + rng.choice(texts)
        assert replace_all(old, with_lf(old)) == old
        parts = [line + end for line, end in split_lines(old)]
        first = rng.randint(0, len(parts))
        last = rng.randint(first, len(parts))
        new = replace_range(old, first, last, rng.choice([b"", b"N", b"N\n", b"N\r\nM\r\n", b"\n", b"N\n\nM"]))
        before, after = b"".join(parts[:first]), b"".join(parts[last:])
        if old.startswith(BOM):
            assert new.startswith(BOM), old
        new = new.removeprefix(BOM)
        if first == len(parts) or new + b"\n" == before or new + b"\r\n" == before:
            continue  # the end of what was, or now is, the last line follows the rule for final newlines
        assert new.startswith(before) and new.endswith(after), (old, first, last, new)
