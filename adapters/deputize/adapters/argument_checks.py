"""Checks of constructor arguments, so that a mistake is reported at construction and not in the middle of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from deputize.core import AnyUser, DeputyProtocol, SettingsError, Tool, User, UserRequired

__all__ = [
    "FUNCTION",
    "check_function",
    "check_list",
    "check_thread",
    "check_user",
    "check_user_message",
    "message_text",
    "resolve_user",
    "select_tools",
]

Run = TypeVar("Run")
FUNCTION: Final = "The application's function user="
"""The source of the user, as error messages name it."""
NOT_ASYNC: Final = (
    "Use a plain function of the run. Look up awaitable values before the run, and pass them in the run's context "
    "or in a ContextVar."
)
A_DEPUTY: Final = "Pass the result of Deputy.from_settings() first."
WHO: Final = 'user="alice", a User, or a function of the run that returns either.'


def check_user(user: Any, *, may_be_async: bool = False) -> None:
    """Raise `SettingsError` if ``user`` can identify no user. ``may_be_async``: async functions are allowed."""
    if callable(user):
        if is_async(user) and not may_be_async:
            raise SettingsError("user= is an async function, but it is called without await.", hint=NOT_ASYNC)
        return
    try:
        User.of(user, by="user=")
    except UserRequired as error:
        if error.reason:  # an empty user is refused in the run
            raise SettingsError(str(error), hint=WHO) from None


def select_tools(deputy: DeputyProtocol, names: Iterable[str], *, read_only: bool = False, app: str = "") -> list[Tool]:
    """Return the tools with these names, as `Deputy.tools` does. Raises `SettingsError` without a real deputy."""
    check_deputy(deputy)
    return deputy.tools(*names, read_only=read_only, app=app)


def check_deputy(deputy: DeputyProtocol) -> None:
    """Raise `SettingsError` unless ``deputy`` is an instance of a deputy."""
    if not isinstance(deputy, DeputyProtocol) or isinstance(deputy, type):
        found = "a class" if isinstance(deputy, type) else f"a value of type {type(deputy).__name__}"
        raise SettingsError(f"The first argument must be a deputy, not {found}.", hint=A_DEPUTY)


def check_list(name: str, given: Any) -> None:
    """Raise `SettingsError` for a single string, whose letters would be read as names."""
    if isinstance(given, str | bytes):
        raise SettingsError(f"{name}= is a string, but must be a list of strings.", hint=f"{name}=[...]")


def check_thread(thread: Any) -> None:
    """Raise `SettingsError` unless ``thread`` is a string or a plain function of the run."""
    if is_async(thread):
        raise SettingsError("thread= is an async function, but it is called without await.", hint=NOT_ASYNC)
    if not isinstance(thread, str) and not callable(thread):
        hint = "Pass the conversation id, or a function of the run that returns it."
        raise SettingsError(f"thread= is a value of type {type(thread).__name__}.", hint=hint)


def check_user_message(function: Any, *, may_be_async: bool = False) -> None:
    """Raise `SettingsError` unless ``function`` is a function of the run, or None."""
    if is_async(function) and not may_be_async:
        raise SettingsError("user_message= is an async function, but it is called without await.", hint=NOT_ASYNC)
    check_function("user_message", function)


def message_text(said: Any) -> str:
    """Return what the application's function user_message= returned: a string, or "" for None. Raises `SettingsError`
    for anything else."""
    if isinstance(said, str | None):
        return said or ""
    if inspect.iscoroutine(said):
        said.close()
    raise SettingsError(
        f"The application's function user_message= returns a value of type {type(said).__name__}.",
        hint="Return the text that the user wrote for this turn, or an empty string.",
    )


def check_function(name: str, given: Any) -> None:
    """Raise `SettingsError` if the value is neither None nor callable."""
    if given is not None and not callable(given):
        raise SettingsError(f"{name}= is a value of type {type(given).__name__}.", hint="Pass a function or None.")


def is_async(function: Any) -> bool:
    """Return whether the function is declared async."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def resolve_user(function: Callable[[Run], AnyUser], run: Run) -> User:
    """Return the user from your application's function. Raises `UserRequired` if it returns no user or an awaitable."""
    said: Any = function(run)
    try:
        return User.of(said, by=FUNCTION)
    except UserRequired:
        if not inspect.isawaitable(said):
            raise
    if inspect.iscoroutine(said):
        said.close()
    raise UserRequired(f"{FUNCTION} returns an awaitable.", hint=NOT_ASYNC, reason="no_id")
