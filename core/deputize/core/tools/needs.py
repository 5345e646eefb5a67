"""Which scopes a call needs, and which of them to ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from deputize.core.value_object import Printed, frozen


@frozen
class Need(Printed):
    """The scopes any one of which an API method accepts. Consent asks for ``ask``, the narrowest that suffices.

    ``at``: what is needed instead at another provider that plays for the toolkit's, by its name. ``order``: what is
    accepted, in the order in which to ask for it where the narrower did not suffice.
    """

    accepts: frozenset[str]
    ask: str
    method: str = ""
    at: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    order: tuple[str, ...] = ()

    def nearest(self, scopes: Iterable[str]) -> list[str]:
        """Those of these scopes that are accepted, the narrowest first as far as is known."""
        places = {scope: at for at, scope in enumerate(self.order)}
        return sorted((one for one in scopes if one in self.accepts), key=lambda one: places.get(one, len(places)))

    def met_by(self, granted: frozenset[str]) -> bool:
        """Whether a granted scope suffices."""
        return not self.accepts.isdisjoint(granted)

    def of(self, provider: str) -> Need:
        """The need as this provider knows it."""
        scopes = self.at.get(provider)
        return Need(frozenset(scopes), scopes[0], self.method, order=scopes) if scopes else self


def any_of(ask: str, *broader: str, method: str = "", at: Mapping[str, tuple[str, ...]] | None = None) -> Need:
    """A need: ``ask`` is requested, any of ``broader`` satisfies too. ``method`` is the provider's API method.

    ``at``: the scopes to ask for and to accept at another provider that plays for the toolkit's.
    """
    return Need(frozenset((ask, *broader)), ask, method, at or {}, (ask, *broader))


def asks_of(needs: Iterable[Need], granted: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The narrowest scopes that would meet the needs which are not met yet."""
    asks = dict[str, None]()
    for need in needs:  # no generator: on the path of every act
        if not need.met_by(granted):
            asks[need.ask] = None
    return tuple(asks)


def wanted_of(needs: Iterable[Need], named: Sequence[str], granted: frozenset[str]) -> tuple[str, ...]:
    """What to ask for where the provider names scopes although all needs seem met.

    Of each need that the names are about: the narrowest, unless it was granted and did not suffice; then a named one.
    """
    found = []
    for need in needs:
        if about := need.nearest(named):
            found.append(next((one for one in (need.ask, *about) if one not in granted), need.ask))
    return tuple(dict.fromkeys(found))
