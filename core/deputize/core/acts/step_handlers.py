"""Handlers of the steps that a tool may yield. `elicitation` and `people_search` handle the steps that ask people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Final

from deputize.core.acts.execution_context import ExecutionContext, Handler
from deputize.core.acts.operator_notes import OperatorNotes
from deputize.core.acts.provider_errors import MissingScope
from deputize.core.acts.scrub_response import scrub_token
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.shared_services import Services
from deputize.core.time_zones import Zones, named_zone
from deputize.core.tools import steps
from deputize.core.tools.stored_files import Files
from deputize.core.tools.tool import Effect
from deputize.core.tools.user_time import UserTime

MAX_STEP_WAIT_SECONDS: Final = 10.0
MAX_TOTAL_WAIT_SECONDS: Final = 30.0
MAX_TRIED_REQUESTS: Final = 10


def handlers_of(services: Services, files: Files) -> dict[type, Handler]:
    """Return the handlers of all steps that ask nobody, by the class of the step."""
    notes = OperatorNotes(services.vault)
    return {
        steps.Request: send_request,
        list: send_all,
        steps.Try: try_each,
        steps.PublicRequest: fetch_public,
        steps.SaveNote: save_note,
        steps.Undo: offer_undo,
        steps.ForOperator: lambda _, step: notes.write(step.place, step.said),
        steps.Keep: partial(store_file, files),
        steps.Take: partial(take_file, files),
        steps.ParseFile: parse_file,
        steps.TimeZone: partial(find_zone, services.zones),
        steps.Wait: partial(wait_moment, services),
    }


def send_request(run: ExecutionContext, request: steps.Request) -> Awaitable[Any]:
    """Send a request and return the provider's response."""
    return run.exchange.send(request, run.claim)


async def send_all(run: ExecutionContext, requests: list[steps.Request]) -> list[Any]:
    """Send requests concurrently. Return all responses in order, or raise the first failure after all have ended."""
    if not all(isinstance(one, steps.Request) for one in requests):
        raise run.fault("yields a list that holds other things than requests")
    return await _gather(run, requests)


async def try_each(run: ExecutionContext, step: steps.Try) -> list[Any]:
    """Send reads concurrently. Return the response to each read, or None if it failed."""
    if len(step.requests) > MAX_TRIED_REQUESTS or any(one.call != "read" for one in step.requests):
        raise run.fault(f"tries more than {MAX_TRIED_REQUESTS} requests at once, or writes")
    answers = await _gather(run, step.requests, DeputizeError, MissingScope)
    return [None if isinstance(one, BaseException) else one for one in answers]


async def _gather(run: ExecutionContext, requests: Sequence[steps.Request], *tolerated: type[Exception]) -> list[Any]:
    """Return all responses and tolerated failures, or raise the first other failure after all have ended."""
    sent = (run.exchange.send(one, run.claim) for one in requests)
    answers = await asyncio.gather(*sent, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, tolerated):
            raise answer
    return answers


async def fetch_public(run: ExecutionContext, request: steps.PublicRequest) -> Any:
    """Send a request without the user's credentials. It counts as a write, because untrusted content may have chosen
    its address."""
    run.check_provider("sends a request")
    run.check_change()
    await run.check_again()
    return await run.exchange.fetch(request, run.claim)


async def save_note(run: ExecutionContext, step: steps.SaveNote) -> None:
    """Store a note in the act's ledger record, for a later run that resumes the act."""
    run.check_change()
    if run.entry is None:
        raise run.fault("yields a SaveNote, but is declared to read only")
    await run.entry.note(step.data)


async def offer_undo(run: ExecutionContext, undo: steps.Undo) -> None:
    """Store the call that undoes the act in the act's ledger entry."""
    taken_up = run.entry is not None and run.entry.taken_up  # an earlier run may have made the preview
    if (run.shown is None and not taken_up) or run.entry is None or run.entry.undo is not None:
        raise run.fault("yields an Undo before it shows what it will do, or a second one")
    run.entry.undo = undo


async def store_file(files: Files, run: ExecutionContext, step: steps.Keep) -> Mapping[str, Any]:
    """Store a file for the user. The token is masked in it, because base64 data from a provider may contain it."""
    run.check_change()
    file, token = step.file, run.exchange.grant.access_token
    if run.act.provider:
        file = replace(file, content=scrub_token(file.content, token))
    kept = await files.keep(run.act.user, file)
    return kept | {"expires": UserTime.of(kept["expires"])}


async def take_file(files: Files, run: ExecutionContext, step: steps.Take) -> steps.File:
    """Return the user's file with this handle."""
    file = await files.take(run.act.user, step.handle)
    run.exchange.held += len(file.content)
    return file


async def parse_file(run: ExecutionContext, step: steps.ParseFile) -> Any:
    """Parse bytes in a separate process and return the answer."""
    from deputize.core.tools.parser_sandbox import parse_in_sandbox  # few tools parse files

    return await parse_in_sandbox(step)


async def find_zone(zones: Zones, run: ExecutionContext, step: steps.TimeZone) -> tzinfo | None:
    """Return the time zone of this name, or None. If an argument depends on the zone and none is known, return the
    default zone; without a default, raise `InvalidInput` for a write and return UTC for a read."""
    run.check_provider("says in which zone the user is")
    zone = None
    if run.act.organisation:  # not the user's zone
        zone = None if step.argument else await named_zone(step.name)
    elif step.name:
        zone = await zones.learn(run.act.user, run.act.provider, step.name)
        run.zone, _ = await zones.find(run.act.user)
    if zone is not None or not step.argument:
        return zone
    if zones.guess:
        return zones.guess
    if run.act.effect is not Effect.READS:
        raise InvalidInput(
            f"{step.argument}: names a day or an hour, and the user's time zone is not known.",
            hint="Give a time with its offset from UTC, such as 2026-12-01T15:00+01:00. If only the day counts, a "
            "date is enough.",
        )
    run.guessed_zone = True
    return UTC


async def wait_moment(services: Services, run: ExecutionContext, step: steps.Wait) -> None:
    """Wait for the seconds that the step names."""
    run.waited += step.seconds
    if not 0 <= step.seconds <= MAX_STEP_WAIT_SECONDS or run.waited > MAX_TOTAL_WAIT_SECONDS:
        raise run.fault(
            f"waits longer than {MAX_STEP_WAIT_SECONDS:g} seconds at once, or {MAX_TOTAL_WAIT_SECONDS:g} in all"
        )
    await services.sleep(step.seconds)
