"""Slack: send, edit, delete and plan messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from deputize.core import Alias, Effect, Need, Run, Show, Steps, Undo
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Body
from deputize.toolkits.slack import api, places, preview, refs, rows, users
from deputize.toolkits.slack.base import (
    CHANNELS,
    PEOPLE,
    POSTS,
    SLACK,
    Asks,
    Caller,
    Conversation,
    Json,
    Row,
    Ts,
)
from deputize.toolkits.slack.blocks import checked, fallback
from deputize.toolkits.slack.message_text import shown
from deputize.toolkits.slack.mrkdwn import names_in, to_mrkdwn
from deputize.toolkits.slack.once import Draft, began, post, schedule
from deputize.toolkits.slack.places import Spot
from deputize.toolkits.slack.text import Reader, mentioned

_LATEST: Final = 120 * 86_400  # seconds from now
_LOOKED_UP: Final = 50  # people whom blocks mention
_EVERYBODY: Final = frozenset({"@here", "@channel", "@everyone"})
_SENDING: Final[Mapping[str, str]] = {"reply_broadcast": "broadcast", **PEOPLE}


def _send_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    return [*refs.naming(ref, sends=True), POSTS]


@SLACK.tool(
    needs=_send_needs,
    effect=Effect.SENDS,
    aliases=[Alias("Slack.PostMessage", _SENDING), Alias("Slack.SendMessage", _SENDING)],
)
def send_message(
    conversation: Annotated[
        Conversation, Field(description="id, #channel, @user, email; comma-separated people = group DM")
    ],
    body: Annotated[Body | None, Field(description="Markdown")] = None,
    thread_ts: Ts | None = None,
    broadcast: Annotated[bool, Field(description="also show in channel")] = False,
    send_at: Annotated[str | None, Field(description="ISO or +2h")] = None,
    blocks: Annotated[list[dict[str, Any]] | None, Field(description="Block Kit instead of body")] = None,
    unfurl: bool = False,
    *,
    run: Run,
) -> Steps:
    """Send a message to a channel, person, group of people or thread; now or later."""
    if bool(body) == bool(blocks):
        raise InvalidInput("Give exactly one of body and blocks.")
    caller = Caller.of(run)
    at = _later(send_at, began(run)) if send_at else None
    shaped = checked(blocks) if blocks else None
    ref = refs.read(conversation)
    thread = thread_ts or ref.thread_ts or ref.ts or None
    if broadcast and not thread:
        raise InvalidInput("broadcast: only together with thread_ts.")
    text = to_mrkdwn(body) if body else fallback(shaped or ())
    if run.noted:
        spot, text = Spot.of_note(run.noted), str(run.noted["text"])
    else:
        spot = yield from preview.found(conversation, caller, sends=True)
        named = (yield from mentions(body, caller)) if body else (yield from _in_blocks(shaped or (), caller))
        text = to_mrkdwn(body, named.tokens) if body else text
        yield Show(
            "Send this message later" if at is not None else "Send this message",
            **(yield from preview.thread(spot, caller, thread, mentions=named.tokens or None, at=at)),
            text=body or text,
            blocks=shaped,
            mentions=named.people or None,
            also_in_the_channel=broadcast or None,
            at=preview.at(at) if at is not None else None,
            with_previews_of_links=unfurl or None,
            undo=preview.CAN_BE_DELETED if at is None else None,
        )
        spot = yield from places.opened(spot)
    draft = Draft(spot, text, shaped, thread, broadcast, unfurl)
    if at is not None:
        return (yield from _planned(draft, at, run))
    return (yield from _posted(draft, run))


def _later(send_at: str, now: float) -> int:
    at = int(times.moment(send_at, now, "send_at").timestamp())
    if not now < at <= now + _LATEST:
        raise InvalidInput("send_at: must be in the future, within 120 days.")
    return at


def _posted(draft: Draft, run: Run) -> Asks[Json]:
    message = yield from post(draft, run)
    ts = str(message.get("ts", ""))
    if ts and not run.noted:
        yield Undo(
            "slack_delete_message",
            {"conversation": draft.spot.id, "ts": ts},
            preview.unless_edited(draft.spot, Caller.of(run)),
        )
    url = yield from permalink(draft.spot.id, ts)
    return rows.lean({**draft.spot.shown, "ts": ts, "thread_ts": draft.thread_ts, "url": url, "summary": "Sent."})


def permalink(conversation: str, ts: str) -> Asks[str]:
    """Where a person reads a message; "" where Slack does not say."""
    request = api.call("chat.getPermalink", {"channel": conversation, "message_ts": ts})
    return Reader().line(str(((yield from api.optional(request)) or {}).get("permalink") or ""), 300)


def _planned(draft: Draft, at: int, run: Run) -> Asks[Json]:
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
            "undo": {"tool": "slack_delete_message", "args": undo} if scheduled else None,
            "summary": "Planned.",
        }
    )


class Named(NamedTuple):
    """Whom a text names: Slack's tokens by the words that stand for them, and the people as a person is told."""

    tokens: Mapping[str, str]
    people: Sequence[str]


def mentions(body: str, caller: Caller) -> Asks[Named]:
    """The people and channels that a text names exactly, as far as they may be looked up."""
    wanted = names_in(body)
    handles = sorted(one for one in wanted if one.startswith("@") and one not in _EVERYBODY)
    channels = {one.removeprefix("#") for one in wanted if one.startswith("#")}
    found: dict[str, str] = {}
    told: list[str] = []
    try:
        if handles and "users:read" in caller.granted:
            everybody = yield from users.everyone(caller, handles)
            hits = {one: users.exact(everybody, one) for one in handles}
            people = {one: users[0] for one, users in hits.items() if len(users) == 1}
            found |= {one: f"<@{user['id']}>" for one, user in people.items()}
            told = [f"{one} is {users.with_handle(user)}" for one, user in people.items()]
        if channels and (kinds := caller.kinds_with("read", *CHANNELS)):
            listed = yield from places.joined(kinds, caller, lambda known: channels <= _called(known))
            found |= {f"#{one['name']}": f"<#{one['id']}>" for one in listed.rows if one.get("name") in channels}
    except DeputizeError:
        return Named(found, told)  # they stay plain text
    return Named(found, told)


def _in_blocks(blocks: Sequence[Json], caller: Caller) -> Asks[Named]:
    """Whom blocks mention, which have ids of people where a text has names."""
    ids = sorted(set(mentioned([shown({"blocks": blocks})])))
    if "users:read" not in caller.granted:
        return Named({}, ids)
    answers = yield from api.many([users.info(one) for one in ids[:_LOOKED_UP]])
    found = {one: got["user"] for one, got in zip(ids, answers, strict=False) if isinstance(got, dict)}
    return Named({}, [f"{one} is {users.with_handle(found[one])}" if one in found else one for one in ids])


def _called(channels: Sequence[Row]) -> set[str]:
    return {str(one.get("name") or "") for one in channels}
