"""The record of untrusted values in each conversation: reads extend it, writes are checked against it.

Each user and conversation has one encrypted record, stored for a week after its last new value. It holds 500 values. If
more were read, the oldest are dropped, and from then on a value that is not in the record counts as untrusted. In a
call without a conversation, every value counts as untrusted. A value that the agent has used before becomes untrusted
as soon as untrusted content names it. Only the arguments of the reading call itself are exempt.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any, Final

from deputize.core.engine import Engine
from deputize.core.provenance.extract import Believed, Said, find_untrusted_values
from deputize.core.provenance.identifiers import is_bare, named, part_of, targets, targets_of, whole
from deputize.core.providers import PROVIDERS
from deputize.core.text import visible
from deputize.core.tools.act import Act
from deputize.core.tools.continuation import References
from deputize.core.tools.untrusted import Untrusted
from deputize.core.vault.grant import Account, User
from deputize.core.vault.stores.protocol import RecordRead

CONVERSATION_TTL: Final = 7 * 86_400.0
"""Seconds for which a conversation's values are stored after its last new value."""
MAX_VALUES: Final = 500
"""Values of one conversation."""
MAX_CACHED_CONVERSATIONS: Final = 128
"""Conversations whose values this process caches."""
CACHE_TTL: Final = 60.0
"""Seconds of that cache."""

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


class UntrustedRecord:
    """The untrusted values of all conversations in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.vault, self.clock = engine.vault, engine.clock
        self._references = References(engine.vault.keys.index)
        self._seen: dict[str, tuple[float, dict[str, bool]]] = {}

    async def learn(self, act: Act, account: Account, result: Any) -> None:
        """Store the untrusted values of a result. Writes nothing if all are stored already.

        Raises `StoreUnavailable`: a result whose values cannot be stored must not reach a model.
        """
        if not act.call.thread:
            return
        tool, row = act.tool, PROVIDERS.get(act.tool.provider)
        hosts = row.apis.shared_hosts if row else frozenset[str]()
        believed = Believed(tool.facts, tool.writers, lambda text: self._references.is_sealed(act.user, text), hosts)
        said = find_untrusted_values(result, act.arguments, believed)
        foreign = act.tool.model is None  # a foreign server may have invented the user's names
        own = set[str]() if foreign or not said else _names_of(account)
        if not (said := {value: one for value, one in said.items() if value not in own}):
            return
        place, now = self._place(act), self.clock()
        until, seen = self._seen.get(place, (0.0, {}))
        if now < until and all(value in seen and seen[value] <= one.wrote for value, one in said.items()):
            return
        while True:
            record = await self.vault.get("outside", place)
            old = record.json if record else {"reads": [], "values": {}}
            content = _with(old, said, [act.tool.name, now], now)
            if content is None or await (
                self.vault.swap(record, content) if record else self.vault.insert("outside", place, content)
            ):
                break
        self._remember(place, now, content or old)

    def _remember(self, place: str, now: float, content: Mapping[str, Any]) -> None:
        self._seen.pop(place, None)
        self._seen[place] = now + CACHE_TTL, {value: wrote for value, (_, wrote) in content["values"].items()}
        while len(self._seen) > MAX_CACHED_CONVERSATIONS:
            self._seen.pop(next(iter(self._seen)), None)

    def forget(self, user: User) -> None:
        """Clear the cache for an erased user."""
        mine = self.vault.key_prefix(user)
        self._seen = {place: seen for place, seen in self._seen.items() if not place.startswith(mine)}

    async def mark_untrusted(self, act: Act) -> Act:
        """Return the act with its untrusted targets, found in its `Preview` or, without one, in its arguments."""
        if not act.call.thread:
            return act.having(outside=tuple(Untrusted(words, UNTOLD, "untold") for words in _all_targets(act)))
        record = await self.vault.get("outside", self._place(act))
        if record is None:
            return act.having(outside=())
        found = targets(act.show) if act.show else targets_of(act.arguments)
        return act.having(outside=self._find_untrusted(act, found, record.json)) if found else act

    def _find_untrusted(self, act: Act, found: Mapping[str, str], content: Mapping[str, Any]) -> tuple[Untrusted, ...]:
        """Return the targets that the conversation's record contains. ``found``: all targets of the act."""
        values, now = content["values"], self.clock()
        told: dict[str, Untrusted] = {}
        for value, words in found.items():
            if known := next((values[one] for one in (value, *part_of(value)) if one in values), None):
                told.setdefault(words, _describe_source(words, content["reads"][known[0]], now, wrote=known[1]))
            elif content.get("forgot") and not is_bare(value, words, act.show):
                told.setdefault(words, Untrusted(words, FORGOTTEN, "forgotten"))
        return tuple(told.values())

    def reads(self, act: Act) -> list[RecordRead]:
        """Return what `mark_untrusted` reads."""
        return [("get", "outside", self._place(act))] if act.call.thread else []

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


def _all_targets(act: Act) -> list[str]:
    """Return all targets in the act's own words, for a call without a conversation. The list is never empty."""
    show = act.show
    found = [*show.people, show.where] if show else list(targets_of(act.arguments).values())
    return list(dict.fromkeys(one for one in found if one)) or [show.what if show else act.tool.name]


def _with(old: Mapping[str, Any], said: Mapping[str, Said], read: list[Any], now: float) -> dict[str, Any] | None:
    """Return the record's content with these values, or None if all are stored and its expiry is far enough."""
    before: dict[str, list[Any]] = old["values"]
    new = {v: one for v, one in said.items() if v not in before or (before[v][1] and not one.wrote)}
    if not new and old.get("expires", 0.0) - now > CONVERSATION_TTL / 2:
        return None
    reads = list(old["reads"])
    values = {value: kept for value, kept in before.items() if value not in new}
    for value, one in new.items():
        source = [read[0], one.by[:100], read[1]]
        if source not in reads[-20:]:
            reads.append(source)
        values[value] = [len(reads) - 1 - reads[::-1].index(source), one.wrote]
    kept = dict(list(values.items())[-MAX_VALUES:])
    used = sorted({index for index, _ in kept.values()})
    return {
        "expires": now + CONVERSATION_TTL,
        "forgot": old.get("forgot", False) or len(values) > len(kept),
        "reads": [reads[index] for index in used],
        "values": {value: [used.index(index), wrote] for value, (index, wrote) in kept.items()},
    }


def _describe_source(words: str, read: list[Any], now: float, *, wrote: bool) -> Untrusted:
    tool, by, at = read
    noun, when = _NOUN_OF.get(tool.rpartition("_")[2], "a text"), f"read {_format_time(at, now)} by {tool}"
    if wrote:
        return Untrusted(words, f"who wrote {noun}, {when}", "wrote")
    return Untrusted(words, f"{noun} of {visible(by)}, {when}" if by else f"{noun}, {when}")


def _format_time(at: float, now: float) -> str:
    """Return a time for a person, in UTC because the zone is unknown, with the date unless it is today."""
    then, today = time.gmtime(at), time.gmtime(now)
    day = "today" if then[:3] == today[:3] else time.strftime("on %Y-%m-%d", then)
    return f"{day} at {time.strftime('%H:%M', then)} UTC"
