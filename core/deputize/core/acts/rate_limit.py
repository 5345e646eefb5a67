"""Rate limits by user and provider, so that one user's agents do not use up the quota of all users.

A bucket holds the requests of one minute and refills evenly. It is stored as the time at which it is full again (GCRA,
ATM Forum TM 4.0, 4.4.2). Limits apply to this process only, and the provider's own limits apply as well. Requests to
addresses that untrusted content chose have a separate bucket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from deputize.core.errors import RateLimited, SettingsError
from deputize.core.vault.grant import User

DEFAULT_REQUESTS_PER_MINUTE: Final = 300
WINDOW_SECONDS: Final = 60.0
MAX_BUDGET_WAIT_SECONDS: Final = 2.0
MAX_BUCKETS: Final = 4096
STRANGERS: Final = ""

Whose = tuple[str, str, str]


class Budgets:
    """Rate limits of all users. ``per_minute``: requests, at least one; infinite for no limit. Thread-safe."""

    def __init__(
        self,
        per_minute: float = DEFAULT_REQUESTS_PER_MINUTE,
        clock: Callable[[], float] = time.time,
        full_at: dict[Whose, float] | None = None,
    ) -> None:
        if not per_minute >= 1:
            raise SettingsError("requests_per_minute must be at least 1.")
        self.per_minute, self.clock = per_minute, clock
        self._full_at = {} if full_at is None else full_at
        self._most, self._guard = MAX_BUCKETS, Lock()

    def take(self, user: User, provider: str, *, unavoidable: bool = False) -> float:
        """Take one request out of the user's bucket. Return the seconds to wait before it is sent, usually 0.

        ``unavoidable``: True if the request is sent in any case. Raises `RateLimited` if the wait exceeds
        `MAX_BUDGET_WAIT_SECONDS`.
        """
        whose, now, step = (user.tenant, user.id, provider), self.clock(), WINDOW_SECONDS / self.per_minute
        with self._guard:
            latest = now + WINDOW_SECONDS + MAX_BUDGET_WAIT_SECONDS  # a clock may be set back
            full_at = min(max(self._full_at.get(whose, now), now), latest)
            wait = full_at + step - WINDOW_SECONDS - now
            self._full_at[whose] = full_at
            if wait > MAX_BUDGET_WAIT_SECONDS and not unavoidable:
                raise RateLimited(
                    "This user's agents have sent too many requests.",
                    retry_after=wait,
                    hint="Send fewer requests. The operator can raise requests_per_minute.",
                )
            self._full_at[whose] = full_at + step
            if len(self._full_at) > self._most:
                self._forget_full(now)
        return max(wait, 0.0) if wait <= MAX_BUDGET_WAIT_SECONDS else 0.0

    def _forget_full(self, now: float) -> None:
        """Forget full buckets. The next cleanup follows when there are twice as many buckets as now."""
        self._full_at = {whose: at for whose, at in self._full_at.items() if at > now}
        self._most = max(MAX_BUCKETS, 2 * len(self._full_at))
