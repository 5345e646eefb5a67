"""The files of deploy/, as their programs read them; and which settings, commands and secrets they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from tests.docs.blocks import ROOT

DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
NGINX: Final = DEPLOY / "compose" / "nginx.conf"
UNIT: Final = DEPLOY / "systemd" / "deputize.service"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def compose() -> dict[str, Any]:
    """Return the Compose file, with ``<<`` merged."""
    found: dict[str, Any] = import_module("yaml").safe_load(COMPOSE.read_text())
    return found


def manifests() -> Iterator[dict[str, Any]]:
    """Return every manifest for Kubernetes."""
    for path in MANIFESTS:
        yield from import_module("yaml").safe_load_all(path.read_text())


def manifest(kind: str, name: str = "deputize") -> dict[str, Any]:
    """Return one of them."""
    [found] = [one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def unit(section: str) -> list[tuple[str, str]]:
    """Return the lines of a section of the systemd unit."""
    text = UNIT.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def environments() -> dict[str, dict[str, str]]:
    """Return the variables that each kind of deployment sets. Examples replace values that operators give."""
    services = compose()["services"]
    assigned = [one.split("=", 1) for name, line in unit("Service") if name == "Environment" for one in line.split()]
    return {
        "compose": given(services["one"]["environment"]),
        "compose, tables": given(services["tables"]["environment"]),
        "kubernetes": given(manifest("ConfigMap")["data"]),
        "kubernetes, tables": {
            one["name"]: one["value"] for one in _first(manifest("Job", "deputize-store-init"))["env"]
        },
        "systemd": dict(assigned),
    }


def given(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the text with ``${NAME:?why}`` replaced."""
    likely = {"BASE_URL": "https://agents.example.com", "ISSUER": "https://login.example.com"}

    def value(found: re.Match[str]) -> str:
        return next((text for word, text in likely.items() if found[1].endswith(word)), "from-env")

    return {name: re.sub(r"\$\{(\w+):\?[^}]*\}", value, str(text)) for name, text in variables.items()}


def commands() -> dict[str, list[str]]:
    """Return what is run, without the program."""
    services = compose()["services"]
    started = dict(unit("Service"))["ExecStart"].split()
    assert started[0].endswith("/deputize")
    return {
        "compose": services["one"]["command"],
        "compose, tables": services["tables"]["command"],
        "kubernetes": _first(manifest("Deployment"))["args"],
        "kubernetes, tables": _first(manifest("Job", "deputize-store-init"))["args"],
        "systemd": started[1:],
    }


def _first(workload: Mapping[str, Any]) -> dict[str, Any]:
    [container] = workload["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found
