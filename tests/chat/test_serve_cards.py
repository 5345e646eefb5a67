"""Slack cards of ``deputize serve``, from settings."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from slack_sdk.signature import SignatureVerifier

from deputize.chat.slack_cards import PATH
from deputize.cli.http_app import application
from deputize.core import SettingsError
from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from tests.chat.slack_workspace import SECRET, TOKEN
from tests.cli.serving_world import around


@pytest.mark.processes
async def test_served_cards_accept_what_slack_signed_and_need_both_settings(tmp_path: Path) -> None:
    async with around(tmp_path / "home") as world:
        settings = world.settings()
        values, file = settings.serve.model_dump(), tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
        settings.serve = type(settings.serve).model_validate(values | {"cards_bot_token": TOKEN})
        with pytest.raises(SettingsError, match="signing secret"):
            await asyncio.to_thread(application, settings)
        both = {"cards_bot_token": None, "cards_bot_token_file": file, "cards_signing_secret": SECRET}
        settings.serve = type(settings.serve).model_validate(values | both)
        app = await asyncio.to_thread(application, settings)
        async with app.router.lifespan_context(app), serve(app, world.port), httpx.AsyncClient() as http:
            body, stamp = urlencode({"command": "/deputize", "team_id": "T1", "user_id": "U1"}), str(int(time.time()))
            headers = {"content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": stamp}
            for secret, status in ((SECRET, 200), ("another", 401)):
                signed = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
                sent = await http.post(
                    f"{world.base}{PATH}", content=body, headers=headers | {"x-slack-signature": str(signed)}
                )
                assert sent.status_code == status
                assert (f"{world.base}/slack/link/" in sent.text.replace("\\/", "/")) == (status == 200)
        await portal().hop(app.state.deputy.http.close)
