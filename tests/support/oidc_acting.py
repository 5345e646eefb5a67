"""A process that acts at oidc-provider on a shared vault: python -m tests.support.oidc_acting VAULT PORT USER ACTS.

Prints `ready`, waits for a line, then acts, many at a time, and prints what failed as a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from deputize.core import Call, DeputizeError, Deputy
from tests.support.oidc_provider import OidcProvider, deputy_for

AT_ONCE = 8
KEY = b"k" * 32


async def acts(deputy: Deputy, user: str, numbers: range, name: str = "") -> list[str]:
    """Act this often, every tenth time with an effect; return what failed."""
    left, failed = iter(numbers), list[str]()

    async def work() -> None:
        for number in left:
            tool, arguments = (
                ("notes_write_note", {"text": "a note"}) if number % 10 == 0 else ("notes_count_notes", {})
            )
            try:
                answer = await deputy.act(tool, arguments, user=user, call=Call(id=f"{name} {number}"))
            except DeputizeError as error:
                failed.append(f"{type(error).__name__}: {error}")
            else:
                if answer["user"] != user:
                    failed.append(f"answered for {answer['user']}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return failed


async def main(vault: str, port: str, user: str, count: str) -> None:
    """Run as described at the top of this module."""
    server = OidcProvider.at(int(port))
    async with deputy_for(server, "short", path=Path(vault), key=KEY) as deputy:
        print("ready", flush=True)
        name = sys.stdin.readline().strip()
        print(json.dumps(await acts(deputy, user, range(int(count)), name)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
