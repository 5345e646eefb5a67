"""Mixed load on two servers behind a balancer: ``python -m tests.load [--minutes 10] [--users 200] [--seed 1]``.

Two ``deputize serve`` on one Postgres, a provider whose tokens live for 45 s and whose refresh tokens are good once,
and users who read, write, send, approve, give mandates, disconnect and consent anew, two things at a time each. One
server is killed (SIGKILL) and started again, and Postgres is restarted, on the way. Prints percentiles, failures by
what they say, and the memory of the servers. Exit code 1 where a write was lost or doubled, somebody acted with the
token of somebody else or after a disconnect, or a refresh token was used twice. ``--rate``: steps a second in all.

Users, balancer and provider run in this one process, so on a busy machine its own wait is in the figures too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.load.course import Plan, played
from tests.load.figures import shown


def main(minutes: float, users: int, seed: int, rate: float) -> int:
    """Run it, print the report, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="load-") as home:
        report = asyncio.run(played(Plan(60 * minutes, users, seed, rate), Path(home)))
    print(shown(report))
    return bool(report.wrong)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.load")
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--users", type=int, default=200)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--rate", type=float, default=20.0)
    sys.exit(main(**vars(asked.parse_args())))
