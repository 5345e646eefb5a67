"""``deputize key``: the root keys that encrypt a vault, and their rotation while programs run.

    key rotate         add a new key in front of the others, and encrypt every record with it
    key list           show the keys, and how many records each has encrypted
    key remove ID      remove an old key, after no record needs it any more
    key wrap NAME      let a key management service of the settings wrap all keys

If keys come from the environment or a keyring, or each machine has its own file, the operator changes the list in this
order: `key new`; add the new key behind the others, and restart all programs; move it to the front, and restart again;
`key reseal`; `key list`; remove the old key.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption, open_deputy

if TYPE_CHECKING:
    from deputize.core import Deputy
    from deputize.core.vault.key_source import ChangeableKeySource
    from deputize.core.vault.key_sources.wrapped import WrappedKeys

T = TypeVar("T")

key_app = typer.Typer(help="Root keys of vaults.", no_args_is_help=True)


@key_app.command()
def new(
    kms: Annotated[str, typer.Option("--kms", help="Do not print it: let this KMS of the settings wrap it.")] = "",
) -> None:
    """Print a new root key. Store it apart from the vault, and never lose it: without it the vault cannot be opened."""
    if kms:
        source = _wrapped()
        source.make_key(kms)
        show.out.print(show.plain(f"Made the first root key, wrapped by {kms}: {source.name}."))
        return
    from deputize.core.vault.root_keys import new_key

    print(new_key())
    show.note("Set it as DEPUTIZE_KEY, or write it to a file of mode 0600 and set DEPUTIZE_KEY_FILE.")


@key_app.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """Show the ids of the root keys, newest first, and how many records each has sealed. Never a key."""
    from deputize.core.vault.key_sources.wrapped import WrappedKeys
    from deputize.core.vault.rotation import key_uses

    with open_deputy() as deputy:
        given, uses = deputy.vault.sealer.ids, deputy.run(key_uses(deputy.vault))
        source = deputy.vault.sealer.source
    wrapped = source.services_of() if isinstance(source, WrappedKeys) else {}
    rows = [
        {"id": id, "given": id in given, "records": uses[id], "kms": wrapped.get(id, [])}
        for id in dict.fromkeys([*given, *wrapped, *uses])
    ]
    if as_json:
        show.data(rows)
        return
    for row in rows:
        place = "newest" if row["id"] == given[0] else "older" if row["given"] else "NOT GIVEN"
        by = f"  wrapped by {', '.join(names)}" if (names := wrapped.get(str(row["id"]))) else ""
        show.out.print(show.plain(f"{row['id']}  {place}  {show.counted(uses[str(row['id'])], 'record')}{by}"))


LaterOption = Annotated[
    bool, typer.Option("--later", help="Do not wait: programs that use this vault seal in the background.")
]


@key_app.command()
def reseal(later: LaterOption = False) -> None:
    """Seal every record of an older key with the newest one. Programs may run meanwhile; repeat it at any time.

    If it is interrupted, programs with the same newest key finish it in the background.
    """
    with open_deputy() as deputy:
        _reseal(deputy, later)


SharedFileOption = Annotated[
    bool,
    typer.Option("--shared-file", help="Programs on all machines of this vault read this very key file."),
]


@key_app.command()
def rotate(later: LaterOption = False, shared_file: SharedFileOption = False) -> None:
    """Make a new key, put it in front of the others, and seal every record with it. Programs may run meanwhile."""
    from deputize.core.audit.events import KeyAdded

    source = _changeable("deputize key new, put it in front of the list, restart, deputize key reseal")
    if not (shared_file or _is_shared(source)):
        _refuse_shared_vault()
    with open_deputy() as deputy:

        async def put_in_front() -> None:
            deputy.vault.rekey(await asyncio.to_thread(source.add_key))
            deputy.audit.write(KeyAdded(deputy.vault.sealer.ids[0]))

        deputy.run(_change_keys(deputy, put_in_front))
        _reseal(deputy, later)
        for id in deputy.vault.sealer.ids[1:]:
            show.note(f"Once all programs have been restarted: deputize key remove {id}")


@key_app.command()
def wrap(
    kms: Annotated[str, typer.Argument(metavar="NAME", help="A KMS of the settings: [kms.NAME].")],
    only: Annotated[bool, typer.Option("--only", help="Remove the copies that other services have wrapped.")] = False,
) -> None:
    """Let a key management service wrap all root keys. Records stay as they are, and programs may run meanwhile.

    The keys come from the key file, or from the services that have wrapped them so far.
    """
    from deputize.core.audit.events import KeyWrapped

    source = _wrapped()
    with open_deputy() as deputy:
        before = source.is_wrapped()

        async def wrap_all() -> None:
            keys = await asyncio.to_thread(partial(source.wrap_keys, kms, only=only))
            deputy.audit.write(KeyWrapped(deputy.vault.sealer.ids[0], kms=kms, only=only or None))
            show.out.print(show.plain(f"{show.counted(len(keys), 'key')} wrapped by {kms}: {source.name}."))

        deputy.run(_change_keys(deputy, wrap_all))
    if not before:
        show.note(
            f"Restart programs that do not have [kms.{kms}] in their settings yet. Then remove the keys from "
            f"{source.before.name}, and from everywhere else."
        )
    elif not only:
        show.note(f"Once all programs have been restarted with [kms.{kms}]: deputize key wrap {kms} --only")


@key_app.command()
def remove(id: Annotated[str, typer.Argument(help="Which key; deputize key list shows the ids.")]) -> None:
    """Remove an old key, once no record needs it. The key is kept in a separate file.

    First restart all programs that use this vault: one that was started with only the old key may still seal with it.
    """
    from deputize.core import SettingsError
    from deputize.core.audit.events import KeyRemoved
    from deputize.core.vault.rotation import key_uses

    if not re.fullmatch("[0-9a-f]{16}", id):  # not shown: it may be a key
        raise SettingsError("That is not a key id.", hint="deputize key list shows them.")
    with open_deputy() as deputy:

        async def take_out() -> str:
            if needed := (await key_uses(deputy.vault))[id]:
                raise SettingsError(
                    f"{show.counted(needed, 'record')} sealed with the key {id} would not open any more.",
                    hint="deputize key reseal",
                )
            source = _changeable("No record needs this key: take it out of the list.")
            kept = await asyncio.to_thread(source.remove_key, id)
            deputy.audit.write(KeyRemoved(id))
            return kept

        kept = deputy.run(_change_keys(deputy, take_out))
    show.out.print(f"Removed the key with the id {id}.")
    show.note(f"It is kept in {kept}. Older backups need it; delete it, or store it elsewhere, when none does.")


def _is_shared(source: ChangeableKeySource) -> bool:
    """Return whether all programs of the vault read this source, on whatever machine."""
    from deputize.core.vault.key_sources.wrapped import WrappedKeys

    return isinstance(source, WrappedKeys) and source.list.is_shared


def _wrapped() -> WrappedKeys:
    """Return the source of wrapped keys. Raises `SettingsError` without a KMS in the settings."""
    from deputize.core import SettingsError
    from deputize.core.settings import Settings
    from deputize.core.vault.key_sources.wrapped import WrappedKeys

    if isinstance(source := Settings.load().key_source, WrappedKeys):
        return source
    raise SettingsError("No KMS is set.", hint="Add a section [kms.NAME] to the settings: docs/backup-and-keys.md")


def _refuse_shared_vault() -> None:
    """Raise `SettingsError` if several machines share the vault, because their own key files would lack the new key."""
    from deputize.core import SettingsError
    from deputize.core.settings import Settings
    from deputize.core.vault.stores import store_type

    if store_type(Settings.load().vault_url).audit is not None:
        raise SettingsError(
            "Other machines may use this vault, and could not open records of a new key that they do not have.",
            hint="If all of them read this file, pass --shared-file. Otherwise: deputize key new; put the new key "
            "after the old one everywhere and restart; put it in front and restart; deputize key reseal.",
        )


async def _change_keys(deputy: Deputy, change: Callable[[], Awaitable[T]]) -> T:
    """Make one change of the key file at a time. Raises `StoreUnavailable` during another change."""
    from deputize.core import StoreUnavailable

    try:
        async with deputy.vault.store.lock("keys", 5.0):
            return await change()
    except TimeoutError:
        raise StoreUnavailable("Another command is changing the keys.", hint="Try again when it has ended.") from None


def _reseal(deputy: Deputy, later: bool) -> None:
    from deputize.core.audit.events import KeyResealed
    from deputize.core.vault.rotation import begin_reseal, reseal

    if later:
        deputy.run(begin_reseal(deputy.vault))
        show.out.print(f"Records are sealed with the key {deputy.vault.sealer.ids[0]} in the background.")
        show.note("deputize key list shows how many an older key still seals.")
        return
    with show.waiting("Sealing ...") as tell:
        done = deputy.run(reseal(deputy.vault, lambda anew: tell(f"Sealing ... {show.counted(anew, 'record')}")))
    deputy.audit.write(KeyResealed(deputy.vault.sealer.ids[0], records=done.anew, shut=done.shut))
    show.out.print(f"{show.counted(done.anew, 'record')} sealed anew with the key {deputy.vault.sealer.ids[0]}.")
    if done.shut:
        show.out.print(f"What does not open stays as it is: {show.counted(done.shut, 'record')}. deputize key list")
        raise typer.Exit(1)


def _changeable(otherwise: str) -> ChangeableKeySource:
    """Return the source of the keys. Raises `SettingsError` if only the operator can change it."""
    from deputize.core import SettingsError
    from deputize.core.settings import Settings
    from deputize.core.vault.key_source import ChangeableKeySource

    if isinstance(source := Settings.load().key_source, ChangeableKeySource):
        return source
    raise SettingsError(f"The keys come from {source.name}, which only you can change.", hint=otherwise)
