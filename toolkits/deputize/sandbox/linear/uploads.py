"""uploads.linear.app and the store behind it: uploaded files, by the URL from a mutation."""

from __future__ import annotations

import base64

from deputize.sandbox.graphql import Field
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.linear.store import Call, Json, failed
from deputize.sandbox.world import World

HOST = "uploads.linear.app"
STORE = "linear-uploads.example.test"  # the host of the bytes, another company's
SIGNED = "x-goog-content-length-range"


def file_upload(call: Call, one: Field) -> Json:
    """Return an upload URL, and the URL of the file."""
    call.needs("write")
    given = one.arguments
    path = f"{stable_id('organization')}/{stable_id('upload', str(len(call.rows('uploads'))))}"
    size = int(given["size"])
    row = {"id": path, "name": given["filename"], "mime": given["contentType"], "size": size}
    call.rows("uploads").append(row)
    headers = [{"key": SIGNED, "value": f"{size},{size}"}, {"key": "Content-Type", "value": row["mime"]}]
    urls = {"uploadUrl": f"https://{STORE}/{path}?signature=1", "assetUrl": f"https://{HOST}/{path}"}
    return {"success": True, "lastSyncId": 1.0, "uploadFile": urls | {"headers": headers}}


def put(ask: Ask, world: World) -> Reply:
    """Store the bytes of a PUT: only with the signed headers, and without a token."""
    rows = world.services["linear"].get("uploads") or []
    row = next((one for one in rows if one["id"] == ask.path.strip("/")), None)
    size = f"{len(ask.body)},{len(ask.body)}"
    signed = row is not None and ask.headers.get(SIGNED) == f"{row['size']},{row['size']}" == size
    if ask.method != "PUT" or row is None or not signed or ask.headers.get("content-type") != row["mime"]:
        return Reply(403, (), b"SignatureDoesNotMatch")
    row["bytes"] = base64.b64encode(ask.body).decode()
    return Reply(200)


def get(ask: Ask, world: World) -> Reply:
    """Return a file, for a token of the workspace."""
    token = world.access(ask.bearer(), "linear")
    if token is None:
        raise failed(401, "Authentication required, not authenticated", "authentication error", "AUTHENTICATION_ERROR")
    for row in world.services["linear"].get("uploads") or []:
        if row["id"] == ask.path.strip("/") and "bytes" in row:
            named = ("content-disposition", f'attachment; filename="{row["name"]}"')
            return Reply(200, (("content-type", row["mime"]), named), base64.b64decode(row["bytes"]))
    return Reply(404, (), b"Not Found")
