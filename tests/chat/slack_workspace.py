"""A Slack workspace on loopback: it records what is sent to its API, and signs requests as Slack does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from slack_sdk.signature import SignatureVerifier

from deputize.chat.slack_cards import PATH, SlackCards
from deputize.core import User
from deputize.core.web.app import PAGES, pages_app
from tests.core.web.web_application import World, hidden, make, signed_in, values_of, words_of

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-of-the-bot"
MEMBERS = {"alice": "U_ALICE", "bob": "U_BOB", "carol": "U_CAROL", "eve": "U_EVE"}


class Workspace:
    """Slack's side. ``calls``: method and arguments of each call of its API, in order. ``limited``: the number of calls
    to refuse with 429 first. ``seconds``: what each call takes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error = ""
        self.limited = 0
        self.seconds = 0.0
        workspace, lock = self, threading.Lock()

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                kind, method = self.headers.get("content-type", ""), self.path.rpartition("/")[2]
                given = json.loads(body) if "json" in kind else dict(parse_qsl(body))
                if isinstance(given.get("blocks"), str):
                    given["blocks"] = json.loads(given["blocks"])
                assert self.headers["authorization"] == f"Bearer {TOKEN}"
                if workspace.limited:
                    workspace.limited -= 1
                    self.send_response(429)
                    self.send_header("retry-after", "0")
                    self.end_headers()
                    return
                time.sleep(workspace.seconds)
                with lock:
                    workspace.calls.append((method, given))
                    number = len(workspace.calls)
                answer: dict[str, Any] = {"ok": True, "channel": "D" + str(given.get("channel")).removeprefix("D")}
                answer["ts"] = given.get("ts") or f"{number}.000100"
                data = json.dumps({"ok": False, "error": workspace.error} if workspace.error else answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Api)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent(self, method: str) -> list[dict[str, Any]]:
        return [given for name, given in self.calls if name == method]

    @property
    def cards(self) -> list[dict[str, Any]]:
        return self.sent("chat.postMessage")


class Chat:
    """A deputy with cards in a workspace."""

    def __init__(self, world: World, slack: Workspace, url: str = "", token: str = TOKEN) -> None:
        self.world, self.slack = world, slack
        self.cards = SlackCards(world.deputy, bot_token=token, signing_secret=SECRET, api_url=url or slack.url)
        world.app = pages_app(world.deputy, verifier=signed_in, pages=[*PAGES, *self.cards.pages])
        self.stamp = 0

    @classmethod
    async def open(cls, slack: Workspace, **more: Any) -> Chat:
        world = await make(**more)
        await world.connected("send")
        return cls(world, slack)

    async def settle(self) -> None:
        """Wait for Bolt's listeners, which run on after Slack has its answer, and for the cards."""
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=10)
        await self.world.deputy.services.question_feed.wait()

    async def request(
        self, fields: dict[str, str], *, secret: str = SECRET, at: float = 0.0, changed: str = "", signature: str = ""
    ) -> Any:
        """Send what Slack would send. Each request has another signature, as each of Slack's has."""
        self.stamp += 1
        body, stamp = urlencode(fields | {"trigger_id": str(self.stamp)}), str(int(at or time.time()))
        signed = signature or SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": str(signed)}
        self.last = fields | {"trigger_id": str(self.stamp)}, headers
        sent = dict(parse_qsl(changed or body, keep_blank_values=True))
        return await self.world.send("POST", PATH, data=sent, headers=headers)

    async def command(self, text: str = "", member: str = "U_ALICE", team: str = "T1", enterprise: str = "") -> Any:
        about = {"team_id": team, "user_id": member, "user_name": member.lower(), "team_domain": "acme"}
        about |= {"enterprise_id": enterprise} if enterprise else {}
        answer = await self.request(about | {"command": "/deputize", "text": text})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def press_fields(
        self,
        card: dict[str, Any],
        action: str,
        member: str = "",
        team: str = "T1",
        value: str | None = None,
        enterprise: str = "",
    ) -> dict[str, str]:
        values = [one["value"] for block in card["blocks"] for one in block.get("elements", ()) if "value" in one]
        given = value if value is not None else values[0] if values else ""
        number = self.slack.calls.index(("chat.postMessage", card)) + 1
        message = f"D{card['channel']}", f"{number}.000100"
        payload = press_payload(action, given, message, member or card["channel"], team)
        payload["enterprise"] = {"id": enterprise, "name": "Acme"} if enterprise else None
        return {"payload": json.dumps(payload)}

    async def press(self, card: dict[str, Any], action: str, member: str = "", **more: Any) -> int:
        answer = await self.request(self.press_fields(card, action, member, **more))
        return int(answer.status_code)

    async def code(self, user: str, member: str, team: str = "T1", enterprise: str = "") -> str:
        """Return the code that this user's browser shows, for a link that this Slack account began."""
        link = link_in(await self.command("", member, team, enterprise))
        page, jar = await self.world.look(link, user)
        done = await self.world.send(
            "POST", link, user=user, cookies=jar | values_of(page), data={"form": hidden(page)}
        )
        assert done.status_code == 200, done.text
        return words_of(done).partition("/deputize ")[2].split()[0]

    async def link(self, user: str, member: str = "", team: str = "T1", enterprise: str = "") -> None:
        member = member or MEMBERS[user]
        code = await self.code(user, member, team, enterprise)
        assert (await self.command(code, member, team, enterprise))["text"] == "Linked."
        await self.settle()

    async def linked(self, user: str) -> list[tuple[User, str]]:
        found = await self.world.deputy.vault.get("chat_link", self.cards._link_key(User(user)))
        person = await self.cards._person_in(found) if found else None
        return [person] if person else []


def press_payload(action: str, value: str, message: tuple[str, str], member: str, team: str) -> dict[str, Any]:
    """Return what Slack sends when this person presses a button of the message in a channel."""
    channel, ts = message
    return {
        "type": "block_actions",
        "team": {"id": team, "domain": "acme"},
        "user": {"id": member, "username": "x", "team_id": team},
        "container": {"type": "message", "channel_id": channel, "message_ts": ts},
        "channel": {"id": channel, "name": "directmessage"},
        "response_url": "http://127.0.0.1:1/evil",
        "actions": [{"type": "button", "action_id": f"deputize_{action}", "block_id": "b", "value": value}],
    }


def link_in(answer: dict[str, Any]) -> str:
    """Return the path of the page in the answer to ``/deputize``."""
    [url] = [one["url"] for block in answer["blocks"] for one in block.get("elements", ()) if "url" in one]
    return str(url).removeprefix("https://deputy.example.test")


def words(blocks: list[dict[str, Any]]) -> list[str]:
    """Return the plain texts of a card, in order."""
    return [block["text"]["text"] for block in blocks if block["type"] == "section"]


def buttons(card: dict[str, Any]) -> list[str]:
    return [one["text"]["text"] for block in card["blocks"] if block["type"] == "actions" for one in block["elements"]]
