"""Posting at most once. Slack has no idempotency key, so a lost answer is followed by a look, never by a second try.

A message bears a key of ours as metadata, and is looked for by it, or by its writer, words and place. What is found
was done. What is not found proves nothing: the outcome stays unknown, a note is left, and a later run of the same act
looks again and posts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deputize.core import ActKey, Request, Run, SaveNote, Wait
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.toolkits._shared.steps import T
from deputize.toolkits.slack import api
from deputize.toolkits.slack.base import Asks, Caller, Json, Row
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.mrkdwn import unescaped

EVENT: Final = "deputize_write"
"""The type of the metadata by which a message of ours is found."""

AS_WRITTEN: Final = {"parse": "none", "link_names": False}
"""Slack reads nothing out of a text by itself: no names, no calls to everybody. chat.update would, unless told so."""

LOST: Final = (OutcomeUnknown, ProviderUnavailable)
_LOOKS: Final = 2
_PAUSE: Final = 3.0  # seconds before each look
_SKEW: Final = 5  # seconds by which Slack's clock and ours may differ
_NO_METADATA: Final = "metadata_must_be_sent_from_app"


def began(run: Run) -> float:
    """When the act was first tried."""
    return float((run.noted or {}).get("at", run.now))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is ready to leave. ``nobody``: names in it that stay text."""

    spot: Spot
    text: str
    blocks: list[dict[str, Any]] | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    unfurl: bool = False
    nobody: tuple[str, ...] = ()

    @property
    def arguments(self) -> Json:
        """As Slack takes it, now or later."""
        return {
            "channel": self.spot.id,
            "text": self.text,
            "blocks": self.blocks,
            "thread_ts": self.thread_ts,
            "reply_broadcast": True if self.broadcast else None,
            **AS_WRITTEN,
            "unfurl_links": self.unfurl,
            "unfurl_media": self.unfurl,
        }

    @property
    def noted(self) -> Json:
        """What a later run needs to find it."""
        return {**self.spot.noted, "text": self.text, **({"nobody": list(self.nobody)} if self.nobody else {})}


def once(
    run: Run, note: Mapping[str, Any], write: Callable[[], Asks[T]], look: Callable[[], Asks[T | None]]
) -> Asks[T]:
    """What the write made, seen in its answer or found afterwards.

    ``note``: what a later run needs to look again. Raises `OutcomeUnknown` where it may have been made, and is not
    found.
    """
    if not run.noted:
        try:
            return (yield from write())
        except LOST as lost:
            if isinstance(lost, ProviderUnavailable) and not lost.sent:
                raise
        yield SaveNote({"at": run.now, **note})
    for _ in range(_LOOKS):
        yield Wait(_PAUSE)
        try:
            found = yield from look()
        except DeputizeError:
            break
        if found is not None:
            return found
    raise OutcomeUnknown("Slack's answer was lost: it may have been done.", hint="Look in Slack before doing it again.")


# ----------------------------------------------------------------- messages


def post(draft: Draft, run: Run) -> Asks[Row]:
    """chat.postMessage; the message, with its ``ts``."""
    return (
        yield from once(
            run,
            draft.noted,
            lambda: _posted(draft, run.key),
            lambda: _posted_before(draft, run),
        )
    )


def _posted(draft: Draft, key: ActKey) -> Asks[Row]:
    metadata = {"event_type": EVENT, "event_payload": {"key": _mark(key)}}
    try:
        return dict((yield api.call("chat.postMessage", {**draft.arguments, "metadata": metadata}, repeat="write")))
    except InvalidInput as refused:  # before anything was posted: some apps may set none
        if refused.reason != _NO_METADATA:
            raise
    return dict((yield api.call("chat.postMessage", draft.arguments, repeat="write")))


def _mark(key: ActKey) -> str:
    return key.hex[:32]


def _posted_before(draft: Draft, run: Run) -> Asks[Row | None]:
    """The message among the newest of its place; None where it is not, or where it may not be looked for.

    Right after a loss a right for one of the kinds is worth a try. A later run tries only what cannot fail, since it
    would ask the user to consent to reading.
    """
    caller, kinds = Caller.of(run), draft.spot.kinds
    if not (caller.may("history", *kinds) or (not run.noted and caller.kinds_with("history", *kinds))):
        return None
    asked: Json = {
        "channel": draft.spot.id,
        "oldest": f"{int(began(run)) - _SKEW}.000000",
        "include_all_metadata": True,
        "limit": 100,
    }
    if draft.thread_ts:
        answer = yield api.call("conversations.replies", {**asked, "ts": draft.thread_ts})
    else:
        answer = yield api.call("conversations.history", asked)
    return next((one for one in answer.get("messages") or () if _is_it(one, draft, run)), None)


def _is_it(message: Row, draft: Draft, run: Run) -> bool:
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") == EVENT:
        return bool((metadata.get("event_payload") or {}).get("key") == _mark(run.key))
    own = message.get("user") == Caller.of(run).user and message.get("ts") != draft.thread_ts
    if not own or not _since(message.get("ts"), began(run) - _SKEW):
        return False
    thread = message.get("thread_ts")
    return same(message.get("text"), draft.text) and (thread == draft.thread_ts or (not draft.thread_ts and not thread))


def _since(ts: object, began: float) -> bool:
    seconds = str(ts or "").partition(".")[0]
    return seconds.isdigit() and int(seconds) >= int(began)


def same(one: object, other: str) -> bool:
    """Whether two texts say the same, however Slack has spaced and escaped them."""
    return "".join(unescaped(str(one or "")).split()) == "".join(unescaped(other).split())


def schedule(draft: Draft, at: int, run: Run) -> Asks[Row]:
    """chat.scheduleMessage; the entry, with its ``scheduled_message_id`` or ``id``."""
    arguments = {**draft.arguments, "post_at": at}
    return (
        yield from once(
            run,
            {**draft.noted, "post_at": at},
            lambda: _sent(api.call("chat.scheduleMessage", arguments, repeat="write")),
            lambda: _scheduled_before(draft, at, run),
        )
    )


def _sent(request: Request) -> Asks[Row]:
    return dict((yield request))


def _scheduled_before(draft: Draft, at: int, run: Run) -> Asks[Row | None]:
    """The entry among those that wait; one that was planned before this act was another's."""
    asked = {"channel": draft.spot.id, "oldest": str(at - 1), "latest": str(at + 1), "limit": 100}
    answer = yield api.call("chat.scheduledMessages.list", asked)
    since = began(run) - _SKEW
    listed = [one for one in answer.get("scheduled_messages") or () if _since(one.get("date_created", at), since)]
    return next((one for one in listed if one.get("post_at") == at and same(one.get("text"), draft.text)), None)
