"""Adapters use the declared surface of a deputy (`deputize.core.adapter_api.DeputyProtocol`), and nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from deputize.adapters.google_adk import DeputyToolset as GoogleToolset
from deputize.adapters.langchain import DeputyToolkit, tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.openai_agents import tools as openai_tools
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, DeputyProtocol, Effect, Tool
from tests.support.gmail_toolkit import gmail

ADAPTERS: Final = tuple(sorted((Path(__file__).parents[2] / "adapters/deputize/adapters").rglob("*.py")))
STATED: Final = {
    name for name, value in vars(DeputyProtocol).items() if inspect.isfunction(value) and not name.startswith("_")
}
ALLOWED: Final = {
    "deputize.core": "the public names",
}
"""Core modules that adapters may import, and why."""


def is_deputy(node: ast.expr) -> bool:
    """Return True for ``deputy``, ``self.deputy`` and ``self.host.deputy``, the expressions by which adapters reach a
    deputy."""
    return (isinstance(node, ast.Name) and node.id == "deputy") or (
        isinstance(node, ast.Attribute) and node.attr == "deputy"
    )


def used(tree: ast.AST) -> Iterator[str]:
    """Return the attributes of a deputy that a module uses. Aliases and names given as strings count as ``?``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_deputy(node.value):
            yield node.attr
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value and is_deputy(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ("?" for target in targets if not is_deputy(target))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "vars"):
            yield from ("?" for one in node.args if is_deputy(one))


def annotated(tree: ast.AST) -> Iterator[str]:
    """Return the annotations of deputies in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.arg == "deputy":
            yield ast.unparse(node.annotation) if node.annotation else ""
        elif isinstance(node, ast.AnnAssign) and is_deputy(node.target):
            yield ast.unparse(node.annotation)


def imported(tree: ast.AST) -> Iterator[str]:
    """Return the core modules that a module imports from."""
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.startswith("deputize.core"))


def module_of(path: Path) -> str:
    """Return ``deputize.adapters.langgraph.approval_graph`` for its file."""
    return ".".join(path.with_suffix("").parts).partition("adapters.")[2].removesuffix(".__init__")


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    """Return every adapter module, parsed."""
    return {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in ADAPTERS}


def test_adapters_use_only_the_deputy_protocol(modules: dict[str, ast.Module]) -> None:
    found = {name: set(used(tree)) - STATED for name, tree in modules.items()}
    assert {name: more for name, more in found.items() if more} == {}


def test_deputy_protocol_has_only_members_that_adapters_use(modules: dict[str, ast.Module]) -> None:
    assert set(chain.from_iterable(map(used, modules.values()))) == STATED


def test_adapters_annotate_the_deputy_with_the_protocol(
    modules: dict[str, ast.Module],
) -> None:
    said = {name: set(annotated(tree)) for name, tree in modules.items()}
    assert {name: types for name, types in said.items() if types - {"DeputyProtocol"}} == {}
    assert sum(map(bool, said.values())) >= 5


def test_adapters_import_only_public_names_of_the_core(modules: dict[str, ast.Module]) -> None:
    assert set(chain.from_iterable(map(imported, modules.values()))) == ALLOWED.keys()


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: module_of(path))
def test_each_module_exports_all_that_siblings_use(path: Path) -> None:
    name = module_of(path)
    module = importlib.import_module(name)
    offered = set(module.__all__)
    assert len(offered) == len(module.__all__) and offered <= vars(module).keys()
    froms = [node for one in ADAPTERS for node in ast.walk(ast.parse(one.read_text(encoding="utf-8")))]
    taken = {a.name for node in froms if isinstance(node, ast.ImportFrom) and node.module == name for a in node.names}
    assert taken <= offered


@pytest.mark.parametrize(
    "maker",
    [tools, DeputyToolkit, act_node, DeputyMiddleware, DeputyToolSpec, DeputyToolset, GoogleToolset, openai_tools],
)
def test_common_parameters_of_adapters_have_equal_names_and_order(maker: Any) -> None:
    common = [
        "deputy",
        "toolkits",
        "user",
        "agent",
        "app",
        "read_only",
        "user_from_configurable",
        "trust_client_context",
    ]
    here = [name for name in inspect.signature(maker).parameters if name in common]
    assert here == [name for name in common if name in here] and {"deputy", "user", "app"} <= set(here)


@pytest.mark.parametrize("method", sorted(STATED))
def test_deputy_has_each_protocol_method_with_equal_parameters(method: str) -> None:
    """mypy compares types but not defaults; this test finds a different default."""
    stated = inspect.signature(getattr(DeputyProtocol, method)).parameters
    real = inspect.signature(getattr(Deputy, method)).parameters
    assert {name: (p.kind, p.default) for name, p in stated.items()} == {
        name: (real[name].kind, real[name].default) for name in stated
    }


@pytest.mark.parametrize(
    "code",
    [
        "self.host.deputy.vault.get('grant')",
        "deputy.consents.status(one)",
        "core = self.deputy",
        "getattr(deputy, name)",
        "if (it := deputy): pass",
    ],
)
def test_use_of_private_deputy_names_is_detected(code: str) -> None:
    assert set(used(ast.parse(code))) - STATED


class Fake:
    """Not a `Deputy`, but a class with the surface's methods, as a test double of an adapter has."""

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        return [tool for tool in gmail.tools.values() if not read_only or tool.gravest is Effect.READS]

    async def act(self, tool: str, arguments: Any, **of: Any) -> Any:
        return f"{tool} as {of['user'].id}"

    def run(self, work: Any) -> Any:
        raise NotImplementedError

    check_calls: Any = run
    get_consent: Any = run
    get_approval: Any = run
    wait_for_consents: Any = run
    decide: Any = run
    dismiss_approval: Any = run
    get_file: Any = run
    resolve_call: Any = run
    mark_delivered: Any = run
    dashboard_url: Any = run
    derive_key: Any = run


async def test_adapter_works_with_any_object_implementing_the_protocol() -> None:
    fake = Fake()
    search = next(tool for tool in tools(fake, user="alice") if tool.name == "gmail_search")
    assert await search.ainvoke({}) == "gmail_search as alice"
    assert DeputyToolkit(deputy=fake, user="alice").get_tools()
    with pytest.raises(ValidationError):
        DeputyToolkit(deputy=object())  # type: ignore[arg-type]
