"""Connect and act as a program would, with Acme simulated on this machine. Install this package first.

``python try_it.py`` prints a link: open it and press Allow. ``python try_it.py --auto`` follows the link for you.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import httpx
from acme_tasks.provider import ACME
from acme_tasks.sandbox import Tasks

from deputize.core import ConsentRequired, Deputy
from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox


async def main(home: Path, auto: bool) -> None:
    """Act. If the user has not consented yet, show the link, wait, and act again."""
    sandbox = Sandbox()
    client = sandbox.play(ACME, Tasks())
    async with serve(sandbox.app) as base:
        app = {"client_id": client.client_id, "client_secret": client.client_secret}
        settings = Settings.load(home=home, sandbox_url=base, apps={"acme": app}, port=0)
        async with await asyncio.to_thread(Deputy.from_settings, settings) as deputy:
            try:
                await deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice")
            except ConsentRequired as missing:
                print(f"Open this link and press Allow:\n  {missing.consent.link}")
                if auto:
                    async with httpx.AsyncHTTPTransport() as network:
                        await Browser(network).allow(missing.consent.link)
                await deputy.wait_for_consents([missing.consent])
            print("created:", await deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder), auto="--auto" in sys.argv[1:]))
