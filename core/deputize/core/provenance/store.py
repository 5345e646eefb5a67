"""The record of untrusted values in each conversation: reads extend it, writes are checked against it.

Each user and conversation has one encrypted record, stored for a week after its last new value. It holds 500 values. If
more were read, the oldest are dropped, and from then on a value that is not in the record counts as untrusted. In a
call without a conversation, every value counts as untrusted. A value that the agent has used before becomes untrusted
as soon as untrusted content names it. Only the arguments of the reading call itself are exempt.

Each user has one more record, of the untrusted values that agents have written somewhere, such as in the user's own
draft or event. If another conversation reads one of these values there, the value is untrusted in that conversation
too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from deputize.core.provenance.extract import Believed, Said, find_untrusted_values, trusted_texts
from deputize.core.provenance.identifiers import (
    is_bare,
    is_link,
    named,
    owned_by,
    part_of,
    targets,
    targets_of,
    texts,
    whole,
)
from deputize.core.providers import PROVIDERS
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.continuation import References
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Effect
from deputize.core.tools.untrusted import Untrusted
from deputize.core.vault.grant import Account, User
from deputize.core.vault.record import Record
from deputize.core.vault.stores.protocol import RecordRead
from deputize.core.visible_text import visible

CONVERSATION_TTL: Final = 7 * 86_400.0
"""Seconds for which a conversation's values are stored after its last new value."""
CARRIED_TTL: Final = 90 * 86_400.0
"""Seconds for which the untrusted values in the writes of a user's agents are stored after the last new one."""
MAX_VALUES: Final = 500
"""Values of one conversation, and values in the writes of a user's agents."""
MAX_MESSAGES: Final = 20
"""Messages of the user in one conversation whose acts are remembered."""
MAX_ACTS_OF_MESSAGE: Final = 10
"""Acts that run without an approval because one message of the user names them."""
MAX_CACHED_CONVERSATIONS: Final = 128
"""Conversations whose values this process caches."""
CACHE_TTL: Final = 60.0
"""Seconds of that cache. A write of another process carries values on after this time."""

UNTOLD: Final = "the call names no conversation, so that nobody knows what was read in it"
FORGOTTEN: Final = "more was read in this conversation than is kept, so that nobody knows"
_NOUNS: Final = {
    "a mail": ("email", "emails", "thread", "changes", "drafts"),
    "a message": ("message", "messages"),
    "an issue": ("issue", "issues"),
    "a pull request": ("pull", "pulls"),
    "a comment": ("comment", "comments"),
    "an event": ("event", "events"),
    "a record": ("record", "records"),
    "a document": ("document", "documents"),
    "a file": ("file", "files"),
}
_NOUN_OF: Final = {word: noun for noun, words in _NOUNS.items() for word in words}


_NO_VALUES: Final[Mapping[str, Any]] = {"reads": [], "values": {}}
_SIGN: Final = re.compile(r"[@.#/+]|[0-9]{8}")
_Sources: TypeAlias = dict[str, tuple[list[Any], bool]]
"""Values with their source, and True if the value only occurs as the author. A source has the tool, the author, the
time, and for a page its URL."""
MAX_PAGE_CHARACTERS: Final = 120
"""Characters of the URL of a page that are stored."""


class UntrustedRecord:
    """The untrusted values of all conversations in one vault."""

    def __init__(self, services: Services) -> None:
        self.vault, self.clock, self.kept = services.vault, services.clock, services.outcome_retention
        self._references = References(services.vault.keys.index)
        self._seen: dict[str, tuple[float, dict[str, bool]]] = {}
        self._carried: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._marked: dict[str, Mapping[str, Any]] = {}

    async def learn(self, act: Act, account: Account, result: Any) -> None:
        """Store the untrusted values of a result. Writes nothing if all are stored already.

        Raises `StoreUnavailable`: a result whose values cannot be stored must not reach a model.
        """
        if not act.call.thread:
            return
        tool, row = act.tool, PROVIDERS.get(act.tool.provider)
        hosts = row.apis.shared_hosts if row else frozenset[str]()
        believed = Believed(tool.facts, tool.writers, lambda text: self._references.is_sealed(act.user, text), hosts)
        read = find_untrusted_values(result, act.arguments, believed)
        foreign = act.tool.model is None  # a foreign server may have invented the user's names
        own = set[str]() if foreign or not read else _names_of(account)
        at, page = self.clock(), _page(act) if read else []
        said = {
            value: ([act.tool.name, one.by[:100], at, *page], one.wrote) for value, one in _by_owner(read, own).items()
        }
        if act.effect is Effect.READS:
            said = await self._carried_values(act, result) | said
        if not said:
            return
        place, now = self._place(act), self.clock()
        until, seen = self._seen.get(place, (0.0, {}))
        if now < until and all(value in seen and seen[value] <= wrote for value, (_, wrote) in said.items()):
            return
        content = await self._add(act.user, place, said, CONVERSATION_TTL)
        self._seen.pop(place, None)
        self._seen[place] = now + CACHE_TTL, {value: wrote for value, (_, wrote) in content["values"].items()}
        _limit(self._seen)

    async def carry(self, act: Act) -> None:
        """Store the untrusted values that the act is about to write, for the user's other conversations.

        Raises `StoreUnavailable`, so that no act writes a value whose source was not stored.
        """
        if not act.call.thread:
            return
        content = self._marked.pop(self._place(act), None) or await self._load(act)
        if content is None or not content["values"]:
            return
        shown = list(act.show.fields.values()) if act.show else []
        written = [*texts(act.arguments, ours=False), *texts(shown)]
        values, reads = content["values"], content["reads"]
        found = {one for text in dict.fromkeys(written) for one in (*named(text), *whole(text))}
        known = {near: values[near] for one in found for near in (one, *part_of(one)) if near in values}
        if said := {value: (reads[index], False) for value, (index, wrote) in known.items() if not wrote}:
            place = self._carried_place(act.user)
            self._carried[place] = self.clock() + CACHE_TTL, await self._add(act.user, place, said, CARRIED_TTL)

    async def _carried_values(self, act: Act, result: Any) -> _Sources:
        """Return the untrusted values in trusted parts of a result. An agent took them from untrusted content and wrote
        them there."""
        place, now = self._carried_place(act.user), self.clock()
        until, content = self._carried.pop(place, (0.0, _NO_VALUES))
        if now >= until:
            record = await self.vault.get("outside", place)
            until, content = now + CACHE_TTL, record.json if record else _NO_VALUES
        self._carried[place] = until, content
        _limit(self._carried)
        values, reads = content["values"], content["reads"]
        if not values:
            return {}
        given = {one for text in texts(act.arguments, ours=False) for one in (*named(text), *whole(text))}
        found = named("\n".join(trusted_texts(result))) - given
        near = {close for one in found for close in (one, *part_of(one))}
        return {value: (reads[values[value][0]], False) for value in near & values.keys()}

    async def _add(self, user: User, place: str, said: _Sources, ttl: float) -> Mapping[str, Any]:
        """Add values to a record of the user, and return its content."""
        now = self.clock()
        while True:
            record = await self.vault.get("outside", place)
            old = record.json if record else _NO_VALUES
            content = _with(old, said, now, ttl)
            if content is None or await self._save(user, place, record, content):
                return content or old

    async def _save(self, user: User, place: str, old: Record | None, content: dict[str, Any]) -> Record | None:
        if old:
            return await self.vault.swap(old, content)
        return await self.vault.insert("outside", place, content, await self.vault.data_keys.get(user.tenant))

    def forget(self, user: User) -> None:
        """Clear the cache for an erased user."""
        mine = self.vault.key_prefix(user)
        self._seen = {place: seen for place, seen in self._seen.items() if not place.startswith(mine)}
        self._marked = {place: content for place, content in self._marked.items() if not place.startswith(mine)}
        self._carried.pop(self._carried_place(user), None)

    async def mark_untrusted(self, act: Act) -> Act:
        """Return the act with its untrusted targets, found in its `Preview` or, without one, in its arguments.

        For a read, these are the identifiers with a sign in its arguments, except pages of the provider itself.
        """
        if act.effect is Effect.READS:
            return await self._mark_read(act)
        if not act.call.thread:
            return act.having(outside=tuple(Untrusted(words, UNTOLD, "untold") for words in _all_targets(act)))
        content = await self._load(act)
        self._marked[self._place(act)] = content or _NO_VALUES
        _limit(self._marked)
        if content is None:
            return act.having(outside=())
        found = targets(act.show) if act.show else targets_of(act.arguments)
        return act.having(outside=self._find_untrusted(act, found, content)) if found else act

    async def _load(self, act: Act) -> Mapping[str, Any] | None:
        record = await self.vault.get("outside", self._place(act))
        return record.json if record else None

    async def _mark_read(self, act: Act) -> Act:
        if not act.call.thread:
            return act
        row = PROVIDERS.get(act.tool.provider)
        hosts = row.apis.shared_hosts if row else frozenset[str]()
        given = [text for text in texts(act.arguments, ours=False) if _SIGN.search(text) and not is_link(text, hosts)]
        found = {one: words for one, words in targets_of({"": given}).items() if not is_bare(one, words, None)}
        content = await self._load(act) if found else None
        return act.having(outside=self._find_untrusted(act, found, content)) if content else act

    def _find_untrusted(self, act: Act, found: Mapping[str, str], content: Mapping[str, Any]) -> tuple[Untrusted, ...]:
        """Return the targets that the conversation's record contains. ``found``: all targets of the act."""
        values, now = content["values"], self.clock()
        told: dict[str, Untrusted] = {}
        for value, words in found.items():
            if known := next((values[one] for one in (value, *part_of(value)) if one in values), None):
                read = content["reads"][known[0]]
                name = _name_of(words, act.show, read[1]) if value == f"@{words.lower()}" else ""
                told.setdefault(words, _describe_source(words, read, now, name, wrote=known[1]))
            elif content.get("forgot") and not is_bare(value, words, act.show):
                told.setdefault(words, Untrusted(words, FORGOTTEN, "forgotten"))
        return tuple(told.values())

    async def may_use_message(self, act: Act) -> bool:
        """Return True if the user's message may allow this act: it has allowed no other act with this preview, and not
        too many acts."""
        content = await self._load(act)
        return content is None or _used_message(content, act, self.clock(), self.kept) is not None

    async def use_message(self, act: Act) -> bool:
        """Record that the user's message allows this act. Return False if it no longer may."""
        place = self._place(act)
        while True:
            record = await self.vault.get("outside", place)
            content = _used_message(record.json if record else _NO_VALUES, act, self.clock(), self.kept)
            if content is None or (record and content == record.json):
                return content is not None
            if await self._save(act.user, place, record, content):
                return True

    def reads(self, act: Act) -> list[RecordRead]:
        """Return what `mark_untrusted` reads."""
        return [("get", "outside", self._place(act))] if act.call.thread else []

    def _carried_place(self, user: User) -> str:
        """Return the key of the user's record of untrusted values in writes, apart from those of conversations."""
        return self.vault.key_prefix(user) + hmac.digest(self.vault.keys.index, b"carried", "sha256").hex()[:40]

    def _place(self, act: Act) -> str:
        """Return the record key of the user's conversation, hashed with a key of the vault."""
        thread = act.call.thread.encode(errors="surrogatepass")
        return (
            self.vault.key_prefix(act.user)
            + hmac.digest(self.vault.keys.index, b"outside" + thread, "sha256").hex()[:40]
        )


def _names_of(account: Account) -> set[str]:
    """Return the names of the user: addresses, ids, and their domain, which signatures of all colleagues contain."""
    return {
        *whole(account.name),
        *whole(account.subject),
        *named(account.subject),
        *named(account.name.partition("@")[2]),
    }


def _by_owner(said: Mapping[str, Said], own: set[str]) -> dict[str, Said]:
    """Return the values without the user's own names. A host of another owner is replaced by its registrable domain."""
    mine, found = {owned_by(one) for one in own}, dict[str, Said]()
    for value, one in said.items():
        if value not in own:
            owner = owned_by(value)
            value = value if owner in mine else owner
            if value not in found or found[value].wrote:
                found[value] = one
    return found


def _all_targets(act: Act) -> list[str]:
    """Return all targets in the act's own words, for a call without a conversation. The list is never empty."""
    show = act.show
    found = [*show.people, show.where] if show else list(targets_of(act.arguments).values())
    return list(dict.fromkeys(one for one in found if one)) or [show.what if show else act.tool.name]


def _page(act: Act) -> list[str]:
    """Return the first link in the arguments, which the call reads; [] if the tool's name says what it reads."""
    if act.tool.name.rpartition("_")[2] in _NOUN_OF:
        return []
    links = (text.strip() for text in texts(act.arguments, ours=False) if is_link(text))
    return [one[:MAX_PAGE_CHARACTERS] for one in links][:1]


def _limit(cache: dict[str, Any]) -> None:
    """Remove the oldest entries over `MAX_CACHED_CONVERSATIONS`."""
    while len(cache) > MAX_CACHED_CONVERSATIONS:
        cache.pop(next(iter(cache)), None)


def _with(old: Mapping[str, Any], said: _Sources, now: float, ttl: float) -> dict[str, Any] | None:
    """Return the record's content with these values, or None if all are stored and its expiry is far enough."""
    before: dict[str, list[Any]] = old["values"]
    new = {v: one for v, one in said.items() if v not in before or (before[v][1] and not one[1])}
    if not new and old.get("expires", 0.0) - now > ttl / 2:
        return None
    reads = list(old["reads"])
    values = {value: kept for value, kept in before.items() if value not in new}
    for value, (source, wrote) in new.items():
        if source not in reads[-20:]:
            reads.append(source)
        values[value] = [len(reads) - 1 - reads[::-1].index(source), wrote]
    kept = dict(list(values.items())[-MAX_VALUES:])
    used = sorted({index for index, _ in kept.values()})
    return {
        **old,
        "expires": now + ttl,
        "forgot": old.get("forgot", False) or len(values) > len(kept),
        "reads": [reads[index] for index in used],
        "values": {value: [used.index(index), wrote] for value, (index, wrote) in kept.items()},
    }


def _used_message(content: Mapping[str, Any], act: Act, now: float, kept: float) -> dict[str, Any] | None:
    """Return the record's content with this act among those of the user's message, the same content if it is there
    already, or None if the message may not allow it.

    A message allows an act with one preview once, so that no agent repeats what the user wanted once. ``kept``: seconds
    for which the ledger stores outcomes. After that, the same call is a second act. Old records have no time.
    """
    message, show = message_use(act)
    named: dict[str, dict[str, str]] = content.get("named", {})
    acts = named.get(message, {})
    if show in acts or len(acts) >= MAX_ACTS_OF_MESSAGE:
        key, _, at = acts.get(show, "").partition(" ")
        return dict(content) if key == act.key.hex and (not at or float(at) > now - kept) else None
    others = {one: uses for one, uses in named.items() if one != message}
    latest = dict([*others.items(), (message, {**acts, show: f"{act.key.hex} {int(now)}"})][-MAX_MESSAGES:])
    return {**content, "expires": max(content.get("expires", 0.0), now + CONVERSATION_TTL), "named": latest}


def message_use(act: Act) -> tuple[str, str]:
    """Return digests of the user's message and of the act's preview."""
    message = hashlib.sha256(act.call.user_message.encode(errors="surrogatepass")).hexdigest()
    return message[:32], act.show.digest[:32] if act.show else ""


def _name_of(id: str, show: Preview | None, by: str) -> str:
    """Return the name before an id: ``Bob (U0BOB00000)``. It is taken from the place, the lists of the preview, or the
    author of the content. Texts of the preview do not count, because the model wrote them."""
    lists = [value for value in show.fields.values() if isinstance(value, list)] if show else []
    shown = [show.where, *texts(lists)] if show else []
    names = re.compile(rf"([^()<>,;\n]{{1,60}}?)\s*[(<]{re.escape(id)}\b", re.IGNORECASE)
    found = next((one for one in map(names.search, (*shown, by)) if one), None)
    return found[1].strip() if found else ""


def _describe_source(words: str, read: list[Any], now: float, name: str, *, wrote: bool) -> Untrusted:
    tool, by, at, *page = read
    noun, when = _NOUN_OF.get(tool.rpartition("_")[2], "a text"), f"read {_format_time(at, now)} by {tool}"
    noun = f"the page {visible(page[0])}" if page else noun
    if wrote:
        called = f"{visible(name)}, " if name else ""
        return Untrusted(words, f"{called}who wrote {noun}, {when}", "wrote")
    called = f"{visible(name)}, named in " if name else ""
    return Untrusted(words, f"{called}{noun} of {visible(by)}, {when}" if by else f"{called}{noun}, {when}")


def _format_time(at: float, now: float) -> str:
    """Return a time for a person, in UTC because the zone is unknown, with the date unless it is today."""
    then, today = time.gmtime(at), time.gmtime(now)
    day = "today" if then[:3] == today[:3] else time.strftime("on %Y-%m-%d", then)
    return f"{day} at {time.strftime('%H:%M', then)} UTC"
