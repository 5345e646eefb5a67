"""What a server has refused just now is not asked of it again at once by everybody who waits for the same.

A session that it does not take says nothing of the user's next one; that it limits requests, or is down, holds for all.
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
        """Raise what the last request came to, if it is too early for another one. ``session``: fingerprint of the
        session token, "" for none."""
        pause = self._backoff.pause(key)
        if pause is None:
            return
        if pause.outcome.kind is not Kind.REAUTH:
            raise pause.error()
        if self._sessions.get(key) == session:
            raise NotObtained(pause.outcome.detail or str(Kind.REAUTH), pause.outcome.claims)

    def failed(self, key: str, session: str, outcome: Outcome) -> None:
        """A request was refused."""
        if self._sessions.get(key, session) != session:
            self._backoff.succeeded(key)  # the next pause is a short one again
        self._sessions[key] = session
        self._backoff.failed(key, outcome)

    def succeeded(self, key: str) -> None:
        """A request has brought tokens."""
        self._sessions.pop(key, None)
        self._backoff.succeeded(key)
