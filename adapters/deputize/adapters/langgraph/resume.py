"""The requests in a graph's pauses, and resuming the graph after the user has answered."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias, get_args, overload

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Command, Interrupt

from deputize.adapters.kit import Kind, select_requests
from deputize.adapters.langgraph.interrupts import RESUME
from deputize.core import ApprovalPayload, ConsentPayload, DeputyProtocol, InvalidInput, NotFound, RequestPayload, User

__all__ = ["Pauses", "requests_in", "resume_when_done"]

Pauses: TypeAlias = Iterable[Interrupt | Mapping[str, Any]] | Mapping[str, Any]

PAUSES: Final = (
    'Pass the pauses: state["__interrupt__"], (await graph.aget_state(config)).interrupts, '
    'or thread["interrupts"] of the SDK.'
)

OTHERS: Final = "Resume your own pauses yourself. Pass user=... to wait for approvals, or resume with their decisions."


@overload
def requests_in(interrupts: Pauses, kind: Literal["consent"]) -> list[ConsentPayload]: ...
@overload
def requests_in(interrupts: Pauses, kind: Literal["approval"]) -> list[ApprovalPayload]: ...
@overload
def requests_in(interrupts: Pauses, kind: None = None) -> list[RequestPayload]: ...
def requests_in(interrupts: Pauses, kind: Kind | None = None) -> Any:
    """Return the requests that wait for the user, in full: consents, then approvals. Each is returned once, because
    tasks that run at the same time may wait for the same consent.

    ``interrupts``: interrupts of a graph, or of LangGraph's SDK, where each is a dict, and a thread's are grouped by
    task. ``kind``: only consents, or only approvals. Raises `InvalidInput` for other values, and for another kind.
    """
    values = [*_values(interrupts)]
    ours = [(one, value) for one in get_args(Kind) for value in values if _type_of(value) == f"deputize.{one}"]
    # an earlier release stored requests without their type
    asks = [{"type": f"deputize.{one}", "v": 1, **ask} for one, value in ours for ask in value[f"{one}s"]]
    return select_requests(asks, kind)


def _values(interrupts: Any) -> Iterator[Any]:
    given = [one for ones in interrupts.values() for one in _listed(ones)] if isinstance(interrupts, Mapping) else None
    for one in _listed(interrupts) if given is None else given:
        if isinstance(one, Mapping) and "value" in one:
            yield one["value"]
        elif isinstance(one, Interrupt):
            yield one.value
        else:
            raise InvalidInput(f"A {type(one).__name__} is not a pause of a graph.", hint=PAUSES, fix_by="operator")


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidInput(
            f"A {type(given).__name__} does not contain a graph's pauses.", hint=PAUSES, fix_by="operator"
        )
    return [*given]


def _type_of(value: Any) -> Any:
    """Return the type of a deputize pause. A pause of your application may contain any value."""
    return value.get("type") if isinstance(value, Mapping) else None


async def resume_when_done(
    deputy: DeputyProtocol,
    graph: Pregel[Any, Any, Any, Any],
    config: RunnableConfig,
    *,
    context: Any = None,
    timeout: float = 600.0,
    resume: Callable[[Command[Any]], Awaitable[Any]] | None = None,
    user: User | str | None = None,
) -> Any:
    """Wait until the consents for which a graph pauses have ended, in any process, and resume the graph.

    Returns the graph's result, or that of ``resume``: ``Any``, because only your application knows its type. After
    ``timeout`` seconds the graph pauses again for the same consents. ``resume``: called with the `Command` instead of
    the graph, for servers that queue their runs. ``user``: the owner of the run; with it, this also waits until the
    user has decided the run's approvals. Raises `InvalidInput` if the graph has only other pauses, which would be
    waited for without end.
    """
    pauses, ends = (await graph.aget_state(config)).interrupts, time.monotonic() + timeout
    with suppress(NotFound):  # a consent was removed: the graph checks again
        await deputy.wait_for_consents([ask["consent_id"] for ask in requests_in(pauses, "consent")], timeout=timeout)
    kinds = ["deputize.consent"] if user is None else ["deputize.consent", "deputize.approval"]
    for ask in requests_in(pauses, "approval") if user is not None else ():
        await deputy.get_approval(ask["approval_id"], by=user, timeout=ends - time.monotonic())
    wake = {pause.id: RESUME for pause in pauses if _type_of(pause.value) in kinds}
    if pauses and not wake:
        raise InvalidInput("This graph has no pause that resume_when_done can wait for.", hint=OTHERS)
    if resume is not None:
        return await resume(Command(resume=wake))
    return await graph.ainvoke(Command(resume=wake), config, context=context)
