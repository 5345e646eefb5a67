"""Missing and hidden repositories, for both of which GitHub answers 404."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, ParamSpec

from deputize.core import Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.github.api import get, list_rows
from deputize.toolkits.github.base import Asks

P = ParamSpec("P")
_MAX_REPOS: Final = 5  # pages of a user's repositories, for a bare name
_SWITCHED_OFF: Final = "what was asked for: it is empty, or switched off"


def in_repo(what: str = "") -> Callable[[Callable[P, Steps]], Callable[P, Steps]]:
    """Wrap a tool: resolve its repository's name, and distinguish missing from hidden items.

    ``what``: the item that a call names beside the repository, as in "this issue".
    """

    def wrap(tool: Callable[P, Steps]) -> Callable[P, Steps]:
        @functools.wraps(tool)
        def steps(*args: P.args, **kwargs: P.kwargs) -> Steps:
            asked = kwargs.get("repo")
            if not isinstance(asked, str):
                return (yield from tool(*args, **kwargs))
            repo = kwargs["repo"] = yield from whole_name(asked)
            try:
                return (yield from tool(*args, **kwargs))
            except NotFound as missing:
                if "not found" not in missing.message:
                    raise
                yield from _check_visible(repo)
                raise NotFound(f"{repo} can be seen, but not {what or _SWITCHED_OFF}.", hint=missing.hint) from None

        return steps

    return wrap


def _check_visible(repo: str) -> Asks[None]:
    """Raise `NotFound` unless the repository is visible. If only a scope is missing, the engine requests it."""
    try:
        yield from get("R", repo)
    except NotFound:
        raise NotFound(
            f"{repo}: not found, or private and not visible to this user.", hint="Check the name: github_search_repos."
        ) from None


def whole_name(repo: str) -> Asks[str]:
    """Return ``owner/name`` for a bare name, if exactly one of the user's repositories has it."""
    if "/" in repo:
        return repo
    rows = yield from list_rows("/user/repos", "", _MAX_REPOS, params={"sort": "pushed"})
    same = [str(row["full_name"]) for row in rows if str(row["name"]).lower() == repo.lower()]
    if len(same) == 1 and len(rows) < _MAX_REPOS * 100:  # else a later page may have another of this name
        return same[0]
    near = same or [str(row["full_name"]) for row in rows if repo.lower() in str(row["name"]).lower()]
    raise InvalidInput("repo: must be owner/name.", hint=f"There are: {', '.join(near[:5])}." if near else "")
