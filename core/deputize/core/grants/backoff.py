"""Retries after a failed token request: a second request at once, or a pause without requests for the same grant."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from deputize.core.errors import DeputizeError, InvalidInput, ProviderUnavailable, RateLimited
from deputize.core.failures import Kind, Outcome, outcome_of
from deputize.core.oauth.endpoint import LATE
from deputize.core.value_object import Printed, frozen

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 300.0
JITTER: Final = 1.2
"""The largest factor by which jitter makes a pause longer."""
SECOND_TRY_SECONDS: Final = 0.1
"""Seconds before a second try, without jitter."""
USERS_PER_OUTAGE: Final = 5
"""Users whose tokens an API refuses before it counts as an outage of the API."""
UNSENT: Final = "unsent"  # `outcome_without_answer`: the request cannot have left
UNANSWERED: Final = "once"  # `outcome_without_answer`: there was no answer, and it may be sent once more


def second_try_delay() -> float:
    """Return the seconds to wait before a second try."""
    return SECOND_TRY_SECONDS * random.uniform(1.0, 2.0)  # noqa: S311


@frozen
class Pause(Printed):
    """A time without token requests for a grant, until ``until`` (Unix seconds). ``length``: seconds without jitter."""

    until: float
    length: float
    outcome: Outcome

    def error(self) -> DeputizeError:
        """Return the error for callers during the pause."""
        if self.outcome.kind is Kind.INVALID_INPUT:
            hint = "Check the client id and secret of the app, and deputize doctor."
            return InvalidInput("The app's registration was refused.", hint=hint, fix_by="operator")
        if self.outcome.kind is Kind.RATE_LIMITED:
            return RateLimited("The provider limits token requests.", retry_after=self.length)
        return ProviderUnavailable("The provider could not refresh the grant now.")


class Backoff:
    """The pauses of all grants, by their keys in the vault. ``clock`` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._pauses = dict[str, Pause]()

    def __len__(self) -> int:
        return len(self._pauses)

    def pause(self, key: str) -> Pause | None:
        """Return the current pause of this grant, or None. A clock that was set back does not make a pause longer."""
        found = self._pauses.get(key)
        return found if found and 0 < found.until - self.clock() <= found.length * JITTER else None

    def allows_second_try(self, key: str, outcome: Outcome, *, urgent: bool) -> bool:
        """Return True if the same request may be sent once more at once. ``urgent``: the callers have no other token.

        True if the response was lost in transit. Also True after a server error or a request that was not sent, if it
        is ``urgent`` and the grant's previous request succeeded. Even if the first request has used up the token, some
        providers accept a second use within seconds, and waiting would not help. False if the provider asks for a
        pause. Also False if the provider may still process the first request, because a second request would look like
        a theft (RFC 9700 4.14.2).
        """
        if outcome.kind is not Kind.TRANSIENT or outcome.wait or outcome.detail == LATE:
            return False
        return outcome.detail == UNANSWERED or (urgent and key not in self._pauses)

    def record_failure(self, key: str, outcome: Outcome) -> Pause:
        """Start a pause. It lasts as long as the provider requests, or twice as long as the last pause, with jitter."""
        before = self._pauses.get(key)
        length = outcome.wait or min(2 * before.length if before else FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        until = self.clock() + length * random.uniform(1.0, JITTER)  # noqa: S311
        self._pauses[key] = Pause(until, length, outcome)
        return self._pauses[key]

    def reset(self, key: str) -> None:
        """Reset the pauses of this grant to the shortest."""
        self._pauses.pop(key, None)


class Circuits:
    """Circuit breakers of providers whose API refuses several users' tokens in a row, which means an outage. Until the
    API accepts a token, one token is refreshed at a time, as a probe, with growing pauses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._refused = dict[str, set[str]]()
        self._probes = Backoff(clock)

    def __bool__(self) -> bool:
        return bool(self._refused)

    def record_refusal(self, provider: str, key: str) -> bool:
        """Count a refusal for the grant with this key. Return True if it opens the provider's circuit."""
        refused = self._refused.setdefault(provider, set())
        before = len(refused)
        if before < USERS_PER_OUTAGE:
            refused.add(key)
        return before < len(refused) == USERS_PER_OUTAGE

    def admits_refresh(self, provider: str) -> bool:
        """Return True if a refused token of this provider may be refreshed now."""
        if len(self._refused.get(provider, ())) < USERS_PER_OUTAGE:
            return True
        if self._probes.pause(provider):
            return False
        self._probes.record_failure(provider, outcome_of(Kind.TRANSIENT))  # until the probe shows the contrary
        return True

    def close(self, provider: str) -> None:
        """Record that the API accepts a token, which closes the provider's circuit."""
        self._refused.pop(provider, None)
        self._probes.reset(provider)
