"""Slack: canvases. Slack itself parses their Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Danger, Effect, Need, Preview, Request, Run, SaveNote, Steps, any_of
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import IfText
from deputize.toolkits._shared.long_text import check_read
from deputize.toolkits._shared.text import clip
from deputize.toolkits.slack import api, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import SLACK, Asks, Caller, Conversation, Json, Row
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.excerpts import needs_parts
from deputize.toolkits.slack.files import load_text
from deputize.toolkits.slack.idempotent_post import start_time, write_once
from deputize.toolkits.slack.text import Reader

LONGEST: Final = 100_000  # characters
_OPERATIONS: Final = {"append": "insert_at_end", "prepend": "insert_at_start", "replace": "replace"}
_SKEW: Final = 5  # seconds
_TAKEN: Final = "channel_canvas_already_exists"

Mode = Literal["append", "prepend", "replace"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    named = arguments["conversation"]
    method = "canvases.edit" if arguments["canvas_id"] else "canvases.create"
    found = refs.needs_of(refs.try_read(named), sends=True) if named else []
    return [*found, any_of("canvases:write", method=method)]


def _effect(arguments: Arguments) -> Effect:
    """Return the effect. Changing a canvas that others may read and sharing a canvas need the user's approval."""
    if not arguments["canvas_id"] and not arguments["conversation"]:
        return Effect.WRITES
    replaced = arguments["canvas_id"] and arguments["mode"] == "replace"
    return Effect.WRITES | Effect.SENDS | (Effect.DESTRUCTIVE if replaced else Effect.WRITES)


@SLACK.tool(
    needs=_needs,
    effect=_effect,
    gravest=Effect.WRITES | Effect.DESTRUCTIVE | Effect.SENDS,
    toolset="more",
)
def write_canvas(
    body: Annotated[str, Field(description="Markdown")],
    canvas_id: Annotated[str | None, Field(description="change this one")] = None,
    title: Annotated[str | None, Field(max_length=200, description="of a new one")] = None,
    conversation: Annotated[Conversation | None, Field(description="share or tab here")] = None,
    mode: Annotated[Mode, Field(description="with canvas_id")] = "append",
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Create a canvas or change one, from Markdown."""
    content = _content(body)
    if not canvas_id and mode != "append":
        raise InvalidInput("mode: only together with canvas_id.", hint="A new canvas has no old text.")
    if if_text is not None and mode != "replace":
        raise InvalidInput("if_text: only together with mode=replace.", hint="Otherwise nothing is replaced.")
    if canvas_id and title:
        raise InvalidInput("title: can only be set for a new canvas.", hint="Leave out title, or canvas_id.")
    caller = Caller.of(run)
    if run.noted:
        spot = Spot.from_note(run.noted["place"]) if run.noted.get("place") else None
    else:
        spot = (yield from preview.find(conversation, caller, sends=True)) if conversation else None
        now = (yield from _load_current(canvas_id, mode, caller)) if canvas_id else {}
        if "text" in now:
            check_read("body", now["text"], if_text, _WHOLE, cut=needs_parts(now["text"]))
        yield _show(body, title, mode if canvas_id else None, now, spot, caller, canvas_id or "")
        spot = (yield from places.open_direct_message(spot)) if spot else None
    made, own = canvas_id or "", False
    if canvas_id:
        yield from _change_canvas(canvas_id, mode, content, spot, run)
    else:
        made, own = yield from _create_canvas(title, content, spot, run)
    failed = (yield from api.run_each({"share": _share_request(made, spot)}))[1] if spot and not own else []
    return rows.lean(
        {
            "canvas_id": made,
            "title": clip(title or "", 60),
            **(spot.shown if spot else {}),
            "url": (yield from _link(made, caller)),
            "failed": failed,
            "summary": "Changed." if canvas_id else "Created.",
        }
    )


_WHOLE: Final = "Read it: slack_get_file, by more to its end; pass text_digest as if_text; or use mode=append."
_NOT_READ: Final = "(not shown: files may not be read)"
_WHAT: Final[Mapping[Mode, str]] = {
    "append": "Add this to the end of a canvas",
    "prepend": "Add this to the beginning of a canvas",
    "replace": "Replace the text of a canvas",
}


def _show(
    body: str, title: str | None, mode: Mode | None, now: Json, spot: Spot | None, caller: Caller, canvas: str
) -> Preview:
    """Return the preview. A new canvas is private until it is shared. An existing canvas's readers are unknown."""
    place: Json = preview.location(spot, caller) if spot else {"audience": Audience.SELF, "where": "your own canvases"}
    if mode is None:
        return Preview("Create this canvas", **place, title=title, text=body)
    place["where"] = f"canvas {now.get('title') or canvas}" + (f", then shared in {place['where']}" if spot else "")
    place |= {"audience": Audience.UNKNOWN, "pins": place.get("pins", {}) | {"canvas": canvas}}
    text = Change(now["text"], body) if "text" in now else body
    unread = _NOT_READ if mode == "replace" and "text" not in now else None
    return Preview(
        _WHAT[mode],
        **place,
        destroys=mode == "replace" and not (isinstance(text, Change) and text.before.strip() in body),
        dangers=[Danger.GIVES_ACCESS] if spot else (),
        text_now=unread,
        text=text,
    )


def _load_current(canvas: str, mode: Mode, caller: Caller) -> Asks[Json]:
    """Return the canvas's title, and the text that a replacement loses, if the grant allows reading both."""
    if "files:read" not in caller.granted:
        return {}
    file = ((yield from api.optional(api.call("files.info", {"file": canvas}))) or {}).get("file")
    if not isinstance(file, dict):
        return {}
    found: Json = {"title": str(file.get("title") or "")}
    if mode == "replace":
        text = yield from load_text(file)
        found |= {"text": text} if text is not None else {}
    return found


def _content(body: str) -> Json:
    """Return the content in the form that Slack takes. Raises `InvalidInput` for an empty or too long text."""
    text = body.replace("\r\n", "\n").replace("\x00", "")
    if not text.strip() or len(text) > LONGEST:
        raise InvalidInput(
            f"body: must have 1 to {LONGEST} characters, not {len(text.strip())}.",
            hint="Write it in parts, with mode=append.",
        )
    return {"type": "markdown", "markdown": text}


def _change_canvas(canvas: str, mode: Mode, content: Json, spot: Spot | None, run: Run) -> Asks[bool]:
    """Edit the canvas. Replacing may be repeated, but a repeated addition would appear twice."""
    asked = {"canvas_id": canvas, "changes": [{"operation": _OPERATIONS[mode], "document_content": content}]}
    note = {"canvas": canvas, "place": spot.noted if spot else None}
    if mode == "replace":
        yield SaveNote(note)
        yield api.call("canvases.edit", asked, repeat="idem")
        return True
    return (yield from write_once(run, note, lambda: _edit_canvas(asked), _find_nothing))


def _edit_canvas(asked: Json) -> Asks[bool]:
    yield api.call("canvases.edit", asked, repeat="write")
    return True


def _find_nothing() -> Asks[bool | None]:
    """Return None, because an addition cannot be recognized later."""
    return None
    yield


def _create_canvas(title: str | None, content: Json, spot: Spot | None, run: Run) -> Asks[tuple[str, bool]]:
    """Create a canvas. Return its id, and True if it became the conversation's own canvas, which was missing."""
    asked = {"title": title, "document_content": content}
    note = {"title": title, "place": spot.noted if spot else None}
    return (yield from write_once(run, note, lambda: _send_create(asked, spot), lambda: _find_created(title, run)))


def _send_create(asked: Json, spot: Spot | None) -> Asks[tuple[str, bool]]:
    if spot:
        try:
            own = {"channel_id": spot.id, **asked}
            return str((yield api.call("conversations.canvases.create", own, repeat="write"))["canvas_id"]), True
        except InvalidInput as refused:
            if refused.reason != _TAKEN:
                raise
    return str((yield api.call("canvases.create", asked, repeat="write"))["canvas_id"]), False


def _find_created(title: str | None, run: Run) -> Asks[tuple[str, bool] | None]:
    """Return the one canvas with this title that the user has created since the act began, or None if unknown."""
    if not title or "files:read" not in Caller.of(run).granted:
        return None
    since = str(int(start_time(run)) - _SKEW)
    answer = yield api.call("files.list", {"types": "canvases", "user": Caller.of(run).user, "ts_from": since})
    hits: list[Row] = [one for one in answer.get("files") or () if one.get("title") == title]
    return (str(hits[0]["id"]), False) if len(hits) == 1 else None


def _share_request(canvas: str, spot: Spot) -> Request:
    """Return the request that lets the conversation's members read the canvas."""
    asked = {"canvas_id": canvas, "access_level": "read", "channel_ids": [spot.id]}
    return api.call("canvases.access.set", asked, repeat="idem")


def _link(canvas: str, caller: Caller) -> Asks[str]:
    if "files:read" not in caller.granted:
        return ""
    answer = yield from api.optional(api.call("files.info", {"file": canvas}))
    return Reader().line(str(((answer or {}).get("file") or {}).get("permalink") or ""), 200)
