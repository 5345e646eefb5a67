"""Health probes of one process, for load balancers and supervisors.

    GET /healthz   ok, without checking anything: restart a process that does not answer
    GET /readyz    ok, or 503 with a reason: store_unavailable, vault_error (its key is missing), audit_unavailable,
                   leaving (it is shutting down). Send no requests then; a restart does not help

No authentication, any host name. Replies contain no secret, and the store is read at most twice a second.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.vault.record import FIRST

READ_TIMEOUT_SECONDS: Final = 2.0
"""Seconds that a read of the store may take: load balancers wait little longer."""
ANSWER_TTL: Final = 0.5
"""Seconds for which an answer is cached."""
LEAVING: Final = "leaving"
AUDIT: Final = "audit_unavailable"
READY: Final = "ok"


class Probes:
    """The probes of one deputy's process."""

    def __init__(self, deputy: BaseDeputy) -> None:
        self.deputy, self._leaving = deputy, False
        self._found, self._until = READY, 0.0
        self._looking = asyncio.Lock()

    @property
    def routes(self) -> list[Route]:
        """The routes, which must come before all others."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    def leave(self) -> None:
        """Report the process as leaving: it is shutting down, but still answers requests."""
        self._leaving = True

    async def healthz(self, request: Request) -> Response:
        """Answer that the process lives."""
        return PlainTextResponse("ok", headers={"Cache-Control": "no-store"})

    async def readyz(self, request: Request) -> Response:
        """Answer if requests should be sent to the process."""
        said = LEAVING if self._leaving else await self._state()
        return PlainTextResponse(said, 200 if said == READY else 503, {"Cache-Control": "no-store"})

    async def _state(self) -> str:
        async with self._looking:  # concurrent callers get the same answer
            if time.monotonic() >= self._until:
                self._found = await self._look()
                self._until = time.monotonic() + ANSWER_TTL
            return self._found

    async def _look(self) -> str:
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                await self.deputy.vault.get(*FIRST)  # read, and opened with our keys
        except TimeoutError:
            return StoreUnavailable.code
        except DeputizeError as error:
            return error.code
        if self.deputy.audit.failing:  # retried here: a process without requests has no other rows to write
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                    await self.deputy.audit.settle()
        return AUDIT if self.deputy.audit.failing else READY
