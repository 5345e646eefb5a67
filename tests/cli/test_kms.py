"""``deputize key`` with a KMS: the keys move to it and between services while programs act, and nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.seal import id_of
from tests.cli.conftest import Command
from tests.cli.terminal import environment
from tests.cli.test_keys import ACTING
from tests.cli.test_refusals import refused
from tests.core.vault.test_rotation import sealers
from tests.support.kms_servers import TOKEN, KmsServer, kms_server
from tests.support.ports import free_port
from tests.support.postgres import prepared_server


@pytest.fixture
def server() -> Iterator[KmsServer]:
    with kms_server() as made:
        yield made


def kms(server: KmsServer, *names: str) -> dict[str, str]:
    """Return the settings of services, each with the key ``root`` or the one of its name."""
    found = {}
    for name in names or ("main",):
        values = {"provider": "vault-transit", "key": {"main": "root"}.get(name, name)}
        for field, value in {**values, "address": server.url, "token": TOKEN}.items():
            found[f"DEPUTIZE_KMS__{name.upper()}__{field.upper()}"] = value
    return found


def done(found: Any) -> str:
    assert found.exit_code == 0, found.output
    return str(found.output)


def test_keys_move_to_a_kms_and_every_command_says_who_wraps_what(
    cli: Command, home: Path, settings: dict[str, str], server: KmsServer
) -> None:
    file = home / "deputize" / "key"
    [key] = KeyFile(file).read_keys()
    with_kms = settings | kms(server)
    done(cli("act", "gmail_search_emails", "{}", **with_kms))
    assert "No root key is wrapped by a KMS" in cli("doctor", "--offline", **with_kms).output
    assert "1 key wrapped by main" in done(cli("key", "wrap", "main", **with_kms))
    told = cli("doctor", "--offline", **with_kms).output
    assert f"main (vault-transit root) unwraps the key {id_of(key)}, in 0." in told
    assert "not wrapped are still in" in told
    file.rename(home / "safe-place")
    done(cli("act", "gmail_search_emails", "{}", **with_kms))
    done(cli("key", "rotate", **with_kms))
    assert f"{id_of(key)}  older  0 records  wrapped by main" in done(cli("key", "list", **with_kms))
    assert [row["kms"] for row in json.loads(cli("key", "list", "--json", **with_kms).stdout)] == [["main"], ["main"]]
    assert "main (vault-transit root) unwraps" in done(cli("store", "check", **with_kms))
    done(cli("key", "remove", id_of(key), **with_kms))
    assert json.loads((home / "deputize" / f"wrapped-keys.json.{id_of(key)}").read_text())["keys"][0]["id"] == id_of(
        key
    )
    rows = [json.loads(line) for line in cli("audit", "--json", **with_kms).stdout.splitlines()]
    [row] = [row for row in rows if row["event"] == "key.wrapped"]
    assert row["key"] == id_of(key) and row["kms"] == "main"
    refused(cli("accounts", **settings), "settings_error", "There is a vault but no key")
    server.fail = 403
    failed = cli("store", "check", **with_kms)
    assert failed.exit_code == 1 and "main (vault-transit)" in failed.output
    assert "The KMS refuses: status 403" in cli("doctor", "--offline", **with_kms).output


def test_first_key_is_made_by_a_kms_for_a_web_application(cli: Command, home: Path, server: KmsServer) -> None:
    web = {"DEPUTIZE_BASE_URL": "https://app.example.com"} | kms(server, "main", "other")
    refused(cli("accounts", DEPUTIZE_USER="alice", **web), "settings_error", "deputize key new --kms NAME")
    refused(cli("key", "new", "--kms", "third", **web), "settings_error", "No section")
    refused(cli("key", "new", "--kms", "main"), "settings_error", "No KMS is set")
    assert "wrapped by other" in done(cli("key", "new", "--kms", "other", **web))
    done(cli("accounts", DEPUTIZE_USER="alice", **web))
    refused(cli("key", "new", "--kms", "main", **web), "settings_error", "root keys already")


@pytest.mark.processes
def test_programs_act_while_keys_move_between_file_and_services(
    cli: Command, home: Path, settings: dict[str, str], server: KmsServer
) -> None:
    both = settings | kms(server, "main", "other")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ACTING], stdin=-1, stdout=-1, text=True, env=environment(home, **both), cwd=home
        )
        for _ in range(3)
    ]
    try:
        for program in programs:
            assert program.stdout and program.stdout.readline() == "ready\n"
        done(cli("key", "wrap", "main", **both))
        (home / "deputize" / "key").rename(home / "safe-place")
        done(cli("key", "rotate", **both))
        done(cli("key", "wrap", "other", **both))
        done(cli("key", "rotate", **both))
        done(cli("key", "wrap", "other", "--only", **both))
        server.keys.discard("root")
        done(cli("key", "rotate", **both))
        said = [program.communicate("\n", timeout=60)[0].strip() for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    assert said == ["True []"] * 3
    assert cli("key", "reseal", **both).exit_code == 0
    rows = json.loads(cli("key", "list", "--json", **settings | kms(server, "other")).stdout)
    assert [row["kms"] for row in rows] == [["other"]] * 4
    assert sealers(home / "deputize" / "vault.sqlite") == {rows[0]["id"]}


KILLED = """
import os, signal, sys
from pathlib import Path
from deputize.core.vault.kms.transit import Transit
from deputize.core.vault.key_sources import wrapped
from deputize.core.settings import Settings

steps, last = [0], int(sys.argv[1])

def step(*_):
    steps[0] += 1
    if steps[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name):
    real = getattr(owner, name)
    def call(*args, **more):
        step()
        found = real(*args, **more)
        step()
        return found
    setattr(owner, name, call)

for owner, name in ((os, "fsync"), (Path, "replace"), (Transit, "wrap"), (Transit, "unwrap"), (os, "open")):
    around(owner, name)
Settings.load(port=0).key_source.wrap_keys("main")
"""


@pytest.mark.processes
def test_kill_at_any_step_of_a_change_to_a_kms_loses_no_key(
    cli: Command, home: Path, settings: dict[str, str], server: KmsServer
) -> None:
    with_kms, folder = settings | kms(server), home / "deputize"
    done(cli("key", "rotate", **settings))
    keys = KeyFile(folder / "key").read_keys()
    (folder / "wrapped-keys.json").unlink(missing_ok=True)
    states, code = set[bool](), 0
    for last in (*range(1, 40, 4), 1000):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(last)], env=environment(home, **with_kms), cwd=home, timeout=60
        )
        code = ended.returncode
        assert code in (0, -signal.SIGKILL)
        assert KeyFile(folder / "key").read_keys() == keys, "the file is never touched"
        states.add((folder / "wrapped-keys.json").exists())
        rows = json.loads(cli("key", "list", "--json", **with_kms).stdout)
        assert [row["id"] for row in rows] == [id_of(key) for key in keys]
        if code == 0:
            break
        (folder / "wrapped-keys.json").unlink(missing_ok=True)
    assert states == {False, True} and code == 0
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and "lock" not in path.name]


# ------------------------------------------------------------- AWS KMS, by moto's server


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Moto's server, and its address. It knows no IAM, and a disabled key still decrypts there."""
    port = free_port()
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(f"AWS_{name}", value)
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            import httpx

            for _ in range(200):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/moto-api/")
                    break
                except httpx.HTTPError:
                    assert process.poll() is None
                    time.sleep(0.05)
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.counterpart
def test_moto_unwraps_only_with_the_context_and_an_outage_has_a_type(
    cli: Command, home: Path, moto: tuple[subprocess.Popen[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, address = moto
    client = import_module("boto3").client("kms", endpoint_url=address, region_name="eu-central-1")
    arns = [client.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    env = {"DEPUTIZE_USER": "alice"}
    for name, arn in zip(("MAIN", "OTHER"), arns, strict=True):
        env |= {f"DEPUTIZE_KMS__{name}__PROVIDER": "aws-kms", f"DEPUTIZE_KMS__{name}__KEY": arn}
        env[f"DEPUTIZE_KMS__{name}__ADDRESS"] = address
    done(cli("key", "new", "--kms", "main", **env))
    done(cli("accounts", **env))
    done(cli("key", "rotate", **env))
    done(cli("key", "wrap", "other", "--only", **env))
    assert "wrapped by other" in done(cli("key", "list", **env))
    said = " ".join(done(cli("store", "check", **env)).split())
    assert f"other (aws-kms {arns[1]}) unwraps the key" in said
    file = home / "deputize" / "wrapped-keys.json"
    text = file.read_text()
    file.write_text(text.replace(json.loads(text)["vault"], "0" * 16))
    refused(cli("accounts", **env), "settings_error", "InvalidCiphertextException", "other (aws-kms)")
    file.write_text(text)
    missing = arns[1][:-36] + "0" * 8 + arns[1][-28:]
    refused(cli("accounts", **env | {"DEPUTIZE_KMS__OTHER__KEY": missing}), "settings_error", "NotFoundException")
    process.kill()
    process.wait()
    monkeypatch.setattr("deputize.core.vault.key_sources.wrapped.RETRY_SECONDS", 1.0)
    refused(cli("accounts", **env), "store_unavailable", "EndpointConnectionError", "other (aws-kms)")


# ------------------------------------------------------------- several machines

LISTING = ACTING.replace('deputy.act("gmail_search_emails", {}, user="alice")', 'deputy.connections("alice")').replace(
    "bool(", "[] == ("
)


@pytest.mark.counterpart
def test_machines_that_share_a_database_share_the_list(
    cli: Command, home: Path, tmp_path_factory: pytest.TempPathFactory, server: KmsServer
) -> None:
    with prepared_server() as database:
        url = database.url.replace("postgres@", "app@")
        env = {"DEPUTIZE_USER": "alice", "DEPUTIZE_VAULT": url, "DEPUTIZE_PORT": "0"}
        both = env | kms(server, "main", "other")
        there = environment(tmp_path_factory.mktemp("there"), **both)
        done(cli("key", "new", "--kms", "main", **both))
        done(cli("accounts", **both))
        with subprocess.Popen(
            [sys.executable, "-c", LISTING], stdin=-1, stdout=-1, text=True, env=there, cwd=there["HOME"]
        ) as program:
            assert program.stdout and program.stdout.readline() == "ready\n"
            done(cli("key", "rotate", **both))
            done(cli("key", "wrap", "other", **both))
            done(cli("key", "rotate", **both))
            assert program.communicate("\n", timeout=60)[0].strip() == "True []"
        assert not (home / "deputize" / "wrapped-keys.json").exists()
        rows = json.loads(cli("key", "list", "--json", **both).stdout)
        assert len(rows) == 3 and rows[0]["kms"] == ["other", "main"] and rows[2]["records"] == 0
        done(cli("store", "check", **both))
        old = rows[2]["id"]
        done(cli("key", "remove", old, **both))
        assert (home / "deputize" / f"wrapped-keys.json.{old}").exists()
        both["DEPUTIZE_HOME"] = there["DEPUTIZE_HOME"]
        assert len(json.loads(cli("key", "list", "--json", **both).stdout)) == 2


@pytest.mark.counterpart
def test_move_to_a_database_takes_the_list_along(cli: Command, home: Path, server: KmsServer) -> None:
    env = {"DEPUTIZE_USER": "alice"} | kms(server)
    done(cli("key", "new", "--kms", "main", **env))
    done(cli("accounts", **env))
    before = json.loads(cli("key", "list", "--json", **env).stdout)
    with prepared_server() as database:
        done(cli("store", "copy", str(home / "deputize" / "vault.sqlite"), database.url, **env))
        (home / "deputize" / "wrapped-keys.json").unlink()
        after = json.loads(cli("key", "list", "--json", **env, DEPUTIZE_VAULT=database.url).stdout)
        assert [row["id"] for row in after] == [row["id"] for row in before]
