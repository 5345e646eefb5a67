r"""GitHub texts of other people, and texts that the tools write.

Prose is Markdown: text that GitHub would not display is removed and counted. Code and diffs stay unaltered: invisible
characters are displayed as ``\u{202E}`` and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from deputize.core import Account, ActKey, Continuation
from deputize.core.errors import InvalidInput
from deputize.core.visible_text import replaced
from deputize.toolkits._shared.long_text import PART, Edit, Form, part, shortened
from deputize.toolkits._shared.markdown_hidden import RAW, UNCUT, without_unseen
from deputize.toolkits._shared.text import Outside, clean

LONGEST_BODY: Final = 65_536  # characters of a body that GitHub takes
BODY: Final = 1_400  # bytes of a body in a detail
LONGEST: Final = 200_000  # characters of prose that are read: GitHub allows 65536 in a body
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


def mask_secrets(text: str) -> str:
    """Mask tokens and private keys, which logs, diffs and files may contain. Lines stay lines."""
    return _SECRET.sub(lambda found: "[redacted]" + "\n" * found[0].count("\n"), text)


class Prose(Outside):
    """A cleaner of other people's texts. ``hidden``: number of removed characters."""

    def text(self, text: str) -> str:
        """Return a text cleaned, with its lines."""
        return mask_secrets(super().text(text))

    def prose(self, text: Any) -> str:
        """Return Markdown without its invisible parts. deputize's own mark is not counted."""
        return self.piece(text).strip()

    def piece(self, text: Any) -> str:
        """Return Markdown like `prose`, with the blanks at its ends."""
        shown = _MARK.sub("", self.text(str(text or "")[:LONGEST]))
        for _ in range(3):  # a removal may have uncovered more
            kept = _HIDDEN.sub("", shown)
            self.hidden += len(shown) - len(kept)
            if kept == shown:
                break
            shown = kept
        shown, unseen = without_unseen(_BAD_LINK.sub(lambda found: found[1], shown), raw_html=True)
        self.hidden += unseen
        return shown

    def title(self, text: Any) -> str:
        """Return a title on one line, short enough for a row."""
        return self.line(str(text or ""), 120)

    def whole_title(self, text: Any) -> str:
        """Return a whole title. GitHub allows 256 characters."""
        return self.line(str(text or ""), 1_100)

    def short(self, text: Any, limit: int = 160) -> str:
        """Return prose on one line."""
        return self.line(self.prose(text), limit)


FORM: Final = Form(
    outside=Prose,
    show=Prose.piece,
    uncut=(_HIDDEN, *UNCUT, RAW, _BAD_LINK),
    mask=mask_secrets,
    secret=(_SECRET,),
    own=_MARK,
)
"""How prose is shown, read on and edited."""


def code(text: str) -> tuple[str, int]:
    """Return code with its invisible characters written out, and their count.

    Secrets are masked, as in everything that a model reads.
    """
    text = mask_secrets(text)
    if text.isascii() and text.isprintable():
        return text, 0
    return write_out_hidden(text.replace("\r\n", "\n"))


def write_out_hidden(text: str) -> tuple[str, int]:
    """Return a text with its invisible characters written out, and their count."""
    return replaced(text, lambda character: f"\\u{{{ord(character):04X}}}")


WORDS: Final = Form(outside=Prose, show=Prose.text, mask=mask_secrets, secret=(_SECRET,))
"""The form of texts that are not Markdown: a commit's message, a check's output."""
CODE: Final = Form(outside=Prose, show=lambda _, text: code(text)[0], mask=mask_secrets, secret=(_SECRET,))
"""The form of a file's text."""


def plain_log(text: str) -> str:
    """Return a log without colours and other controls."""
    text = re.sub(r"\x1b\[[0-9;?]{0,20}[ -/]?[@-~]|\x1b\][^\x07\n]{0,500}(?:\x07|\x1b\\)", "", text)
    return mask_secrets(clean(text)[0])


def body_of(outside: Prose, row: Mapping[str, Any], more: Continuation, limit: int = BODY) -> dict[str, Any]:
    """Return the body of a detail, and its continuation. ``more``: the call that reads it."""
    return part(FORM, outside, row.get("body"), limit, name="body", more=more)


def body_alone(row: Mapping[str, Any], offset: int, more: Continuation, *, raw: bool) -> dict[str, Any]:
    """Return a part of a body by itself."""
    outside = Prose()
    more = Continuation(more.tool, **more.arguments, raw=True) if raw else more
    told = part(FORM, outside, row.get("body"), PART, offset, raw=raw, name="body", more=more)
    outside.mark(told)
    return told


def with_full_body(
    shown: dict[str, Any], row: Mapping[str, Any], offset: int, more: Continuation, *, raw: bool
) -> dict[str, Any]:
    """Return a row with a part of its body in place of the body's beginning."""
    kept = {name: value for name, value in shown.items() if name not in ("cut", "more")}
    return kept | body_alone(row, offset, more, raw=raw)


def body_row(outside: Prose, text: Any, limit: int, more: Continuation) -> dict[str, Any]:
    """Return the beginning of a body in a row, with the call that reads the rest."""
    return shortened(FORM, outside, text, limit, more=more)


# ----------------------------------------------------------------- texts to write


def check_edit(edit: Edit, body: str | None) -> None:
    """Raise `InvalidInput` for an edit without a body."""
    if not body and (edit.append or (edit.replaces is not None and body is None)):
        raise InvalidInput("body: needed with append or replaces.", hint="Give body with append or replaces.")


def new_body(row: Mapping[str, Any], body: str, edit: Edit, key: ActKey, limit: int = BODY) -> dict[str, str]:
    """Return the body to write, or {} if it has this act's mark, because an earlier run appended it."""
    old = str(row.get("body") or "")
    if edit.append and mark(key) in old:
        return {}
    whole = edit.of(FORM, "body", old, f"{body}\n\n{mark(key)}" if edit.append else body, limit)
    if len(whole) > LONGEST_BODY:
        raise InvalidInput(
            f"body: would have {len(whole)} characters, and at most {LONGEST_BODY} fit.",
            hint="Shorten it, or write two comments.",
        )
    return {"body": whole}


def _no_secret(text: str) -> str:
    if _SECRET.search(text):
        raise ValueError("holds what looks like a secret; leave it out")
    return text


def _check_body(text: str) -> str:
    if len(_no_secret(text)) > LONGEST_BODY:
        raise ValueError(f"at most {LONGEST_BODY} characters")
    return text.replace("\x00", "")


Body = Annotated[str, AfterValidator(_check_body)]
Content = Annotated[str, AfterValidator(_no_secret)]


def _one_line(text: str) -> str:
    text = " ".join(_check_body(text).split())
    if not text or len(text) > 256:
        raise ValueError("1 to 256 characters")
    return text


Title = Annotated[str, AfterValidator(_one_line)]


def mark(key: ActKey) -> str:
    """Return the mark by which a written text is found again. GitHub does not display comments."""
    return f"<!-- deputize:{key.hex[:16]} -->"


def add_mark(body: str | None, key: ActKey) -> str:
    """Return a text with its mark as the last line."""
    return f"{body}\n\n{mark(key)}" if body else mark(key)


def is_marked(row: Mapping[str, Any], key: ActKey, account: Account) -> bool:
    """Return whether a text has this act's mark and is the account's own, because anybody may copy a mark."""
    return mark(key) in str(row.get("body") or "") and is_own(row, account)


def is_own(row: Mapping[str, Any], account: Account) -> bool:
    """Return whether the account wrote a row. GraphQL only names people by login, which is unique at any time."""
    who = row.get("user") or row.get("author") or {}
    return str(who["id"]) == account.subject if "id" in who else _is_same_login(who.get("login"), account.name)


def _is_same_login(login: Any, name: str) -> bool:
    return bool(login) and str(login).lower() == name.lower()
