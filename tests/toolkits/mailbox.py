"""A mailbox that answers Gmail's requests, counts sent mails, and loses responses on demand."""

from __future__ import annotations

import base64
import copy
import email
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any, Final

from deputize.core import Request
from deputize.core.errors import DeputizeError, NotFound, OutcomeUnknown
from tests.toolkits.tool_driver import NOW

Json = dict[str, Any]

SCOPE: Final = "https://www.googleapis.com/auth/gmail."
READONLY, SEND, COMPOSE, MODIFY, LABELS = (f"{SCOPE}{one}" for one in "readonly send compose modify labels".split())
MAIL: Final = "https://mail.google.com/"
SETTINGS: Final = f"{SCOPE}settings.basic"


def b64(data: bytes | str, *, padded: bool = True) -> str:
    """Return data as Gmail encodes it."""
    raw = base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()
    return raw if padded else raw.rstrip("=")


def leaf(
    kind: str,
    data: bytes | str = b"",
    *,
    charset: str = "utf-8",
    filename: str = "",
    attachment: str = "",
    part: str = "0",
    headers: Mapping[str, str] | None = None,
) -> Json:
    """Return a part that is no container."""
    raw = data.encode(charset) if isinstance(data, str) else data
    body: Json = {"size": len(raw)}
    body |= {"attachmentId": attachment} if attachment else {"data": b64(raw)}
    named = {"Content-Type": f'{kind}; charset="{charset}"', **(headers or {})}
    return {
        "partId": part,
        "mimeType": kind,
        "filename": filename,
        "headers": [{"name": name, "value": value} for name, value in named.items()],
        "body": body,
    }


def container(kind: str, *parts: Json) -> Json:
    """Return a multipart; its parts are numbered as Gmail numbers them."""
    return numbered({"mimeType": f"multipart/{kind}", "filename": "", "headers": [], "parts": list(parts)}, "")


def numbered(payload: Json, part: str) -> Json:
    """Return the payload with the position of each part in it."""
    parts = [numbered(one, f"{part}.{at}".strip(".")) for at, one in enumerate(payload.get("parts", ()))]
    return {**payload, "partId": part} | ({"parts": parts} if parts else {})


def message(
    id: str = "m1",
    payload: Json | str = "Hello Alice.",
    *,
    thread: str = "",
    labels: Sequence[str] = ("INBOX",),
    sender: str = "Bob <bob@example.test>",
    to: str = "alice@example.test",
    subject: str = "Hello",
    at: float = NOW,
    snippet: str = "Hello Alice.",
    headers: Mapping[str, str] | None = None,
) -> Json:
    """Return a message as messages.get returns it."""
    body = leaf("text/plain", payload) if isinstance(payload, str) else payload
    named = {"From": sender, "To": to, "Subject": subject, "Message-ID": f"<{id}@example.test>", **(headers or {})}
    body = dict(body)
    body["headers"] = [{"name": name, "value": value} for name, value in named.items() if value] + body["headers"]
    return {
        "id": id,
        "threadId": thread or f"t-{id}",
        "labelIds": list(labels),
        "snippet": snippet,
        "internalDate": str(int(at * 1000)),
        "payload": body,
    }


@dataclass
class Mailbox:
    """Answers like Gmail. ``sent``: every sent mail, parsed. ``faults``: what to do at the next such request."""

    messages: dict[str, Json] = field(default_factory=dict)
    drafts: dict[str, Json] = field(default_factory=dict)
    labels: list[Json] = field(default_factory=lambda: [system("INBOX"), system("SENT")])
    aliases: list[Json] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    page: int = 500
    sent: list[EmailMessage] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    faults: dict[str, list[Callable[[Callable[[], Any]], Any]]] = field(default_factory=dict)
    made: int = 0
    vacation: Json = field(default_factory=lambda: {"enableAutoReply": False})
    filters: list[Json] = field(default_factory=list)
    history: list[Json] = field(default_factory=list)

    @classmethod
    def of(cls, *messages: Json, **more: Any) -> Mailbox:
        """Return a mailbox with these messages."""
        return cls({one["id"]: one for one in messages}, **more)

    def lose(self, method: str, path: str, times: int = 1) -> None:
        """Perform the next such request, and lose the response."""

        def act_and_lose(act: Callable[[], Any]) -> Any:
            act()
            raise OutcomeUnknown("lost")

        self.faults.setdefault(f"{method} {path}", []).extend([act_and_lose] * times)

    def fail(self, method: str, path: str, error: DeputizeError, times: int = 1) -> None:
        """Refuse the next such request, without effect."""

        def refuse(act: Callable[[], Any]) -> Any:
            raise error

        self.faults.setdefault(f"{method} {path}", []).extend([refuse] * times)

    def __call__(self, request: Request) -> Any:
        self.asked.append(request)
        route = f"{request.method} {request.path}"
        waiting = self.faults.get(route)
        act = functools.partial(_ROUTES[route], self, request)
        return copy.deepcopy(waiting.pop(0)(act) if waiting else act())

    def raw(self, request: Request) -> EmailMessage:
        """Return the mail in a request's body."""
        body = request.json.get("message", request.json)
        return parsed(base64.urlsafe_b64decode(body["raw"]))

    def _new(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    # ------------------------------------------------------------- routes

    def _list(self, ids: Sequence[str], request: Request, kind: str) -> Json:
        params = request.params or {}
        start = int(params.get("pageToken", 0))
        size = min(int(params.get("maxResults", 100)), self.page)
        page: Json = {kind: [{"id": one} for one in ids[start : start + size]], "resultSizeEstimate": 201}
        return page | ({"nextPageToken": str(start + size)} if start + size < len(ids) else {})

    def _list_messages(self, request: Request) -> Json:
        params = request.params or {}
        q, wanted = str(params.get("q", "")), set(params.get("labelIds", ()))
        if "in:sent" in q:
            wanted.add("SENT")
        return self._list(
            [one for one, m in self.messages.items() if wanted <= set(m["labelIds"])], request, "messages"
        )

    def _list_threads(self, request: Request) -> Json:
        return self._list(list(dict.fromkeys(m["threadId"] for m in self.messages.values())), request, "threads")

    def _list_drafts(self, request: Request) -> Json:
        return self._list(list(self.drafts)[::-1], request, "drafts")

    def _get_message(self, request: Request) -> Json:
        return shape(_here(self.messages, request.at["id"]), request)

    def _get_draft(self, request: Request) -> Json:
        draft = _here(self.drafts, request.at["id"])
        return {"id": draft["id"], "message": shape(draft["message"], request)}

    def _get_thread(self, request: Request) -> Json:
        found = [shape(m, request) for m in self.messages.values() if m["threadId"] == request.at["id"]]
        if not found:
            raise NotFound("no such thread")
        return {"id": request.at["id"], "messages": found}

    def _get_attachment(self, request: Request) -> Json:
        data = _here(self.attachments, request.at["id"])
        return {"size": len(data), "data": b64(data, padded=False)}

    def _keep(self, mail: EmailMessage, thread: str, labels: Sequence[str]) -> Json:
        id = self._new("m")
        kept = {
            "id": id,
            "threadId": thread or f"t-{id}",
            "labelIds": list(labels),
            "internalDate": str(int(NOW * 1000)),
        }
        headers = [{"name": name, "value": str(value)} for name, value in mail.items()]
        payload = {"mimeType": mail.get_content_type(), "headers": headers, "body": {"size": 0}}
        return kept | {"snippet": "", "payload": payload, "raw": b64(mail.as_bytes())}

    def _send(self, request: Request) -> Json:
        mail = self.raw(request)
        self.sent.append(mail)
        kept = self._keep(mail, request.json.get("threadId", ""), ["SENT"])
        self.messages[kept["id"]] = kept
        return {name: kept[name] for name in ("id", "threadId", "labelIds")}

    def _create_draft(self, request: Request) -> Json:
        kept = self._keep(self.raw(request), request.json["message"].get("threadId", ""), ["DRAFT"])
        draft: Json = {"id": self._new("r"), "message": kept}
        self.drafts[draft["id"]] = draft
        return {"id": draft["id"], "message": {name: kept[name] for name in ("id", "threadId", "labelIds")}}

    def _update_draft(self, request: Request) -> Json:
        draft = _here(self.drafts, request.at["id"])
        kept = self._keep(self.raw(request), request.json["message"].get("threadId", ""), ["DRAFT"])
        draft["message"] = kept
        return {"id": draft["id"], "message": {name: kept[name] for name in ("id", "threadId", "labelIds")}}

    def _send_draft(self, request: Request) -> Json:
        draft = _here(self.drafts, request.json["id"])
        del self.drafts[draft["id"]]
        raw = request.json.get("message", {}).get("raw") or draft["message"]["raw"]
        self.sent.append(parsed(base64.urlsafe_b64decode(raw + "==")))
        kept: Json = {**draft["message"], "id": self._new("m"), "labelIds": ["SENT"]}
        self.messages[kept["id"]] = kept
        return {name: kept[name] for name in ("id", "threadId", "labelIds")}

    def _delete_draft(self, request: Request) -> None:
        _here(self.drafts, request.at["id"])
        del self.drafts[request.at["id"]]

    def _batch_modify(self, request: Request) -> None:
        for one in request.json["ids"]:
            if one in self.messages:
                self._relabel(self.messages[one], request.json)

    def _modify_thread(self, request: Request) -> Json:
        self._get_thread(request)
        for one in self.messages.values():
            if one["threadId"] == request.at["id"]:
                self._relabel(one, request.json)
        return {}

    def _relabel(self, one: Json, change: Mapping[str, Any]) -> None:
        kept = [label for label in one["labelIds"] if label not in change.get("removeLabelIds", ())]
        one["labelIds"] = list(dict.fromkeys([*kept, *change.get("addLabelIds", ())]))

    def _move(self, request: Request) -> Json:
        word = request.path.rpartition("/")[2]
        change = {"addLabelIds": ["TRASH"]} if word == "trash" else {"removeLabelIds": ["TRASH"]}
        if "/threads/" in request.path:
            ids = [one["id"] for one in self._get_thread(request)["messages"]]
        else:
            ids = [_here(self.messages, request.at["id"])["id"]]
        for one in ids:
            self._relabel(self.messages[one], change)
        return {"id": request.at["id"]}

    def _list_history(self, request: Request) -> Json:
        params = request.params or {}
        if int(params["startHistoryId"]) < 100:
            raise NotFound("forgotten")
        later = [one for one in self.history if int(one["id"]) > int(params["startHistoryId"])]
        start, size = int(params.get("pageToken", 0)), int(params.get("maxResults", 100))
        more = {"nextPageToken": str(start + size)} if start + size < len(later) else {}
        return {"history": later[start : start + size], "historyId": str(900 + len(self.history)), **more}

    def _put_vacation(self, request: Request) -> Json:
        self.vacation = dict(request.json)
        return self.vacation

    def _create_filter(self, request: Request) -> Json:
        made: Json = {"id": self._new("f"), **request.json}
        self.filters.append(made)
        return made

    def _delete_filter(self, request: Request) -> None:
        if request.at["id"] not in [one["id"] for one in self.filters]:
            raise NotFound("no such filter")
        self.filters = [one for one in self.filters if one["id"] != request.at["id"]]

    def _patch_alias(self, request: Request) -> Json:
        alias = next(one for one in self.aliases if one["sendAsEmail"] == request.at["address"])
        alias |= request.json
        return alias

    def _get_label(self, request: Request) -> Json:
        label = next((one for one in self.labels if one["id"] == request.at["id"]), None)
        if label is None:
            raise NotFound("no such label")
        having = [one for one in self.messages.values() if label["id"] in one["labelIds"]]
        unread = [one for one in having if "UNREAD" in one["labelIds"]]
        return label | {"messagesTotal": len(having), "messagesUnread": len(unread)}

    def _create_label(self, request: Request) -> Json:
        label = {"id": self._new("Label_"), "name": request.json["name"], "type": "user"}
        self.labels.append(label)
        return label

    def _patch_label(self, request: Request) -> Json:
        label = next(one for one in self.labels if one["id"] == request.at["id"])
        label["name"] = request.json["name"]
        return label

    def _delete_label(self, request: Request) -> None:
        self._get_label(request)
        self.labels = [one for one in self.labels if one["id"] != request.at["id"]]


def system(name: str) -> Json:
    """Return one of Gmail's own labels."""
    return {"id": name, "name": name, "type": "system"}


def own(name: str, id: str = "") -> Json:
    """Return one of the user's labels."""
    return {"id": id or f"Label_{name}", "name": name, "type": "user"}


def parsed(raw: bytes) -> EmailMessage:
    """Return a mail as a receiver reads it."""
    return email.message_from_bytes(raw, policy=default)


def shape(one: Json, request: Request) -> Json:
    """Return a message in the requested form."""
    form = str((request.params or {}).get("format", "full"))
    if form == "minimal":
        return {name: one[name] for name in ("id", "threadId", "labelIds", "internalDate", "historyId") if name in one}
    if form == "raw":
        return {name: one[name] for name in ("id", "threadId", "labelIds", "raw") if name in one}
    if form == "metadata":
        wanted = (request.params or {}).get("metadataHeaders")
        headers = [h for h in one["payload"]["headers"] if not wanted or h["name"] in wanted]
        return {**one, "payload": {"mimeType": one["payload"]["mimeType"], "headers": headers}}
    return one


def _here(store: Mapping[str, Any], id: str) -> Any:
    if id not in store:
        raise NotFound("not found")
    return store[id]


_ROUTES: Final[dict[str, Callable[[Mailbox, Request], Any]]] = {
    "GET /users/me/profile": lambda box, _: {
        "messagesTotal": len(box.messages),
        "threadsTotal": 1,
        "historyId": str(900 + len(box.history)),
    },
    "GET /users/me/history": Mailbox._list_history,
    "GET /users/me/settings/vacation": lambda box, _: box.vacation,
    "PUT /users/me/settings/vacation": Mailbox._put_vacation,
    "GET /users/me/settings/filters": lambda box, _: {"filter": box.filters} if box.filters else {},
    "POST /users/me/settings/filters": Mailbox._create_filter,
    "DELETE /users/me/settings/filters/{id}": Mailbox._delete_filter,
    "GET /users/me/settings/autoForwarding": lambda box, _: {"enabled": False},
    "GET /users/me/settings/forwardingAddresses": lambda box, _: {},
    "PATCH /users/me/settings/sendAs/{address}": Mailbox._patch_alias,
    "GET /users/me/labels": lambda box, _: {"labels": box.labels},
    "GET /users/me/settings/sendAs": lambda box, _: {"sendAs": box.aliases},
    "GET /users/me/messages": Mailbox._list_messages,
    "GET /users/me/threads": Mailbox._list_threads,
    "GET /users/me/drafts": Mailbox._list_drafts,
    "GET /users/me/messages/{id}": Mailbox._get_message,
    "GET /users/me/drafts/{id}": Mailbox._get_draft,
    "GET /users/me/threads/{id}": Mailbox._get_thread,
    "GET /users/me/messages/{message}/attachments/{id}": Mailbox._get_attachment,
    "GET /users/me/labels/{id}": Mailbox._get_label,
    "POST /users/me/messages/send": Mailbox._send,
    "POST /users/me/drafts": Mailbox._create_draft,
    "PUT /users/me/drafts/{id}": Mailbox._update_draft,
    "POST /users/me/drafts/send": Mailbox._send_draft,
    "DELETE /users/me/drafts/{id}": Mailbox._delete_draft,
    "POST /users/me/messages/batchModify": Mailbox._batch_modify,
    "POST /users/me/threads/{id}/modify": Mailbox._modify_thread,
    "POST /users/me/messages/{id}/trash": Mailbox._move,
    "POST /users/me/messages/{id}/untrash": Mailbox._move,
    "POST /users/me/threads/{id}/trash": Mailbox._move,
    "POST /users/me/threads/{id}/untrash": Mailbox._move,
    "POST /users/me/labels": Mailbox._create_label,
    "PATCH /users/me/labels/{id}": Mailbox._patch_label,
    "DELETE /users/me/labels/{id}": Mailbox._delete_label,
}
