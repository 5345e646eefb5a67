"""Salesforce: texts that are stored as HTML: rich text fields, enhanced notes, emails.

They are displayed in words, as people see them. Writing the words back would lose the markup, so the digest that allows
a replacement comes only with the HTML (``raw``).
"""

from __future__ import annotations

import re
from typing import Any, Final

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import Form
from deputize.toolkits._shared.text import Outside

PLAIN: Final = Form(outside=Outside, show=Outside.text)
"""The form of a text that is stored as it is read."""

_HTML: Final = re.compile(
    r"\s*<(?:!doctype|html|head|body|p|div|span|br|hr|ul|ol|table|h[1-6]|b|i|u|s|strong|em|font|img|a|blockquote|pre)\b",
    re.IGNORECASE,
)


def is_html(text: str) -> bool:
    """True if a text is HTML. The output of a rich text editor begins with a tag, or has no tags."""
    return bool(_HTML.match(text))


def words(outside: Outside, text: str) -> str:
    """Return the words of HTML that a person sees."""
    page = read_html(text)
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return outside.text(page.text)


_RICH: Final = Form(outside=Outside, show=words)


def form_of(stored: Any) -> Form:
    """Return the form in which this text is displayed and edited."""
    return _RICH if isinstance(stored, str) and is_html(stored) else PLAIN
