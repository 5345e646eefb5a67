"""What the runtime tells a tool about the run of it that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from deputize.core.tools.act_key import ActKey
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account


@frozen
class Run(Printed):
    """One run of a tool: a keyword-only parameter ``run: Run`` is filled in with it, and no schema shows it.

    ``key``: what makes two calls the same act, for idempotency keys. ``granted``: the scopes of the grant.
    ``account``: who the user is at the provider. ``noted``: the data of the `SaveNote` that an interrupted run of the
    same act left, else None; a tool that yields a `SaveNote` has to read it. ``now``: Unix seconds; of a tool that
    shows what it will do, when the act was first asked for, the same in every run of it. ``zone``: in which the user
    reads and writes times; UTC where nobody knows. ``zone_known``: False if it is a guess, which an argument is not to
    depend on: see `TimeZone`. ``trusted_authors``: whose texts a model may read, in the toolkit's word for it, "" for
    everybody's; see `deputize.core.tools.trusted_authors`. ``grant``: names the grant in this process, for what a
    server keeps between two requests of one token, as a session; "" where nothing is kept. ``can_ask``: whether
    `AskUser` would find somebody, and a later run the answer: not of a service account, nor of a write whose call has
    no id.
    """

    key: ActKey
    granted: frozenset[str]
    account: Account
    noted: Mapping[str, Any] | None
    now: float
    zone: tzinfo = UTC
    trusted_authors: str = ""
    grant: str = ""
    can_ask: bool = False
    zone_known: bool = False
