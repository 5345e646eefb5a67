"""Facts that a tool gets about its run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from deputize.core.tools.act_key import ActKey
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account


@frozen
class Run(Printed):
    """One run of a tool. It is passed to a keyword-only parameter ``run: Run``, which no schema shows.

    ``key``: the identity of the act, for idempotency keys. ``granted``: the scopes of the grant. ``account``: the
    user's account at the provider. ``noted``: data of the `SaveNote` of an interrupted run of the same act, or None; a
    tool that yields a `SaveNote` must read it. ``now``: Unix seconds; for a tool with previews, the time at which the
    act was first requested, the same in every run. ``zone``: the user's time zone, UTC if unknown. ``zone_known``:
    False if the zone is a guess, on which no argument may depend: see `TimeZone`. ``trusted_authors``: whose texts a
    model may read, in the toolkit's word, "" for everybody's; see `deputize.core.tools.trusted_authors`. ``grant``:
    identifies the grant in this process, to reuse a server's session for one token; "" if nothing is reused.
    ``can_ask``: True if `AskUser` can reach the user and a later run can receive the reply. It is False for a service
    account and for a write without a call id.
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
