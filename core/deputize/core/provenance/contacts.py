"""The record of the people whom a user knows, because the user wrote to them, saved their addresses, or approved an act
that reached them.

Each user has one encrypted record, stored for `CONTACTS_TTL` after it last grew or was renewed. It contains keyed
digests of addresses and no address, so it only tells if a given address is in it. It contains at most `MAX_CONTACTS`
digests. If there are more, the oldest are dropped, and these people count as unknown again.

Two sources extend it: what a toolkit finds in a response of the provider (`Toolkit.contacts_in`), such as the
recipients of a sent mail, and the people in the preview of an act that the user approved and that was done. The content
of a mail, the result of a foreign server and the arguments of a call do not extend it.
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.core.errors import StoreUnavailable
from deputize.core.providers.google import MAILBOX_DOMAINS
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience
from deputize.core.vault.grant import Account, User
from deputize.core.vault.stores import RecordRead

MAX_CONTACTS: Final = 20_000
"""Digests of one user."""
CONTACTS_TTL: Final = 365 * 86_400.0
"""Seconds for which a user's record is stored after it was last written."""
MAX_CACHED_USERS: Final = 128
"""Users whose record this process caches."""
CACHE_TTL: Final = 60.0
"""Seconds of that cache."""
MAX_LEARNT: Final = 500
"""Addresses that one act may add."""

_BYTES: Final = 8
_ADDRESS: Final = re.compile(r"[^\s@<>(),;:\\\"\[\]]{1,64}@[^\s@<>(),;:\\\"\[\]]{1,253}")

log = logging.getLogger("deputize.core.acts")


def canonical_address(text: str) -> str:
    """Return the mailbox of an address, or "" for any other text.

    Two addresses are equal only if a provider documents that they are one mailbox: letter case of ASCII letters, and
    the dots and the tag of a Gmail address. A tag at another host, a subdomain and a look-alike are another mailbox,
    because somebody else may own it.
    """
    text = text.strip()
    if not _ADDRESS.fullmatch(text):
        return ""
    local, _, host = text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass").partition("@")
    host = host.removesuffix(".")
    if host in MAILBOX_DOMAINS:
        local, host = local.partition("+")[0].replace(".", ""), MAILBOX_DOMAINS[0]
    return f"{local}@{host}" if local and host else ""


class KnownContacts:
    """The people whom the users of one vault know."""

    def __init__(self, services: Services) -> None:
        self.vault, self.clock = services.vault, services.clock
        self._seen: dict[str, tuple[float, bytes]] = {}

    async def unknown(self, act: Act, account: Account) -> tuple[str, ...] | None:
        """Return the addresses that the act reaches and the user's record does not contain, without the account's own.

        Returns () if nobody but the user sees the act, and None if nobody can know, because a service account acts,
        whose mail is not the user's. An id that is not an address, such as a Slack user's, is never returned.
        """
        show = act.show
        if show is None or show.audience is Audience.SELF:
            return ()
        own = canonical_address(account.name)
        others = [one for one in show.people if canonical_address(one) != own]
        reached = {one: digest for one in others if (digest := self._digest(act.user, one))}
        if not reached:
            return ()
        if act.organisation:
            return None
        place, now = self.vault.key_prefix(act.user), self.clock()
        until, kept = self._seen.get(place, (0.0, b""))
        if now < until and all(_is_in(kept, digest) for digest in reached.values()):
            return ()
        record = await self.vault.get("contacts", place)
        kept = _unpack(record.json) if record and record.json["expires"] > now else b""
        self._remember(place, now, kept)
        return tuple(one for one, digest in reached.items() if not _is_in(kept, digest))

    def reads(self, user: User) -> list[RecordRead]:
        """Return what `unknown` reads."""
        return [("get", "contacts", self.vault.key_prefix(user))]

    async def learn(self, user: User, addresses: Iterable[str]) -> None:
        """Add these addresses to the user's record. Writes nothing if it contains all. If the store fails, nothing is
        added, and no error is raised: these people stay unknown, so the user may be asked about them again."""
        wanted = dict.fromkeys(digest for one in addresses if (digest := self._digest(user, one)))
        digests = list(wanted)[:MAX_LEARNT]
        place, now = self.vault.key_prefix(user), self.clock()
        until, kept = self._seen.get(place, (0.0, b""))
        if not digests or (now < until and all(_is_in(kept, one) for one in digests)):
            return
        try:
            self._remember(place, now, await self._add(user, now, digests))
        except StoreUnavailable:
            log.warning("The people to whom a user wrote could not be recorded.")

    async def _add(self, user: User, now: float, digests: list[bytes]) -> bytes:
        """Add digests to the record and return all its digests. Repeats the write if another process wrote in
        between."""
        place = self.vault.key_prefix(user)
        while True:
            record = await self.vault.get("contacts", place)
            old: dict[str, Any] = record.json if record else {"expires": 0.0, "digests": ""}
            kept = _unpack(old) if old["expires"] > now else b""
            new = b"".join(one for one in digests if not _is_in(kept, one))
            if not new and old["expires"] - now > CONTACTS_TTL / 2:
                return kept
            kept = (kept + new)[-MAX_CONTACTS * _BYTES :]
            content = {**old, "expires": now + CONTACTS_TTL, "digests": base64.b64encode(kept).decode()}
            if record:
                done = await self.vault.swap(record, content)
            else:
                done = await self.vault.insert("contacts", place, content, await self.vault.data_keys.get(user.tenant))
            if done:
                return kept

    def _digest(self, user: User, address: str) -> bytes:
        """Return the keyed digest of an address for this user, or b"" if the text is not one."""
        if not (address := canonical_address(address)):
            return b""
        text = f"contact\n{self.vault.key_prefix(user)}\n{address}".encode(errors="surrogatepass")
        return hmac.digest(self.vault.keys.index, text, "sha256")[:_BYTES]

    def _remember(self, place: str, now: float, kept: bytes) -> None:
        self._seen.pop(place, None)
        self._seen[place] = now + CACHE_TTL, kept
        while len(self._seen) > MAX_CACHED_USERS:
            self._seen.pop(next(iter(self._seen)), None)

    def forget(self, user: User) -> None:
        """Clear the cache for an erased user."""
        self._seen.pop(self.vault.key_prefix(user), None)


def _unpack(content: Mapping[str, Any]) -> bytes:
    return base64.b64decode(content["digests"])


def _is_in(kept: bytes, digest: bytes) -> bool:
    """Return True if the record contains this digest. ``kept``: all digests without separators."""
    at = kept.find(digest)
    while at % _BYTES and at >= 0:
        at = kept.find(digest, at + 1)
    return at >= 0
