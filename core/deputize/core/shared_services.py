"""The parts that all components of a deputy share, in one object."""

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
from deputize.core.question_feed import QuestionFeed
from deputize.core.time_zones import Zones
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.pseudonyms import Pseudonyms
from deputize.core.vault.vault import Vault


class Pages(Protocol):
    """The server of deputize's own pages."""

    async def base_url(self) -> str:
        """Return scheme, host and port of the pages without a trailing slash. Starts the server if deputize runs it."""
        ...

    async def close(self) -> None:
        """Answer the requests in progress, and stop the server if deputize runs it. Safe to call twice."""
        ...


@frozen
class FixedPages(Frozen):
    """Pages that a web application serves at a fixed URL."""

    url: str

    async def base_url(self) -> str:
        """Return the URL without a trailing slash."""
        return self.url.rstrip("/")

    async def close(self) -> None:
        """Do nothing: the web application runs its own server."""


@frozen
class Services(Frozen):
    """The parts that all components of a deputy share. They are not replaced while a deputy lives.

    ``clock`` returns Unix seconds; ``sleep`` waits for a number of seconds. ``agent``: name of the agent for calls that
    name none. ``zones``: each user's time zone. ``outcome_retention``: seconds for which the ledger stores outcomes, so
    that a repeated call is the same act.
    """

    vault: Vault
    registry: Registry
    http: Http
    audit: Audit
    pages: Pages
    zones: Zones
    outcome_retention: float
    agent: str = "agent"
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    in_flight: InFlight = field(default_factory=InFlight)
    question_feed: QuestionFeed = field(default_factory=QuestionFeed)

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
        """Base URL of the pages if they sign users in; "" in local mode, where anybody who has a link can use it."""
        return self.pages.url.rstrip("/") if isinstance(self.pages, FixedPages) else ""

    def step_link(self, step: str) -> str:
        """Return the URL of the page with all requests of one model message; "" without a step and in local mode."""
        return f"{self.home}/asks/{step}" if self.home and step else ""

    async def close(self) -> None:
        """Wait for requests in flight, stop the pages' server, close connections and files, and write out the audit.

        Safe to call twice.
        """
        await self.question_feed.wait()
        await self.pages.close()  # first: a page needs the vault
        await self.in_flight.wait()
        await self.http.close()
        if self.http.has_other_transports():  # refreshes run on the portal's loop, which continues
            with suppress(InvalidInput):  # the portal has closed, and its connections with it
                await portal().hop(self.http.close)
        await asyncio.to_thread(self.audit.close)  # may wait for the disk
        await self.vault.close()
