"""Whether a model can know what it writes: every id, address and link must have been read, or said by the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

IDS: Final = frozenset(
    "account_or_opportunity answer_id attachments add_attachments canvas_id comment_id contact_or_lead conversation"
    " cursor document draft_id event_id expected_head expected_sha file_id filter_id gist_id head_sha if_text"
    " issue issues item_id job_id message_id message_ids milestone_id notification_ids number offset owner_id"
    " pull ref related reply_to repo review_id run_id scheduled_id series_id since target thread_id thread_ids"
    " thread_ts ts unmodified_since update_id".split()
)
"""Arguments that identify something."""
TOKENS: Final = re.compile(
    r"https?://[^\s)>\"]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\bfile_\w+|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"
    r"|\b[0-9a-f]{12,}\b|\b[A-Z]{2,5}-\d+\b|\b[CDGUFS]0[A-Z0-9]{8,}\b|\b\d{10}\.\d{6}\b|\b00[0-9A-Za-z]{13,16}\b"
)
"""What looks like an id, an address or a link."""


def unknown(arguments: Mapping[str, Any], read: str) -> list[str]:
    """Return what in the arguments of a call was never read or said, each with its argument's name."""
    known = read.casefold()
    return [f"{name}={value}" for name, value in _named(arguments) if not _stands(value.casefold(), known)]


def _named(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in arguments.items():
        for leaf in _leaves(value):
            text = str(leaf)
            if name in IDS and not isinstance(leaf, bool) and leaf not in (0, ""):
                yield from ((name, one.strip().lstrip("#@")) for one in text.split(","))
            else:
                yield from ((name, found.rstrip(".,;")) for found in TOKENS.findall(text))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None:
        yield value


def _stands(value: str, known: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", known) is not None
