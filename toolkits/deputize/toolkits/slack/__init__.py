"""Slack: read and search, send and schedule messages, channels and people, files and canvases, the user's status.

Each module covers one subject and declares its tools on import. Text of other people is cleaned, marked ``untrusted``
and never interpreted. Names are looked up, and only an exact match counts. Nothing is posted twice: see
`deputize.toolkits.slack.idempotent_post`.
"""

from __future__ import annotations

from deputize.toolkits.slack import (  # noqa: F401 - they declare the tools
    canvas,
    channel_members,
    channels,
    files,
    known_people,
    messages,
    own_messages,
    reactions_and_pins,
    read,
    search,
    send,
    status,
    trusted_authors,
    upload,
    users_tools,
)
from deputize.toolkits.slack.base import SLACK as TOOLKIT

__all__ = ["TOOLKIT"]
