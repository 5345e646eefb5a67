"""Texts that others wrote on GitHub, and texts of ours that others will read.

Prose is Markdown: what GitHub would not show is taken out and counted. Code and diffs are not altered: what nobody can
see in them is shown as ``\\u{202E}`` and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from deputize.core import Account, ActKey, Continuation
from deputize.core.errors import InvalidInput
from deputize.core.text import replaced
from deputize.toolkits._shared.long_text import PART, Edit, Form, part, shortened
from deputize.toolkits._shared.markdown_hidden import RAW, UNCUT, without_unseen
from deputize.toolkits._shared.text import Outside, clean

LONGEST_BODY: Final = 65_536  # characters of a body that GitHub takes
BODY: Final = 1_400  # bytes of a body in a detail
LONGEST: Final = 200_000  # characters of prose that are looked at: GitHub allows 65536 in a body
_HIDDEN: Final = re.compile(  # nothing here looks back or beyond the next bracket, so that it takes linear time
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|template|noscript)\b[^<>]*>.*?(?:</\1\s*>|\Z)"
    r"|<(\w{1,20})(?=\s)[^<>]{0,400}?(?:\shidden\b|display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden)[^<>]{0,400}>"
    r".*?(?:</\2\s*>|\Z)"
    r"|^[ ]{0,3}\[[^\[\]\n]{1,200}\]:[ ]*(?:#|<>)[^\n]*$",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_BAD_LINK: Final = re.compile(
    r"\[([^\[\]\n]{0,500})\]\(\s{0,9}<?(?:javascript|data|vbscript):(?:[^()\[\]\n]|\([^()\[\]\n]{0,200}\)){0,2000}\)",
    re.IGNORECASE,
)
_SECRET: Final = re.compile(
    r"\b(?:gh[opurs]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[a-z]-[\w-]{10,}|ya29\.[\w-]{20,}"
    r"|lin_(?:api|oauth)_\w{16,}|AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9_-]{32,})"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?:-----(?:[^-]|(?<=\n)-(?!-)){0,20000})?"  # a diff's lines may begin with -
)
_MARK: Final = re.compile(r"\n{0,2}<!-- deputize:[0-9a-f]{16} -->\s{0,9}\Z")


def masked(text: str) -> str:
    """The text without tokens and private keys: a log, a diff or a file may hold those of others. Lines stay lines."""
    return _SECRET.sub(lambda found: "[redacted]" + "\n" * found[0].count("\n"), text)


class Prose(Outside):
    """Cleans what others wrote, and counts in ``hidden`` what it took out."""

    def text(self, text: str) -> str:
        """Cleaned, with its lines."""
        return masked(super().text(text))

    def prose(self, text: Any) -> str:
        """Markdown without what its readers do not see. Our own mark goes uncounted."""
        return self.piece(text).strip()

    def piece(self, text: Any) -> str:
        """Prose with the blanks at its ends."""
        shown = _MARK.sub("", self.text(str(text or "")[:LONGEST]))
        for _ in range(3):  # what was taken out may have hidden more
            kept = _HIDDEN.sub("", shown)
            self.hidden += len(shown) - len(kept)
            if kept == shown:
                break
            shown = kept
        shown, unseen = without_unseen(_BAD_LINK.sub(lambda found: found[1], shown), raw_html=True)
        self.hidden += unseen
        return shown

    def title(self, text: Any) -> str:
        """A title on one line, short enough for a row."""
        return self.line(str(text or ""), 120)

    def whole_title(self, text: Any) -> str:
        """A title as a detail has it: all of the 256 characters that GitHub takes."""
        return self.line(str(text or ""), 1_100)

    def short(self, text: Any, limit: int = 160) -> str:
        """Prose on one line."""
        return self.line(self.prose(text), limit)


FORM: Final = Form(
    outside=Prose,
    show=Prose.piece,
    uncut=(_HIDDEN, *UNCUT, RAW, _BAD_LINK),
    mask=masked,
    secret=(_SECRET,),
    own=_MARK,
)
"""How prose is shown, read on and edited."""


def code(text: str) -> tuple[str, int]:
    """Code as it is, with every character that nobody can see written out; and how many there were.

    What looks like a secret is masked, as in all that a model is shown.
    """
    text = masked(text)
    if text.isascii() and text.isprintable():
        return text, 0
    return written_out(text.replace("\r\n", "\n"))


def written_out(text: str) -> tuple[str, int]:
    """The text with every character that nobody can see written out; and how many there were."""
    return replaced(text, lambda character: f"\\u{{{ord(character):04X}}}")


WORDS: Final = Form(outside=Prose, show=Prose.text, mask=masked, secret=(_SECRET,))
"""How a text that is no Markdown is shown and read on: a commit's message, what a check says."""
CODE: Final = Form(outside=Prose, show=lambda _, text: code(text)[0], mask=masked, secret=(_SECRET,))
"""How a file's text is shown, read on and edited."""


def plain_log(text: str) -> str:
    """A log without colours and other controls."""
    text = re.sub(r"\x1b\[[0-9;?]{0,20}[ -/]?[@-~]|\x1b\][^\x07\n]{0,500}(?:\x07|\x1b\\)", "", text)
    return masked(clean(text)[0])


def body_of(outside: Prose, row: Mapping[str, Any], more: Continuation, limit: int = BODY) -> dict[str, Any]:
    """The body of a detail, and how it goes on. ``more``: the call that reads it."""
    return part(FORM, outside, row.get("body"), limit, name="body", more=more)


def body_alone(row: Mapping[str, Any], offset: int, more: Continuation, *, raw: bool) -> dict[str, Any]:
    """A part of a body, read by itself."""
    outside = Prose()
    more = Continuation(more.tool, **more.arguments, raw=True) if raw else more
    told = part(FORM, outside, row.get("body"), PART, offset, raw=raw, name="body", more=more)
    outside.mark(told)
    return told


def in_full(
    shown: dict[str, Any], row: Mapping[str, Any], offset: int, more: Continuation, *, raw: bool
) -> dict[str, Any]:
    """A row with a part of its body read by itself in place of the body's beginning."""
    kept = {name: value for name, value in shown.items() if name not in ("cut", "more")}
    return kept | body_alone(row, offset, more, raw=raw)


def body_row(outside: Prose, text: Any, limit: int, more: Continuation) -> dict[str, Any]:
    """The beginning of a body in a row, and where there is more of it, how to read on."""
    return shortened(FORM, outside, text, limit, more=more)


# ----------------------------------------------------------------- what we write


def checked_edit(edit: Edit, body: str | None) -> None:
    """Raises `InvalidInput` for an edit without words."""
    if not body and (edit.append or (edit.replaces is not None and body is None)):
        raise InvalidInput("body: needed with append or replaces.", hint="Give body with append or replaces.")


def new_body(row: Mapping[str, Any], body: str, edit: Edit, key: ActKey, limit: int = BODY) -> dict[str, str]:
    """The body to write, if any: what carries the mark of this act has been appended to already."""
    old = str(row.get("body") or "")
    if edit.append and mark(key) in old:
        return {}
    whole = edit.of(FORM, "body", old, f"{body}\n\n{mark(key)}" if edit.append else body, limit)
    if len(whole) > LONGEST_BODY:
        raise InvalidInput(f"body: would have {len(whole)} characters, and at most {LONGEST_BODY} fit.")
    return {"body": whole}


def _no_secret(text: str) -> str:
    if _SECRET.search(text):
        raise ValueError("holds what looks like a secret; leave it out")
    return text


def _outgoing(text: str) -> str:
    if len(_no_secret(text)) > LONGEST_BODY:
        raise ValueError(f"at most {LONGEST_BODY} characters")
    return text.replace("\x00", "")


Body = Annotated[str, AfterValidator(_outgoing)]
Content = Annotated[str, AfterValidator(_no_secret)]


def _one_line(text: str) -> str:
    text = " ".join(_outgoing(text).split())
    if not text or len(text) > 256:
        raise ValueError("1 to 256 characters")
    return text


Title = Annotated[str, AfterValidator(_one_line)]


def mark(key: ActKey) -> str:
    """What makes a text of ours findable. GitHub shows no comments."""
    return f"<!-- deputize:{key.hex[:16]} -->"


def marked(body: str | None, key: ActKey) -> str:
    """A text of ours with its mark as the last line."""
    return f"{body}\n\n{mark(key)}" if body else mark(key)


def is_marked(row: Mapping[str, Any], key: ActKey, account: Account) -> bool:
    """Whether a text carries the mark of this act and is the account's own: anybody may copy or guess a mark."""
    return mark(key) in str(row.get("body") or "") and is_own(row, account)


def is_own(row: Mapping[str, Any], account: Account) -> bool:
    """Whether the account wrote it. GraphQL names people by their login alone, which no two have at a time."""
    who = row.get("user") or row.get("author") or {}
    return str(who["id"]) == account.subject if "id" in who else _same(who.get("login"), account.name)


def _same(login: Any, name: str) -> bool:
    return bool(login) and str(login).lower() == name.lower()
