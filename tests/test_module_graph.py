"""Imports go one way, including those import-linter does not see: by a name in a string, and between single modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PARTS: Final = ("core", "adapters", "toolkits")
LOADERS: Final = frozenset("import_module __import__ resolve_name entry_points run_module run_path".split())
"""Functions that import a module named by a string."""

BY_NAME: Final = {
    "deputize.core.plugins": "what other packages add by entry points: toolkits, stores; functions in settings",
    "deputize.core.tools.plugins": "the built-in toolkits, which need not be installed and are no part of the core",
    "deputize.core.policy.find_policy": "the policy that settings name",
    "deputize.core.vault.kms": "the key management service that settings name, as a module or an entry point",
    "deputize.core.vault.kms.aws": "boto3, where it is installed",
    "deputize.core.vault.kms.azure": "Azure's libraries, where they are installed",
    "deputize.core.vault.kms.gcp": "Google's libraries, where they are installed",
    "deputize.core.tools.parser_sandbox_child": "run by itself in a process of its own: what reads strangers' bytes",
    "deputize.openapi.description": "PyYAML, where it is installed",
    "deputize.cli.commands": "commands of other packages",
    "deputize.sandbox": "its own modules, each when one of its names is used",
    "deputize.sandbox.google.drive.reads": "libraries of an extra, for exports to office files",
    "deputize.toolkits._documents.writer": "libraries of an extra, which may be missing",
}
"""Modules that import others by a name in a string, and which."""

NAMED: Final = {"deputize.core.tools.plugins": {"deputize.toolkits", "deputize.toolkits.*"}}
"""Modules of deputize that such a string names in full: no contract sees these."""


def name_of(path: Path) -> str:
    """Return ``deputize.core.vault`` for ``core/deputize/core/vault/__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Every module of the product."""
    paths = [path for part in PARTS for path in (ROOT / part).rglob("*.py")]
    return {name_of(path): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def calls(sources: dict[str, str]) -> dict[str, list[ast.Call]]:
    """Return the calls of each module that import by a name in a string; only modules that contain a loader's name are
    parsed."""
    worth = {name: text for name, text in sources.items() if any(loader in text for loader in LOADERS)}
    found = {name: list(loads(ast.parse(text))) for name, text in worth.items()}
    return {name: made for name, made in found.items() if made}


def loads(tree: ast.AST) -> Iterator[ast.Call]:
    """Return the calls that import by a name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in LOADERS:
                yield node


def texts(call: ast.Call) -> Iterator[str]:
    """Return the modules of deputize that a call names, with ``*`` for inserted parts."""
    for argument in call.args:
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)
        if text.startswith("deputize."):
            yield text


def imported(tree: ast.Module, modules: frozenset[str]) -> set[str]:
    """Return the modules of deputize that a module imports, also in functions and for type checkers.

    Packages around them are not counted.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules else str(node.module) for name in whole}
    return found & modules


def cycle_in(imports: Mapping[str, set[str]]) -> str:
    """Return a cycle of modules that import each other; "" if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as cycle:
        return " <- ".join(cycle.args[1])
    return ""


def test_every_dynamic_import_is_known_and_needed(calls: dict[str, list[ast.Call]]) -> None:
    assert calls.keys() == BY_NAME.keys()


def test_dynamic_import_breaks_no_contract(calls: dict[str, list[ast.Call]]) -> None:
    found = {name: {text for call in made for text in texts(call)} for name, made in calls.items()}
    assert {name: said for name, said in found.items() if said} == NAMED


@pytest.mark.processes
def test_module_imports_have_no_cycle(sources: dict[str, str]) -> None:
    modules = frozenset(sources)
    imports = {name: imported(ast.parse(text), modules) - {name} for name, text in sources.items()}
    assert cycle_in(imports) == ""


@pytest.mark.parametrize(
    "code",
    [
        "from deputize.a import b",
        "import deputize.a.b",
        "try:\n  from deputize.a.b import x\nfinally: pass",
        "def f():\n  import deputize.a.b",
        "if TYPE_CHECKING:\n  from deputize.a.b import B",
    ],
)
def test_import_cycle_is_found_wherever_its_imports_are(code: str) -> None:
    modules = frozenset({"deputize.a", "deputize.a.b"})
    found = imported(ast.parse(code), modules)
    assert found == {"deputize.a.b"}
    assert cycle_in({"deputize.a": found, "deputize.a.b": {"deputize.a"}})
    assert not cycle_in({"deputize.a": found, "deputize.a.b": set()})
