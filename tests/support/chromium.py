"""A real headless browser, driven over the DevTools protocol by two pipes: no port, no driver, no package."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from tests.support.counterparts import require

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell")
FLAGS: Final = (
    *("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    *("--disable-dev-shm-usage", "--no-proxy-server"),
)
SECONDS: Final = 30.0
LEFT: Final = frozenset({"Inspected target navigated or closed", "Execution context was destroyed."})


class LeftPage(Exception):
    """The page was left while a script ran in it."""


class Chromium:
    """One page in a browser with its own profile. Created by `Chromium.started`."""

    def __init__(self, ask: asyncio.StreamWriter, answers: asyncio.StreamReader) -> None:
        self._ask, self._answers, self._session, self._asked = ask, answers, "", 0

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Self]:
        """Start a browser with an empty page, and end it afterwards. Skips the test if none is installed."""
        binary = next(filter(None, map(shutil.which, NAMES)), "")
        require("Chromium", bool(binary), "apt-get install chromium")
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            flags = " ".join((*FLAGS, f"--user-data-dir={profile}"))
            plumbed = f'exec "$0" {flags} 3<&{theirs_in} 4>&{theirs_out} >/dev/null 2>&1'
            browser = await asyncio.create_subprocess_exec(
                *("bash", "-c", plumbed, binary), pass_fds=(theirs_in, theirs_out), start_new_session=True
            )
            os.close(theirs_in)
            os.close(theirs_out)
            page = cls(*await _pipes(ours_out, ours_in))
            try:
                await page._attach()
                yield page
            finally:
                page._ask.close()
                try:
                    await asyncio.wait_for(browser.wait(), 5)
                except TimeoutError:
                    browser.kill()
                    await browser.wait()

    async def _attach(self) -> None:
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    async def _call(self, method: str, **params: Any) -> Mapping[str, Any]:
        self._asked += 1
        asked: dict[str, Any] = {"id": self._asked, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        self._ask.write(json.dumps(asked).encode() + b"\0")
        while True:
            said = json.loads((await asyncio.wait_for(self._answers.readuntil(b"\0"), SECONDS))[:-1])
            if said.get("id") == self._asked:
                error = said.get("error", {})
                if error.get("message") in LEFT:
                    raise LeftPage(error["message"])
                assert "result" in said, error
                found: Mapping[str, Any] = said["result"]
                return found

    async def run(self, script: str) -> Any:
        """Return the value of this JavaScript expression in the page."""
        said = await self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return said["result"].get("value")

    async def open(self, url: str) -> None:
        """Open an address, and wait until the page is loaded."""
        await self._call("Page.navigate", url=url)
        await self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    async def blank(self) -> None:
        """Open an empty page with nothing of the previous one."""
        await self._call("Page.navigate", url="about:blank")

    async def screenshot(self, *, whole: bool = False) -> str:
        """Return a picture of the page (PNG) in base64. ``whole``: including what is outside of the window."""
        return str((await self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole))["data"])

    async def look(self, width: int, *, dark: bool = False) -> None:
        """Set the window's width, desktop or telephone, and dark mode."""
        await self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])

    async def cookie(self, url: str, name: str, value: str) -> None:
        """Set this cookie for an address."""
        await self._call("Network.setCookie", url=url, name=name, value=value)

    async def press(self, key: str) -> None:
        """Press and release a key: ``Tab``, ``Enter``."""
        code = {"Tab": 9, "Enter": 13}[key]
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            given = more if kind == "keyDown" else {}
            await self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **given)

    async def until(self, condition: str, seconds: float = 10.0) -> bool:
        """Wait until this is true in the page; return whether it became true.

        If the page is left meanwhile, it is evaluated again.
        """
        for _ in range(round(seconds / 0.05)):
            try:
                if await self.run(condition):
                    return True
            except LeftPage:
                pass
            await asyncio.sleep(0.05)
        return False


async def _pipes(out: int, into: int) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(into, "rb"))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(out, "wb"))
    return asyncio.StreamWriter(transport, protocol, None, loop), reader
