"""A token that comes back with escaped characters is masked, and no cache keeps it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from deputize.core import Secret
from deputize.core.acts.scrub_response import scrub_token

TOKEN = "ya29.A+b/c=" + "x" * 40
ALL = "".join(f"\\u{ord(one):04x}" for one in TOKEN)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (f'{{"a": "{ALL}", "b": "1\\n2", "c": "{ALL}"}}', '{"a": "***", "b": "1\\n2", "c": "***"}'),
        (f'"\\"{ALL}\\""', '"\\"***\\""'),
        (f'"{ALL}{ALL}\\u0041"', '"******\\u0041"'),
        (f'"{ALL}, {quote(TOKEN, safe="").replace("%", chr(92) + "u0025")}"', '"***, ***"'),
        (json.dumps(json.dumps(f'"{ALL}"')), json.dumps(json.dumps('"***"'))),
        (f'"\\u00e9 {ALL[:-6]}"', f'"\\u00e9 {ALL[:-6]}"'),  # one character short
    ],
)
def test_scrub_token_keeps_the_surrounding_text(body: str, left: str) -> None:
    assert scrub_token(body.encode(), Secret(TOKEN)).decode() == left


def test_scrub_token_masks_tokens_with_backslashes() -> None:
    token = 'a\\b"c' + "y" * 20
    for body in (json.dumps(token), '"' + "".join(f"\\u{ord(one):04X}" for one in token) + '"'):
        assert scrub_token(b'"\\u0041" ' + body.encode(), Secret(token)) == b'"\\u0041" "***"'


def test_scrub_token_adds_no_pattern_to_the_re_cache() -> None:
    """`re` keeps hundreds of patterns for as long as the process runs."""
    cache: Any = vars(re)["_cache"]
    for token in (TOKEN, TOKEN[::-1]):
        known = set(cache)
        body = "".join(f"\\u{ord(one):04x}" for one in token).encode()
        assert scrub_token(body, Secret(token)) == b"***"
    assert set(cache) == known
