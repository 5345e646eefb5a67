"""A real Postgres server for tests, in a temporary folder, reached by a socket in it, not by a port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
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


AS_TRUSTED: Final = ("-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync")
QUICK: Final = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=100")


def binary(name: str) -> str | None:
    """Return a program of Postgres: on PATH, or where Debian puts each version's."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return str(kept[-1]) if kept else shutil.which(name)


class Server:
    """A server that a test may stop, crash and restart.

    ``dsn``: how to connect; ``url``: the same as an address. ``more``: settings of the next start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._who = folder, _somebody()
        if self._who:
            shutil.chown(folder, USER, USER)
        self.dsn = f"host={folder} user={USER} dbname=postgres"
        self.url = f"postgresql://{USER}@/postgres?host={folder}"
        self._process: subprocess.Popen[bytes] | None = None
        self.more: tuple[str, ...] = ()

    def make(self) -> None:
        """Create the files of an empty database."""
        made_by = subprocess.run(
            [str(binary("initdb")), "-D", str(self._folder / "data"), *AS_TRUSTED],
            capture_output=True, check=False, cwd=self._folder, **self._who,
        )  # fmt: skip
        assert made_by.returncode == 0, made_by.stderr.decode()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [str(binary("postgres")), "-D", str(self._folder / "data"), "-k", str(self._folder),
                 *QUICK, *self.more],
                stdout=log, stderr=log, cwd=self._folder, **self._who,
            )  # fmt: skip
        _answers(self._process, self._folder, self.dsn)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT disconnects everybody, SIGQUIT crashes."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(20)


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Start a fresh server, and remove it afterwards. Skips the test if Postgres is not installed."""
    require("Postgres", bool(binary("initdb") and binary("postgres")), "apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        server = Server(Path(made))
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def prepared_server() -> Iterator[Server]:
    """Start one with our tables, and a role ``app`` with a program's permissions."""
    from deputize.core.vault.stores.postgres.address import Address
    from deputize.core.vault.stores.postgres.schema import grant_to, migrate

    with postgres_server() as server:
        import psycopg

        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE app LOGIN")
        migrate(Address.of(server.url))
        grant_to(Address.of(server.url), "app")
        yield server


@contextmanager
def postgres() -> Iterator[str]:
    """Yield how to connect to a fresh server, removed afterwards. Skips the test if Postgres is not installed."""
    with postgres_server() as server:
        yield server.dsn


def _somebody() -> _Who:
    """Return the user for Postgres, which does not run as root: the one that its package created."""
    if os.geteuid() != 0:
        return {}
    known = pwd.getpwnam(USER)
    return {"user": known.pw_uid, "group": known.pw_gid}


def _answers(process: subprocess.Popen[bytes], folder: Path, dsn: str) -> None:
    """Wait until the server accepts connections."""
    import psycopg

    for _ in range(300):
        assert process.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError((folder / "log").read_text())
