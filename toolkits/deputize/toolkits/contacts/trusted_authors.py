"""``trusted_authors = own``: values of the user's own cards. ``domain``: also the organisation's directory.

Google names the source of each value (``metadata.source.type``). A CONTACT is the user's; DOMAIN_PROFILE and
DOMAIN_CONTACT are the organisation's. All other values are withheld: those of a PROFILE, which its owner writes and
Google also displays on the user's card, and of other contacts, whose names come from mail that they sent. Addresses and
numbers stay, because they identify the person. developers.google.com/people/api/rest/v1/people#source
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from deputize.core import Run
from deputize.core.tools.steps import Step
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.redact_results import blanked
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits.contacts.base import CONTACTS

OF_OTHERS: Final = "not from the user's own contacts"
NOT_OURS: Final = "not from the user's own contacts or the organisation's directory"
_OWN: Final = frozenset(("CONTACT",))
_OURS: Final = _OWN | {"DOMAIN_PROFILE", "DOMAIN_CONTACT"}
_LISTS: Final = ("people", "connections", "results")
_KEPT: Final = frozenset("etag id nextPageToken nextSyncToken objectType profileMetadata resourceName type".split())
"""Fields that Google sets."""
_ADDRESS: Final = re.compile(r"[\w.%+-]{1,64}@[\w.-]{1,190}")


class Cards:
    """The screen of one call. ``known``: the sources whose values are kept."""

    def __init__(self, known: frozenset[str], why: str, run: Run, withheld: Withheld) -> None:
        self.known, self.why, self.withheld = known, why, withheld

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without values of other sources."""
        if isinstance(step, list):
            return [self._screen(one) for one in answer]
        return self._screen(answer)
        yield step

    def _screen(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer
        if "person" in answer:
            return {**answer, "person": self._screen(answer["person"])}
        if any(name in answer for name in _LISTS):
            return {name: self._screen_people(name, value) for name, value in answer.items()}
        return {name: self._screen_values(name, value) for name, value in answer.items()}

    def _screen_people(self, name: str, value: Any) -> Any:
        return [self._screen(one) for one in value] if name in _LISTS else self._blank(name, value)

    def _screen_values(self, field: str, value: Any) -> Any:
        """Return a field of a person with values of other sources redacted."""
        if not isinstance(value, list):
            return self._blank(field, value)
        return [one if _source(one) in self.known else self._screen_value(field, one) for one in value]

    def _screen_value(self, field: str, value: Any) -> Any:
        bare = self._blank(field, value)
        address = str(value.get("value") or "") if isinstance(value, Mapping) else ""
        return {**bare, "value": address} if field == "emailAddresses" and _ADDRESS.fullmatch(address) else bare

    def _blank(self, name: str, value: Any) -> Any:
        if name in _KEPT or not value:
            return value
        if name == "metadata":
            return value
        return blanked(value, self.withheld.mark_for(self.why), _KEPT | {"metadata"})


def _source(value: Any) -> str:
    metadata = value.get("metadata") if isinstance(value, Mapping) else None
    return str(((metadata or {}).get("source") or {}).get("type") or "")


CONTACTS.screens["own"] = partial(Cards, _OWN, OF_OTHERS)
CONTACTS.screens["domain"] = partial(Cards, _OURS, NOT_OURS)
