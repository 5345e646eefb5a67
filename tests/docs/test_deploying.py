"""deploy/: each file is valid for its program, and everything it refers to exists."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from deputize.cli.graceful_shutdown import CALLS_TIMEOUT_SECONDS
from deputize.cli.http_app import check
from deputize.core.in_flight import CLOSE_TIMEOUT_SECONDS
from deputize.core.settings import Settings
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.root_keys import new_key
from deputize.core.web.ops.probes import Probes
from tests.docs.blocks import ROOT
from tests.docs.commands import parse
from tests.docs.deploying import (
    DEPLOY,
    MANIFESTS,
    NGINX,
    UNIT,
    commands,
    compose,
    environments,
    manifest,
    manifests,
    unit,
)
from tests.support.counterparts import require, require_deploying
from tests.support.sandbox_deputy import build

SERVERS = ("compose", "kubernetes", "systemd")
ALL = (*SERVERS, "compose, tables", "kubernetes, tables")


@pytest.mark.parametrize("where", ALL)
def test_deployed_command_is_valid_with_its_arguments(where: str) -> None:
    assert parse(shlex.join(["deputize", *commands()[where]]))


@pytest.mark.parametrize("where", ALL)
def test_documented_settings_are_enough_for_a_server(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environments()[where]
    handed_in = tmp_path / "secrets"
    handed_in.mkdir(mode=0o700)
    for name, value in variables.items():
        if name.endswith("_FILE"):
            file = handed_in / value.rpartition("/")[2]
            file.write_text(_secret(name) + "\n")
            file.chmod(0o400)
            value = str(file) if value.startswith(("/", "%d/")) else value
        elif name == "DEPUTIZE_HOME":
            value = str(tmp_path / "home")
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_in))
    if where == "systemd":
        for line in (DEPLOY / "systemd" / "environment.example").read_text().splitlines():
            monkeypatch.setenv(*line.split("=", 1))
    settings = Settings.load()
    assert settings.vault == "postgresql://deputize_app:x@db.example.com/deputize"
    if where in SERVERS:
        check(settings)
        assert len(settings.keys()) == 1 and settings.serve.client_secret
        assert all(app.client_secret for app in settings.apps.values())
    for name in variables:
        assert name == "DEPUTIZE_HOME" or _is_set(settings, name), name


def _secret(name: str) -> str:
    if name == "DEPUTIZE_KEY_FILE":
        return new_key()
    return "postgresql://deputize_app:x@db.example.com/deputize" if name == "DEPUTIZE_VAULT_FILE" else "a-secret"


def _is_set(settings: Settings, name: str) -> bool:
    """Return True if this variable sets a value of the settings."""
    at: Any = settings
    *tables, last = name.removeprefix("DEPUTIZE_").removesuffix("_FILE").lower().split("__")
    last = "key_file" if name == "DEPUTIZE_KEY_FILE" else last
    for table in tables:
        at = at[table] if isinstance(at, dict) else getattr(at, table)
    return last in at.model_fields_set


def test_each_named_secret_is_mounted() -> None:
    services, secrets = compose()["services"], compose()["secrets"]
    for service in services.values():
        files = {str(value) for value in service.get("environment", {}).values()}
        named = {value.removeprefix("/run/secrets/") for value in files if value.startswith("/run/secrets/")}
        assert named <= set(service.get("secrets", ())) <= set(secrets)
    assert {f"/run/secrets/{one}" for one in services["proxy"]["secrets"]} == set(
        re.findall(r"ssl_\w+ (/run/\S+);", NGINX.read_text())
    )
    kept = {one["metadata"]["name"]: set(one["stringData"]) for one in manifests() if one["kind"] == "Secret"}
    named = {value.rpartition("/")[2] for name, value in environments()["kubernetes"].items() if name.endswith("_FILE")}
    assert named == kept["deputize"]
    loaded = {value.partition(":")[0] for name, value in unit("Service") if name == "LoadCredential"}
    assert loaded == {
        value.removeprefix("%d/") for name, value in environments()["systemd"].items() if name.endswith("_FILE")
    }
    readme = (DEPLOY / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in (*secrets, *loaded, *kept["deputize"]))


@pytest.mark.parametrize("where", SERVERS)
def test_each_served_provider_has_an_app(where: str) -> None:
    """Without names all toolkits are served, and calls to those of a provider without an app fail."""
    served = commands()[where][1 : commands()[where].index("--http")]
    wanted = {find_toolkits()[name].provider for name in served}
    apps = {name.split("__")[1].lower() for name in environments()[where] if name.startswith("DEPUTIZE_APPS__")}
    assert wanted and wanted == apps


def test_vault_lines_can_be_removed_from_the_systemd_unit() -> None:
    lines = [value for _, value in unit("Service") if "vault" in value.lower()]
    assert lines == ["DEPUTIZE_VAULT_FILE=vault", "vault:/etc/deputize/vault"]


def test_roles_script_runs_in_its_own_shell() -> None:
    """Postgres' image sources a script that is not executable in its own shell, which then has its ``set -eu``."""
    [script] = [one.split(":")[0] for one in compose()["services"]["database"]["volumes"] if "initdb.d" in one]
    assert (DEPLOY / "compose" / script).stat().st_mode & 0o555 == 0o555


async def test_ports_and_probes_match_what_is_served() -> None:
    async with await build() as deputy:
        served = {route.path for route in Probes(deputy).routes}
    [container] = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["path"] for probe in probes} == served and {probe["port"] for probe in probes} == {"http"}
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    for where, metrics in (("compose", 9464), ("kubernetes", ports["metrics"])):
        assert environments()[where]["DEPUTIZE_SERVE__METRICS"] == f"0.0.0.0:{metrics}"
        assert commands()[where][-2:] == ["--http", f"0.0.0.0:{ports['http']}"]
    assert re.findall(r"server (\w+:\d+)", NGINX.read_text()) == [f"{one}:{ports['http']}" for one in ("one", "two")]
    assert f"127.0.0.1:{ports['http']}/readyz" in compose()["services"]["one"]["healthcheck"]["test"][-1]
    assert manifest("Service")["spec"]["ports"][0]["targetPort"] == "http"


def test_stop_timeout_covers_the_shutdown() -> None:
    for where, seconds in (
        ("compose", compose()["services"]["one"]["stop_grace_period"].removesuffix("s")),
        ("kubernetes", manifest("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]),
        ("systemd", dict(unit("Service"))["TimeoutStopSec"]),
    ):
        drain = float(environments()[where].get("DEPUTIZE_SERVE__DRAIN", 5))
        assert float(seconds) >= drain + CALLS_TIMEOUT_SECONDS + CLOSE_TIMEOUT_SECONDS, where


def test_servers_run_without_root_and_unneeded_write_access() -> None:
    services = compose()["services"]
    for name in ("one", "two", "tables"):
        assert services[name]["user"] == "10001:10001" and services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    one, two = (
        {name: value for name, value in services[which].items() if name != "networks"} for which in ("one", "two")
    )
    assert one == two and "ports" not in one
    for workload in (manifest("Deployment"), manifest("Job", "deputize-store-init")):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
        [container] = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert [one["secret"]["defaultMode"] for one in pod["volumes"] if "secret" in one] == [0o400]
    assert "USER 10001:10001" in (DEPLOY / "Dockerfile").read_text()


def test_image_is_built_from_existing_files() -> None:
    dockerfile, project = (DEPLOY / "Dockerfile").read_text(), (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"/source\[([\w,]+)\]", dockerfile)[0].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    assert json.loads(re.findall(r"ENTRYPOINT (.*)", dockerfile)[0]) == ["deputize"]
    kept = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for name in kept)
    files = {"LICENSE", "README.md", "hatch_build.py", "pyproject.toml"}
    assert files | {"core", "adapters", "toolkits"} == set(kept)


@pytest.mark.counterpart
def test_compose_accepts_its_file() -> None:
    schema = json.loads((require_deploying() / "compose" / "config" / "compose_spec.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(compose())] == []


@pytest.mark.counterpart
def test_kubernetes_accepts_its_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(require_deploying())
    validate = import_module("kubernetes_validate").validate
    for one in manifests():
        validate(one, "1.33", strict=True)
    assert len(MANIFESTS) == 3


@pytest.mark.counterpart
def test_systemd_accepts_its_unit_and_rates_it_confined(tmp_path: Path) -> None:
    require("systemd-analyze", bool(shutil.which("systemd-analyze")), "apt-get install systemd")
    file, program = tmp_path / UNIT.name, shutil.which("true")
    file.write_text(UNIT.read_text().replace("/opt/deputize/bin/deputize", str(program)))
    for words in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *words, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.counterpart
def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    require("nginx", bool(nginx), "apt-get install nginx-light")
    key, certificate, file = tmp_path / "key", tmp_path / "certificate", tmp_path / "nginx.conf"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "1"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    text = NGINX.read_text().replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    text = text.replace("/run/secrets/tls_certificate", str(certificate)).replace("/run/secrets/tls_key", str(key))
    file.write_text(re.sub(r"server (one|two):", "server 127.0.0.1:", text))
    words = [str(nginx), "-t", "-q", "-c", str(file), "-p", str(tmp_path), "-e", "stderr"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
