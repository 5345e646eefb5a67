"""Mistakes of whoever set up an application, in the log ``deputize``, each once in a process.

A model only reads that a tool failed, and a user that nothing happens: neither can mend it, and the operator would not
learn of it.
"""

from __future__ import annotations

import logging
from typing import Final

from deputize.core import DeputizeError, SettingsError, UserRequired

__all__ = ["MAYBE_CACHED", "MAYBE_CACHED_AROUND", "NO_CHECKPOINTER", "NO_USER"]
__all__ += ["NO_USER_IN_GRAPH", "warn_of", "warn_once"]

NO_USER: Final = (
    "A tool was called in a run that names no user, and was refused. Name who acts in code, where the tools are made: "
    "user=..., which is a user or a function of the run."
)
NO_USER_IN_GRAPH: Final = (
    "A tool was called in a run that names no user, and was refused. Run the graph with context=Context(user_id=...), "
    "or name who acts in code: user=... of the tools, the node or the middleware."
)
NO_CHECKPOINTER: Final = (
    "A graph has paused for its user, but it has no checkpointer: this pause can never be resumed. "
    "Compile the graph with one: compile(checkpointer=...)."
)
MAYBE_CACHED: Final = (
    "This release of LangGraph does not tell whether a node that acts is cached. "
    "See to it that none has a cache_policy: it would hand one user's answers to another."
)
MAYBE_CACHED_AROUND: Final = (
    "A graph that acts was called in a node with a thread of its own, so LangGraph does not tell whether that node is "
    "cached. See to it that it has no cache_policy: it would hand one user's answers to another."
)

log = logging.getLogger("deputize")
_logged: set[str] = set()


def warn_once(mistake: str) -> None:
    """Log a mistake, unless it was logged before."""
    if mistake not in _logged:
        _logged.add(mistake)
        log.warning(mistake)


def warn_of(error: DeputizeError, no_user: str = NO_USER) -> None:
    """Log what an operator did not set up, where that is why a call was refused. ``no_user``: of a run without one."""
    if isinstance(error, UserRequired):
        warn_once(f"A tool was called, and refused. {error} {error.hint}" if error.reason else no_user)
    elif isinstance(error, SettingsError):
        warn_once(f"A tool was called, and refused. {error.message} {error.hint}")
