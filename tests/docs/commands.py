"""The command lines of deputize that a page names, and whether the program has them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer
from typer.testing import CliRunner

from deputize.cli.app import app as cli
from tests.docs.blocks import blocks, text


def commands(page: str) -> list[str]:
    """Return every command line of deputize in a page, in blocks and in the text."""
    lines = "\n".join(blocks(page, "bash")).splitlines()
    named = [found[1] for line in lines if (found := re.search(r"(?:^|/)(deputize [^#]*[^#\s])", line))]
    prose = re.findall(r"`(deputize [^`]*)`(?:[^`]*; `(--[\w-]+)`)?", text(page))
    return [*named, *(command for command, _ in prose), *(f"{command} {more}" for command, more in prose if more)]


def parse(line: str) -> str:
    """Parse a command line without running it; return the command's help. Raises typer's own errors, or KeyError."""
    group: Any = typer.main.get_command(cli)
    name, *words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command = group.get_command(group.make_context("deputize", [name]), name)
    if command is None:
        raise KeyError(name)
    command.make_context(name, words)
    return CliRunner().invoke(cli, [name, "--help"]).output
