"""The audit's row about how a call ended: one for each, however it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.missing_scopes import Asking, MissingScopes
from deputize.core.audit import Audit
from deputize.core.audit.events import ActResult
from deputize.core.errors import DeputizeError

CUT_OFF = "cut_off"
"""What is said to have been decided where something else than a `DeputizeError` ended a call: cancelled, or a bug."""


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
