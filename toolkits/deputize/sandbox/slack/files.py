"""``files.*``, canvases, and the host of the bytes."""

from __future__ import annotations

import base64
import mimetypes
from urllib.parse import quote, unquote

from deputize.sandbox.http_types import Refused, Reply
from deputize.sandbox.slack.call import Call, Json, failed, new_id, new_ts
from deputize.sandbox.slack.seed import TEAM
from deputize.sandbox.world import World

HOST = "files.slack.com"
CANVAS = "application/vnd.slack-docs"
_KINDS = {"images": "image/", "pdfs": "application/pdf", "snippets": "text/", "canvases": CANVAS}


def upload_url(call: Call) -> Reply:
    """Run ``files.getUploadURLExternal``, step one: return a URL for the bytes."""
    call.needs("files:write")
    name, length = call.text("filename"), call.number("length", 0, 2**40)
    if not name:
        raise failed("invalid_arguments")
    identity = new_id(call.store, "F")
    secret = f"{identity}-{call.store['made']:04d}"
    call.store.setdefault("uploads", {})[secret] = {"id": identity, "name": name, "length": length, "user": call.user}
    return call.good(
        {"upload_url": f"https://{HOST}/upload/v1/{secret}", "file_id": identity}, "files:write", changes=True
    )


def take_bytes(path: str, body: bytes, world: World) -> Reply:
    """Store the bytes at that URL, step two. The URL is secret; no token is needed."""
    upload = world.services["slack"].get("uploads", {}).get(path.removeprefix("/upload/v1/"))
    if upload is None:
        return Reply(404, (), b"file_not_found")
    if len(body) != upload["length"]:
        return Reply(400, (), b"wrong length")
    upload["content"] = base64.b64encode(body).decode()
    return Reply(200, (("content-type", "text/plain"),), f"OK - {len(body)}".encode())


def complete(call: Call) -> Reply:
    """Run ``files.completeUploadExternal``, step three: create the files and share them."""
    call.needs("files:write")
    wanted = call.parse_json("files")
    if not isinstance(wanted, list) or not wanted:
        raise failed("invalid_arguments")
    channel = call.joined_channel("channel_id") if call.text("channel_id") else None
    if channel and channel["is_archived"]:
        raise failed("is_archived")
    uploads = call.store.get("uploads", {})
    made = []
    for one in wanted:
        secret = next((key for key, row in uploads.items() if row["id"] == one.get("id") and "content" in row), None)
        if secret is None or uploads[secret]["user"] != call.user:
            raise failed("file_not_found")
        made.append(_create_file(call, uploads.pop(secret), str(one.get("title") or "")))
    if channel:
        _show(call, channel, made)
    return call.good({"files": [format_file(row) for row in made]}, "files:write", changes=True)


def _create_file(call: Call, upload: Json, title: str) -> Json:
    mime = mimetypes.guess_type(upload["name"])[0] or "application/octet-stream"
    row = file_row(upload["id"], upload["name"], mime, call.user, call.now, upload["content"], title)
    call.store.setdefault("files", {})[row["id"]] = row
    return row


def file_row(identity: str, name: str, mime: str, user: str, now: int, content: str, title: str = "") -> Json:
    """Return a file as stored; ``content`` in base64."""
    return {
        "id": identity,
        "name": name,
        "title": title or name,
        "mimetype": mime,
        "user": user,
        "created": now,
        "content": content,
        "channels": [],
    }


def _show(call: Call, channel: Json, made: list[Json]) -> None:
    message: Json = {
        "type": "message",
        "subtype": "file_share",
        "user": call.user,
        "text": call.text("initial_comment"),
        "ts": new_ts(call),
        "files": [{"id": row["id"], "name": row["name"], "title": row["title"]} for row in made],
    }
    if thread := call.text("thread_ts"):
        message["thread_ts"] = thread
    channel["messages"].append(message)
    for row in made:
        row["channels"].append(channel["id"])


def format_file(row: Json) -> Json:
    """Return a file in Slack's format."""
    name = quote(row["name"])
    place = f"https://{HOST}/files-pri/{TEAM['id']}-{row['id']}"
    return {
        "id": row["id"],
        "created": row["created"],
        "timestamp": row["created"],
        "name": row["name"],
        "title": row["title"],
        "mimetype": row["mimetype"],
        "filetype": "quip" if row["mimetype"] == CANVAS else row["name"].rpartition(".")[2],
        "user": row["user"],
        "size": len(base64.b64decode(row["content"])),
        "url_private": f"{place}/{name}",
        "url_private_download": f"{place}/download/{name}",
        "permalink": f"https://{TEAM['domain']}.slack.com/files/{row['user']}/{row['id']}/{name}",
        "channels": row["channels"],
        "shares": {"public": {one: [] for one in row["channels"]}} if row["channels"] else {},
    }


def is_visible(call: Call, row: Json) -> bool:
    """Return True for an own file, or one shared in a conversation that the caller can see."""
    places = [call.store["channels"].get(one) for one in row["channels"]]
    return row["user"] == call.user or any(p and (not p["is_private"] or call.user in p["members"]) for p in places)


def info(call: Call) -> Reply:
    call.needs("files:read")
    row = call.store.get("files", {}).get(call.text("file"))
    if row is None or not is_visible(call, row):
        raise failed("file_not_found")
    return call.good({"file": format_file(row), "comments": []}, "files:read")


def listing(call: Call) -> Reply:
    """Run ``files.list``: newest first."""
    call.needs("files:read")
    rows = [row for row in call.store.get("files", {}).values() if is_visible(call, row)]
    if channel := call.text("channel"):
        rows = [row for row in rows if channel in row["channels"]]
    if user := call.text("user"):
        rows = [row for row in rows if row["user"] == user]
    if kinds := [_KINDS[kind] for kind in call.split_list("types") if kind in _KINDS]:
        rows = [row for row in rows if row["mimetype"].startswith(tuple(kinds))]
    start, end = float(call.text("ts_from") or 0), float(call.text("ts_to") or "inf")
    rows = [row for row in rows if start <= row["created"] <= end]
    page, paging = call.page_by_number(sorted(rows, key=lambda row: (-row["created"], row["id"])))
    return call.good({"files": [format_file(row) for row in page], "paging": paging}, "files:read")


def download(call: Call, path: str) -> Reply:
    """Return the bytes to callers who may see the file, else a sign-in page."""
    parts = [unquote(part) for part in path.split("/") if part]
    row = call.store.get("files", {}).get(parts[1].partition("-")[2]) if len(parts) > 2 else None
    if row is None or not is_visible(call, row) or not call.may("files:read"):
        return sign_in()
    mime = "text/html; charset=utf-8" if row["mimetype"] == CANVAS else row["mimetype"]
    return Reply(200, (("content-type", mime),), base64.b64decode(row["content"]))


def sign_in() -> Reply:
    """Return the HTML page that a browser without a session gets instead of a file."""
    return Reply(200, (("content-type", "text/html; charset=utf-8"),), b"<html><title>Sign in to Slack</title></html>")


def as_page(refusal: Refused) -> Reply:
    """Return the files host's form of an error: a page instead of JSON."""
    return sign_in() if refusal.reply.status == 200 else refusal.reply


# ------------------------------------------------------------------ canvases


def create_canvas(call: Call) -> Reply:
    call.needs("canvases:write")
    return call.good({"canvas_id": _canvas(call)["id"]}, "canvases:write", changes=True)


def create_channel_canvas(call: Call) -> Reply:
    """Run ``conversations.canvases.create``: a conversation has one canvas at most."""
    call.needs("canvases:write")
    channel = call.joined_channel("channel_id")
    if channel.get("canvas"):
        raise failed("channel_canvas_already_exists")
    row = _canvas(call)
    row["channels"].append(channel["id"])
    channel["canvas"] = row["id"]
    return call.good({"canvas_id": row["id"]}, "canvases:write", changes=True)


def _canvas(call: Call) -> Json:
    text = _markdown(call.parse_json("document_content"))
    title = call.text("title") or "Untitled"
    content = base64.b64encode(_page(text)).decode()
    row = file_row(new_id(call.store, "F"), title, CANVAS, call.user, call.now, content, title) | {"markdown": text}
    call.store.setdefault("files", {})[row["id"]] = row
    return row


def _markdown(content: object) -> str:
    if content is None:
        return ""
    if not isinstance(content, dict) or content.get("type") != "markdown":
        raise failed("invalid_document_content")
    return str(content.get("markdown") or "")


def _page(text: str) -> bytes:
    lines = text.replace("&", "&amp;").replace("<", "&lt;").split("\n")
    return "".join(f"<p>{line}</p>" for line in lines).encode()


def edit_canvas(call: Call) -> Reply:
    """Run ``canvases.edit``: insert at the end or the beginning, or replace all."""
    call.needs("canvases:write")
    row = _own_canvas(call)
    changes = call.parse_json("changes")
    if not isinstance(changes, list) or len(changes) != 1:
        raise failed("invalid_arguments")
    text, before = _markdown(changes[0].get("document_content")), row["markdown"]
    ways = {"insert_at_end": f"{before}\n{text}", "insert_at_start": f"{text}\n{before}", "replace": text}
    if changes[0].get("operation") not in ways:
        raise failed("invalid_arguments")
    row["markdown"] = ways[changes[0]["operation"]]
    row["content"] = base64.b64encode(_page(row["markdown"])).decode()
    return call.good({}, "canvases:write", changes=True)


def share_canvas(call: Call) -> Reply:
    """Run ``canvases.access.set``: let the members of these conversations read it."""
    call.needs("canvases:write")
    row = _own_canvas(call)
    if call.text("access_level") not in ("read", "write"):
        raise failed("invalid_arguments")
    for one in call.parse_json("channel_ids") or []:
        if one not in call.store["channels"]:
            raise failed("channel_not_found")
        row["channels"] = list(dict.fromkeys([*row["channels"], one]))
    return call.good({}, "canvases:write", changes=True)


def _own_canvas(call: Call) -> Json:
    row: Json | None = call.store.get("files", {}).get(call.text("canvas_id"))
    if row is None or row["mimetype"] != CANVAS or not is_visible(call, row):
        raise failed("canvas_not_found")
    return row
