"""Parsing of a response: its body, the user's token in it, and the names, messages and reason of a refusal."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

from deputize.core.failures.outcome import TEXT, TOKEN_CALLS, Call
from deputize.core.failures.redaction import redact
from deputize.core.failures.retry import http_date
from deputize.core.failures.rules import RefusedAnswer, Rules
from deputize.core.visible_text import without_hidden

ERROR_BODY = 1 << 18  # bytes: a longer refusal is not parsed
MANY = 20  # errors read out of one answer
MAX_CLAIMS = 2048  # characters of a claims challenge: a browser has to carry it in an address
MAX_REASON_CHARACTERS: Final = 300
"""Maximum length of the message, in characters."""
MAX_FIELD_CHARACTERS: Final = 80
"""Maximum length of a field's name, in characters."""
MAX_REASON_FIELDS: Final = 5
"""Maximum number of fields, and of codes, of one refusal."""
_NAME = r"[A-Za-z][\w .:-]{0,79}"


_URL: Final = r"(?i)\b([a-z][a-z0-9+.-]{1,20}:/{2,})(?:[^\s/?#@\"'<>]*@)?([^\s?#\"'<>]*)([?#][^\s\"'<>]*)?"


def parse_body(call: Call, body: bytes) -> Any:
    """Return the body as JSON, or as a form at token endpoints, or else as bytes."""
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return form(body) if call in TOKEN_CALLS else body


def form(body: bytes) -> dict[str, str] | bytes:
    """Return the fields of a form (or query) if it contains an error or a token, else the bytes."""
    try:
        pairs = dict(parse_qsl(body[:ERROR_BODY].decode("utf-8", "replace"), max_num_fields=100))
    except ValueError:
        return body
    return pairs if "error" in pairs or "access_token" in pairs else body


def is_refused(rules: Rules, call: Call, data: Any) -> bool:
    """Return True if the body of a successful status is a refusal."""
    if not isinstance(data, dict):
        return False
    if rules.ok_field and data.get(rules.ok_field, True) in (False, "false"):
        return True
    if call in TOKEN_CALLS:
        return bool(data.get("error"))
    return rules.graphql and bool(data.get("errors")) and _is_graphql(data)


def _is_graphql(data: dict[str, Any]) -> bool:
    """Return True for a GraphQL body: it has data, or errors with more than messages, unlike some REST bodies."""
    return "data" in data or any(e.keys() & {"type", "extensions", "locations"} for e in as_objects(data["errors"]))


def token_reply(rules: Rules, data: Any) -> dict[str, Any] | None:
    """Return the part of a token reply with the user's own token, or None."""
    for root in rules.roots:
        part = data.get(root) if root and isinstance(data, dict) else data
        if isinstance(part, dict) and word(part, "access_token") and word(part, "token_type") not in rules.not_users:
            return part
    return None


def claims_in(data: Any) -> str:
    """Return the ``claims`` that the next authorization request must contain, unchanged, or "". "" also for claims that
    are not a JSON object or too long for a URL (OpenID Connect Core 5.5)."""
    claims = data.get("claims") if isinstance(data, dict) else None
    if not isinstance(claims, str) or len(claims) > MAX_CLAIMS or not claims.isprintable():
        return ""
    try:
        return claims if isinstance(json.loads(claims), dict) else ""
    except (ValueError, RecursionError):
        return ""


def look(
    rules: Rules, call: Call, status: int, headers: Mapping[str, str], data: Any, now: float | None
) -> RefusedAnswer:
    """Return the parsed refusal. ``now``: the time if it has no Date header."""
    lower = {name.lower(): value for name, value in headers.items()}
    if isinstance(data, bytes):
        text = data[:TEXT].decode("utf-8", "replace")
        names: Iterable[Any] = (text.strip(),)  # a body of one word is the error name
    else:
        text = "\n".join(m[:TEXT] for m in islice(_messages(data), MANY) if isinstance(m, str))
        names = islice(_names(rules, data), 4 * MANY)
    known = tuple(_valid_names(names))
    clock = http_date(lower.get("date", "")) or (time.time() if now is None else now)
    return RefusedAnswer(call, status, lower, data, known, text, clock)


def error_names(rules: Rules, data: Any) -> Iterator[str]:
    """Return the error names of a parsed body, the most specific first."""
    return _valid_names(islice(_names(rules, data), 4 * MANY))


def _valid_names(names: Iterable[Any]) -> Iterator[str]:
    return (name for name in names if isinstance(name, str) and re.fullmatch(_NAME, name))


def _names(rules: Rules, data: Any) -> Iterator[Any]:
    """Yield the error names of a body: from this provider's paths, then from the common ones."""
    for path in rules.error_names:
        yield from values_at(path, data)
    yield from values_at("error", data)
    for item in as_objects(as_object(data).get("errors")):
        more = as_object(item.get("extensions"))
        yield from (name for name, value in islice(more.items(), MANY) if value is True)
        yield from (more.get("code"), more.get("type"), item.get("type"), item.get("code"))


def values_at(path: str, data: Any) -> list[Any]:
    """Return the values at a path, with only the first few items of each list."""
    found = [data]
    for part in path.split("."):
        if name := part.removesuffix("[]"):
            found = [item.get(name) for item in found if isinstance(item, dict)]
        if part.endswith("[]"):
            found = [item for items in found if isinstance(items, list) for item in islice(items, MANY)]
    return found


def _messages(data: Any) -> Iterator[Any]:
    for item in as_objects(data) or [as_object(data)]:
        yield from (item.get("message"), item.get("error_description"), as_object(item.get("error")).get("message"))
        for error in as_objects(item.get("errors")):
            yield from (error.get("message"), as_object(error.get("extensions")).get("userPresentableMessage"))


def as_object(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the first few objects of a list."""
    return [item for item in islice(value, MANY) if isinstance(item, dict)] if isinstance(value, list) else []


def word(value: dict[str, Any], key: str) -> str:
    """Return the string under a key, or ""."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def provider_reason(rules: Rules, data: Any, without_token: Callable[[str], str]) -> dict[str, Any]:
    """Return the message, fields and codes of a refusal; empty if the body has none.

    ``data``: the parsed body. ``without_token``: removes the token that was sent. Anybody may have written any part of
    the body, so the result is marked as untrusted, and contains no line break, invisible character or secret.
    """
    if not isinstance(data, dict | list):
        return {}

    def clean(values: Iterable[Any], longest: int) -> list[str]:
        texts = (_clean(one, without_token, longest) for one in islice(values, 4 * MANY) if isinstance(one, str))
        return list(dict.fromkeys(filter(None, texts)))

    messages = clean((one for path in rules.reason for one in values_at(path, data)), MAX_REASON_CHARACTERS)
    fields = clean((one for path in rules.reason_fields for one in values_at(path, data)), MAX_FIELD_CHARACTERS)[
        :MAX_REASON_FIELDS
    ]
    codes = clean((name for name in error_names(rules, data) if name not in messages), MAX_FIELD_CHARACTERS)[
        :MAX_REASON_FIELDS
    ]
    row = {"message": _cut(" ".join(messages), MAX_REASON_CHARACTERS), "fields": fields, "codes": codes}
    found = {name: value for name, value in row.items() if value}
    return {"untrusted": True, **found} if found else {}


def _clean(text: str, without_token: Callable[[str], str], longest: int) -> str:
    """Return the text as one line without invisible characters, secrets and signed URL parameters."""
    if len(text) > TEXT:  # half a token is not recognized: drop the cut word
        text = text[:TEXT].rstrip().rpartition(" ")[0]
    text = redact(without_token(without_hidden(text)))
    text = re.sub(_URL, lambda url: url[1] + url[2], text)
    return _cut(" ".join(text.split()), longest)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
