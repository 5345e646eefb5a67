"""Gmail: find and read mail, write and send it, organize the mailbox.

Importing a module declares its tools. Code that other toolkits use too (text, HTML, MIME, cursors, times) is in
`deputize.toolkits._shared`.

Untrusted content is cleaned, marked ``untrusted`` and only ever treated as text. Only drafts, labels and filters are
deleted permanently. Nothing is sent twice: see `deputize.toolkits.gmail.deliver`.
"""

from __future__ import annotations

from deputize.toolkits.gmail import (  # noqa: F401 - they declare the tools
    attachment,
    bulk_modify,
    changes,
    correspondents,
    drafts,
    filters,
    find,
    labels,
    read,
    send,
    settings,
    trusted_authors,
    unsubscribe,
    vacation,
)
from deputize.toolkits.gmail.base import GMAIL as TOOLKIT

__all__ = ["TOOLKIT"]
