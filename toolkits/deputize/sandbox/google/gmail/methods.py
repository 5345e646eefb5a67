"""Gmail's methods: paths and scopes, of which one suffices.

From Google's discovery document gmail.v1, revision 20261005.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

ROOT = "/gmail/v1/users/{userId}"
MAIL = "https://mail.google.com/"
PREFIX = "https://www.googleapis.com/auth/gmail."


@dataclass(frozen=True)
class Method:
    """One method: its id without ``users.``, verb, path below the user, and its scopes, of which one suffices."""

    id: str
    verb: str
    path: str
    scopes: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of the whole path, with or without ``/upload``."""
        return re.compile("(?:/upload)?" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", ROOT + self.path))

    @property
    def uploads(self) -> bool:
        """True if the method takes a mail, and so also has a path under ``/upload``."""
        return self.id in ("drafts.create", "drafts.send", "drafts.update", "messages.send")

    @property
    def rpc(self) -> str:
        """The method's name in Google's errors."""
        *things, verb = self.id.split(".")
        tail = "".join(thing[0].upper() + thing[1:] for thing in reversed(things))
        return f"caribou.api.proto.MailboxService.{verb[0].upper()}{verb[1:]}{tail}"

    def ids_in(self, path: str) -> dict[str, str] | None:
        """Return the ids in a path of this method; None if the path belongs to another."""
        found = self.pattern.fullmatch(path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


def _method(id: str, verb: str, path: str, scopes: str) -> Method:
    return Method(id, verb, path, tuple(MAIL if name == "mail" else PREFIX + name for name in scopes.split()))


_READ = "mail metadata modify readonly"
_SETTINGS = "mail modify readonly settings.basic"

METHODS = (
    _method("drafts.create", "POST", "/drafts", "mail compose modify"),
    _method("drafts.send", "POST", "/drafts/send", "mail compose modify"),
    _method("drafts.list", "GET", "/drafts", "mail compose modify readonly"),
    _method("drafts.get", "GET", "/drafts/{id}", "mail compose modify readonly"),
    _method("drafts.update", "PUT", "/drafts/{id}", "mail compose modify"),
    _method("drafts.delete", "DELETE", "/drafts/{id}", "mail compose modify"),
    _method("getProfile", "GET", "/profile", "mail compose metadata modify readonly"),
    _method("history.list", "GET", "/history", _READ),
    _method("labels.list", "GET", "/labels", "mail labels metadata modify readonly"),
    _method("labels.create", "POST", "/labels", "mail labels modify"),
    _method("labels.get", "GET", "/labels/{id}", "mail labels metadata modify readonly"),
    _method("labels.patch", "PATCH", "/labels/{id}", "mail labels modify"),
    _method("labels.delete", "DELETE", "/labels/{id}", "mail labels modify"),
    _method("messages.list", "GET", "/messages", _READ),
    _method("messages.send", "POST", "/messages/send", "mail compose modify send"),
    _method("messages.batchModify", "POST", "/messages/batchModify", "mail modify"),
    _method("messages.get", "GET", "/messages/{id}", _READ),
    _method("messages.modify", "POST", "/messages/{id}/modify", "mail modify"),
    _method("messages.trash", "POST", "/messages/{id}/trash", "mail modify"),
    _method("messages.untrash", "POST", "/messages/{id}/untrash", "mail modify"),
    _method("messages.attachments.get", "GET", "/messages/{messageId}/attachments/{id}", "mail modify readonly"),
    _method("threads.list", "GET", "/threads", _READ),
    _method("threads.get", "GET", "/threads/{id}", _READ),
    _method("threads.modify", "POST", "/threads/{id}/modify", "mail modify"),
    _method("threads.trash", "POST", "/threads/{id}/trash", "mail modify"),
    _method("threads.untrash", "POST", "/threads/{id}/untrash", "mail modify"),
    _method("settings.getVacation", "GET", "/settings/vacation", _SETTINGS),
    _method("settings.updateVacation", "PUT", "/settings/vacation", "settings.basic"),
    _method("settings.getAutoForwarding", "GET", "/settings/autoForwarding", _SETTINGS),
    _method("settings.forwardingAddresses.list", "GET", "/settings/forwardingAddresses", _SETTINGS),
    _method("settings.filters.list", "GET", "/settings/filters", _SETTINGS),
    _method("settings.filters.create", "POST", "/settings/filters", "settings.basic"),
    _method("settings.filters.delete", "DELETE", "/settings/filters/{id}", "settings.basic"),
    _method("settings.sendAs.list", "GET", "/settings/sendAs", _SETTINGS),
    _method("settings.sendAs.patch", "PATCH", "/settings/sendAs/{sendAsEmail}", "settings.basic settings.sharing"),
)
