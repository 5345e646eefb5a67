"""``trusted_authors = members``: texts of full members of the user's own workspace, or organization.

``users.info`` says who somebody is. Guests, people of other workspaces (Slack Connect) and bots are not members, not
even the workspace's own bots: an app mostly posts text from elsewhere. Text that a member quotes, forwards or links to
is left out. docs.slack.dev/reference/objects/user-object
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.tools.steps import Step, Try
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.redact_results import blanked
from deputize.toolkits.slack import users
from deputize.toolkits.slack.base import SLACK, Asks

MAX_LOOKUPS: Final = 60  # people per call
_AT_ONCE: Final = 10

NO_MEMBER: Final = "not of a full member of the user's workspace"
UNKNOWN: Final = "not known to be of a full member of the user's workspace"
QUOTED: Final = "what is quoted, forwarded or linked to may be of anybody"

_AUTHORS: Final = ("user", "author_user_id", "uploader_user_id", "user_id", "last_updated_by_user_id", "created_by")
_KEPT: Final = frozenset(
    """app_id author_user_id bot_id channel channel_id client_msg_id conversation created_by creator file_id id latest
    message_ts next_cursor parent_user_id presence reply_users subtype team team_id thread_ts ts type updated_by user
    user_id uploader_user_id last_updated_by_user_id users latest_reply""".split()
)
"""Slack's own values: ids, times and kinds."""
_TRUSTED: Final = frozenset(
    f"/{method}"
    for method in """auth.test usergroups.list usergroups.users.list dnd.info chat.getPermalink team.info
    chat.scheduledMessages.list users.getPresence conversations.members""".split()
)
"""Methods that answer only with ids, the user's own texts, and names that only members can give."""
_QUOTE = re.compile(r"(?m)^(?:&gt;|>).*(?:\n(?:&gt;|>).*)*")
_LINK = re.compile(r"https://[\w.-]+/archives/[\w/]+(?:\?thread_ts=[\d.]+(?:&(?:amp;)?cid=\w+)?)?")


class Members:
    """The filter of one call. ``known``: True if a user is a full member, None if Slack does not say."""

    def __init__(self, run: Run, withheld: Withheld) -> None:
        self.withheld = withheld
        self.team, _, self.own = run.account.subject.partition(":")
        self.known: dict[str, bool | None] = {self.own: True}

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without the texts of other authors."""
        if isinstance(step, list):
            yield from self._look_up(one for part in answer for one in _authors(part))
            return [self._screen(request, part) for request, part in zip(step, answer, strict=True)]
        if isinstance(step, Request):
            yield from self._look_up(_authors(answer))
            return self._screen(step, answer)
        return answer

    def _look_up(self, people: Iterable[str]) -> Asks[None]:
        new = [one for one in dict.fromkeys(people) if one not in self.known][: max(MAX_LOOKUPS - len(self.known), 0)]
        for start in range(0, len(new), _AT_ONCE):
            batch = new[start : start + _AT_ONCE]
            for one, told in zip(batch, (yield Try([users.info(one) for one in batch])), strict=True):
                self.known[one] = self._is_member(told.get("user")) if isinstance(told, dict) else None

    def _is_member(self, user: Any) -> bool:
        if not isinstance(user, dict) or user.get("id") == "USLACKBOT":
            return False
        lesser = ("is_bot", "is_restricted", "is_ultra_restricted", "is_stranger", "is_workflow_bot", "is_invited_user")
        homes = (user.get("team_id"), (user.get("enterprise_user") or {}).get("enterprise_id"))
        return self.team in homes and not any(user.get(one) for one in lesser)

    def _author_reason(self, person: Any) -> str:
        may = self.known.get(str(person)) if person else False
        return "" if may else UNKNOWN if may is None else NO_MEMBER

    # ------------------------------------------------------------- filtered answers

    def _screen(self, request: Request, answer: Any) -> Any:
        if request.api or request.path in _TRUSTED or not isinstance(answer, dict):
            return answer  # only files that may be read have an address
        return self._rewrite(answer, UNKNOWN)

    def _rewrite(self, node: Any, why: str) -> Any:
        if isinstance(node, list):
            return [self._rewrite(one, why) for one in node]
        if not isinstance(node, dict):
            return self._put(node, why) if why else node
        why = self._withhold_reason(node, why)
        if node.get("type") == "rich_text_quote":
            return {"type": "rich_text_section", "elements": [{"type": "text", "text": self._because(QUOTED)}]}
        return {name: self._field(name, value, why) for name, value in node.items()}

    def _withhold_reason(self, node: Mapping[str, Any], why: str) -> str:
        """Return the reason why an object's texts are withheld, or ""."""
        if isinstance(node.get("profile"), dict) and "id" in node:
            return "" if node["id"] == self.own or self._is_member(node) else NO_MEMBER
        if "is_im" in node or "is_channel" in node or "is_mpim" in node:
            return self._author_reason(node.get("creator")) if node.get("is_ext_shared") else ""
        if "value" in node and "last_set" in node:
            return self._author_reason(node.get("creator")) if node.get("value") else ""
        person = next((node[name] for name in _AUTHORS if isinstance(node.get(name), str)), "")
        if person and node.get("type") != "user":
            return self._author_reason(person)
        if "bot_id" in node or node.get("subtype") == "bot_message":
            return NO_MEMBER
        return why

    def _field(self, name: str, value: Any, why: str) -> Any:
        if name == "attachments" and value:
            return [{"fallback": self._because(why or QUOTED)}]
        if isinstance(value, dict | list):
            return self._rewrite(value, why)
        if name in _KEPT or not isinstance(value, str):
            return value
        if not why:
            return (
                _QUOTE.sub(f"&gt; {self._because(QUOTED)}", value) if name == "text" and _QUOTE.search(value) else value
            )
        return value if _LINK.fullmatch(value) else self._put(value, why)

    def _put(self, value: Any, why: str) -> Any:
        return blanked(value, self._because(why), _KEPT) if value else value

    def _because(self, why: str) -> str:
        return self.withheld.mark_for(why)


def _authors(node: Any) -> Iterator[str]:
    """Yield the writers of the texts in a response."""
    if isinstance(node, list):
        for one in node:
            yield from _authors(one)
    elif isinstance(node, dict):
        person = next((node[name] for name in _AUTHORS if isinstance(node.get(name), str)), "")
        text = ("value" in node and "last_set" in node and node.get("value")) or node.get("is_ext_shared")
        if person and node.get("type") != "user" and not isinstance(node.get("profile"), dict):
            yield person
        if text and isinstance(node.get("creator"), str) and node["creator"]:
            yield node["creator"]
        for one in node.values():
            if isinstance(one, dict | list):
                yield from _authors(one)


SLACK.screens["members"] = Members
