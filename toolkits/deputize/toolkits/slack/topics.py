"""Slack: the topic and the purpose of a channel, plain texts of at most 250 characters."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from deputize.core import Request
from deputize.core.errors import InvalidInput
from deputize.toolkits.slack import api

_LONGEST: Final = 250  # characters
_NOTATION = re.compile(r"<(?:[!@#]|https?:|mailto:)", re.IGNORECASE)
_BARE_LINK = re.compile(r"<(https?://[^\s<>|]+)>")


def _linked(text: str | None) -> str | None:
    """A topic as results show it: Slack makes the links of its addresses itself."""
    return text and _BARE_LINK.sub(r"\1", text)


About = Annotated[str | None, Field(max_length=_LONGEST), AfterValidator(_linked)]


def check_about(topic: str | None, purpose: str | None) -> None:
    """Raises `InvalidInput` for Slack's own notation: a topic is also told to everybody in the channel."""
    for field, value in (("topic", topic), ("purpose", purpose)):
        if value and _NOTATION.search(value):
            raise InvalidInput(f"{field}: must be plain text.", hint="Leave out <!channel>, <@...> and <link|text>.")


def set_about(method: str, conversation: str, value: str) -> Request:
    """Sets one of them: `setTopic` or `setPurpose`."""
    field = "topic" if method == "setTopic" else "purpose"
    return api.call(f"conversations.{method}", {"channel": conversation, field: value}, repeat="idem")
