"""From a permitted act to its outcome, once: claimed before the first byte of a write, recorded after the last."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from deputize.core.act.answers import MissingScope
from deputize.core.act.approval import Approvals
from deputize.core.act.ledger import Entry, Ledger, recordable
from deputize.core.act.policy import Act
from deputize.core.act.send import Sender
from deputize.core.act.toolkit import Effect
from deputize.core.audit import Audit
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown, StoreUnavailable
from deputize.core.oauth.refresh import GrantLost, Refresher
from deputize.core.vault.grant import Grant


@dataclass
class Performer:
    """Performs acts that were decided, with a token that is good now. Reads are not recorded, writes happen once."""

    ledger: Ledger
    approvals: Approvals
    sender: Sender
    refresher: Refresher
    audit: Audit

    async def done(self, act: Act) -> tuple[Any] | None:
        """The recorded result of this very act, in a tuple. Raises `OutcomeUnknown` after a run that was cut off."""
        return None if act.effect is Effect.READS else await self.ledger.outcome(act)

    async def perform(self, act: Act, grant: Grant, facts: dict[str, Any]) -> Any:
        """The act's result. ``facts`` go into its audit rows; what the provider left out is added to them.

        Raises what the tool or the provider let it come to, ``GrantLost`` and ``MissingScope`` included.
        """
        grant = await self.refresher.live(grant)
        if act.effect is Effect.READS:
            read = self._approved_read if act.approved else self.sender.perform
            return _plain(await read(act, grant, facts))
        async with self.ledger.once(act, grant.account.subject) as entry:
            if isinstance(entry, tuple):
                return entry[0]
            self.audit.write("act.intent", **facts, args_mac=self.audit.digest(act.key.hex, repr(act.arguments)))
            if self.audit.mode == "strict":
                await self.audit.settle()
            return await self._write(act, grant, facts, entry)

    async def _approved_read(self, act: Act, grant: Grant, facts: dict[str, Any]) -> Any:
        """What the user has said yes to: the yes is for one read, too."""
        await self.approvals.take(act, grant.account)
        try:
            return await self.sender.perform(act, grant, facts)
        except (DeputizeError, GrantLost, MissingScope):
            await self.approvals.give_back(act, grant.account)
            raise

    async def _write(self, act: Act, grant: Grant, facts: dict[str, Any], entry: Entry) -> Any:
        """Perform an act, and leave a row that tells every later run how it ended."""
        if act.approved:
            await self.approvals.take(act, grant.account)
        try:
            result = await self.sender.perform(act, grant, facts, entry)
        except OutcomeUnknown:
            await self._leave(entry.unknown, act)
            raise
        except (DeputizeError, GrantLost, MissingScope):
            await self._leave(entry.release, act)  # refused before it did anything
            if act.approved:
                await self.approvals.give_back(act, grant.account)
            raise
        except BaseException:
            await self._leave(entry.unknown, act)  # cancelled in the middle
            raise
        try:
            result = recordable(result)
        except InvalidInput:
            await self._leave(entry.unknown, act)
            raise OutcomeUnknown(f"{act.tool.name} was done, but its result cannot be kept.") from None
        await self._leave(lambda: entry.done(result), act)
        return result

    async def _leave(self, write: Callable[[], Coroutine[Any, Any, None]], act: Act) -> None:
        """Write how an act ended. A store that cannot take it leaves the claim, which no later run repeats."""
        try:
            await write()
        except StoreUnavailable:
            self.audit.write("ledger.save_failed", tool=act.tool.name, user=act.user.id)


def _plain(result: Any) -> Any:
    """A reading tool's result: plain JSON at least at the top, so that every adapter can carry it."""
    if result is None or isinstance(result, dict | list | str | int | float):
        return result
    return recordable(result)
