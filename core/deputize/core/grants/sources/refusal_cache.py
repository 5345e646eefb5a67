"""Recent refusals of servers, so that concurrent callers do not repeat a refused request.

A refused session says nothing about the user's next session. A rate limit or an outage applies to all sessions.
"""

from __future__ import annotations

from collections.abc import Callable

from deputize.core.failures import Kind, Outcome
from deputize.core.grants.backoff import Backoff
from deputize.core.grants.sources.session import NotObtained


class RefusedRequests:
    """The last refusal of each user's request for an app's tokens, in this process. ``clock`` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._backoff, self._sessions = Backoff(clock), dict[str, str]()

    def check(self, key: str, session: str) -> None:
        """Raise the last refusal if it is too early. ``session``: fingerprint of the session token, "" for none."""
        pause = self._backoff.pause(key)
        if pause is None:
            return
        if pause.outcome.kind is not Kind.REAUTH:
            raise pause.error()
        if self._sessions.get(key) == session:
            raise NotObtained(pause.outcome.detail or str(Kind.REAUTH), pause.outcome.claims)

    def record_refusal(self, key: str, session: str, outcome: Outcome) -> None:
        """Record a refusal."""
        if self._sessions.get(key, session) != session:
            self._backoff.reset(key)  # so that the next pause is short again
        self._sessions[key] = session
        self._backoff.record_failure(key, outcome)

    def reset(self, key: str) -> None:
        """Forget the refusals, because a request brought tokens."""
        self._sessions.pop(key, None)
        self._backoff.reset(key)
