"""Gmail: find and read mail, write and send it, keep the mailbox tidy.

One module a subject; importing a module declares its tools. What is
not Gmail's alone (text, HTML, MIME, cursors, times) lies in `deputize.toolkits._shared`.

Every text that somebody else could have written is cleaned, marked ``untrusted`` and never more than text. Nothing
is deleted for good but drafts, labels and filters, and nothing is sent twice: see `deputize.toolkits.gmail.deliver`.
"""

from __future__ import annotations

from deputize.toolkits.gmail import (  # noqa: F401 - they declare the tools
    attachment,
    bulk_modify,
    changes,
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
