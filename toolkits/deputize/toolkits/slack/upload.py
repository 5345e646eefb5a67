"""Slack: uploading files.

docs.slack.dev/messaging/working-with-files. An upload takes three steps: request an address, send the bytes there
without a token, and share the file. Nobody sees the file before the last step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from deputize.core import Answer, Effect, File, Need, Preview, PublicRequest, Run, Steps, Take, any_of
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.steps import MIB
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.attached import shown_files
from deputize.toolkits.slack import api, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import SLACK, Asks, Caller, Conversation, Row, Ts
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.files import HOST
from deputize.toolkits.slack.idempotent_post import write_once
from deputize.toolkits.slack.mentions import mentions
from deputize.toolkits.slack.mrkdwn import to_mrkdwn
from deputize.toolkits.slack.text import Reader

Handles = Annotated[list[str], Field(min_length=1, max_length=10, description="file handles")]


def _upload_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    return [*refs.needs_of(ref, sends=True), any_of("files:write", method="files.completeUploadExternal")]


@SLACK.tool(needs=_upload_needs, effect=Effect.SENDS)
def upload_file(
    conversation: Conversation,
    attachments: Handles,
    body: Annotated[str | None, Field(description="comment")] = None,
    title: Annotated[str | None, Field(max_length=200)] = None,
    thread_ts: Annotated[Ts | None, Field(description="answer in this thread")] = None,
    *,
    run: Run,
) -> Steps:
    """Upload a file to a conversation or thread."""
    caller = Caller.of(run)
    ref = refs.read(conversation)
    comment = to_mrkdwn(body) if body else None
    thread = thread_ts or ref.thread_ts or ref.ts or None
    if run.noted:
        spot = Spot.from_note(run.noted)
        ids = [str(one) for one in run.noted["files"]]
        nobody = list(run.noted.get("nobody") or ())
    else:
        files = yield from _take_files(attachments)
        spot = yield from preview.find(conversation, caller, sends=True)
        named = yield from mentions(body or "", spot, caller)
        comment = to_mrkdwn(body, named.tokens) if body else None
        shown = yield from shown_files(files)
        yield Preview(
            "Share these files" if len(files) > 1 else "Share this file",
            **named.add_to((yield from preview.thread(spot, caller, thread))),
            files=shown,
            title=title or None,
            text=body or None,
            undo="it can be deleted in Slack, but people may have opened it by then",
        )
        spot = yield from places.open_direct_message(spot)
        ids, nobody = (yield from _store_files(files)), named.nobody
    asked = {
        "files": [{"id": one, **({"title": title} if title else {})} for one in ids],
        "channel_id": spot.id,
        "initial_comment": comment,
        "thread_ts": thread,
    }
    shared = yield from write_once(
        run,
        {**spot.noted, "files": ids, "nobody": nobody},
        lambda: _complete_upload(asked),
        lambda: _find_shared(ids, spot.id, caller),
    )
    url = next((str(one.get("permalink") or "") for one in shared), "")
    done = {**spot.shown, "file_ids": ids, "url": Reader().line(url, 200)}
    return rows.lean({**done, "reaches_nobody": nobody, "summary": "Uploaded."})


def _take_files(handles: Sequence[str]) -> Asks[list[File]]:
    """Return the user's files with these handles. Raises `InvalidInput` for an empty file."""
    found: list[File] = []
    for handle in handles:
        file: File = yield Take(handle)
        if not file.content:
            raise InvalidInput(
                f'attachments: the file "{Reader().line(file.name, 60)}" is empty.', hint="Leave it out."
            )
        found.append(file)
    return found


def _store_files(files: Sequence[File]) -> Asks[list[str]]:
    """Send the files to Slack without sharing them. Return their ids. Both steps may be repeated."""
    ids: list[str] = []
    for file in files:
        asked = {"filename": file.name, "length": len(file.content)}
        try:
            told = yield api.call("files.getUploadURLExternal", asked, repeat="idem", prepares=True)
            answer: Answer = yield _put(str(told["upload_url"]), file)
        except OutcomeUnknown:
            raise ProviderUnavailable(
                "Slack is not available now; nothing was posted.", hint="Call again in a minute."
            ) from None
        if answer.status >= 300:
            raise ProviderUnavailable("Slack refused the file; nothing was posted.", hint="Check its size and type.")
        ids.append(str(told["file_id"]))
    return ids


def _put(url: str, file: File) -> PublicRequest:
    """Return the request that sends the bytes. Only Slack's hosts are allowed, although no token is sent."""
    if not url.startswith((f"https://{HOST}/", "https://slack.com/")):
        raise InvalidInput(
            "Slack returned an upload address that is not its own.", fix_by="operator", hint="Report this to Slack."
        )
    mime = "application/octet-stream"
    return PublicRequest(url, "POST", file.content, mime, repeat="idem", prepares=True, max_bytes=MIB)


def _complete_upload(asked: Mapping[str, object]) -> Asks[list[Row]]:
    answer = yield api.call("files.completeUploadExternal", asked, repeat="write")
    return [one for one in answer.get("files") or () if isinstance(one, dict)]


def _find_shared(ids: Sequence[str], conversation: str, caller: Caller) -> Asks[list[Row] | None]:
    """Return the files if all of them are in the conversation. None: one is missing, or they may not be read."""
    if "files:read" not in caller.granted:
        return None
    answers = yield from api.many([api.call("files.info", {"file": one}) for one in ids])
    files = [answer["file"] for answer in answers if not isinstance(answer, DeputizeError)]
    return files if len(files) == len(ids) and all(_is_in(one, conversation) for one in files) else None


def _is_in(file: Row, conversation: str) -> bool:
    shares = file.get("shares") or {}
    by_kind = [kind for kind in shares.values() if isinstance(kind, dict)] if isinstance(shares, dict) else []
    listed = [one for name in ("channels", "groups", "ims") for one in file.get(name) or ()]
    return conversation in listed or any(conversation in kind for kind in by_kind)
