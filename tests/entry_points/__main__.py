"""Give every entry point all hostile values: ``python -m tests.entry_points --seed 7 [--share 0.2] [PART ...]``.

Prints for each part how many cases there were and each fault with a value that shows it. Exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.entry_points import command_line, deputy_methods, mcp_calls, server_metadata, web_pages
from tests.entry_points.hostile_values import Report


def _at_terminal(play: Callable[[Random, float, command_line.Terminal], Report]) -> Callable[[Random, float], Report]:
    def played(random: Random, share: float) -> Report:
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as home:
            report = play(random, share, command_line.Terminal(Path(home), patch))
            patch.undo()
            return report

    return played


PARTS: Final[Mapping[str, Callable[[Random, float], Report]]] = {
    "deputy": lambda random, share: asyncio.run(deputy_methods.play(random, share)),
    "pages": lambda random, share: asyncio.run(web_pages.play(random, share)),
    "mcp": lambda random, share: asyncio.run(mcp_calls.play(random, share)),
    "metadata": lambda random, share: asyncio.run(server_metadata.play(random, share)),
    "commands": _at_terminal(command_line.play_commands),
    "settings": _at_terminal(command_line.play_settings),
}


def main(seed: int, share: float, parts: list[str]) -> int:
    """Play these parts; return the exit code."""
    faults = 0
    for part in parts or PARTS:
        began = time.monotonic()
        report = PARTS[part](Random(seed), share)  # noqa: S311
        faults += len(report.faults)
        seconds = time.monotonic() - began
        print(f"{part}: {report.calls} cases, {len(report.faults)} faults, {seconds:.0f} s", flush=True)
        if report.faults:
            print(report, flush=True)
    return bool(faults)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.entry_points")
    asked.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    asked.add_argument("--seed", type=int, default=7)
    asked.add_argument("--share", type=float, default=1.0, help="of all cases")
    sys.exit(main(**vars(asked.parse_args())))
