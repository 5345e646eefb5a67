"""A Postgres server of the test's own: a real one, in a temporary folder, reached by a socket in it, not by a port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict

from tests.support.counterparts import require

USER: Final = "postgres"


class _Who(TypedDict, total=False):
    user: int
    group: int


QUICK: Final = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20")


def binary(name: str) -> str | None:
    """A program of Postgres: on PATH, or where Debian keeps each version's."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return str(kept[-1]) if kept else shutil.which(name)


@contextmanager
def postgres() -> Iterator[str]:
    """How to connect to a fresh server, gone afterwards. Skips the test where Postgres is not installed."""
    initdb, server = binary("initdb"), binary("postgres")
    require("Postgres", bool(initdb and server), "apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        folder, who = Path(made), _somebody()
        if who:
            shutil.chown(folder, USER, USER)
        data = str(folder / "data")
        made_by = subprocess.run(
            [str(initdb), "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync"],
            capture_output=True, check=False, cwd=folder, **who,
        )  # fmt: skip
        assert made_by.returncode == 0, made_by.stderr.decode()
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [str(server), "-D", data, "-k", made, *QUICK], stdout=log, stderr=log, cwd=folder, **who
            )
        try:
            _answers(process, folder)
            yield f"host={made} user={USER} dbname=postgres"
        finally:
            process.terminate()
            process.wait(20)


def _somebody() -> _Who:
    """Postgres does not run as root: then it runs as the user that its package made."""
    if os.geteuid() != 0:
        return {}
    known = pwd.getpwnam(USER)
    return {"user": known.pw_uid, "group": known.pw_gid}


def _answers(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the server takes connections."""
    import psycopg

    for _ in range(300):
        assert process.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(f"host={folder} user={USER} dbname=postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError((folder / "log").read_text())
