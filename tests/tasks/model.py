"""A chat model that plays a script: each of its messages is the script's next step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from tests.tasks.known import unknown
from tests.tasks.task import Refused, Script, Use


class Scripted(BaseChatModel):
    """Plays a script. Raises AssertionError for a call with an id, address or link that is in no message before it."""

    _script: Script = PrivateAttr()
    _asked: list[Use] | Use | None = PrivateAttr(default=None)
    _numbers: Any = PrivateAttr(default_factory=lambda: count(1))

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        """Return self: the script knows its tools by name."""
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        try:
            self._asked = self._go_on(messages)
        except StopIteration as ended:
            return AIMessage(ended.value or "Done.")
        calls = self._asked if isinstance(self._asked, list) else [self._asked]
        if not calls:
            return AIMessage("What do you say?")
        read = "\n".join(str(message.content) for message in messages if message.type in ("human", "tool"))
        for call in calls:
            assert not (found := unknown(call.arguments, read)), f"{call.tool}: nobody has said {', '.join(found)}"
        made = [{"name": one.tool, "args": dict(one.arguments), "id": f"c{next(self._numbers)}"} for one in calls]
        return AIMessage("", tool_calls=made)

    def _go_on(self, messages: list[BaseMessage]) -> Use | list[Use]:
        if self._asked is None:
            return next(self._script)
        many = len(self._asked) if isinstance(self._asked, list) else 1
        answers = [_read(one) for one in messages[len(messages) - many :] if isinstance(one, ToolMessage)]
        if isinstance(self._asked, list):
            return self._script.send(answers)
        [answer] = answers
        return self._script.throw(answer) if isinstance(answer, Refused) else self._script.send(answer)


def _read(message: ToolMessage) -> Any:
    """Return a result; of a failed call its error."""
    if message.status == "error":
        return Refused(str(message.content))
    try:
        return json.loads(str(message.content))
    except ValueError:
        return message.content
