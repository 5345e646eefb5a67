"""Files of a repository that run by themselves: in CI, at an install, a build, a checkout or a test run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from deputize.core import Danger

FOLDERS: Final = frozenset(
    {".github", ".circleci", ".buildkite", ".woodpecker", ".husky", ".githooks", ".devcontainer", ".vscode"}
)
"""Folders of which every file counts, wherever they are."""
FILES: Final = frozenset(
    "action.yml action.yaml .gitlab-ci.yml .travis.yml .drone.yml .woodpecker.yml azure-pipelines.yml jenkinsfile "
    "bitbucket-pipelines.yml appveyor.yml cloudbuild.yaml .pre-commit-config.yaml .pre-commit-hooks.yaml lefthook.yml "
    "package.json .npmrc .yarnrc.yml .pnpmfile.cjs binding.gyp gulpfile.js gruntfile.js composer.json "
    "setup.py setup.cfg pyproject.toml conftest.py noxfile.py tox.ini sitecustomize.py build.rs "
    "gemfile rakefile pom.xml build.gradle build.gradle.kts settings.gradle settings.gradle.kts gradlew cmakelists.txt "
    "makefile gnumakefile justfile dockerfile containerfile procfile vercel.json netlify.toml .envrc".split()
)
"""Names of files that count in any folder, in lower case."""
PATTERNS: Final = re.compile(
    r"dockerfile\..+|.+\.dockerfile|.+\.mk|.+\.gemspec|(docker-)?compose(\..+)?\.ya?ml|.+\.config\.[cm]?[jt]s"
)
"""Patterns of such names."""


def runs_by_itself(path: str) -> bool:
    """Return True if the file runs, or says what runs, without anybody who starts it."""
    *folders, name = path.lower().split("/")
    return bool(FOLDERS & set(folders)) or name in FILES or bool(PATTERNS.fullmatch(name))


def code_warning(paths: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a preview that warn of these files, if any of them runs by itself."""
    found = sorted({path for path in paths if runs_by_itself(path)})
    return {"runs_by_itself": found, "dangers": [Danger.RUNS_CODE]} if found else {}
