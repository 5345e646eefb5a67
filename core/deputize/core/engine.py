"""What every part of a deputy works with: made once, and handed on whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import field
from typing import Protocol

from deputize.core.audit import Audit
from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput
from deputize.core.http import Http
from deputize.core.in_flight import InFlight
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import Registry
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.pseudonyms import Pseudonyms
from deputize.core.vault.vault import Vault
from deputize.core.zones import Zones


class Pages(Protocol):
    """Where our own pages are served."""

    async def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end; starts the server where that is ours to do."""
        ...


@frozen
class FixedPages(Frozen):
    """Pages that a web application serves at a known address."""

    url: str

    async def base_url(self) -> str:
        """That address."""
        return self.url.rstrip("/")


@frozen
class Engine(Frozen):
    """The parts that all others share. Nothing in here is replaced while a deputy lives.

    ``clock`` returns Unix seconds; ``sleep`` waits for as many. ``agent``: what acts where a call names no agent.
    ``zones``: in which each user reads times.
    """

    vault: Vault
    registry: Registry
    http: Http
    audit: Audit
    pages: Pages
    zones: Zones
    agent: str = "agent"
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    in_flight: InFlight = field(default_factory=InFlight)

    def __post_init__(self) -> None:
        self.audit.names = Pseudonyms(self.vault)

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return self.registry.providers

    @property
    def apps(self) -> Mapping[str, App]:
        """The apps by name."""
        return self.registry.apps

    @property
    def home(self) -> str:
        """Where pages lie that know who opens them; "" in local mode, where a link counts for whoever has it."""
        return self.pages.url.rstrip("/") if isinstance(self.pages, FixedPages) else ""

    def step_link(self, step: str) -> str:
        """The page of all that a step asks; "" without a step, and in local mode."""
        return f"{self.home}/asks/{step}" if self.home and step else ""

    async def close(self) -> None:
        """Wait for what is in flight, let go of connections and files, and write out the audit. Safe to call twice."""
        await self.in_flight.ended()
        await self.http.close()
        if self.http.elsewhere():  # refreshes run on the portal's loop, which lives on
            with suppress(InvalidInput):  # it has ended, and its connections with it
                await portal().hop(self.http.close)
        await asyncio.to_thread(self.audit.close)  # it may wait for the disk
        await self.vault.close()
