"""Framework releases that are too old or changed internally are refused on import, naming a supported release."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deputize.adapters import releases
from deputize.adapters.llamaindex import redelivery as llamaindex_delivery
from deputize.core import SettingsError
from tests.support.lanes import sample

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OLD = [
    ("google_adk", "google-adk", "2.12.0", "2.13"),
    ("langgraph", "langgraph", "1.2.12", "1.2.13"),
    ("llamaindex", "llama-index-core", "0.14.6", "0.14.7"),
    ("llamaindex", "llama-index-workflows", "2.24.0", "2.24.1"),
    ("openai_agents", "openai-agents", "0.19.4", "0.20"),
    ("pydantic_ai", "pydantic-ai-slim", "2.15.0", "2.16"),
]


@pytest.mark.processes
@pytest.mark.parametrize(("adapter", "package", "old", "works"), sample(OLD, spread=True))
def test_adapter_refuses_an_unsupported_release_on_import(adapter: str, package: str, old: str, works: str) -> None:
    code = f"""
import importlib.metadata as metadata
real = metadata.version
metadata.version = lambda name: {old!r} if name == {package!r} else real(name)
import deputize.adapters.{adapter}
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"{package} {old} does not work here: it is older than {works}." in ended.stderr
    assert "SettingsError" in ended.stderr


@pytest.mark.processes
@pytest.mark.parametrize(
    ("adapter", "missing", "extra"),
    [
        ("google_adk", "google.adk", "google-adk"),
        ("llamaindex", "llama_index", "llamaindex"),
        ("openai_agents", "agents", "openai-agents"),
        ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
    ],
)
def test_missing_framework_error_says_what_to_install(adapter: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import deputize.adapters.{adapter}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"SettingsError: {missing.partition('.')[0]} is not installed." in ended.stderr
    assert f"deputize[{extra}]" in ended.stderr and "The above exception" not in ended.stderr


@pytest.mark.parametrize(
    ("holder", "name"), llamaindex_delivery.USED, ids=lambda value: getattr(value, "__name__", value)
)
def test_renamed_llamaindex_internal_is_refused_by_name(holder: type, name: str) -> None:
    releases.require_names("llama-index-workflows", releases.LLAMAINDEX, (holder, name))

    class Changed:
        pass

    with pytest.raises(SettingsError, match=f"Changed has no '{name}'") as refused:
        releases.require_names("llama-index-workflows", releases.LLAMAINDEX, (Changed, name))
    assert refused.value.hint == "pip install 'llama-index-workflows>=2.24.1'"


def test_release_check_matches_the_declared_requirement() -> None:
    declared = {
        line.split(">=")[0]: line.split(">=")[1].split(",")[0]
        for extra in ("google-adk", "langgraph", "llamaindex", "openai-agents", "pydantic-ai")
        for line in PROJECT["optional-dependencies"][extra]
        if not line.startswith("deputize[")
    }
    checked = (
        releases.GOOGLE_ADK | releases.LANGGRAPH | releases.LLAMAINDEX | releases.OPENAI_AGENTS | releases.PYDANTIC_AI
    )
    for package, works in checked.items():
        assert declared[package] == works


@pytest.mark.parametrize(
    ("found", "older"), [("1.2.11", True), ("1.2.12", False), ("1.10", False), ("1.2.12rc1", False)]
)
def test_releases_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch, found: str, older: bool) -> None:
    monkeypatch.setattr(releases, "version", lambda package: found)
    if older:
        with pytest.raises(SettingsError):
            releases.require({"langgraph": "1.2.12"})
    else:
        releases.require({"langgraph": "1.2.12"})
