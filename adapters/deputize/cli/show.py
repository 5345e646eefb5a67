"""Output in a terminal. Results go to stdout, messages to the user to stderr.

Untrusted content, such as a mail or a provider's message, is printed without control characters. So it cannot move the
cursor, or use colours as if it came from deputize.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deputize.cli.scope_requirements import listed_needs
from deputize.core.errors import DeputizeError
from deputize.core.visible_text import replaced, without_hidden

if TYPE_CHECKING:
    from deputize.core import Approval, Connection, Consent, DeviceCode, Revoked, Tool, Undoable
    from deputize.core.grants.grant_end import GrantEnd

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)


def clean(text: object) -> str:
    """Return the text without invisible characters and without characters on which a terminal acts."""
    return without_hidden(str(text).replace("\r\n", "\n"))


def plain(text: object, style: str = "") -> Text:
    """Return untrusted content as text without markup and control characters."""
    return Text(clean(text), style=style)


def error(e: DeputizeError) -> None:
    """Print the error's message, hint, and code for programs."""
    line = Text.assemble(("error ", "bold red"), clean(e.message), (f"  [{e.code}]", "dim"))
    err.print(line, soft_wrap=True)
    if e.from_provider:
        err.print(Text.assemble(("  reason ", "bold"), clean(e.provider_says)), soft_wrap=True)
    if e.hint:
        err.print(Text.assemble(("  to do ", "bold"), clean(e.hint)), soft_wrap=True)


def note(text: str, style: str = "dim") -> None:
    """Print a message to the user, beside the result."""
    err.print(plain(text, style), soft_wrap=True)


def data(value: Any) -> None:
    """Print a result as JSON on stdout, indented in a terminal.

    Invisible characters, and characters on which a terminal acts, are escaped, which is the same text to a program.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2 if out.is_terminal else None, default=str)
    print(replaced(text, lambda character: json.dumps(character)[1:-1])[0], flush=True)


def counted(number: int, what: str) -> str:
    """Return a count with its noun, such as ``1 record`` or ``2 records``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def link(url: str, console: Console = err) -> None:
    """Print a URL on its own line, never broken, so that it can be clicked or copied."""
    console.print(Text(f"  {url}", style="bold underline"), soft_wrap=True)


def consent(ask: Mapping[str, Any], label: str, agent: str, console: Console = err) -> None:
    """Print the requested scopes of a consent, as text, and its link."""
    from deputize.core.web.pages.texts import agent_words

    who, where = (clean(agent_words(agent)), "bold"), (clean(label), "bold")
    lines = [Text.assemble(who, " needs your consent at ", where, " to:")]
    words = list(zip(ask["scope_descriptions"], ask["scopes"], strict=True)) or [
        ("know which account is yours", "openid email")
    ]
    for word, scope in words:
        beside = "" if f'"{scope}"' in word else f"  {scope}"  # a scope without a description is named in it
        lines.append(Text.assemble("  • ", clean(word), (clean(beside), "dim")))
    if ask["account"]:
        lines.append(plain(f"with the account {ask['account']}"))
    if ask["reason_code"]:
        gone = f"since what you had allowed is gone: {ask['reason_code']}"
        lines.append(plain("since the connection ends soon" if ask["reason_code"] == "ends_soon" else gone))
    console.print(Panel(Group(*lines), title="your consent", title_align="left", expand=False))
    if ask["link"]:
        console.print("Open this link:")
        link(ask["link"], console)


def ended(asked: Consent, label: str, console: Console = err) -> None:
    """Print a tick for a consent that was granted, or a cross."""
    if asked.status in ("granted", "partial"):
        part = ", in part" if asked.status == "partial" else ""
        console.print(plain(f"  ✓ {label} is connected{part}", "green"), soft_wrap=True)
    else:
        console.print(plain(f"  ✗ {label} is not connected", "yellow"), soft_wrap=True)


def code(given: DeviceCode, console: Console = err) -> None:
    """Print the code that the user enters on another device, and a warning."""
    console.print("On any device, open")
    link(given.address, console)
    console.print(Text.assemble("and enter the code  ", (clean(given.code), "bold")))
    note("Only if you started this yourself: entering the code gives this program access to your account.")


def approval(asked: Approval, console: Console = err, page: str = "") -> None:
    """Print the whole preview of an act before its approval. ``page``: the URL that displays the same."""
    lines = [plain(asked.summary, "bold"), Text()]
    if asked.changed_fields:
        lines += [plain("It has changed since you were asked.", "bold yellow"), Text()]
    for name, text in asked.preview.items():
        mark = (" (changed)", "bold yellow") if name in asked.changed_fields else ""
        if name in asked.dangers:
            lines += [
                Text.assemble((f"{clean(name)}:", "bold red"), mark, f" {clean(line)}") for line in text.split("\n")
            ]
            lines += [Text()] if name == asked.dangers[-1] else []
            continue
        value = f"\n{indent(clean(text), '    ')}" if "\n" in text else f" {clean(text)}"
        lines.append(Text.assemble((f"{clean(name)}:", "bold"), mark, value))
    title = Text(clean(f"{asked.tool} as {asked.account}" if asked.account else asked.tool))
    console.print(Panel(Group(*lines), title=title, title_align="left", expand=False))
    if page:
        console.print("Also on this page, for you alone:")
        link(page, console)


def _line(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value, ensure_ascii=False)


def connections(held: Sequence[Connection], console: Console = out) -> None:
    """Print a user's connected accounts, and the scopes of each."""
    if not held:
        console.print("Nothing is connected.")
        return
    table = _table("provider", "account", "status", "may")
    for one in held:
        status = one.status if one.status == "active" else f"{one.status}: {one.reason}"
        status += f"\n{end_words(one.end)}" if one.end else ""
        table.add_row(*map(plain, (one.provider, one.account, status, "\n".join(one.scope_descriptions))))
    console.print(table)


def end_words(end: GrantEnd) -> str:
    """Return the known end of a grant as text."""
    unless = ", unless it is used before" if end.reason == "unused" else ""
    return f"ends {datetime.fromtimestamp(end.at, UTC):%Y-%m-%d %H:%M} UTC{unless}"


def undoable(found: Sequence[Undoable], console: Console = out) -> None:
    """Print the acts that can be undone, newest first, in local time."""
    if not found:
        console.print("Nothing can be undone now.")
        return
    table = _table("act", "done", "what", "as", "can be undone until")
    for one in found:
        done, until = (datetime.fromtimestamp(at, UTC).astimezone() for at in (one.at, one.until))
        what = f"{one.what}: {about}" if (about := one.about or one.where) else one.what
        table.add_row(*map(plain, (one.id, f"{done:%a %H:%M}", what, one.account, f"{until:%a %H:%M %Z}")))
    console.print(table)


def revoked(
    ended: Sequence[Revoked], label: str, console: Console = out, *, labels: Mapping[str, str] | None = None
) -> None:
    """Print the result for each account that was disconnected. ``labels``: display names of providers."""
    upstream = {
        "done": "{} ended its tokens too.",
        "queued": "{} could not be reached; the revocation is queued.",
        "moved": "{} was not asked: the settings lead elsewhere than the grant came from. It stays queued.",
        "not_supported": "{} offers no way to end tokens; they run out by themselves.",
        "abandoned": "{} could not be reached. Remove the access in your account there.",
    }
    for one in ended:
        where = (labels or {}).get(one.provider, label)
        console.print(plain(f"Disconnected {one.account}. {upstream[one.upstream].format(where)}"), soft_wrap=True)
    if not ended:
        console.print(f"Nothing was connected at {label}.")


def queued(outcomes: Sequence[str], console: Console = out) -> None:
    """Print the result of sending queued revocations."""
    waiting = outcomes.count("queued") + outcomes.count("moved")
    console.print(
        f"{len(outcomes) - waiting} sent, {waiting} still queued." if outcomes else "No revocation is queued."
    )


def tools(found: Iterable[Tool]) -> None:
    """Print tools: effect, scopes, token cost of the definition, and a description."""
    for tool in found:
        asks = ", ".join(dict.fromkeys(need.ask.rpartition("/")[2] for need in tool.usual_needs()))
        costs = f"about {tokens(tool)} tokens"
        about = "; ".join(filter(None, (tool.gravest.words(), asks and f"asks for {asks}", costs)))
        out.print(Text.assemble((tool.name, "bold"), "  ", clean(about)), soft_wrap=True)
        out.print(Padding(plain(tool.description.partition("\n")[0]), (0, 0, 0, 2), expand=False))


def tool_facts(tool: Tool) -> dict[str, Any]:
    """Return all facts about a tool, as JSON.

    ``needs``: by API method, the scope to request, the scopes that suffice, and the arguments that cause the need.
    """
    needs = [
        {"method": one.need.method, "asks": one.need.ask, "accepts": sorted(one.need.accepts)}
        | ({"when": list(one.when)} if one.when else {})
        for one in listed_needs(tool)
    ]
    return {
        "name": tool.name,
        "toolkit": tool.toolkit,
        "provider": tool.provider,
        "description": tool.description,
        "parameters": tool.schema,
        "effect": tool.gravest.words(),
        "needs": needs,
        "toolset": tool.toolset,
        "remark": tool.remark,
        "bytes": len(definition(tool)),
        "tokens": tokens(tool),
    }


def tokens(tool: Tool) -> int:
    """Return about how many tokens a model reads for a tool: 4.4 bytes per token, as in o200k for deputize's own tools,
    within a fifth."""
    return round(len(definition(tool)) / 4.4)


def definition(tool: Tool) -> bytes:
    """Return a tool's definition as a model receives it."""
    what = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode()


def step(result: Mapping[str, Any]) -> None:
    """Print one step of the demo's story."""
    mark = ("ok   ", "green") if result["ok"] else ("FAIL ", "bold red")
    detail = ", ".join(f"{name} {_line(v)}" for name, v in result.items() if name not in ("step", "ok"))
    out.print(Text.assemble(mark, (clean(result["step"]), "bold"), f"  {clean(detail)}"), soft_wrap=True)


def finding(state: str, what: str, found: str, todo: str) -> None:
    """Print one line of ``doctor`` or ``preflight``, and the remedy below it. No name in it begins another line."""
    marks = {"ok": ("ok  ", "green"), "open": ("todo", "yellow"), "bad": ("bad ", "bold red")}
    what, found, todo = (clean(text).replace("\n", " ") for text in (what, found, todo))
    out.print(Text.assemble(marks[state], "  ", (f"{what}: ", "bold"), found), soft_wrap=True)
    if todo:
        out.print(Text.assemble(("      to do ", "bold"), todo), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "act")  # users copy the id
    return table


@contextmanager
def waiting(what: str, console: Console = err) -> Iterator[Callable[[str], None]]:
    """Show a spinner in a terminal, elsewhere a line. Yields a function that updates the text."""
    if not console.is_terminal:
        console.print(what)
    with thinking(what, console) as tell:
        yield tell


@contextmanager
def thinking(what: str = "", console: Console = out) -> Iterator[Callable[[str], None]]:
    """Show a spinner in a terminal, elsewhere nothing. Yields a function that updates the text."""
    status = console.status(what)
    try:
        if console.is_terminal:
            status.start()
        yield status.update
    finally:
        status.stop()  # also after Ctrl-C during the start


class _ToTerminal(logging.Handler):
    """Log handler that prints deputize's warnings to the user."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage(), "yellow")


def quiet_logs() -> None:
    """Print deputize's warnings in the terminal, and silence web libraries, whose logs would show URLs with codes."""
    for name in ("httpx", "httpcore", "uvicorn", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    ours = logging.getLogger("deputize")
    if not any(isinstance(handler, _ToTerminal) for handler in ours.handlers):
        ours.addHandler(_ToTerminal())


def reason(e: Exception) -> str:
    """Return what failed. For other errors only type and place, because their text may contain URLs with codes."""
    if isinstance(e, DeputizeError):
        return " ".join(filter(None, (e.message, e.provider_says, f"[{e.code}]", e.hint)))
    last = traceback.extract_tb(e.__traceback__)[-1]
    return f"{type(e).__name__} at {last.filename.rpartition('/')[2]}:{last.lineno}"
