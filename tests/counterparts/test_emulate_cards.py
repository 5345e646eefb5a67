"""Cards in Slack as emulate plays it: it accepts the messages and their updates, with a bot token of its own OAuth."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.chat.slack_workspace import Chat, Workspace, press_payload, words
from tests.chat.test_slack_cards import ask, letters, status
from tests.core.web.web_application import make
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, oauth_client

pytestmark = pytest.mark.counterpart
BACK = "http://localhost:8765/callback/slack"


async def install(http: httpx.AsyncClient) -> tuple[str, str, str]:
    """Install the app, and return its bot token, the workspace and Alice's id."""
    app = oauth_client("slack")
    asked = {"client_id": app.id, "scope": "chat:write,im:history", "redirect_uri": BACK}
    page = (await http.get("/oauth/v2/authorize", params=asked)).text
    form = next(one for one in re.findall("<form.*?</form>", page, re.DOTALL) if "alice@example.test" in one)
    fields = dict(re.findall('name="([^"]*)" value="([^"]*)"', form))
    back = await http.post("/oauth/v2/authorize/callback", data=fields)
    code = {"code": httpx.URL(back.headers["location"]).params["code"], "redirect_uri": BACK}
    sent = {"client_id": app.id, "client_secret": app.secret} | code
    given = (await http.post("/api/oauth.v2.access", data=sent)).json()
    return given["access_token"], given["team"]["id"], given["authed_user"]["id"]


async def test_card_is_sent_decided_and_closed_at_emulate() -> None:
    require_emulate()
    with Emulate("slack") as emulate, Workspace() as unused:
        async with httpx.AsyncClient(base_url=emulate.urls["slack"]) as http:
            token, team, alice = await install(http)
            world = await make(toolkits=[letters])
            await world.connected("send")
            chat = Chat(world, unused, f"{emulate.urls['slack']}/api/", token)
            await chat.link("alice", alice, team)
            asked = await ask(chat, "<!channel> hello")

            async def messages(channel: str) -> list[dict[str, Any]]:
                found = await http.post(
                    "/api/conversations.history",
                    json={"channel": channel},
                    headers={"authorization": f"Bearer {token}"},
                )
                listed: list[dict[str, Any]] = found.json()["messages"]
                return listed

            [card] = [one.json for one in await world.deputy.vault.scan("chat_card") if "ts" in one.json]
            [message] = await messages(card["channel"])
            assert words(message["blocks"])[0] == asked.summary and message["ts"] == card["ts"]
            payload = press_payload("approve", asked.id, (card["channel"], card["ts"]), alice, team)
            assert (await chat.request({"payload": json.dumps(payload)})).status_code == 200
            await chat.settle()
            assert await status(chat, asked) == "approved"
            [closed] = await messages(card["channel"])
            assert words(closed["blocks"]) == ["Approved", f"{asked.summary}."]
