"""Posting at most once. Slack has no idempotency key: after a lost response, deputize looks and never sends again.

A message carries deputize's key as metadata, and is found by the key, or by writer, text and conversation. A missing
message proves nothing: the outcome stays unknown, a note is saved, and a later run of the same act looks again and
posts nothing.
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
from deputize.toolkits.slack.mrkdwn import unescape

EVENT: Final = "deputize_write"
"""The type of the metadata by which deputize finds its messages."""

AS_WRITTEN: Final = {"parse": "none", "link_names": False}
"""Slack interprets no names or calls to everybody in the text. chat.update would do so by default."""

LOST: Final = (OutcomeUnknown, ProviderUnavailable)
_LOOKS: Final = 2
_PAUSE: Final = 3.0  # seconds before each look
_SKEW: Final = 5  # seconds by which Slack's clock and this machine's may differ
_NO_METADATA: Final = "metadata_must_be_sent_from_app"


def start_time(run: Run) -> float:
    """Return the time of the act's first attempt."""
    return float((run.noted or {}).get("at", run.now))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is ready to be sent. ``nobody``: names in the message that stay text."""

    spot: Spot
    text: str
    blocks: list[dict[str, Any]] | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    unfurl: bool = False
    nobody: tuple[str, ...] = ()

    @property
    def arguments(self) -> Json:
        """The arguments of Slack's methods for sending now or later."""
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
        """The fields by which a later run finds the message."""
        return {**self.spot.noted, "text": self.text, **({"nobody": list(self.nobody)} if self.nobody else {})}


def write_once(
    run: Run, note: Mapping[str, Any], write: Callable[[], Asks[T]], look: Callable[[], Asks[T | None]]
) -> Asks[T]:
    """Return the result of ``write``, or of ``look`` after a lost response. ``note``: the fields for a later look.

    Raises `OutcomeUnknown` if the write may have happened and ``look`` finds nothing.
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
    """Send a message. Return the message, with its ``ts``."""
    return (
        yield from write_once(run, draft.noted, lambda: _send_post(draft, run.key), lambda: _find_posted(draft, run))
    )


def _send_post(draft: Draft, key: ActKey) -> Asks[Row]:
    metadata = {"event_type": EVENT, "event_payload": {"key": _mark(key)}}
    try:
        return dict((yield api.call("chat.postMessage", {**draft.arguments, "metadata": metadata}, repeat="write")))
    except InvalidInput as refused:  # before anything was posted: some apps may set no metadata
        if refused.reason != _NO_METADATA:
            raise
    return dict((yield api.call("chat.postMessage", draft.arguments, repeat="write")))


def _mark(key: ActKey) -> str:
    return key.hex[:32]


def _find_posted(draft: Draft, run: Run) -> Asks[Row | None]:
    """Return the message among the newest of its conversation, or None if missing or unreadable.

    Right after a loss, the right to read one of the possible kinds is enough to look. A later run looks only with the
    right to read all of them, because a refusal would ask the user for consent to read.
    """
    caller, kinds = Caller.of(run), draft.spot.kinds
    if not (caller.may("history", *kinds) or (not run.noted and caller.kinds_with("history", *kinds))):
        return None
    asked: Json = {
        "channel": draft.spot.id,
        "oldest": f"{int(start_time(run)) - _SKEW}.000000",
        "include_all_metadata": True,
        "limit": 100,
    }
    if draft.thread_ts:
        answer = yield api.call("conversations.replies", {**asked, "ts": draft.thread_ts})
    else:
        answer = yield api.call("conversations.history", asked)
    return next((one for one in answer.get("messages") or () if _is_draft(one, draft, run)), None)


def _is_draft(message: Row, draft: Draft, run: Run) -> bool:
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") == EVENT:
        return bool((metadata.get("event_payload") or {}).get("key") == _mark(run.key))
    own = message.get("user") == Caller.of(run).user and message.get("ts") != draft.thread_ts
    if not own or not _is_since(message.get("ts"), start_time(run) - _SKEW):
        return False
    thread = message.get("thread_ts")
    return same_text(message.get("text"), draft.text) and (
        thread == draft.thread_ts or (not draft.thread_ts and not thread)
    )


def _is_since(ts: object, began: float) -> bool:
    seconds = str(ts or "").partition(".")[0]
    return seconds.isdigit() and int(seconds) >= int(began)


def same_text(one: object, other: str) -> bool:
    """True if two texts are equal except for Slack's spaces and escapes."""
    return "".join(unescape(str(one or "")).split()) == "".join(unescape(other).split())


def schedule(draft: Draft, at: int, run: Run) -> Asks[Row]:
    """Schedule a message. Return the entry, with its ``scheduled_message_id`` or ``id``."""
    arguments = {**draft.arguments, "post_at": at}
    return (
        yield from write_once(
            run,
            {**draft.noted, "post_at": at},
            lambda: _send_schedule(api.call("chat.scheduleMessage", arguments, repeat="write")),
            lambda: _find_scheduled(draft, at, run),
        )
    )


def _send_schedule(request: Request) -> Asks[Row]:
    return dict((yield request))


def _find_scheduled(draft: Draft, at: int, run: Run) -> Asks[Row | None]:
    """Return the scheduled entry. An entry from before this act began belongs to another act."""
    asked = {"channel": draft.spot.id, "oldest": str(at - 1), "latest": str(at + 1), "limit": 100}
    answer = yield api.call("chat.scheduledMessages.list", asked)
    since = start_time(run) - _SKEW
    listed = [one for one in answer.get("scheduled_messages") or () if _is_since(one.get("date_created", at), since)]
    return next((one for one in listed if one.get("post_at") == at and same_text(one.get("text"), draft.text)), None)
