"""Line ends, byte order mark and final newline of a text file.

A model reads and writes lines that end with LF. A changed file keeps its form: each line that stays keeps its line end,
and a new line ends like the line that it replaces. A CR alone ends a line only if the file has no LF; otherwise it is a
character of the line.
"""

from __future__ import annotations

from typing import Final

BOM: Final = b"\xef\xbb\xbf"

Lines = list[tuple[bytes, bytes]]
"""The lines of a file, each with its line end, which only the last one can lack."""


def split_lines(data: bytes) -> Lines:
    """Return the lines of a file without its byte order mark."""
    data = data.removeprefix(BOM)
    end = b"\n" if b"\n" in data else b"\r"
    *lines, last = data.split(end)
    found = [(line[:-1], b"\r\n") if end == b"\n" and line.endswith(b"\r") else (line, end) for line in lines]
    return [*found, (last, b"")] if last else found


def with_lf(data: bytes) -> bytes:
    """Return the file as a model reads it: without its byte order mark, with lines ending with LF."""
    if b"\r" not in data:
        return data.removeprefix(BOM)
    return b"".join(line + (b"\n" if end else b"") for line, end in split_lines(data))


def is_text(data: bytes) -> bool:
    """True if the file is text."""
    return b"\x00" not in data[:8000]


def replace_all(old: bytes, new: bytes) -> bytes:
    """Return ``new`` in the form of ``old``, or unchanged if ``old`` is empty or not a text."""
    before, after = split_lines(old), split_lines(new)
    if not is_text(old) or not old:
        return new
    first = _count_common(before, after)
    rest = min(len(before), len(after)) - first
    last = _count_common(before[: -rest - 1 : -1], after[: -rest - 1 : -1]) if rest else 0
    return _join(old, before, after, first, last)


def replace_range(old: bytes, first: int, last: int, new: bytes) -> bytes:
    """Return ``old`` with ``new`` in place of its lines from ``first`` on and before ``last``, counted from 0."""
    before, given = split_lines(old), split_lines(new)
    after = [*before[:first], *given, *before[last:]]
    return _join(old, before, after, first, len(before) - last) if old else new


def append_lines(old: bytes, new: bytes) -> bytes:
    """Return ``old`` with ``new`` appended. Only its last two lines are split, because it may be long."""
    end = b"\n" if b"\n" in old else b"\r"
    last = old.rfind(end, 0, max(len(old) - 1, 0))
    tail = old.rfind(end, 0, max(last, 0)) + 1
    count = count_lines(old[tail:])
    return old[:tail] + replace_range(old[tail:], count, count, new)


def _count_common(one: Lines, other: Lines) -> int:
    """Return the number of equal lines at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (left, right) in pairs if left[0] != right[0]), min(len(one), len(other)))


def _join(old: bytes, before: Lines, after: Lines, first: int, last: int) -> bytes:
    """Return the lines ``after`` in the form of ``old``. ``first``, ``last``: unchanged lines at each side."""
    mark = BOM if old.startswith(BOM) else b""
    if not after:
        return mark
    before = before or after  # the file has only its mark
    known = [end for _, end in before if end]
    replaced = [end for _, end in before[first : len(before) - last]] or [before[max(first - 1, 0)][1]]
    ends = [
        *(end for _, end in before[:first]),
        *(replaced[min(n, len(replaced) - 1)] for n in range(len(after) - first - last)),
        *(end for _, end in before[len(before) - last :]),
    ]
    is_ended = bool(before[-1][1])
    count = len(after)
    while count > first and not (is_ended or after[count - 1][0]):
        count -= 1
    usual = known[-1:] or [end for _, end in after[:count] if end] or [b"\n"]
    pieces = [line + (end or usual[0]) for (line, _), end in zip(after[:count], ends, strict=False)]
    if pieces and not is_ended:
        pieces[-1] = after[count - 1][0]
    return b"".join([mark, *pieces])


# ----------------------------------------------------------------- description


def count_lines(data: bytes) -> int:
    """Return the number of lines in a file."""
    data = data.removeprefix(BOM)
    end = b"\n" if b"\n" in data else b"\r"
    return data.count(end) + (bool(data) and not data.endswith(end))


def line_ends(data: bytes) -> str:
    """Return the name of a file's line ends, such as ``CRLF``, or "" without any. Mixed ends come with counts."""
    lf, crlf = data.count(b"\n"), data.count(b"\r\n")
    counts = {"LF": lf - crlf, "CRLF": crlf, "CR": 0 if lf else data.count(b"\r")}
    there = [name for name, count in counts.items() if count]
    return "mixed: " + ", ".join(f"{counts[name]} {name}" for name in there) if len(there) > 1 else "".join(there)


def form_of(data: bytes) -> str:
    """Return the form of a file in words. A file without a line end counts as one with LF."""
    end = b"\n" if b"\n" in data else b"\r"
    missing = ["no final newline"] if data.removeprefix(BOM) and not data.endswith(end) else []
    marked = ["byte order mark"] if data.startswith(BOM) else []
    return ", ".join([line_ends(data) or "LF", *marked, *missing])


def form_change(old: bytes | None, new: bytes) -> tuple[str, str] | None:
    """Return the form before and after if it changes in a way that a comparison of the texts does not reveal.

    ``old``: None or empty for a new file. Then only line ends other than LF are reported, with "" before.
    """
    if not is_text(new) or not is_text(old or b""):
        return None
    if not old:
        return ("", form_of(new)) if b"\r" in new else None
    before, after = form_of(old), form_of(new)
    if before != after:
        return before, after
    moved = "mixed" in after and old != new and with_lf(old) == with_lf(new)
    return (before, f"{after}, in other lines") if moved else None
