"""What reading long mails costs, and how long it holds the event loop: ``python -m tests.bench.mails``.

Prints one JSON line for a mail of each size and for a conversation of ten: the CPU of the reading, the longest time for
which another task of the loop waited for its turn, and the CPU of this process in the longest such wait, which says
more on a busy machine. The provider is a table in memory. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import time
from typing import Any

import httpx

from deputize.core import Call, Deputy, allow_all
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from deputize.toolkits.gmail import TOOLKIT
from tests.support.sandbox_deputy import GMAIL, build

SIZES = (1_000, 100_000, 300_000, 1_000_000)
_WORDS = "spring sale garden delivery order shoes weather library ticket flight museum coffee winter account".split()
_ROW = (
    '<tr><td class="cell" bgcolor="#f4f4f4" style="padding:12px 24px;font-family:Arial,sans-serif;font-size:14px;'
    'line-height:1.5;color:#333333"><a href="https://news.example.test/{n}?utm_source=mail&amp;id={n}" '
    'style="color:#0055aa;text-decoration:none">{words}</a><br><span style="color:#777777;font-size:12px">{more}</span>'
    '</td><td width="80" style="text-align:right"><b>{n}.00</b></td></tr>\n'
)
_STYLE = (
    "<style>body{margin:0;padding:0} .cell{border-bottom:1px solid #dddddd} td.wide,td.cell{vertical-align:top}"
    "@media only screen and (max-width:600px){.cell{width:100%!important} .hide{display:none}} a:hover{color:#f00}"
    "</style>"
)


def newsletter(size: int, seed: int) -> str:
    """HTML of about this many bytes as senders of newsletters make it; another one for each seed."""
    dice = random.Random(seed)  # noqa: S311 - the same in every run
    rows, length = [], 0
    while length < size:
        words, more = " ".join(dice.choices(_WORDS, k=6)), " ".join(dice.choices(_WORDS, k=10))
        rows.append(_ROW.format(n=dice.randrange(10**6), words=words, more=more))
        length += len(rows[-1])
    table = '<table width="600" cellpadding="0" align="center" style="border-collapse:collapse">'
    return f"<!doctype html><html><head>{_STYLE}</head><body>{table}{''.join(rows)}</table></body></html>"


def mail(id: str, thread: str, html: str) -> dict[str, Any]:
    """A message as Gmail gives it, with the HTML and a plain part."""

    def part(kind: str, text: str, at: str) -> dict[str, Any]:
        data = base64.urlsafe_b64encode(text.encode()).decode()
        headers = [{"name": "Content-Type", "value": f"{kind}; charset=utf-8"}]
        return {"partId": at, "mimeType": kind, "filename": "", "headers": headers, "body": {"data": data}}

    named = {"From": "News <news@example.test>", "To": "alice@example.test", "Subject": f"News {id}"}
    return {
        "id": id,
        "threadId": thread,
        "labelIds": ["INBOX"],
        "snippet": "News",
        "internalDate": "1764576000000",
        "payload": {
            "mimeType": "multipart/alternative",
            "filename": "",
            "headers": [{"name": name, "value": value} for name, value in named.items()],
            "parts": [part("text/plain", "See the HTML.", "0"), part("text/html", html, "1")],
        },
    }


class Mailbox(httpx.AsyncBaseTransport):
    """Answers for the API's requests by the end of their path; the rest is the sandbox's."""

    def __init__(self, sandbox: Sandbox, answers: dict[str, bytes]) -> None:
        self.inner, self.answers = sandbox.transport(), answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The prepared answer, or the sandbox's."""
        found = self.answers.get(request.url.path.rpartition("/")[2])
        if found is None:
            return await self.inner.handle_async_request(request)
        return httpx.Response(200, content=found, headers={"content-type": "application/json"})


async def reader(answers: dict[str, Any]) -> Deputy:
    """A deputy whose Gmail has these messages and conversations, by their ids."""
    sandbox = Sandbox()
    mailbox = Mailbox(sandbox, {id: json.dumps(answer).encode() for id, answer in answers.items()})
    deputy = await build(sandbox, transport=mailbox, policy=allow_all, toolkits=[TOOLKIT])
    give_grant(sandbox, deputy, "alice", [f"{GMAIL}readonly"], provider="google", email="alice@example.test")
    return deputy


async def longest_waits(done: asyncio.Event, beat: float = 0.001) -> tuple[float, float]:
    """Seconds by which a task that sleeps for ``beat`` was woken too late, at most; and the most CPU in such a wait."""
    longest = most = 0.0
    while not done.is_set():
        before, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(beat)
        longest, most = max(longest, time.perf_counter() - before - beat), max(most, time.process_time() - used)
    return longest, most


async def measured(deputy: Deputy, tool: str, **arguments: Any) -> dict[str, Any]:
    """One reading: its CPU and wall time, and the longest wait of another task, in milliseconds."""
    done = asyncio.Event()
    beating = asyncio.create_task(longest_waits(done))
    await asyncio.sleep(0.01)
    call = Call("bench", str(time.perf_counter_ns()), "1")
    cpu, wall = time.process_time(), time.perf_counter()
    result = await deputy.act(tool, arguments, user="alice", call=call)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    done.set()
    waited, used = await beating
    figures = {"cpu_ms": cpu, "wall_ms": wall, "longest_wait_ms": waited, "longest_wait_cpu_ms": used}
    return {name: round(seconds * 1000, 1) for name, seconds in figures.items()} | {"bytes": len(json.dumps(result))}


async def main() -> None:
    """Print the figures: of five readings the one that was disturbed least by others on the machine."""
    answers: dict[str, Any] = {f"m{size}": mail(f"m{size}", f"m{size}", newsletter(size, size)) for size in SIZES}
    ten = [mail(f"c{n}", "ten", newsletter(100_000, n)) for n in range(10)]
    async with await reader({**answers, "ten": {"id": "ten", "messages": ten}}) as deputy:
        works = [("gmail_get_email", {"message_id": f"m{size}"}) for size in SIZES]
        for tool, arguments in [*works, ("gmail_get_thread", {"thread_id": "ten"})]:
            found = [await measured(deputy, tool, **arguments) for _ in range(5)]
            least = min(found, key=lambda one: float(one["longest_wait_cpu_ms"]))
            print(json.dumps({"tool": tool, **arguments, **least}), flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser("python -m tests.bench.mails", description=__doc__).parse_args()
    asyncio.run(main())
