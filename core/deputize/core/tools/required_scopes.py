"""The scopes that a call needs, and the selection of the scopes to request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from deputize.core.value_object import Printed, frozen


@frozen
class Need(Printed):
    """Alternative scopes of an API method: any one of them suffices. A consent requests ``ask``, the narrowest.

    ``at``: by provider name, the scopes to use if that provider replaces the toolkit's. ``order``: the accepted scopes
    in the order in which they are requested if a narrower one was not enough.
    """

    accepts: frozenset[str]
    ask: str
    method: str = ""
    at: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    order: tuple[str, ...] = ()

    def nearest(self, scopes: Iterable[str]) -> list[str]:
        """Return the accepted ones of these scopes, the narrowest first if the order is known."""
        places = {scope: at for at, scope in enumerate(self.order)}
        return sorted((one for one in scopes if one in self.accepts), key=lambda one: places.get(one, len(places)))

    def is_met_by(self, granted: frozenset[str]) -> bool:
        """Return True if a granted scope is accepted."""
        return not self.accepts.isdisjoint(granted)

    def of(self, provider: str) -> Need:
        """Return the need in the terms of this provider."""
        scopes = self.at.get(provider)
        return Need(frozenset(scopes), scopes[0], self.method, order=scopes) if scopes else self


def any_of(ask: str, *broader: str, method: str = "", at: Mapping[str, tuple[str, ...]] | None = None) -> Need:
    """Return a need that requests ``ask`` and also accepts ``broader``. ``method``: the provider's API method.

    ``at``: by provider name, the scopes to request and accept if that provider replaces the toolkit's.
    """
    return Need(frozenset((ask, *broader)), ask, method, at or {}, (ask, *broader))


def asks_of(needs: Iterable[Need], granted: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the narrowest scopes that would satisfy the needs that ``granted`` does not meet."""
    asks = dict[str, None]()
    for need in needs:  # a plain loop for speed: every act runs this
        if not need.is_met_by(granted):
            asks[need.ask] = None
    return tuple(asks)


def wanted_of(needs: Iterable[Need], named: Sequence[str], granted: frozenset[str]) -> tuple[str, ...]:
    """Return the scopes to request if the provider reports missing scopes although all needs seem met.

    ``named``: the reported scopes. For each need that accepts one of them, request the narrowest scope of the need. If
    that one is granted already, request a reported scope.
    """
    found = []
    for need in needs:
        if about := need.nearest(named):
            found.append(next((one for one in (need.ask, *about) if one not in granted), need.ask))
    return tuple(dict.fromkeys(found))
