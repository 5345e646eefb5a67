"""The policy that settings name: a built-in one, a file of rules, or your application's function."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any, TypeGuard

from deputize.core.errors import SettingsError, instead
from deputize.core.policy.policy import BUILT_IN, Policy, StoredPolicy


def policy_file(path: str | os.PathLike[str]) -> StoredPolicy:
    """Return the policy in this file: rules in TOML, or Cedar policies if its name ends in ``.cedar``. Raises
    `SettingsError` that names the line if the file cannot be used."""
    file = Path(path).absolute()
    if file.suffix == ".cedar":  # imported only if it is used, like the other
        from deputize.core.policy.cedar import CedarPolicy

        return CedarPolicy(file)
    from deputize.core.policy.policy_file import FilePolicy

    return FilePolicy(file)


def find_policy(name: str, folder: Path | None = None) -> Policy:
    """Return the built-in policy of this name, the policy of a file ``*.toml`` or ``*.cedar`` in this folder, or the
    function at ``package.module:function``.

    Raises `SettingsError` for a policy that does not exist, cannot be imported, or does not take an act, because such a
    policy would deny everything.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.endswith((".toml", ".cedar")):
        return policy_file((folder or Path()) / name)
    hint = f"{instead(name, BUILT_IN)} Or a file *.toml, or your own, as package.module:function."
    if ":" not in name:
        raise SettingsError(f"No policy is called {name!r}.", hint=hint)
    from pkgutil import resolve_name  # imported late, because few settings need it

    try:
        policy = resolve_name(name)
    except (Exception, SystemExit) as e:  # an import runs arbitrary code
        raise SettingsError(f"The policy {name!r} cannot be loaded: {type(e).__name__}.", hint=hint) from e
    if not _takes_an_act(policy):
        raise SettingsError(f"The policy {name!r} is not a function of one act.", hint=hint)
    return policy


def _takes_an_act(policy: Any) -> TypeGuard[Policy]:
    try:
        inspect.signature(policy).bind(None)
    except (TypeError, ValueError):
        return False
    return not inspect.isclass(policy)
