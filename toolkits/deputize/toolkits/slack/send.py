"""Slack: sending and scheduling messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Effect, Need, Preview, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Body
from deputize.toolkits.slack import api, preview, refs, rows, zone
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import PEOPLE, POSTS, SLACK, Asks, Caller, Conversation, Json, Ts
from deputize.toolkits.slack.blocks import check_blocks, fallback
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.idempotent_post import Draft, post, schedule, start_time
from deputize.toolkits.slack.mentions import block_mentions, mentions
from deputize.toolkits.slack.mrkdwn import to_mrkdwn
from deputize.toolkits.slack.text import Reader

_LATEST: Final = 120 * 86_400  # seconds from now
_SENDING: Final[Mapping[str, str]] = {"reply_broadcast": "broadcast", **PEOPLE}


def _send_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    return [*refs.needs_of(ref, sends=True), POSTS]


@SLACK.tool(
    needs=_send_needs,
    effect=Effect.SENDS,
    aliases=[Alias("Slack.PostMessage", _SENDING), Alias("Slack.SendMessage", _SENDING)],
)
def send_message(
    conversation: Annotated[
        Conversation, Field(description="id, #channel, @user, me, email; comma-separated people = group DM")
    ],
    body: Annotated[Body | None, Field(description="Markdown")] = None,
    thread_ts: Annotated[Ts | None, Field(description="answer in this thread")] = None,
    broadcast: Annotated[bool, Field(description="also show in channel")] = False,
    send_at: Annotated[str | None, Field(description="tomorrow 16:00, +2h or ISO, user's time zone")] = None,
    blocks: Annotated[list[dict[str, Any]] | None, Field(description="Block Kit instead of body")] = None,
    unfurl: Annotated[bool, Field(description="show previews of links")] = False,
    *,
    run: Run,
) -> Steps:
    """Send a message to a channel, person, group of people or thread; now or later."""
    if bool(body) == bool(blocks):
        raise InvalidInput("Give exactly one of body and blocks.", hint="Keep one of body or blocks.")
    caller = Caller.of(run)
    at = _send_time(send_at, start_time(run), (yield from zone.read_zone(run, send_at=send_at))) if send_at else None
    shaped = check_blocks(blocks) if blocks else None
    ref = refs.read(conversation)
    thread = thread_ts or ref.thread_ts or ref.ts or None
    if broadcast and not thread:
        raise InvalidInput("broadcast: only together with thread_ts.", hint="Outside of a thread all see it anyway.")
    text = to_mrkdwn(body) if body else fallback(shaped or ())
    if run.noted:
        spot, text = Spot.from_note(run.noted), str(run.noted["text"])
        nobody = tuple(run.noted.get("nobody") or ())
    else:
        spot = yield from preview.find(conversation, caller, sends=True)
        named = (yield from mentions(body, spot, caller)) if body else (yield from block_mentions(shaped or (), caller))
        text = to_mrkdwn(body, named.tokens) if body else text
        yield Preview(
            "Send this message later" if at is not None else "Send this message",
            **named.add_to((yield from preview.thread(spot, caller, thread, at=at))),
            text=body or text,
            blocks=shaped,
            also_in_the_channel=broadcast or None,
            at=preview.instant(at) if at is not None else None,
            with_previews_of_links=unfurl or None,
            undo=preview.CAN_BE_DELETED if at is None else None,
            own_words=("undo",),
        )
        spot, nobody = (yield from places.open_direct_message(spot)), tuple(named.nobody)
    draft = Draft(spot, text, shaped, thread, broadcast, unfurl, nobody)
    if at is not None:
        return (yield from _send_later(draft, at, run))
    return (yield from _send_now(draft, run))


def _send_time(send_at: str, now: float, zone: tzinfo) -> int:
    at = int(times.moment(send_at, now, "send_at", zone).timestamp())
    if not now < at <= now + _LATEST:
        there = datetime.fromtimestamp(at, zone).isoformat(timespec="minutes")
        raise InvalidInput(
            f"send_at: must be in the future, within 120 days; this is {there}.", hint="Such as tomorrow 9:00."
        )
    return at


def _send_now(draft: Draft, run: Run) -> Asks[Json]:
    message = yield from post(draft, run)
    ts = str(message.get("ts", ""))
    if ts and not run.noted:
        yield Undo(
            "slack_delete_message",
            {"conversation": draft.spot.id, "ts": ts},
            preview.restore_condition(draft.spot, Caller.of(run)),
        )
    url = yield from permalink(draft.spot.id, ts)
    sent = {**draft.spot.shown, "ts": ts, "thread_ts": draft.thread_ts, "url": url}
    return rows.lean({**sent, "reaches_nobody": list(draft.nobody), "summary": "Sent."})


def permalink(conversation: str, ts: str) -> Asks[str]:
    """Return the address at which a person reads a message, or "" if unknown."""
    request = api.call("chat.getPermalink", {"channel": conversation, "message_ts": ts})
    return Reader().line(str(((yield from api.optional(request)) or {}).get("permalink") or ""), 300)


def _send_later(draft: Draft, at: int, run: Run) -> Asks[Json]:
    entry = yield from schedule(draft, at, run)
    scheduled = str(entry.get("scheduled_message_id") or entry.get("id") or "")
    undo = {"conversation": draft.spot.id, "scheduled_id": scheduled}
    if scheduled and not run.noted:
        yield Undo("slack_delete_message", undo)
    return rows.lean(
        {
            **draft.spot.shown,
            "scheduled_id": scheduled,
            "post_at": times.full(at * 1000),
            "reaches_nobody": list(draft.nobody),
            "undo": {"tool": "slack_delete_message", "args": undo} if scheduled else None,
            "summary": "Planned.",
        }
    )
