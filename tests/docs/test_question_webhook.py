"""The example of a signed webhook, received by the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "question_webhook.py"
SECRET: Final = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


class Receiver(BaseHTTPRequestHandler):
    """Verifies each message, and fails the first time, as a receiver that restarts does."""

    received: Final[list[dict[str, Any]]] = []
    names: Final[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        message = Webhook(SECRET).verify(body, dict(self.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body + b" ", dict(self.headers))
        self.names.append(self.headers["webhook-id"])
        self.send_response(503 if len(self.names) == 1 else 204)
        self.end_headers()
        if len(self.names) > 1:
            self.received.append(message)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.mark.processes
def test_webhook_example_sends_signed_questions_in_order(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        command = [sys.executable, "-W", "error", str(EXAMPLE), f"http://127.0.0.1:{server.server_port}/"]
        done = subprocess.run(
            command,
            env=os.environ | {"WEBHOOK_SECRET": SECRET},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    asked, decided = Receiver.received
    assert (asked["type"], asked["data"]["user"], asked["data"]["status"]) == ("question.asked", "alice", "pending")
    assert asked["data"]["link"].startswith("https://agents.example.com/connect/")
    assert (decided["type"], decided["data"]["status"]) == ("question.decided", "cancelled")
    assert decided["data"]["consent_id"] == asked["data"]["consent_id"]
    assert Receiver.names[0] == Receiver.names[1] != Receiver.names[2]
