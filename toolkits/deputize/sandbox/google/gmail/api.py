"""gmail.googleapis.com: dispatch of requests to methods, after a check of the token's scopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox.google import errors
from deputize.sandbox.google.gmail import drafts, history, labels, messages, settings, threads
from deputize.sandbox.google.gmail import send as sending
from deputize.sandbox.google.gmail.call import Call, forbidden
from deputize.sandbox.google.gmail.mailbox import Json
from deputize.sandbox.google.gmail.methods import METHODS, Method
from deputize.sandbox.google.tokens import caller
from deputize.sandbox.http_types import Ask, Reply, in_json
from deputize.sandbox.world import World

HOST = "gmail.googleapis.com"

ANSWERS: Mapping[str, Callable[[Call], Json | None]] = {
    "drafts.create": drafts.create,
    "drafts.delete": drafts.delete,
    "drafts.get": drafts.get,
    "drafts.list": drafts.list_,
    "drafts.send": drafts.send,
    "drafts.update": drafts.update,
    "getProfile": history.profile,
    "history.list": history.list_,
    "labels.create": labels.create,
    "labels.delete": labels.delete,
    "labels.get": labels.get,
    "labels.list": labels.list_,
    "labels.patch": labels.patch,
    "messages.attachments.get": messages.attachment,
    "messages.batchModify": messages.batch_modify,
    "messages.get": messages.get,
    "messages.list": messages.list_,
    "messages.modify": messages.modify,
    "messages.send": sending.send,
    "messages.trash": messages.trash,
    "messages.untrash": messages.untrash,
    "settings.filters.create": settings.create_filter,
    "settings.filters.delete": settings.delete_filter,
    "settings.filters.list": settings.list_filters,
    "settings.forwardingAddresses.list": settings.list_forwarding,
    "settings.getAutoForwarding": settings.get_auto_forwarding,
    "settings.getVacation": settings.get_vacation,
    "settings.sendAs.list": settings.list_send_as,
    "settings.sendAs.patch": settings.patch_send_as,
    "settings.updateVacation": settings.update_vacation,
    "threads.get": threads.get,
    "threads.list": threads.list_,
    "threads.modify": threads.modify,
    "threads.trash": threads.trash,
    "threads.untrash": threads.untrash,
}


def handle(ask: Ask, world: World) -> Reply:
    """Check token, scope and mailbox in this order, then run the method."""
    method, ids = _method(ask)
    if method is None:
        return errors.not_found(ask.path)
    person, token = caller(ask, world)
    if not set(method.scopes) & set(token.scopes):
        return errors.scope_missing(HOST, method.rpc, method.scopes)
    if ids.pop("userId") not in ("me", person.email):
        raise forbidden(f"Delegation denied for {person.email}")
    content = ANSWERS[method.id](Call(ask, world, person, frozenset(token.scopes), ids))
    return Reply(204) if content is None else in_json(content)


def _method(ask: Ask) -> tuple[Method | None, dict[str, str]]:
    uploads = ask.path.startswith("/upload/")
    for method in METHODS:
        ids = method.ids_in(ask.path) if method.verb == ask.method and method.uploads >= uploads else None
        if ids is not None:
            return method, ids
    return None, {}
