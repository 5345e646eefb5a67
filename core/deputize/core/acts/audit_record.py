"""What the audit says of one call, as far as it is known: each step adds what it has found out. One row says how it
ended, however it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

from deputize.core.acts.missing_scopes import Asking, MissingScopes
from deputize.core.audit import Audit
from deputize.core.audit.common_fields import OfCall
from deputize.core.audit.events import ActResult
from deputize.core.audit.pseudonyms import Subject
from deputize.core.errors import DeputizeError, UserRequired
from deputize.core.tools.act import Act, Call
from deputize.core.tools.needs import asks_of
from deputize.core.vault.grant import AnyUser, Grant, User

LONGEST_NAME: Final = 100
CUT_OFF: Final = "cut_off"
"""What is said to have been decided where something else than a `DeputizeError` ended a call: cancelled, or a bug."""


class CallRow:
    """Facts gathered on the way. They become a frozen row when one is written, which most calls do once."""

    def __init__(self, tool: str, user: User, came_from: Call, agent: str) -> None:
        self.tool, self.user, self.came_from, self.agent = tool, user, came_from, agent
        self.act: Act | None = None
        self.grant: Grant | None = None
        self.alias = self.act_id = self.show = self.answered_by = self.incomplete = ""

    @classmethod
    def begun(cls, tool: str, user: AnyUser, call: Call | None, agent: str) -> CallRow:
        """What is known before anything was checked. Of a user who is named by no id, nothing."""
        try:
            who = User.of(user)
        except UserRequired:
            who = User("")
        return cls(str(tool)[:LONGEST_NAME], who, call or Call(), agent)

    def validated(self, act: Act, called: str, act_id: str) -> None:
        """The call is this act. ``called``: the name it was called by, which may be an alias."""
        self.act, self.tool, self.alias = act, act.tool.name, called if act.tool.called else ""
        self.act_id = act_id

    def permitted(self, act: Act, grant: Grant) -> None:
        """The act, as the user may have changed it, with the grant that it uses."""
        self.act, self.grant = act, grant

    def showed(self, digest: str) -> None:
        """What was shown, and is now done."""
        self.show = digest

    def begins(self, answered_by: str) -> None:
        """What lets it begin: ``policy``, or the id of an approval or a mandate."""
        self.answered_by = answered_by

    def left_out(self, what: str) -> None:
        """What the provider left out of a good answer."""
        self.incomplete = what

    @property
    def call(self) -> OfCall:
        """All of it."""
        act, grant, came_from = self.act, self.grant, self.came_from
        return OfCall(
            tenant=self.user.tenant,
            user=self.user.id,
            agent=self.agent,
            tool=self.tool,
            thread=came_from.thread,
            run=came_from.run,
            call_id=came_from.id,
            act_id=self.act_id,
            undoes=came_from.undoes.act if came_from.undoes else "",
            provider=act.provider if act else "",
            app=act.app if act else "",
            effect=act.effect.words() if act else "",
            called=self.alias,
            account_hash=Subject(grant.account.subject) if grant else "",
            grant_gen=grant.generation if grant else None,
            source=grant.source if grant else "",
            organisation=act.organisation if act else "",
            scopes_required=asks_of(act.needs) if act and grant else (),
            scopes_granted=in_order(grant.scopes) if grant else (),
            show=self.show,
            answered_by=self.answered_by,
            incomplete=self.incomplete,
        )


@lru_cache(maxsize=4096)
def in_order(scopes: frozenset[str]) -> tuple[str, ...]:
    """Scopes as people and the audit read them: sorted."""
    return tuple(sorted(scopes))


@asynccontextmanager
async def audited(audit: Audit, asking: Asking, row: CallRow) -> AsyncIterator[None]:
    """Write how the call ended that is done inside, with what is known of it by then.

    What an act lacks becomes the error that asks the user for it: `MissingScopes` never leaves.
    """
    began = time.monotonic()
    await audit.learn(row.user.tenant, row.user.id)

    def ended(decision: str) -> None:
        took = round((time.monotonic() - began) * 1000)
        audit.write(ActResult(row.call, decision, took))

    try:
        try:
            yield
        except MissingScopes as lacking:
            raise await asking.about(lacking) from None
    except BaseException as e:
        ended(e.code if isinstance(e, DeputizeError) else CUT_OFF)
        raise
    ended("done")
