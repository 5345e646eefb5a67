"""The audit's row about how a call ended: one for each, however it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from deputize.core.act.act import Act, Call
from deputize.core.act.missing_scopes import Asking, MissingScopes
from deputize.core.audit import Audit
from deputize.core.errors import DeputizeError
from deputize.core.vault.grant import User

LONGEST_NAME = 100
CUT_OFF = "cut_off"
"""What is said to have been decided where something else than a `DeputizeError` ended a call: cancelled, or a bug."""


def facts_of_call(tool: str, user: User | str | None, call: Call | None, agent: str) -> dict[str, Any]:
    """What every audit row of a call says, known before anything was checked."""
    who = user if isinstance(user, User) else User(str(user or ""))
    call = call or Call()
    return {
        "tenant": who.tenant,
        "user": who.id,
        "agent": agent,
        "tool": str(tool)[:LONGEST_NAME],
        "thread": call.thread,
        "run": call.run,
        "call_id": call.id,
    }


def facts_of_act(act: Act, called: str) -> dict[str, Any]:
    """What is known once the call was validated. ``called``: the name it was called by, which may be an alias."""
    facts = {"tool": act.tool.name, "provider": act.provider, "app": act.app, "effect": act.effect.words()}
    return facts | ({"called": called} if act.tool.called else {})


@asynccontextmanager
async def audited(audit: Audit, asking: Asking, facts: dict[str, Any]) -> AsyncIterator[None]:
    """Write how the call ended that is done inside, with the ``facts`` known by then.

    What an act lacks becomes the error that asks the user for it: `MissingScopes` never leaves.
    """
    began = time.monotonic()

    def ended(decision: str) -> None:
        took = round((time.monotonic() - began) * 1000)
        audit.write("act.result", **facts, decision=decision, duration_ms=took)

    try:
        yield
    except MissingScopes as lacking:
        error = await asking.about(lacking)
        ended(error.code)
        raise error from None
    except BaseException as e:
        ended(e.code if isinstance(e, DeputizeError) else CUT_OFF)
        raise
    ended("done")
