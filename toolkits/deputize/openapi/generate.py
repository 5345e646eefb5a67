"""From a description to modules, and to the list of what is not in them: what `deputize toolkit from-openapi` does."""

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
from deputize.openapi.module import Module, paged_by
from deputize.openapi.operations import Entry, Operation, Rulings, entries_of, operation_of
from deputize.openapi.prose import plain
from deputize.openapi.provider_row import row_of, row_text
from deputize.openapi.servers import Servers, at_provider, of_its_own

MAX_TOOLS: Final = 60
"""Tools of a module, where nobody says another number."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,29}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator asks for.

    ``only``: tags, operationIds, calls (``GET /pets``) or beginnings of paths; none is all. ``sends``, ``reads``:
    operationIds or calls. ``api``, ``server``, ``whoami``: see `deputize.openapi.servers`, `.provider_row`.
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

    @property
    def toolkit(self) -> str:
        """The toolkit's name: the provider's, where no other is given."""
        return self.name or self.provider.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Made:
    """``module``, ``provider``: their texts, "" for a provider that is there already. ``tools``: by their names.

    ``left_out``: calls that are no tools, with the reason. ``notes``: what of a tool's call is not in it, by its name.
    ``pages``: the arguments of tools by which lists go on. ``unselected``: how many calls nobody asked for.
    """

    module: str
    provider: str
    tools: Mapping[str, Operation]
    left_out: Mapping[str, str]
    notes: Mapping[str, tuple[str, ...]]
    pages: Mapping[str, list[str]] = field(default_factory=dict)
    unselected: int = 0


def made_of(description: Description, wanted: Wanted, providers: Mapping[str, Provider]) -> Made:
    """The modules for what is wanted. Raises `InvalidInput` where nothing can come of it."""
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
    chosen = _selected(entries, wanted.only)
    rulings = Rulings(_named(entries, wanted.sends, "--sends"), _named(entries, wanted.reads, "--reads"))
    servers = _servers(description, wanted, row)
    headers = HEADERS | (row.apis.request_headers if row else {KEY_HEADER})
    module = Module(wanted.toolkit, wanted.provider, servers.api)
    tools: dict[str, Operation] = {}
    left_out: dict[str, str] = {}
    for entry in chosen:
        try:
            if len(tools) >= wanted.limit:
                raise CannotTranslate(f"{wanted.limit} tools are there already (--limit)")
            operation = _asked_for(entry, wanted, operation_of(description, entry, servers, rulings, headers))
        except CannotTranslate as e:
            left_out[entry.key] = str(e)
            continue
        tools[f"{wanted.toolkit}_{module.add(operation)}"] = operation
    if not tools:
        some = "; ".join(f"{key}: {why}" for key, why in list(left_out.items())[:3])
        raise InvalidInput(f"Nothing in the description can be a tool here. {some}".strip())
    once = any(one.once for one in tools.values())
    return Made(
        module.text(_about(description, len(tools))),
        "" if row else row_text(row_of(description, wanted.provider, servers, wanted.whoami), once),
        tools,
        left_out,
        {name: one.notes for name, one in tools.items() if one.notes},
        {name: by for name, one in tools.items() if (by := paged_by(one))},
        len(entries) - len(chosen),
    )


def _servers(description: Description, wanted: Wanted, row: Provider | None) -> Servers:
    if row:
        return at_provider(description, row.apis.roots, wanted.provider, wanted.api)
    return of_its_own(description, wanted.toolkit, wanted.server)


def _asked_for(entry: Entry, wanted: Wanted, operation: Operation) -> Operation:
    """The operation, unless it is one that nobody wants without naming it."""
    if wanted.read_only and not operation.reads:
        raise CannotTranslate("it changes something (--read-only)")
    if entry.spec.get("deprecated") is True and not {entry.id, entry.key} & set(wanted.only):
        raise CannotTranslate("it is deprecated; naming it with --only takes it all the same")
    return operation


def _about(description: Description, count: int) -> str:
    info = description.objects("info")
    title, version = plain(info.get("title"), 60) or "An API", plain(info.get("version"), 20)
    tools = "one tool" if count == 1 else f"{count} tools"
    return f"{title} {version}".strip() + f": {tools}, made from its OpenAPI description. Yours to change."


def of_older(description: Description, wanted: Wanted) -> Wanted:
    """The same of an older description, which may lack some of what is named. Raises `InvalidInput` if it lacks all."""
    entries = list(entries_of(description))
    only = [word for word in wanted.only if any(_fits(entry, word) for entry in entries)]
    if wanted.only and not only:
        raise InvalidInput("The older description has nothing of what --only names.")
    known = {name for entry in entries for name in (entry.id, entry.key)}
    sends, reads = ([one for one in words if one in known] for words in (wanted.sends, wanted.reads))
    return replace(wanted, only=only, sends=sends, reads=reads)


# ----------------------------------------------------------------- which calls


def _selected(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    """Those that any of the words is for. Raises `InvalidInput` for a word that is for none."""
    for word in only:
        if not any(_fits(entry, word) for entry in entries):
            known = {tag for entry in entries for tag in entry.tags} | {entry.id for entry in entries}
            raise InvalidInput(f"--only {word[:80]}: no tag, operationId, call or path.", hint=instead(word, known))
    return [entry for entry in entries if not only or any(_fits(entry, word) for word in only)]


def _fits(entry: Entry, word: str) -> bool:
    if word.startswith("/"):
        return entry.path == word or entry.path.startswith(word if word.endswith("/") else f"{word}/")
    return word in (entry.id, entry.key) or word.lower() in map(str.lower, entry.tags)


def _named(entries: Iterable[Entry], words: Collection[str], option: str) -> frozenset[str]:
    """Words of the operator that are operationIds or calls. Raises `InvalidInput` for others."""
    known = {name for entry in entries for name in (entry.id, entry.key) if name}
    if strange := sorted(set(words) - known):
        raise InvalidInput(f"{option} {strange[0][:80]}: no operationId, and no call.", hint=instead(strange[0], known))
    return frozenset(words)
