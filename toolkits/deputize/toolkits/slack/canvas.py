"""Slack: canvases. Slack reads their Markdown itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Effect, Need, Preview, Request, Run, SaveNote, Steps, any_of
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import IfText
from deputize.toolkits._shared.long_text import check_read
from deputize.toolkits._shared.text import clip
from deputize.toolkits.slack import api, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import SLACK, Asks, Caller, Conversation, Json, Row
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.excerpts import in_parts
from deputize.toolkits.slack.files import text_now
from deputize.toolkits.slack.idempotent_post import began, once
from deputize.toolkits.slack.text import Reader

LONGEST: Final = 100_000  # characters
_OPERATIONS: Final = {"append": "insert_at_end", "prepend": "insert_at_start", "replace": "replace"}
_SKEW: Final = 5  # seconds
_TAKEN: Final = "channel_canvas_already_exists"

Mode = Literal["append", "prepend", "replace"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    named = arguments["conversation"]
    method = "canvases.edit" if arguments["canvas_id"] else "canvases.create"
    found = refs.naming(refs.safely(named), sends=True) if named else []
    return [*found, any_of("canvases:write", method=method)]


def _effect(arguments: Arguments) -> Effect:
    """Asks when a canvas is changed, since others may read it, or is shared in a conversation."""
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
        spot = Spot.of_note(run.noted["place"]) if run.noted.get("place") else None
    else:
        spot = (yield from preview.found(conversation, caller, sends=True)) if conversation else None
        now = (yield from _as_it_is(canvas_id, mode, caller)) if canvas_id else {}
        if "text" in now:
            check_read("body", now["text"], if_text, _WHOLE, cut=in_parts(now["text"]))
        yield _show(body, title, mode if canvas_id else None, now, spot, caller, canvas_id or "")
        spot = (yield from places.opened(spot)) if spot else None
    made, own = canvas_id or "", False
    if canvas_id:
        yield from _changed(canvas_id, mode, content, spot, run)
    else:
        made, own = yield from _created(title, content, spot, run)
    failed = (yield from api.each({"share": _sharing(made, spot)}))[1] if spot and not own else []
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
    "replace": "Replace all of a canvas",
}


def _show(
    body: str, title: str | None, mode: Mode | None, now: Json, spot: Spot | None, caller: Caller, canvas: str
) -> Preview:
    """A new canvas is the user's own until it is shared. Who reads one that is there, Slack does not say."""
    place: Json = preview.there(spot, caller) if spot else {"audience": Audience.SELF, "where": "your own canvases"}
    if mode is None:
        return Preview("Create this canvas", **place, title=title, text=body)
    place["where"] = f"canvas {now.get('title') or canvas}" + (f", then shared in {place['where']}" if spot else "")
    place |= {"audience": Audience.UNKNOWN, "pins": place.get("pins", {}) | {"canvas": canvas}}
    text = Change(now["text"], body) if "text" in now else body
    unread = _NOT_READ if mode == "replace" and "text" not in now else None
    return Preview(_WHAT[mode], **place, destroys=mode == "replace", text_now=unread, text=text)


def _as_it_is(canvas: str, mode: Mode, caller: Caller) -> Asks[Json]:
    """The title of a canvas, and what is in it if that is lost, where it may be read without asking."""
    if "files:read" not in caller.granted:
        return {}
    file = ((yield from api.optional(api.call("files.info", {"file": canvas}))) or {}).get("file")
    if not isinstance(file, dict):
        return {}
    found: Json = {"title": str(file.get("title") or "")}
    if mode == "replace":
        text = yield from text_now(file)
        found |= {"text": text} if text is not None else {}
    return found


def _content(body: str) -> Json:
    """The canvas as Slack takes it. Raises `InvalidInput` for none, and for one that is too long."""
    text = body.replace("\r\n", "\n").replace("\x00", "")
    if not text.strip() or len(text) > LONGEST:
        raise InvalidInput(f"body: must have 1 to {LONGEST} characters, not {len(text.strip())}.")
    return {"type": "markdown", "markdown": text}


def _changed(canvas: str, mode: Mode, content: Json, spot: Spot | None, run: Run) -> Asks[bool]:
    """canvases.edit: replacing may be repeated; what is added a second time would stand there twice."""
    asked = {"canvas_id": canvas, "changes": [{"operation": _OPERATIONS[mode], "document_content": content}]}
    note = {"canvas": canvas, "place": spot.noted if spot else None}
    if mode == "replace":
        yield SaveNote(note)
        yield api.call("canvases.edit", asked, repeat="idem")
        return True
    return (yield from once(run, note, lambda: _edited(asked), _nothing))


def _edited(asked: Json) -> Asks[bool]:
    yield api.call("canvases.edit", asked, repeat="write")
    return True


def _nothing() -> Asks[bool | None]:
    """There is nothing to find an addition by."""
    return None
    yield


def _created(title: str | None, content: Json, spot: Spot | None, run: Run) -> Asks[tuple[str, bool]]:
    """A new canvas; of a conversation that has none yet, its own, whose rights Slack sets. And whether it is that."""
    asked = {"title": title, "document_content": content}
    note = {"title": title, "place": spot.noted if spot else None}
    return (yield from once(run, note, lambda: _made(asked, spot), lambda: _made_before(title, run)))


def _made(asked: Json, spot: Spot | None) -> Asks[tuple[str, bool]]:
    if spot:
        try:
            own = {"channel_id": spot.id, **asked}
            return str((yield api.call("conversations.canvases.create", own, repeat="write"))["canvas_id"]), True
        except InvalidInput as refused:
            if refused.reason != _TAKEN:
                raise
    return str((yield api.call("canvases.create", asked, repeat="write"))["canvas_id"]), False


def _made_before(title: str | None, run: Run) -> Asks[tuple[str, bool] | None]:
    """The one canvas of this title that the user has made since; None where it is not one, or may not be looked for."""
    if not title or "files:read" not in Caller.of(run).granted:
        return None
    since = str(int(began(run)) - _SKEW)
    answer = yield api.call("files.list", {"types": "canvases", "user": Caller.of(run).user, "ts_from": since})
    hits: list[Row] = [one for one in answer.get("files") or () if one.get("title") == title]
    return (str(hits[0]["id"]), False) if len(hits) == 1 else None


def _sharing(canvas: str, spot: Spot) -> Request:
    """Whoever is in the conversation may read it."""
    asked = {"canvas_id": canvas, "access_level": "read", "channel_ids": [spot.id]}
    return api.call("canvases.access.set", asked, repeat="idem")


def _link(canvas: str, caller: Caller) -> Asks[str]:
    if "files:read" not in caller.granted:
        return ""
    answer = yield from api.optional(api.call("files.info", {"file": canvas}))
    return Reader().line(str(((answer or {}).get("file") or {}).get("permalink") or ""), 200)
