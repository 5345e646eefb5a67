"""A policy file in use: its rules, its budgets, and the reload when it changes.

The file is looked at once a second at most. If its new content is refused, the old rules stay in force, and the log and
the audit say so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final

from deputize.core.audit.events import PolicyLoaded, PolicyRefused
from deputize.core.configfile import check_folder, check_writers
from deputize.core.errors import SettingsError
from deputize.core.policy.budgets import Counters, Use
from deputize.core.policy.facts import Facts
from deputize.core.policy.policy import Decision, Room, StoredPolicy, Verdict, graver
from deputize.core.policy.rules import RuleSet, parse_rules
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act

RELOAD_SECONDS: Final = 1.0
MAX_FILE_BYTES: Final = 1_000_000
DEFAULT_FILE: Final = Path(__file__).parent / "default_policy.toml"
"""The default policy as a file: the same answers as `ask_before_sending`."""

log = logging.getLogger("deputize.core.acts")

Version = tuple[int, int, int, int]
ENDS: Final = ("# end", "// end")
"""The last line of a policy file, in TOML and in Cedar."""
GONE: Final = (0, 0, 0, 0)
"""The version of a file that does not exist."""


class FilePolicy(StoredPolicy):
    """The rules of one TOML file. ``rules``: those in force."""

    rules: RuleSet

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, time.time
        self._counters: Counters | None = None
        self._services: Services | None = None
        self._looked, self._checking = time.monotonic(), False
        self._refused: Version | None = None
        self._version, self.digest = self._load()

    def bind(self, services: Services) -> None:
        """Count budgets in the vault of these services, and report reloads in their audit."""
        self._services, self.clock = services, services.clock
        self._counters = Counters(services.vault, services.audit, services.clock, services.outcome_retention)

    @property
    def needs_account(self) -> bool:
        """True if a rule asks which account acts."""
        return self.rules.needs_account

    @property
    def needs_time(self) -> bool:
        """True if a rule or a budget asks what time it is."""
        return self.rules.needs_time

    # ------------------------------------------------------------- decisions

    def __call__(self, act: Act) -> Decision | Awaitable[Decision]:
        """Return the decision about an act."""
        if time.monotonic() - self._looked >= RELOAD_SECONDS and not self._checking:
            return self._decide_after_reload(act)
        return self._decide(act)

    def _decide(self, act: Act) -> Decision | Awaitable[Decision]:
        facts = Facts(act, self.clock)
        decision = self.rules.decide(facts)
        if not self.rules.budgets or decision.verdict is Verdict.DENY or facts.is_early:
            return decision
        counting = [one for one in self.rules.budgets if one.counts(facts)]
        return self._within_budgets(act, decision, self._uses(act, facts)) if counting else decision

    async def _decide_after_reload(self, act: Act) -> Decision:
        await self.reload()
        found = self._decide(act)
        return found if isinstance(found, Decision) else await found

    async def _within_budgets(self, act: Act, decision: Decision, uses: Sequence[Use]) -> Decision:
        for use in uses:
            if not await self._counted.has_room(use):
                decision = graver(decision, use.over)
        return decision

    def _uses(self, act: Act, facts: Facts) -> Sequence[Use]:
        return [self._counted.use_of(one, act) for one in self.rules.budgets if one.counts(facts)]

    @property
    def _counted(self) -> Counters:
        if self._counters is None:
            raise SettingsError("A policy with budgets needs a deputy, whose vault counts the acts.")
        return self._counters

    async def spend(self, act: Act) -> Sequence[Use] | None:
        """Count the act in its budgets. Return what was counted, or None if a budget has no room."""
        spent: list[Use] = []
        facts = Facts(act, self.clock)
        for use in self._uses(act, facts) if self.rules.budgets else ():
            approved = act.approved and act.decision is not None and act.decision.gravity >= use.over.gravity
            if not await self._counted.spend(use, act, beyond=approved and use.over.verdict is Verdict.ASK):
                await self.release(act, spent)
                return None
            spent.append(use)
        return spent

    async def rooms(self, act: Act) -> Sequence[Room]:
        """Return the room of each budget that counts this act."""
        return [await self._counted.room(use) for use in self._uses(act, Facts(act, self.clock))]

    async def release(self, act: Act, spent: Sequence[Use]) -> None:
        """Take an act back out of its budgets, because it did nothing."""
        for use in spent:
            await self._counted.release(use, act)

    # ------------------------------------------------------------- loading

    async def reload(self) -> None:
        """Load the file if it has changed. If it cannot be used, the old rules stay."""
        self._looked, self._checking = time.monotonic(), True
        try:
            event = await asyncio.to_thread(self._reload)
        finally:
            self._checking = False
        if event is not None and self._services is not None:
            await self._services.audit.record(event)

    def _reload(self) -> PolicyLoaded | PolicyRefused | None:
        now = GONE
        try:
            now = _version(self.path.stat())
            if now in (self._version, self._refused):
                self._refused = None if now == self._version else now
                return None
            self._version, self.digest = self._load()
        except (OSError, SettingsError) as e:
            if now == self._refused == GONE:
                return None
            self._refused = now
            why = f"{self.path.name}: {e.strerror}" if isinstance(e, OSError) else e.message
            log.error("The policy file cannot be used, so the old rules stay in force. %s", why)
            return PolicyRefused(self.path.name, why, self.digest)
        self._refused = None
        log.info("The policy file %s was loaded again.", self.path.name)
        return PolicyLoaded(self.path.name, self.digest)

    def _load(self) -> tuple[Version, str]:
        """Read and compile the file. Return its version and its digest."""
        text, version = read_policy(self.path)
        refuse_cut_file(text, self.path.name)
        self.rules = self.compile(text)
        return version, hashlib.sha256(text.encode()).hexdigest()[:16]

    def compile(self, text: str) -> RuleSet:
        """Return the rules of this text. Raises `SettingsError`."""
        return parse_rules(text, self.path.name)


def refuse_cut_file(text: str, name: str) -> None:
    """Raise `SettingsError` unless the last line says that the file ends there. A file that was cut between two rules,
    by a full disk or while an editor writes it, would be a valid file with fewer denials."""
    if text.rstrip().rpartition("\n")[2] not in ENDS:
        last = text.rstrip().count("\n") + 1
        raise SettingsError(
            f"{name} line {last}: the file does not end with # end.", hint="Write # end as its last line."
        )


def read_policy(path: Path) -> tuple[str, Version]:
    """Return the text of a policy file, and its version. Raises `SettingsError` if it cannot be read, or if another
    account may have written it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            check_writers(path, status, "policy file")
            check_folder(path.parent, "policy file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise SettingsError(f"The policy file {path.name} cannot be read: {e.strerror}.", hint=str(path)) from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"The policy file {path.name} is too large.", hint=f"Limit: {MAX_FILE_BYTES:,} bytes.")
    try:
        return content.decode(), _version(status)
    except UnicodeDecodeError:
        raise SettingsError(f"The policy file {path.name} is not UTF-8.", hint=str(path)) from None


def _version(status: os.stat_result) -> Version:
    """Return what differs after each change. A copy may keep the time and the size of the old file; no program sets
    ``ctime``, which also tells of a new mode or owner."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns
