"""What a host gives a constructor: refused there, and not in the middle of a run, where it cannot be meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

from deputize.core import AnyUser, DeputyProtocol, SettingsError, Tool, User, UserRequired

__all__ = [
    "FUNCTION",
    "check_function",
    "check_list",
    "check_thread",
    "check_user",
    "chosen",
    "user_of",
]

FUNCTION: Final = "The application's function user="
"""What names who acts, in the words of a refusal."""
NOT_ASYNC: Final = (
    "Here it is a plain function of the run: what has to be awaited is looked up before, and comes in the run's "
    "context, or in a ContextVar."
)
A_DEPUTY: Final = 'Deputy.from_settings() makes one; it comes first: (deputy, "gmail", ...).'
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


def chosen(deputy: DeputyProtocol, names: Iterable[str], *, read_only: bool = False, app: str = "") -> list[Tool]:
    """The tools of these names, as of `Deputy.tools`. Raises `SettingsError` for what is no deputy."""
    check_deputy(deputy)
    return deputy.tools(*names, read_only=read_only, app=app)


def check_deputy(deputy: DeputyProtocol) -> None:
    """Raises `SettingsError` for what is given in a deputy's place."""
    if not isinstance(deputy, DeputyProtocol) or isinstance(deputy, type):
        found = "a class" if isinstance(deputy, type) else f"a value of type {type(deputy).__name__}"
        raise SettingsError(f"A deputy is wanted, not {found}.", hint=A_DEPUTY)


def check_list(name: str, given: Any) -> None:
    """Raises `SettingsError` for one name in the place of several: its letters would be taken for them."""
    if isinstance(given, str | bytes):
        raise SettingsError(f"{name}= is one text, and takes a list of them.", hint=f"{name}=[...]")


def check_thread(thread: Any) -> None:
    """Raises `SettingsError` for what names no conversation: neither a text nor a plain function of the run."""
    if is_async(thread):
        raise SettingsError("thread= is an async function, which nothing awaits.", hint=NOT_ASYNC)
    if not isinstance(thread, str) and not callable(thread):
        hint = "The id of the conversation, or a function of the run that returns it."
        raise SettingsError(f"thread= is a value of type {type(thread).__name__}.", hint=hint)


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
