"""What becomes of the audits of a process when it ends, or forks."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import TYPE_CHECKING, Final

from deputize.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from deputize.core.audit.writer import Audit

living: Final[weakref.WeakSet[Audit]] = weakref.WeakSet()
"""The audits there are."""
_log = logging.getLogger("deputize.core.audit")


@atexit.register
def _close_all() -> None:
    for audit in list(living):
        try:
            audit.close()
        except StoreUnavailable as error:
            _log.error("Audit rows are lost: %s", error)


def _begin_again() -> None:
    for audit in list(living):
        audit.begin_again()


os.register_at_fork(after_in_child=_begin_again)
