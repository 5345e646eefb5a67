"""No page blocks an event loop: ``langgraph dev`` can serve them beside its graphs, and ends blocking code."""

from __future__ import annotations

from pathlib import Path

import pytest

from deputize.core import SettingsError
from deputize.core.audit import Audit
from deputize.core.vault.stores import open_store
from deputize.core.web.app import pages_app
from deputize.core.web.pages.local_links import approval_link, connections_link
from tests.core.web.web_application import World, make, signed_in
from tests.support.blocking import noted


@pytest.mark.parametrize("local", [True, False])
async def test_pages_make_no_blocking_calls(tmp_path: Path, local: bool) -> None:
    """Vault and audit are files; a consent, an approval, an impossible undo, a disconnect, and what pages load."""
    store = open_store(str(tmp_path / "vault.sqlite"), create=True)
    world = await make(local=local, store=store, audit=Audit(tmp_path / "audit", bytes(32)))
    browser, deputy = world.browser(), world.deputy
    with noted() as calls:
        await world.connected("send")
        asked = await world.approval()
        page = await browser.open(await approval_link(deputy, "alice", asked.id))
        await browser.submit(page, page.forms[0], decision="approve")
        assert await world.act() == "sent"
        own = await connections_link(deputy, "alice")
        activity = await browser.open(own.replace("/connections", "/activity"))
        page = await browser.open(own)
        page = await browser.submit(page, next(form for form in page.forms if "revoke" in form.action))
        loaded = [await browser.open(world.base + place) for place in ("/style.css", "/favicon.svg", "/none")]
        assert [one.status for one in (activity, page, *loaded)] == [200, 200, 200, 200, 404]
    assert calls == [] and "send" in activity.text.lower()
    await deputy.close()


async def test_templates_are_read_at_start_and_a_missing_folder_is_named(tmp_path: Path, world: World) -> None:
    mine = tmp_path / "mine"
    with pytest.raises(SettingsError, match="mine"):
        pages_app(world.deputy, verifier=signed_in, templates=[mine])
    (mine / "deep").mkdir(parents=True)
    (mine / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    (mine / "deep" / "part.html").write_text("<p>of mine</p>")
    (mine / "message.html").write_text("{% include 'deep/part.html' %}")
    world.app = pages_app(world.deputy, verifier=signed_in, templates=[mine])
    (mine / "message.html").unlink()
    assert (await world.browser().open("/none")).text == "<p>of mine</p>"
