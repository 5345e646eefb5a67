"""Warnings about operator mistakes, in the log ``deputize``, each once per process.

The model only reads that a tool failed, and the user sees nothing: only the operator can fix the mistake.
"""

from __future__ import annotations

import logging
from typing import Final

from deputize.core import DeputizeError, SettingsError, UserRequired

__all__ = ["HIDDEN_RESUME", "MAYBE_CACHED", "MAYBE_CACHED_AROUND", "NO_CHECKPOINTER", "NO_USER"]
__all__ += ["NO_USER_IN_GRAPH", "NO_USER_IN_REQUEST", "warn_once", "warn_operator"]

NO_USER: Final = (
    "A tool call was refused because the run names no user. Pass user=... where the tools are created: a user, or a "
    "function of the run."
)
NO_USER_IN_GRAPH: Final = (
    "A tool call was refused because the run names no user. Run the graph with context=Context(user_id=...), or pass "
    "user=... to the tools, the node or the middleware."
)
NO_USER_IN_REQUEST: Final = (
    "A tool call was refused because the request names no user. The function that you pass to app(...) or "
    "sdk_server(...) of DeputyServer must return one."
)
NO_CHECKPOINTER: Final = (
    "A graph without a checkpointer has paused for its user: this pause can never be resumed. "
    "Compile the graph with compile(checkpointer=...)."
)
MAYBE_CACHED: Final = (
    "This release of LangGraph does not show whether a node that acts is cached. "
    "Give such nodes no cache_policy: a cache would return one user's results to another user."
)
MAYBE_CACHED_AROUND: Final = (
    "A graph that acts was called in a node with a thread of its own, so LangGraph does not show whether that node is "
    "cached. Give the node no cache_policy: a cache would return one user's results to another user."
)
HIDDEN_RESUME: Final = (
    "This release of LangGraph does not show whether a resume value is this run's own, so it answers no pause of "
    "deputize. Resume by interrupt id, Command(resume={interrupt.id: value}), or decide on deputize's page."
)

log = logging.getLogger("deputize")
_logged: set[str] = set()


def warn_once(mistake: str) -> None:
    """Log a mistake, unless it was logged before."""
    if mistake not in _logged:
        _logged.add(mistake)
        log.warning(mistake)


def warn_operator(error: DeputizeError, no_user: str = NO_USER, what: str = "A tool call was refused.") -> None:
    """Log why a call was refused, if the operator must fix it. ``no_user``: the text for a run without a user; empty if
    nobody made a mistake. ``what``: the first sentence."""
    if isinstance(error, UserRequired) and not error.reason:
        if no_user:
            warn_once(no_user)
    elif isinstance(error, UserRequired | SettingsError):
        warn_once(f"{what} {error.message} {error.hint}")
