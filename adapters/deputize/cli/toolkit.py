"""``deputize toolkit``: generate your own toolkit from an OpenAPI description, as a module to read, change and keep.

deputize toolkit from-openapi acme.yaml --provider acme --only tasks --out acme.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption

if TYPE_CHECKING:
    from deputize.openapi.generate import Made, Wanted

toolkit_app = typer.Typer(help="Toolkits of your own.", no_args_is_help=True)


@toolkit_app.callback()
def toolkit() -> None:
    """Toolkits of your own."""


@toolkit_app.command("from-openapi")
def from_openapi(
    file: Annotated[Path, typer.Argument(help="An OpenAPI description, 3.0 or 3.1: JSON, or YAML with PyYAML.")],
    provider: Annotated[str, typer.Option(help="Whose users act: a provider's name. One that is new is written, too.")],
    out: Annotated[
        Path | None, typer.Option(help="The module to write; never one that is there. Default: stdout.")
    ] = None,
    name: Annotated[str, typer.Option(help="The toolkit's name. Default: the provider's.")] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(help="A tag, an operationId, a call ('GET /pets') or a path's beginning. Repeat it."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only what changes nothing.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="How many tools at most.")] = 60,
    sends: Annotated[
        list[str] | None, typer.Option(help="An operationId or call that reaches other people. Repeat it.")
    ] = None,
    reads: Annotated[
        list[str] | None, typer.Option(help="One that only reads, though it is a POST: a search. Repeat it.")
    ] = None,
    api: Annotated[str, typer.Option(help="Which of the provider's APIs it is, where the addresses differ.")] = "",
    server: Annotated[
        str, typer.Option(help="Of a new provider: the API's address, where the description has none.")
    ] = "",
    whoami: Annotated[str, typer.Option(help="Of a new provider: the path whose GET says whose a token is: /me.")] = "",
    sign_in: Annotated[
        str,
        typer.Option(
            help="Of a new provider: oauth, or each user's key as described: bearer, basic, header:X-Api-Key."
        ),
    ] = "",
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing: show how it differs from what is in --out.")
    ] = False,
    since: Annotated[
        Path | None, typer.Option(help="With --diff: from the module that this older description gives, instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a toolkit from an OpenAPI description: a module of your own, to read and change.

    Calls and fields that are left out are listed with the reason. Nothing is fetched. An existing file is never
    overwritten.
    """
    from deputize.openapi.generate import Wanted

    if since and not diff:
        raise typer.BadParameter("--since goes with --diff.")
    if diff and not (out or since):
        raise typer.BadParameter("--diff wants --out, the module to compare with, or --since.")
    new = {"api": api, "server": server, "whoami": whoami, "sign_in": sign_in}
    asked = Wanted(provider, name, only or (), read_only, limit, sends or (), reads or (), **new)
    made = _made(file, asked)
    if diff:
        before = _made(since, asked, older=True).module if since else _text(out)
        show.out.file.write(difference(before, made.module, str(since or out), str(file)))
        return
    written = _written(out, made, provider) if out else []
    if as_json:
        show.data(_facts(made, written))
        return
    if not out:
        show.out.file.write(made.module)
    _report(made, written)


def _made(file: Path, asked: Wanted, older: bool = False) -> Made:
    from deputize.core.providers.from_settings import with_settings
    from deputize.core.settings import Settings
    from deputize.openapi.description import read
    from deputize.openapi.generate import generate_modules, request_for_older

    description = read(file)
    wanted = request_for_older(description, asked) if older else asked
    return generate_modules(description, wanted, with_settings(Settings.load().providers))


def _text(path: Path | None) -> str:
    from deputize.core import InvalidInput

    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidInput(f"{path}: cannot be read: {type(e).__name__}.") from None


def difference(before: str, after: str, old: str, new: str) -> str:
    """Return a unified diff for `patch` and `git apply`, or "" without differences."""
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), old, new)
    return "".join(lines)


def _written(out: Path, made: Made, provider: str) -> list[Path]:
    """Write the files and return them. Raises `InvalidInput`, and writes none, if one of them exists."""
    from deputize.core import InvalidInput

    files = {out: made.module}
    beside = out.with_name(f"{provider.replace('-', '_')}_provider.py") if made.provider else None
    if beside == out:
        raise InvalidInput(f"{out} is the file of the provider definition.", hint="Choose another --out.")
    if beside:
        files[beside] = made.provider
    for path in files:
        if path.exists():
            raise InvalidInput(
                f"{path} exists and may have been changed, so it is not overwritten.",
                hint="--diff shows what would change. Or choose another --out.",
            )
    for path, text in files.items():
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as e:
            raise InvalidInput(f"{path}: cannot be written: {e.strerror}.") from None
    return list(files)


def _facts(made: Made, written: list[Path]) -> dict[str, Any]:
    return {
        "written": [str(path) for path in written],
        "module": "" if written else made.module,
        "provider": "" if written else made.provider,
        "tools": {name: {"call": one.key, "effects": sorted(one.effects)} for name, one in made.tools.items()},
        "left_out": dict(made.left_out),
        "not_in_tools": {name: list(notes) for name, notes in made.notes.items()},
        "pages": dict(made.pages),
        "unselected": made.unselected,
    }


def _report(made: Made, written: list[Path]) -> None:
    """Print the result, the parts that were left out with the reasons, and the next steps."""
    writes = sum(not one.reads for one in made.tools.values())
    show.note(f"{show.counted(len(made.tools), 'tool')}: {len(made.tools) - writes} read, {writes} write.", "")
    if made.unselected:
        show.note(f"{show.counted(made.unselected, 'call')} of the description not chosen by --only.")
    for key, why in made.left_out.items():
        show.note(f"left out  {key}: {why}.", "yellow")
    for name, notes in made.notes.items():
        show.note(f"without   {name}: {'; '.join(notes)}.", "yellow")
    for name, arguments in made.pages.items():
        show.note(f"pages     {name}: {', '.join(arguments)}.")
    for path in written:
        show.note(f"wrote     {path}", "green")
    if made.provider and not written:
        show.note("Its provider is new: --out writes the provider definition beside the module.", "yellow")
    if written:
        show.note("Before an agent uses it, check who sees each effect (audience), and which fields results keep.")
