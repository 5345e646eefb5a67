"""Google Drive: find and read files, share, rename, move and throw them away. Nothing is deleted for ever.

A file is untrusted unless only the user can have written it: see `deputize.toolkits.drive.rows.is_own`.
"""

from __future__ import annotations

from deputize.toolkits.drive import (  # noqa: F401 - they declare the tools
    changes,
    comments,
    create,
    read,
    search,
    sharing,
    trusted_authors,
    write_comment,
)
from deputize.toolkits.drive.base import DRIVE as TOOLKIT

__all__ = ["TOOLKIT"]
