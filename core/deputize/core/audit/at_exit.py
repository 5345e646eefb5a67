"""What becomes of the audits of a process when it ends, or forks."""

from __future__ import annotations

import atexit
import logging
import os
import sys
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


def close_with_child() -> None:
    """Close them where this process ends without atexit: a child that multiprocessing has forked. Before the portal is
    closed there, which takes the heads of chains to the vault; a row that comes later is written at once."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util and process and process.parent_process() is not None:
        util.Finalize(None, _close_all, exitpriority=1)


def _begin_again() -> None:
    for audit in list(living):
        audit.begin_again()


os.register_at_fork(after_in_child=_begin_again)
