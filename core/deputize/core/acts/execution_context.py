"""The state of one run of a tool, for the handlers of its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Any, TypeAlias

from deputize.core.acts.provider_requests import Exchange, fault_of
from deputize.core.errors import InvalidInput
from deputize.core.idempotency.ledger import Entry
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Effect
from deputize.core.tools.trusted_authors import Withheld
from deputize.core.vault.grant import Grant


class ExecutionContext:
    """A run in progress.

    ``entry``: the act's ledger entry; without it, only reads can be sent. ``zone``: the user's time zone, None for the
    machine's. ``guessed_zone``: True if an argument was read in a zone that is only a guess. ``waited``: seconds that
    the tool has waited. ``shown``: the preview that may now be carried out. ``ends``: True if the next error ends the
    run even if the tool catches it, because the tool broke a rule or its provider asks the user. ``people``: resolved
    people by the tool's query. ``withheld``: texts to remove from the result; None if all may be returned.
    """

    def __init__(self, exchange: Exchange, entry: Entry | None, zone: tzinfo | None, *, zone_known: bool) -> None:
        self.exchange, self.act, self.entry = exchange, exchange.act, entry
        self.zone, self.zone_known, self.guessed_zone = zone, zone_known, False
        self.waited = 0.0
        self.shown: Preview | None = None
        self.ends = False
        self.people: dict[str, str] = {}
        self.withheld: Withheld | None = None

    def take_over(self, act: Act, grant: Grant, entry: Entry | None) -> None:
        """Replace the act and the grant of the paused run, because both may have changed during the pause."""
        self.act = self.exchange.act = act
        self.exchange.use_grant(grant)
        self.entry = entry

    @property
    def began_to_write(self) -> bool:
        """True if this run may have changed something at the provider."""
        return bool(self.exchange.wrote or self.exchange.doubt)

    def fault(self, what: str) -> InvalidInput:
        """Return the error for a tool that breaks a rule. ``what``: the violation, as a clause that follows "it"."""
        return fault_of(self.act, what)

    def undeclared_show(self, what: str) -> InvalidInput:
        """Return the error for a tool that does something that requires ``shows=True``. ``what``: what the tool
        does."""
        kit = self.act.tool.toolkit
        hint = f'Write Toolkit("{kit}", ..., shows=True), or .tool(..., shows=True) for this tool alone.'
        return fault_of(self.act, f"{what}, but is not declared to show what it will do", hint)

    def check_show(self) -> None:
        """Raise `InvalidInput` unless the tool may yield a `Preview` now."""
        if self.act.effect is Effect.READS or self.shown is not None or self.began_to_write:
            raise self.fault("yields a Preview though this call only reads, a second one, or one after a write")
        if not self.act.shows:
            raise self.undeclared_show("yields a Preview")

    def check_change(self) -> None:
        """Raise `InvalidInput` if the tool writes, or stores something, such as a note, before its preview. A resumed
        run may do so, because an earlier run made the preview."""
        if self.act.shows and self.shown is None and not (self.entry and self.entry.taken_up):
            self.ends = True
            raise self.fault("writes, notes or keeps a file before it shows what it will do")

    def check_provider(self, what: str) -> None:
        """Raise `InvalidInput` if the tool's toolkit has no provider. ``what``: what the tool does."""
        if not self.act.provider:
            raise self.fault(f"{what}, and belongs to a toolkit without a provider")

    async def check_again(self) -> None:
        """Raise `OutcomeUnknown`, which ends the run, if the policy no longer permits a resumed act. The tool's reads
        may have found the outcome before that."""
        if self.entry is None or self.entry.check_again is None:
            return
        try:
            await self.entry.check_again()
        except BaseException:
            self.ends = True
            raise
        self.entry.check_again = None

    async def claim(self, seconds: float, *, under_way: bool = False) -> None:
        """Make the act's ledger record durable before a write is sent. ``seconds``: the time that the write may take.
        ``under_way``: True for a write that was sent and takes longer: only its record is extended.

        Raises `InvalidInput` if the tool is declared to read only, the errors of `check_again`, and ``GrantLost`` if
        the grant has ended since the act began.
        """
        self.check_change()
        if self.entry is None or self.act.effect is Effect.READS:
            raise self.fault("sends a write, but is declared to read only")
        if under_way:
            return await self.entry.claim(seconds)
        await self.check_again()
        await self.exchange.confirm_grant()
        await self.entry.renew_data_key()
        await self.entry.claim(seconds)


Handler: TypeAlias = Callable[[ExecutionContext, Any], Awaitable[Any]]
"""Handler of one kind of step. The tool receives its return value."""
