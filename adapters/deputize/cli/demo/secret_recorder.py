"""Recorder of the secrets between deputy, browser and simulated provider, so that a leak can be searched for."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from deputize.sandbox import Sandbox
from deputize.sandbox.asgi import AsgiApp, Receive, Scope, Send

_SECRET: Final = {"access_token", "refresh_token", "id_token", "code", "state", "code_verifier", "client_secret"}
_TOKENS: Final = ("/token", "/access_token", "/oauth.v2.access")


class SecretRecorder:
    """Reads the traffic of a simulated provider. ``recorded``: secrets and their kinds."""

    def __init__(self) -> None:
        self.recorded: dict[str, str] = {}

    def front(self, sandbox: Sandbox) -> AsgiApp:
        """Return the sandbox's application, wrapped to record every secret in its traffic."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await sandbox.app(scope, receive, send)
            asked, answered = bytearray(), bytearray()

            async def receive_and_read() -> Any:
                message = await receive()
                asked.extend(message.get("body", b""))
                return message

            async def send_and_read(message: Any) -> None:
                answered.extend(message.get("body", b""))
                for name, value in message.get("headers", ()):
                    if name == b"location":
                        self._note(parse_qs(urlsplit(value.decode()).query))
                await send(message)

            await sandbox.app(scope, receive_and_read, send_and_read)
            if scope["path"].endswith(_TOKENS):
                self._note(parse_qs(asked.decode()))
                self._token_reply(json.loads(answered))

        return app

    def _token_reply(self, answer: Any) -> None:
        """Record the tokens in a token endpoint's response, at any depth."""
        if isinstance(answer, dict):
            self._note({name: [value] for name, value in answer.items() if isinstance(value, str)})
            for value in answer.values():
                self._token_reply(value)

    def _note(self, fields: Mapping[str, Sequence[Any]]) -> None:
        self.recorded |= {str(value): name for name, values in fields.items() if name in _SECRET for value in values}

    def found_in(self, data: bytes) -> set[str]:
        """Return the kinds of secrets in these bytes, plain or in base64."""
        return {kind for value, kind in self.recorded.items() if any(form in data for form in _forms(value.encode()))}


def _forms(value: bytes) -> tuple[bytes, ...]:
    """Return a value, and the parts of its base64 forms that do not depend on the surrounding bytes."""
    whole = [base64.b64encode(bytes(shift) + value)[4:-4] for shift in range(3)]
    return value, *whole, *(part.replace(b"+", b"-").replace(b"/", b"_") for part in whole)
