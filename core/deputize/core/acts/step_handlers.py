"""Handlers of the steps that a tool may yield, except those that ask people: see `elicitation` and `people_search`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Final, TypeAlias

from deputize.core.acts.execution_context import ExecutionContext
from deputize.core.acts.operator_notes import OperatorNotes
from deputize.core.acts.response_errors import MissingScope, unechoed
from deputize.core.engine import Engine
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools import steps
from deputize.core.tools.files import Files
from deputize.core.tools.tool import Effect
from deputize.core.tools.user_time import UserTime
from deputize.core.zones import Zones, named_zone

LONGEST_WAIT: Final = 10.0
MOST_WAITING: Final = 30.0
MOST_TRIED: Final = 10

Handler: TypeAlias = Callable[[ExecutionContext, Any], Awaitable[Any]]
"""Does a step of this run; what the tool is sent for it."""


def handlers_of(engine: Engine, files: Files) -> dict[type, Handler]:
    """The handlers of all steps that need nobody to answer, by the steps' types."""
    notes = OperatorNotes(engine.vault)
    return {
        steps.Request: send,
        list: send_all,
        steps.Try: try_each,
        steps.PublicRequest: fetch,
        steps.Note: note,
        steps.Undo: offer_undo,
        steps.ForOperator: lambda _, step: notes.write(step.place, step.said),
        steps.Keep: partial(keep_file, files),
        steps.Take: partial(take_file, files),
        steps.Parse: parse,
        steps.TimeZone: partial(find_zone, engine.zones),
        steps.Wait: partial(wait, engine),
    }


def send(run: ExecutionContext, request: steps.Request) -> Awaitable[Any]:
    """The provider's answer."""
    return run.exchange.send(request, run.claim)


async def send_all(run: ExecutionContext, requests: list[steps.Request]) -> list[Any]:
    """All answers, in order; or the first failure, when all have ended."""
    if not all(isinstance(one, steps.Request) for one in requests):
        raise no_step(run, requests)
    return await _gather(run, requests, tolerated=())


async def try_each(run: ExecutionContext, step: steps.Try) -> list[Any]:
    """Of each read its answer, or None."""
    if len(step.requests) > MOST_TRIED or any(one.call != "read" for one in step.requests):
        raise run.fault(f"tries more than {MOST_TRIED} requests at once, or writes")
    answers = await _gather(run, step.requests, tolerated=(DeputizeError, MissingScope))
    return [None if isinstance(one, BaseException) else one for one in answers]


async def _gather(
    run: ExecutionContext, requests: Sequence[steps.Request], tolerated: tuple[type[Exception], ...]
) -> list[Any]:
    """All answers, and failures of these types; or the first other failure, when all have ended."""
    sent = (run.exchange.send(one, run.claim) for one in requests)
    answers = await asyncio.gather(*sent, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, tolerated):
            raise answer
    return answers


async def fetch(run: ExecutionContext, request: steps.PublicRequest) -> Any:
    """The answer to a request that has nothing of the user's. Its address may be a stranger's: it tells them."""
    run.check_provider("sends a request")
    run.check_change()
    return await run.exchange.fetch(request, run.claim)


def no_step(run: ExecutionContext, step: object) -> InvalidInput:
    """The error for a tool that yields something else than a step."""
    return run.fault(f"yields {type(step).__name__}, which is no step")


async def note(run: ExecutionContext, step: steps.Note) -> None:
    """Keep a note in the act's row, for the run that takes it up."""
    run.check_change()
    if run.entry is None:
        raise run.fault("yields a Note, but is declared to read only")
    await run.entry.note(step.data)


async def offer_undo(run: ExecutionContext, undo: steps.Undo) -> None:
    """Keep the call that puts the act back, for its row."""
    taken_up = run.entry is not None and run.entry.taken_up  # an earlier run may have shown it
    if (run.shown is None and not taken_up) or run.entry is None or run.entry.undo is not None:
        raise run.fault("yields an Undo before it shows what it will do, or a second one")
    run.entry.undo = undo


async def keep_file(files: Files, run: ExecutionContext, step: steps.Keep) -> Mapping[str, Any]:
    """Keep a file for the user. Nobody has looked yet for the token in what a provider packs into base64."""
    run.check_change()
    file, token = step.file, run.exchange.grant.access_token
    if run.act.provider:
        file = replace(file, content=unechoed(file.content, token))
    kept = await files.keep(run.act.user, file)
    return kept | {"expires": UserTime.of(kept["expires"])}


async def take_file(files: Files, run: ExecutionContext, step: steps.Take) -> steps.File:
    """The user's file behind a handle."""
    file = await files.take(run.act.user, step.handle)
    run.exchange.held += len(file.content)
    return file


async def parse(run: ExecutionContext, step: steps.Parse) -> Any:
    """What a parser in a process of its own makes of bytes."""
    from deputize.core.tools.parser_sandbox import parsed  # few tools read what strangers made

    return await parsed(step)


async def find_zone(zones: Zones, run: ExecutionContext, step: steps.TimeZone) -> tzinfo | None:
    """The zone of this name; if an argument depends on it and nobody has named one, the one for all."""
    run.check_provider("says in which zone the user is")
    zone = None
    if run.act.organisation:  # no zone of the user's
        zone = None if step.argument else await named_zone(step.name)
    elif step.name:
        zone = await zones.learn(run.act.user, run.act.provider, step.name)
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


async def wait(engine: Engine, run: ExecutionContext, step: steps.Wait) -> None:
    """Let a moment pass."""
    run.waited += step.seconds
    if not 0 <= step.seconds <= LONGEST_WAIT or run.waited > MOST_WAITING:
        raise run.fault(f"waits longer than {LONGEST_WAIT:g} seconds at once, or {MOST_WAITING:g} in all")
    await engine.sleep(step.seconds)
