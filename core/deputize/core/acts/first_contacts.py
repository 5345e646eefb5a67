"""Search of the user's sent mail for the people whom an act reaches, before the user is asked about them.

Each toolkit that can read the user's sent mail searches it (`Toolkit.correspondents`). Such a search is a read like any
other: the policy decides about it, it is audited, it counts against the user's rate limit, and it uses a grant that the
user has already given. Only people who are not in `KnownContacts` are searched for, and only for an act that the policy
does not allow without an approval. A search that finds nobody is not repeated for `ABSENT_TTL`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.core.acts.people_search import Asker, PeopleSearch
from deputize.core.errors import DeputizeError
from deputize.core.provenance.contacts import KnownContacts, canonical_address
from deputize.core.tools.act import Act, Call
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.tool import Tool
from deputize.core.vault.grant import User

MAX_SEARCHED: Final = 10
"""Addresses of one act that are searched for."""
SEARCH_SECONDS: Final = 8.0
"""Seconds after which the user is asked without the result of the search."""
ABSENT_TTL: Final = 600.0
"""Seconds for which an address that was not found is not searched for again."""
MAX_ABSENT: Final = 4096
"""Addresses that were not found and that this process remembers."""


class FirstContactSearch:
    """Search for people in the sent mail of users."""

    def __init__(self, people: PeopleSearch, known: KnownContacts) -> None:
        self.people, self.known, self.clock = people, known, people.services.clock
        self._absent: dict[tuple[User, str], float] = {}

    async def find(self, act: Act) -> tuple[FirstContact, ...] | None:
        """Return the act's first contacts after a search for those that were not checked.

        Returns None if no account of the user can be searched, so that nobody knows. An address beyond the limit, and
        every address after a failed search, stays unchecked.
        """
        now, user = self.clock(), act.user
        unknown = [one.address for one in act.first_contacts]
        mailboxes = {one: canonical_address(one) for one in unknown}
        absent = {one for one in unknown if self._absent.get((user, mailboxes[one]), 0.0) > now}
        wanted = [one for one in unknown if one not in absent][:MAX_SEARCHED]
        if not wanted:
            return tuple(FirstContact(one, one in absent) for one in unknown)
        try:
            readers = await asyncio.to_thread(self.people.catalog.readers_of_sent_mail)  # may import toolkits
            async with asyncio.timeout(SEARCH_SECONDS):
                found = await self._search(act, readers, wanted)
        except (DeputizeError, TimeoutError):
            return tuple(FirstContact(one, one in absent) for one in unknown)
        if found is None:
            return None
        await self.known.learn(user, found)
        written = {canonical_address(one) for one in found}
        absent |= {one for one in wanted if mailboxes[one] not in written}
        self._remember(user, [mailboxes[one] for one in wanted if one in absent], now)
        return tuple(FirstContact(one, one in absent) for one in unknown if mailboxes[one] not in written)

    async def _search(self, act: Act, readers: Sequence[Tool], addresses: list[str]) -> set[str] | None:
        """Return the addresses to which the user has written, or None if no account could be searched. Raises the error
        of an account whose search failed."""
        asker = Asker(act.user, act.agent, Call(act.call.thread, act.call.message, run=act.call.run))
        reads = [
            self.people.read_account(tool, one, asker, {"addresses": addresses})
            for tool in readers
            for one in await self.people.list_readable(tool, asker)
        ]
        answers = await asyncio.gather(*reads, return_exceptions=True)
        found = set[str]()
        searched = False
        for answer in answers:
            if isinstance(answer, BaseException):
                if not isinstance(answer, self.people.REFUSED):
                    raise answer
                continue
            searched = True
            found |= _written_to(answer)
        return found if searched else None

    def _remember(self, user: User, mailboxes: list[str], now: float) -> None:
        for one in mailboxes:
            self._absent.pop((user, one), None)
            self._absent[user, one] = now + ABSENT_TTL
        while len(self._absent) > MAX_ABSENT:
            self._absent.pop(next(iter(self._absent)), None)

    def forget(self, user: User) -> None:
        """Clear the cache for an erased user."""
        self._absent = {key: until for key, until in self._absent.items() if key[0] != user}


def _written_to(result: Any) -> set[str]:
    listed = result.get("written_to") if isinstance(result, Mapping) else None
    return {one for one in listed if isinstance(one, str)} if isinstance(listed, list) else set()
