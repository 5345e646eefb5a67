"""What is public is listed, workflows are valid and pinned, and the wheel has the same bytes when it is built again."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.docs.blocks import ROOT, blocks, text

PAGE: Final = "docs/versions.md"
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES: Final = [str(page.relative_to(ROOT)) for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]]


@functools.cache
def documented() -> dict[str, set[str]]:
    """Return the names that the table of the page lists, by module."""
    rows = re.findall(r"^  \| `(deputize[\w.]+)` \| (.+) \|$", text(PAGE), re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


def whole_modules() -> list[str]:
    """Return the modules whose ``__all__`` is public."""
    _, _, after = text(PAGE).partition("**Python names.**")
    return re.findall(r"`(deputize\.[\w.]+)`", after.partition("- **Names of other modules**")[0])


def imports() -> Iterator[tuple[str, str, str]]:
    """Return page, module and name of each import of deputize in a block of a page."""
    for page in PAGES:
        for block in blocks(page, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deputize"):
                    yield from ((page, str(node.module), one.name) for one in node.names)


def test_pages_import_public_names_only() -> None:
    public = documented() | {module: set(importlib.import_module(module).__all__) for module in whole_modules()}
    public["deputize.sandbox"] |= {"faults"}  # a module
    assert [one for one in imports() if one[2] not in public.get(one[1], set())] == []


def test_listed_names_exist_and_are_imported_by_a_page() -> None:
    used = {(module, name) for _, module, name in imports()}
    for module, names in documented().items():
        assert all(hasattr(importlib.import_module(module), name) for name in names), module
        assert {(module, name) for name in names} <= used, module


def test_api_reference_is_of_the_public_modules() -> None:
    listed = re.findall(r"api/(deputize[\w.]+)\.md", text("mkdocs.yml"))
    assert sorted(listed) == sorted(whole_modules())


def workflow(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each step of a job, with the name of its file."""
    for file in WORKFLOWS:
        for job in workflow(file)["jobs"].values():
            yield from ((file.name, step) for step in job.get("steps", ()))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_jobs_of_a_workflow_have_named_permissions_and_an_end(file: Path) -> None:
    assert workflow(file)["permissions"] == {}
    for name, job in workflow(file)["jobs"].items():
        assert job["permissions"], name
        assert "uses" in job or job["timeout-minutes"] <= 120, name


def test_actions_are_pinned_by_commit_and_keep_no_credentials() -> None:
    used = [(file, step) for file, step in steps() if "uses" in step]
    assert used
    for file, step in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), (file, step["uses"])
        if step["uses"].startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, file
    for place in WORKFLOWS:
        for pin in re.findall(r"uses: actions/.*", place.read_text("utf-8")):
            assert re.search(r" # v\d+\.\d+\.\d+$", pin), "Dependabot updates the version in the comment"


def test_scripts_of_workflows_are_valid_and_name_existing_files() -> None:
    scripts = [step["run"] for _, step in steps() if "run" in step]
    assert scripts
    for script in scripts:
        assert "${{" not in script, "values come from the environment, never into the text of a script"
        for path in re.findall(r"(?:^|\s)(\.ci/\w+)", script):
            assert (ROOT / path).stat().st_mode & 0o111, path
    subprocess.run(["bash", "-n"], input="\n".join(scripts), text=True, check=True)


def test_release_is_checked_against_version_and_changelog() -> None:
    [script] = [
        step["run"] for file, step in steps() if "GITHUB_REF_NAME#v" in step.get("run", "") and "grep" in step["run"]
    ]
    name = re.findall(r'^version = "(.+)"$', text("pyproject.toml"), re.MULTILINE)[0]
    for tag, code in ((f"v{name}", 0), ("v9.9.9", 1)):
        changed = script.replace("CHANGELOG.md", "/dev/stdin")
        done = subprocess.run(
            ["bash", "-e", "-c", changed], env={"GITHUB_REF_NAME": tag}, cwd=ROOT, input=f"## {name}\n", text=True
        )
        assert done.returncode == code, tag


def test_tried_pythons_are_the_supported_ones() -> None:
    [matrix] = [
        job["strategy"]["matrix"]
        for job in workflow(ROOT / ".github/workflows/wheel.yml")["jobs"].values()
        if "strategy" in job
    ]
    assert matrix["python"] == re.findall(r'Python :: (3\.\d+)"', text("pyproject.toml"))
    assert re.findall(r"\*\*Python\*\*: ([\d., and]+)\.", text(PAGE)) == [
        ", ".join(matrix["python"][:-1]) + f" and {matrix['python'][-1]}"
    ]


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_same_commit_builds_the_same_bytes(builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = [next(builder(str(ROOT)).build(directory=str(tmp_path / part), versions=["standard"])) for part in "ab"]
    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes()


def test_dependabot_watches_every_place_of_dependencies() -> None:
    found = workflow(ROOT / ".github/dependabot.yml")["updates"]
    assert {one["package-ecosystem"]: one["directory"] for one in found} == {
        "pip": "/",
        "github-actions": "/",
        "docker": "/deploy",
    }
    assert (ROOT / "deploy/Dockerfile").exists()
    assert json.dumps(found).count("default-days") == len(found)
