"""A finding of ``doctor``: the checked subject, its state, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deputize.core import DeputizeError
from deputize.core.errors import ProviderUnavailable

State = Literal["ok", "open", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``open``: fine for now, but something is left to do."""

    what: str
    state: State
    found: str
    todo: str = ""


def bad(what: str, e: DeputizeError) -> Finding:
    return Finding(what, "bad", e.message, e.hint)


def away(e: ProviderUnavailable, named: str) -> ProviderUnavailable:
    """Return the error with a hint for the operator. ``named``: the setting that names the server."""
    hint = f"Check the network, the proxy and the firewall, and whether its address is right: {named}."
    return ProviderUnavailable(e.message, hint=hint, sent=e.sent, reason=e.reason)
