"""Generation of modules from a description, and the list of omitted parts, for `deputize toolkit from-openapi`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from deputize.core.errors import InvalidInput, instead
from deputize.core.oauth.provider import Provider
from deputize.core.tools.plugins import built_in_names
from deputize.core.tools.steps import HEADERS
from deputize.openapi.arguments import KEY_HEADER
from deputize.openapi.description import CannotTranslate, Description
from deputize.openapi.module import Module, page_arguments
from deputize.openapi.operations import Entry, Operation, Rulings, entries_of, operation_of
from deputize.openapi.prose import plain
from deputize.openapi.provider_row import row_of, row_text
from deputize.openapi.security import has_oauth, key_schemes, sign_in_of
from deputize.openapi.servers import Servers, own_servers, provider_servers

MAX_TOOLS: Final = 60
"""Tools of a module, unless --limit says another number."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,29}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The operator's request.

    ``only``: tags, operationIds, calls (``GET /pets``) or beginnings of paths; empty selects all. ``sends``, ``reads``:
    operationIds or calls. ``api``, ``server``, ``whoami``: see `deputize.openapi.servers`, `.provider_row`.
    ``sign_in``: how a new provider takes each user's key, "" for OAuth if it is described.
    """

    provider: str
    name: str = ""
    only: Sequence[str] = ()
    read_only: bool = False
    limit: int = MAX_TOOLS
    sends: Sequence[str] = ()
    reads: Sequence[str] = ()
    api: str = ""
    server: str = ""
    whoami: str = ""
    sign_in: str = ""

    @property
    def toolkit(self) -> str:
        """The toolkit's name: by default the provider's."""
        return self.name or self.provider.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Made:
    """The generated modules. ``module``, ``provider``: their texts, "" for an existing provider. ``tools``: by name.

    ``left_out``: calls without a tool, with the reason. ``notes``: missing parts, by tool. ``pages``: the paging
    arguments of tools. ``unselected``: number of calls that were not selected.
    """

    module: str
    provider: str
    tools: Mapping[str, Operation]
    left_out: Mapping[str, str]
    notes: Mapping[str, tuple[str, ...]]
    pages: Mapping[str, list[str]] = field(default_factory=dict)
    unselected: int = 0


def generate_modules(description: Description, wanted: Wanted, providers: Mapping[str, Provider]) -> Made:
    """Return the generated modules. Raises `InvalidInput` if no module can be generated."""
    if not _NAME.fullmatch(wanted.toolkit):
        raise InvalidInput(
            f"No toolkit can be called {wanted.toolkit[:60]!r}.", hint="--name: a-z, 0-9 and _, 30 at most."
        )
    if taken := next((one for one in built_in_names() if f"{wanted.toolkit}_".startswith(f"{one}_")), ""):
        raise InvalidInput(
            f"A toolkit cannot be called {wanted.toolkit!r} beside the built-in {taken}.",
            hint=f"--name: one that does not begin with {taken}_.",
        )
    row = providers.get(wanted.provider)
    if row is None and not _PROVIDER.fullmatch(wanted.provider):
        raise InvalidInput(
            f"No provider can be called {wanted.provider[:60]!r}.", hint="--provider: a-z, 0-9, _ and -, 30 at most."
        )
    entries = list(entries_of(description))
    chosen = _select(entries, wanted.only)
    rulings = Rulings(_check_names(entries, wanted.sends, "--sends"), _check_names(entries, wanted.reads, "--reads"))
    servers = _servers(description, wanted, row)
    headers = HEADERS | (row.apis.request_headers if row else {KEY_HEADER})
    sign_in = _sign_in(description, wanted, row, chosen)
    keys = {name for name, way in key_schemes(description).items() if way == sign_in} if sign_in else None
    module = Module(wanted.toolkit, wanted.provider, servers.api)
    tools: dict[str, Operation] = {}
    left_out: dict[str, str] = {}
    for entry in chosen:
        try:
            if len(tools) >= wanted.limit:
                raise CannotTranslate(f"{wanted.limit} tools exist already (--limit)")
            operation = _require_selected(
                entry, wanted, operation_of(description, entry, servers, rulings, headers, keys)
            )
        except CannotTranslate as e:
            left_out[entry.key] = str(e)
            continue
        tools[f"{wanted.toolkit}_{module.add(operation)}"] = operation
    if not tools:
        some = "; ".join(f"{key}: {why}" for key, why in list(left_out.items())[:3])
        raise InvalidInput(f"No call of the description can become a tool. {some}".strip())
    once = any(one.once for one in tools.values())
    return Made(
        module.text(_module_docstring(description, len(tools))),
        "" if row else row_text(row_of(description, wanted.provider, servers, wanted.whoami, sign_in), once),
        tools,
        left_out,
        {name: one.notes for name, one in tools.items() if one.notes},
        {name: by for name, one in tools.items() if (by := page_arguments(one))},
        len(entries) - len(chosen),
    )


def _servers(description: Description, wanted: Wanted, row: Provider | None) -> Servers:
    if row:
        return provider_servers(description, row.apis.roots, wanted.provider, wanted.api)
    return own_servers(description, wanted.toolkit, wanted.server)


def _sign_in(description: Description, wanted: Wanted, row: Provider | None, chosen: Sequence[Entry]) -> str:
    """Return how requests carry each user's key, or "" for OAuth. Raises `InvalidInput` for a way that is not
    described."""
    if row:
        credential = row.apis.credential
        return str(credential) if credential else ""
    described = sorted(set(key_schemes(description).values()))
    if wanted.sign_in in (*described, "none"):
        return wanted.sign_in
    if wanted.sign_in and wanted.sign_in != "oauth":
        hint = f"--sign-in: {', '.join(['oauth', *described])}."
        raise InvalidInput(f"The description has no {wanted.sign_in[:80]!r} to sign in with.", hint=hint)
    if wanted.sign_in or has_oauth(description):
        return ""
    return sign_in_of(description, (entry.spec for entry in chosen))


def _require_selected(entry: Entry, wanted: Wanted, operation: Operation) -> Operation:
    """Return the operation. Raises `CannotTranslate` for an operation that must be selected by name."""
    if wanted.read_only and not operation.reads:
        raise CannotTranslate("it changes something (--read-only)")
    if entry.spec.get("deprecated") is True and not {entry.id, entry.key} & set(wanted.only):
        raise CannotTranslate("it is deprecated; --only with its name includes it")
    return operation


def _module_docstring(description: Description, count: int) -> str:
    info = description.objects("info")
    title, version = plain(info.get("title"), 60) or "An API", plain(info.get("version"), 20)
    tools = "one tool" if count == 1 else f"{count} tools"
    return f"{title} {version}".strip() + f": {tools}, made from its OpenAPI description. Yours to change."


def request_for_older(description: Description, wanted: Wanted) -> Wanted:
    """Return the request for an older description, which may lack calls. Raises `InvalidInput` if it lacks all."""
    entries = list(entries_of(description))
    only = [word for word in wanted.only if any(_fits(entry, word) for entry in entries)]
    if wanted.only and not only:
        raise InvalidInput("The older description has no call that --only names.")
    known = {name for entry in entries for name in (entry.id, entry.key)}
    sends, reads = ([one for one in words if one in known] for words in (wanted.sends, wanted.reads))
    return replace(wanted, only=only, sends=sends, reads=reads)


# ----------------------------------------------------------------- selection


def _select(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    """Return the selected entries. Raises `InvalidInput` for a word that selects none."""
    for word in only:
        if not any(_fits(entry, word) for entry in entries):
            known = {tag for entry in entries for tag in entry.tags} | {entry.id for entry in entries}
            raise InvalidInput(f"--only {word[:80]}: no tag, operationId, call or path.", hint=instead(word, known))
    return [entry for entry in entries if not only or any(_fits(entry, word) for word in only)]


def _fits(entry: Entry, word: str) -> bool:
    if word.startswith("/"):
        return entry.path == word or entry.path.startswith(word if word.endswith("/") else f"{word}/")
    return word in (entry.id, entry.key) or word.lower() in map(str.lower, entry.tags)


def _check_names(entries: Iterable[Entry], words: Collection[str], option: str) -> frozenset[str]:
    """Return the operator's words. Raises `InvalidInput` unless they are operationIds or calls."""
    known = {name for entry in entries for name in (entry.id, entry.key) if name}
    if strange := sorted(set(words) - known):
        raise InvalidInput(f"{option} {strange[0][:80]}: no operationId, and no call.", hint=instead(strange[0], known))
    return frozenset(words)
