"""The command line. It needs the extra ``cli``. A command that needs another extra names it in its error."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program ``deputize``. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, 143
    SIGTERM, after calls in progress have finished."""
    try:
        from deputize.cli.app import app
    except ImportError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in ("typer", "rich"):
            raise
        sys.exit(f'deputize: {missing.name} is not installed.\n  pip install "deputize[cli]"')
    from deputize.core import exit_on_sigterm

    exit_on_sigterm()
    app(prog_name="deputize")
