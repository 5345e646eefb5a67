"""Send each question to a user, and its decision, as a signed webhook (https://www.standardwebhooks.com).

    python examples/question_webhook.py                  # a receiver in this process prints what it gets
    python examples/question_webhook.py https://...      # your receiver, with WEBHOOK_SECRET=whsec_...

In your application: ``deputy.on_question(QuestionWebhook(url, secret))``. A message has the link of the page where the
user decides. It is no permission: whoever opens the link must be signed in as the user who is asked.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import secrets
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx

from deputize.core import App, Deputy, QuestionChange, Secret
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault

PAUSES = (0.0, 1.0, 5.0)
"""Seconds before each try."""


class QuestionWebhook:
    """A function for `Deputy.on_question`. ``secret``: ``whsec_`` and base64, shared with the receiver."""

    def __init__(self, url: str, secret: str) -> None:
        self.url, self.key = url, base64.b64decode(secret.removeprefix("whsec_"))

    async def __call__(self, told: QuestionChange) -> None:
        """Send the change. Raises `httpx.HTTPError` if the receiver does not accept it: deputize logs that."""
        now = datetime.now(UTC)
        message = {"type": f"question.{told.change}", "timestamp": now.isoformat(), "data": told.payload()}
        body, name, stamp = json.dumps(message).encode(), f"msg_{secrets.token_hex(16)}", str(int(now.timestamp()))
        mac = hmac.digest(self.key, f"{name}.{stamp}.".encode() + body, "sha256")
        signature = f"v1,{base64.b64encode(mac).decode()}"
        headers = {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": signature}
        async with httpx.AsyncClient(timeout=5) as http:
            for pause in PAUSES:  # the same id each time, so that the receiver can drop a repetition
                await asyncio.sleep(pause)
                answer = await http.post(self.url, content=body, headers=headers)
                if answer.status_code < 500 or pause == PAUSES[-1]:
                    answer.raise_for_status()
                    return


class Receiver(BaseHTTPRequestHandler):
    """Prints each message. A real receiver verifies the signature first."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = message["data"]
        print(f"{message['type']}: {data['type']} of {data['user']}, {data['status']}")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print no access log."""


async def main(url: str, secret: str) -> None:
    """Ask Alice for a consent, then cancel it."""
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    apps = [App("google", "an-id.apps.googleusercontent.com", Secret("a-secret"))]
    async with Deputy(vault, apps, pages="https://agents.example.com") as deputy:
        deputy.on_question(QuestionWebhook(url, secret))
        await deputy.connect("alice", "google", scopes=["gmail.readonly"])
        await deputy.revoke("alice", "google")


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        made = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        asyncio.run(main(sys.argv[1] if sys.argv[1:] else here, os.environ.get("WEBHOOK_SECRET", made)))
        server.shutdown()
