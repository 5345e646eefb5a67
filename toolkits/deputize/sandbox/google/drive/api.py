"""www.googleapis.com/drive/v3: dispatch of requests to methods, after a check of the token's scopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from deputize.sandbox.google import errors
from deputize.sandbox.google.drive import reads, writes
from deputize.sandbox.google.drive.call import HOST, Call, Json
from deputize.sandbox.google.drive.methods import METHODS, ROOT, UPLOAD, Method
from deputize.sandbox.google.tokens import caller
from deputize.sandbox.http_types import Ask, Reply, in_json
from deputize.sandbox.world import World

ROOTS: Final = (f"{ROOT}/", f"{UPLOAD}/")
ANSWERS: Final[Mapping[str, Callable[[Call], Json | Reply | None]]] = {
    "comments.create": writes.comment,
    "comments.delete": writes.delete_comment,
    "comments.get": writes.get_comment,
    "comments.list": writes.comments,
    "drives.get": reads.drive,
    "drives.list": reads.drives,
    "files.copy": writes.copy,
    "files.create": writes.create,
    "files.export": reads.export,
    "files.generateIds": writes.generate_ids,
    "files.get": reads.get,
    "files.list": reads.list_,
    "files.update": writes.update,
    "permissions.create": writes.share,
    "permissions.delete": writes.unshare,
    "permissions.list": reads.permissions,
    "permissions.update": writes.change_permission,
    "replies.create": writes.reply,
    "revisions.list": reads.revisions,
}


def handle(ask: Ask, world: World) -> Reply:
    """Check token, scope and query in this order, then run the method."""
    resumed = ask.method == "PUT" and ask.path.startswith(UPLOAD) and "upload_id" in ask.query
    method, ids = _method(
        "POST" if resumed and ask.path == f"{UPLOAD}/files" else "PATCH" if resumed else ask.method, ask
    )
    if method is None:
        return errors.not_found(ask.path)
    person, token = caller(ask, world)
    if not set(method.scopes) & set(token.scopes):
        return errors.scope_missing(HOST, method.rpc, method.scopes)
    call = Call(ask, world, person, frozenset(token.scopes), method, ids)
    call.check_query()
    content = (writes.upload_rest if resumed else ANSWERS[method.id])(call)
    if isinstance(content, Reply):
        return content
    return Reply(204) if content is None else in_json(content)


def _method(verb: str, ask: Ask) -> tuple[Method | None, dict[str, str]]:
    for method in METHODS:
        ids = method.ids_in(ask.path) if method.verb == verb else None
        if ids is not None:
            return method, ids
    return None, {}
