"""Google Drive: find files, read them, see who can see them.

A file is untrusted unless only the user can have written it: see `deputize.toolkits.drive.rows.is_own`.
"""

from __future__ import annotations

from deputize.toolkits.drive import comments, read, search, trusted_authors  # noqa: F401 - they declare the tools
from deputize.toolkits.drive.base import DRIVE as TOOLKIT

__all__ = ["TOOLKIT"]
