"""Notifications. GitHub Apps have none."""

from __future__ import annotations

from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.shapes import repository
from deputize.sandbox.http_types import Reply

_SCOPES = ("notifications", "repo")
_RIGHT = "notifications:none"


@route("GET", "/notifications", _RIGHT, scopes=_SCOPES)
def notifications(call: Call) -> Reply:
    """Return the caller's notifications; those already read only on request."""
    return _page(call, "")


@route("GET", "R/notifications", _RIGHT, scopes=_SCOPES)
def repo_notifications(call: Call, repo: Json) -> Reply:
    return _page(call, repo["full_name"])


def _page(call: Call, repo: str) -> Reply:
    every, since = call.ask.one("all") == "true", call.ask.one("since")
    mine = [row for row in call.store["notifications"] if row["user"] == call.me and repo in ("", row["repo"])]
    rows = [row for row in mine if (every or row["unread"]) and row["at"] >= since]
    return call.page([_show(call, row) for row in rows])


def _show(call: Call, row: Json) -> Json:
    kind = "pulls" if row["type"] == "PullRequest" else "issues"
    url = f"https://{HOST}/repos/{row['repo']}/{kind}/{row['number']}"
    return {
        "id": row["id"],
        "reason": row["reason"],
        "unread": row["unread"],
        "updated_at": row["at"],
        "last_read_at": None,
        "subject": {"title": row["title"], "url": url, "latest_comment_url": url, "type": row["type"]},
        "repository": repository(call.store["repos"][row["repo"]]),
        "url": f"https://{HOST}/notifications/threads/{row['id']}",
        "subscription_url": f"https://{HOST}/notifications/threads/{row['id']}/subscription",
    }


@route("PUT", "/notifications", _RIGHT, scopes=_SCOPES)
def read_all(call: Call) -> Reply:
    """Mark all notifications up to a time as read."""
    for row in call.store["notifications"]:
        if row["user"] == call.me and row["at"] <= call.body().get("last_read_at", call.now):
            row["unread"] = False
    return call.empty_reply(205)


def _thread(call: Call, id: str) -> Json:
    row: Json | None = next((one for one in call.store["notifications"] if one["id"] == id), None)
    if row is None or row["user"] != call.me:
        raise call.not_found()
    return row


@route("PATCH", "/notifications/threads/{thread_id}", _RIGHT, scopes=_SCOPES)
def read(call: Call, thread_id: str) -> Reply:
    """Return 205, or 304 if the thread was read before."""
    row = _thread(call, thread_id)
    was, row["unread"] = row["unread"], False
    return call.empty_reply(205 if was else 304)


@route("DELETE", "/notifications/threads/{thread_id}", _RIGHT, scopes=_SCOPES)
def mark_done(call: Call, thread_id: str) -> Reply:
    call.store["notifications"].remove(_thread(call, thread_id))
    return call.empty_reply()


@route("PUT", "/notifications/threads/{thread_id}/subscription", _RIGHT, scopes=_SCOPES)
def subscribe(call: Call, thread_id: str) -> Reply:
    """Mute or watch a thread."""
    row = _thread(call, thread_id)
    row["ignored"] = bool(call.body().get("ignored"))
    return call.reply({"subscribed": True, "ignored": row["ignored"], "reason": None})
