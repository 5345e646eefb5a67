"""What doctor finds: one thing looked at, how it stands, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deputize.core import DeputizeError
from deputize.core.errors import ProviderUnavailable

State = Literal["ok", "open", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``open``: fine for now, but something is left to do."""

    what: str
    state: State
    found: str
    todo: str = ""


def bad(what: str, e: DeputizeError) -> Finding:
    return Finding(what, "bad", e.message, e.hint)


def away(e: ProviderUnavailable, named: str) -> ProviderUnavailable:
    """The same, said to whoever can see to the network, or to the setting that has ``named`` the server."""
    hint = f"Check the network, the proxy and the firewall, and whether its address is right: {named}."
    return ProviderUnavailable(e.message, hint=hint, sent=e.sent, reason=e.reason)
