"""The provider's own reason for a refusal, cleaned, shortened and marked as untrusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from deputize.core.failures.outcome import TEXT
from deputize.core.failures.parse import MANY, error_names, values_at
from deputize.core.failures.patterns import compiled
from deputize.core.failures.redaction import redact
from deputize.core.failures.rules import Rules
from deputize.core.text import without_hidden

MESSAGE: Final = 300
"""Maximum length of the message, in characters."""
NAME: Final = 80
"""Maximum length of a field's name, in characters."""
NAMES: Final = 5
"""Maximum number of fields, and of codes, of one refusal."""
_URL: Final = r"(?i)\b([a-z][a-z0-9+.-]{1,20}:/{2,})(?:[^\s/?#@\"'<>]*@)?([^\s?#\"'<>]*)([?#][^\s\"'<>]*)?"


def provider_reason(rules: Rules, data: Any, without_token: Callable[[str], str]) -> dict[str, Any]:
    """Return the message, fields and codes of a refusal; empty if the body has none.

    ``data``: the parsed body. ``without_token``: removes the token that was sent. Anybody may have written any part of
    it, so the result has the mark of untrusted content, and no line break, invisible character or secret.
    """
    if not isinstance(data, dict | list):
        return {}

    def clean(values: Iterable[Any], longest: int) -> list[str]:
        texts = (_clean(one, without_token, longest) for one in islice(values, 4 * MANY) if isinstance(one, str))
        return list(dict.fromkeys(filter(None, texts)))

    messages = clean((one for path in rules.reason for one in values_at(path, data)), MESSAGE)
    fields = clean((one for path in rules.reason_fields for one in values_at(path, data)), NAME)[:NAMES]
    codes = clean((name for name in error_names(rules, data) if name not in messages), NAME)[:NAMES]
    row = {"message": _cut(" ".join(messages), MESSAGE), "fields": fields, "codes": codes}
    found = {name: value for name, value in row.items() if value}
    return {"untrusted": True, **found} if found else {}


def _clean(text: str, without_token: Callable[[str], str], longest: int) -> str:
    """Return the text as one line without invisible characters, secrets and signed URL parameters."""
    if len(text) > TEXT:  # half a token is not recognized: drop the cut word
        text = text[:TEXT].rstrip().rpartition(" ")[0]
    text = redact(without_token(without_hidden(text)))
    text = compiled(_URL).sub(lambda url: url[1] + url[2], text)
    return _cut(" ".join(text.split()), longest)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
