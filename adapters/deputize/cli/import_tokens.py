"""``deputize import``: import a user's tokens from another program, after checking their account."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption, TenantOption, UserOption, command_user, known_provider, open_deputy

if TYPE_CHECKING:
    from deputize.cli.token_files import Found
    from deputize.core import Deputy
    from deputize.core.grants.sources.import_tokens import Imported
    from deputize.core.vault.secret_values import SecretBytes


def import_tokens(
    file: Annotated[
        Path | None, typer.Argument(help="Where the other program keeps them; - for stdin. Default: asked for, unseen.")
    ] = None,
    account: Annotated[str, typer.Option(help="Whose they are at the provider, by name or id. Default: asked.")] = "",
    provider: Annotated[str, typer.Option(help="google, ...; where the file does not say it.")] = "",
    user: UserOption = "",
    tenant: TenantOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where settings name several.")] = "",
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Take an access token of another client, which nobody here can refresh.")
    ] = False,
    stopped: Annotated[
        bool, typer.Option("--stopped", "-y", help="The program that has them is stopped: do not ask.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take over a user's tokens from another program: they are checked, then refreshed, so that only deputize can use
    them.

    Known are the files of google-auth (token.json), gcloud, oauth2client, slack_sdk, and replies of token endpoints.
    Tokens are never arguments: other accounts could read them in the list of processes.
    """
    from deputize.cli.token_files import content_of, parse_tokens

    content, shared = content_of(file) if file else (_typed(), False)
    found = parse_tokens(content)
    whom = command_user(user, tenant)
    with open_deputy() as deputy:
        name = known_provider(deputy, provider or found.provider or _asked("Which provider?", "--provider"))
        _says_whose(deputy, name, found)
        app, label = _app(deputy, name, registration, found, foreign=foreign), deputy.providers[name].label
        whose = account or _asked(f"Whose account is it at {label} (name or id there)?", "--account")
        if found.refresh and not foreign and not stopped:
            _is_stopped()
        done = deputy.run(
            deputy.sources.import_tokens(
                whom,
                name,
                account=whose,
                by=f"{_operator()}, deputize import",
                access_token=found.access,
                refresh_token=None if foreign else found.refresh,
                app=app,
                foreign=foreign,
            )
        )
    if as_json:
        show.data(done._asdict())
    else:
        _say_what_came(done, whom.id, label, file, found.form)
    if shared:
        show.note(f"Other accounts of this machine could read {file}. If one may have: disconnect, and connect again.")


def _operator() -> str:
    """Return the operator's account name for the audit, from the system and not from a variable (``LOGNAME``).

    In a container, an account may have no name.
    """
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"account {os.getuid()}"


def _typed() -> SecretBytes:
    """Return the token that the operator types, without showing it. Raises `InvalidInput` without a terminal."""
    from deputize.core import InvalidInput
    from deputize.core.vault.secret_values import SecretBytes

    if not sys.stdin.isatty():
        raise InvalidInput(
            "The token cannot be asked for without a terminal.",
            hint="Name a file, or - to read stdin: deputize import - < token.json",
            fix_by="operator",
        )
    return SecretBytes(getpass.getpass("Refresh token, or access token (not shown): ").encode())


def _asked(question: str, option: str) -> str:
    """Return the operator's answer. Raises `InvalidInput` without a terminal."""
    from deputize.core import InvalidInput

    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} There is no terminal to ask at.", hint=f"Pass {option}.", fix_by="operator")
    answer: str = typer.prompt(question, err=True)
    return answer


def _is_stopped() -> None:
    """Ask the operator to confirm that no other program uses the tokens. Raises `InvalidInput` without a terminal."""
    from deputize.core import InvalidInput

    if not sys.stdin.isatty():
        raise InvalidInput(
            "The refresh token is used at once, and the other program may end the connection by using it again.",
            hint="Stop that program, and pass --stopped.",
            fix_by="operator",
        )
    typer.confirm("Is the program that has these tokens stopped for good?", abort=True, err=True)


def _says_whose(deputy: Deputy, provider: str, found: Found) -> None:
    """Raise `InvalidInput` if the file's scopes prove that the tokens cannot identify their user.

    After a refresh it would be too late, because the provider would have to revoke them.
    """
    from deputize.core import InvalidInput

    row = deputy.providers[provider]
    given = row.implied_scopes(row.oauth.normal(found.scopes))
    if given and (lacking := sorted(set(row.oauth.always_scopes) - given)):
        raise InvalidInput(
            f"These tokens cannot identify their user: they lack {', '.join(lacking)}.",
            hint="Let the user connect, or let the other program ask for these scopes, too.",
            fix_by="operator",
        )


def _app(deputy: Deputy, provider: str, named: str, found: Found, *, foreign: bool) -> str:
    """Return the app to which the tokens were issued, if the file says so. Raises `InvalidInput` for another client."""
    from deputize.core import InvalidInput

    app = deputy.registry.app(provider, named)
    if not found.client or foreign or app.client_id == found.client:
        return app.name
    if not named:
        for other in deputy.registry.apps_for(provider):
            if other.client_id == found.client:
                return other.name
    raise InvalidInput(
        f"These tokens were issued to another client than the app {app.name!r}: {found.client[:100]}.",
        hint="Set up that client as an app here (docs/settings.md), or let the user connect.",
        fix_by="operator",
        reason="foreign_client",
    )


def _say_what_came(done: Imported, user: str, label: str, file: Path | None, form: str) -> None:
    scopes = ", ".join(one.rpartition("/")[2] for one in done.scopes) or "nothing that it says: the user is asked"
    show.out.print(show.plain(f"{user} acts as {done.account} at {label} now, by what {form} held."))
    show.out.print(show.plain(f"May: {scopes}"))
    show.note(done.advice)
    if file and str(file) != "-":
        show.note(f"The copy here: rm {shlex.quote(str(file.absolute()))}")
