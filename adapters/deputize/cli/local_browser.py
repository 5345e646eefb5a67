"""Questions of a stdio server, opened in the browser of the user for whom it was started.

Most clients display no links, and a model may not see a link. The machine is the user's own, so their browser is
opened, as by a command in a terminal. Several questions at once open one tab, at most one tab in five seconds.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import shlex
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deputize.adapters.mcp.elicitation import Guidance, Question
from deputize.cli.browser import open_browser
from deputize.core import DeputizeError
from deputize.core.web.pages.local_links import approval_link, connections_link, show_anew

if TYPE_CHECKING:
    from deputize.core import Deputy, User

GATHER_SECONDS: Final = 0.3
"""Seconds for which further questions share a tab."""
TAB_INTERVAL_SECONDS: Final = 5.0
"""Seconds between two tabs."""
START_TIMEOUT_SECONDS: Final = 5.0
"""Seconds after which a running browser command counts as successful: some stay in the foreground."""
_SAID: Final = ("DEPUTIZE_HOME", "DEPUTIZE_CONFIG")
"""Variables that the user's terminal needs to find the same vault."""

log = logging.getLogger(__name__)


@dataclass
class OwnBrowser:
    """Opens each question once for this machine's user, as a tab does not get lost. ``browser``: False opens none."""

    deputy: Deputy
    browser: bool = True
    _opened: dict[str, bool] = field(default_factory=dict)
    _gathered: list[Question] = field(default_factory=list)
    _opening: asyncio.Task[bool] | None = None
    _last: float = -TAB_INTERVAL_SECONDS

    async def __call__(self, user: User, question: Question) -> Guidance:
        """Open the question, unless that was tried before. Return what the model may tell the user."""
        if question.id not in self._opened:
            self._opened[question.id] = await self._open_in_tab(user, question)
        page = self.deputy.dashboard_url()
        way = f"open {page}" if page else f"run `{_command(user)}` in a terminal on this server's machine"
        if self._opened[question.id]:
            return Guidance(
                True,
                "It was opened in the user's browser: ask them to answer there, then make the same call again. "
                f"If they see no page, they can {way}.",
            )
        there = "there" if page else "at the link that it shows"
        return Guidance(False, f"Ask the user to {way} and to answer {there}; then make the same call again.")

    async def _open_in_tab(self, user: User, question: Question) -> bool:
        self._gathered.append(question)
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(user))
        return await asyncio.shield(self._opening)  # a client that hangs up does not close it for the others

    async def _open(self, user: User) -> bool:
        await asyncio.sleep(max(GATHER_SECONDS, self._last + TAB_INTERVAL_SECONDS - time.monotonic()))
        asked, self._gathered, self._opening = self._gathered, [], None
        if not self.browser:
            return False
        self._last = time.monotonic()
        try:
            return await _started(await self._link(user, asked))
        except DeputizeError as error:  # no pages: `deputize open` reports why
            log.warning("The page of a question could not be opened: %s %s", error, error.hint)
            return False

    async def _link(self, user: User, asked: list[Question]) -> str:
        """Return the page of a single question, or the user's own page, which lists all questions."""
        if len({one.id for one in asked}) > 1:
            return await connections_link(self.deputy, user)
        if asked[0].kind == "approval":
            return await approval_link(self.deputy, user, asked[0].id)
        await show_anew(self.deputy, asked[0].link)
        return asked[0].link


async def _started(link: str) -> bool:
    """Return whether a browser was started. It runs in a thread that is not awaited, because the command may be the
    browser itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def tell(so: bool) -> None:
        if not done.done():
            done.set_result(so)

    def start() -> None:
        so = open_browser(link, watched=True)
        with suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(tell, so)

    threading.Thread(target=start, daemon=True).start()
    try:
        return await asyncio.wait_for(asyncio.shield(done), START_TIMEOUT_SECONDS)
    except TimeoutError:
        return True


def _command(user: User) -> str:
    """Return the command that shows users their page, from any folder."""
    known = shutil.which("deputize")
    words = ["deputize"] if known else [sys.executable, "-m", "deputize.cli"]
    words += ["open", *([] if user.id == getpass.getuser() else ["--user", user.id])]
    places = [] if sys.platform == "win32" else [f"{n}={shlex.quote(os.environ[n])}" for n in _SAID if n in os.environ]
    return " ".join([*places, shlex.join(words)])
