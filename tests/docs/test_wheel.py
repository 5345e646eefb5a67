"""The built wheel holds what is not Python too: pages, their style, and the marks of typed packages."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("core", "toolkits", "adapters")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel, built as installers build it, by hatchling."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    with zipfile.ZipFile(built) as held:
        return set(held.namelist())


def expected(pattern: str) -> set[str]:
    """The files of this pattern in the checkout, as a wheel should name them."""
    return {
        str(path.relative_to(ROOT / folder))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("pattern", ["*.py", "*.html", "*.css", "py.typed"])
def test_every_file_of_the_checkout_is_in_the_wheel(wheel: set[str], pattern: str) -> None:
    assert expected(pattern) and expected(pattern) <= wheel


def test_pages_are_beside_the_code_that_shows_them(wheel: set[str]) -> None:
    templates = "deputize/core/web/templates"
    assert {f"{templates}/{name}" for name in ("base.html", "connect.html", "approve.html", "style.css")} <= wheel


def test_every_package_says_that_it_is_typed(wheel: set[str]) -> None:
    packages = {name.split("/")[1] for name in wheel if name.startswith("deputize/")}
    assert packages == {"core", "toolkits", "sandbox", "adapters", "cli"}
    assert {f"deputize/{package}/py.typed" for package in packages} <= wheel


def test_the_shared_root_stays_open_to_other_distributions(wheel: set[str]) -> None:
    assert "deputize/__init__.py" not in wheel


def test_nothing_is_in_the_wheel_that_is_not_the_program(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if not name.split("/")[0].endswith(".dist-info")} == {"deputize"}
    assert not [name for name in wheel if "__pycache__" in name or "/test_" in name or "/tests/" in name]
