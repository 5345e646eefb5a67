"""A Postgres server with a standby that takes over when a test says so, and lacks what a test holds back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.counterparts import require
from tests.support.postgres import USER, Server, binary, postgres_server


class Standby(Server):
    """A standby of a server."""

    def __init__(self, folder: Path, primary: Server) -> None:
        super().__init__(folder)
        self._primary = primary

    def make(self) -> None:
        host = self._primary.url.partition("host=")[2]
        made_by = subprocess.run(
            [str(binary("pg_basebackup")), "-D", str(self._folder / "data"), "-h", host, "-U", USER,
             "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            capture_output=True, check=False, cwd=self._folder, **self._who,
        )  # fmt: skip
        assert made_by.returncode == 0, made_by.stderr.decode()

    def follows(self) -> str:
        """Wait until it follows; how: ``async`` or ``sync``."""
        for _ in range(100):
            found = asked(self._primary, "SELECT sync_state FROM pg_stat_replication")
            if found:
                return str(found)
            time.sleep(0.05)
        raise AssertionError("It does not follow.")

    def cut_off(self) -> None:
        """Cut replication: what the primary acknowledges from now on never arrives."""
        asked(self, "ALTER SYSTEM SET primary_conninfo = ''")
        asked(self, "SELECT pg_reload_conf()")
        for _ in range(100):
            if not asked(self._primary, "SELECT count(*) FROM pg_stat_replication"):
                return
            time.sleep(0.05)
        raise AssertionError("It still follows.")

    def take_over(self) -> None:
        """Kill the primary, and promote this one."""
        self._primary.stop(signal.SIGKILL)
        assert asked(self, "SELECT pg_promote(true, 20)")
        asked(self, "ALTER SYSTEM SET synchronous_standby_names = ''")
        asked(self, "SELECT pg_reload_conf()")


def asked(server: Server, statement: str) -> object:
    """Return the first value of a statement, or None."""
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        cursor = admin.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@contextmanager
def primary_and_standby() -> Iterator[tuple[Server, Standby, str]]:
    """Start both, and return the address of a vault that finds the one accepting writes.

    Skips the test if Postgres is missing.
    """
    require("Postgres", bool(binary("pg_basebackup") and shutil.which("sh")), "apt-get install postgresql")
    with postgres_server() as primary, tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        standby = Standby(Path(made), primary)
        standby.make()
        try:
            standby.start()
            standby.follows()
            hosts = ",".join(one.url.partition("host=")[2] for one in (primary, standby))
            yield primary, standby, f"postgresql://{USER}@/postgres?host={hosts}"
        finally:
            standby.stop()
