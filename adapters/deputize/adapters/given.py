"""What a host gives a constructor: refused there, and not in the middle of a run, where it cannot be meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from deputize.core import AnyUser, SettingsError, User, UserRequired

__all__ = ["FUNCTION", "check_function", "check_user", "user_of"]

FUNCTION: Final = "The application's function user="
"""What names who acts, in the words of a refusal."""
NOT_ASYNC: Final = (
    "Here it is a plain function of the run: what has to be awaited is looked up before, and comes in the run's "
    "context, or in a ContextVar."
)
WHO: Final = 'user="alice", a User, or a function of the run that returns either.'


def check_user(user: Any, *, may_be_async: bool = False) -> None:
    """Raises `SettingsError` for what names nobody in any run. ``may_be_async``: a function may have to be awaited."""
    if callable(user):
        if is_async(user) and not may_be_async:
            raise SettingsError("user= is an async function, which nothing awaits.", hint=NOT_ASYNC)
        return
    try:
        User.of(user, by="user=")
    except UserRequired as error:
        if error.reason:  # an empty one may be a run's that has nobody: it is refused there
            raise SettingsError(str(error), hint=WHO) from None


def check_function(name: str, given: Any) -> None:
    """Raises `SettingsError` for what is given in a function's place and cannot be called."""
    if given is not None and not callable(given):
        raise SettingsError(f"{name}= is a value of type {type(given).__name__}.", hint="Give a function, or none.")


def is_async(function: Any) -> bool:
    """Whether what this returns has to be awaited, as far as it says so."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def user_of(function: Callable[[Any], AnyUser], run: Any) -> User:
    """Whom the host's function names. Raises `UserRequired` for nobody, and for what would have to be awaited."""
    said: Any = function(run)
    try:
        return User.of(said, by=FUNCTION)
    except UserRequired:
        if not inspect.isawaitable(said):
            raise
    if inspect.iscoroutine(said):
        said.close()
    raise UserRequired(f"{FUNCTION} returns what has to be awaited.", hint=NOT_ASYNC, reason="no_id")
