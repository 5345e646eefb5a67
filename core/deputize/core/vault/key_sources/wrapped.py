"""Root keys that a key management service (KMS) has wrapped. Their list is a file, or a row of the vault's database.

    {"vault": "...", "keys": [{"id": "...", "made": 1800000000, "vouched": {ID: MAC}, "wraps": [
        {"kms": "main", "provider": "aws-kms", "key": "arn:...", "wrapped": "..."}]}]}

Newest first. A KMS binds the ids of vault and key, so a wrapped key that was moved elsewhere does not unwrap. The list
is no secret, but whoever can write it could add a key of his own, for example with the public key of an RSA key. So the
keys vouch for each other: a MAC under one key proves that its owner knew it when the other key was listed. The vault
refuses keys for which none of those vouches that have encrypted it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from deputize.core.errors import DeputizeError, SettingsError, StoreUnavailable
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.key_source import KeyList, KeySource, read_keys
from deputize.core.vault.key_sources.file import hold_file, replace_file
from deputize.core.vault.kms import kms_type
from deputize.core.vault.kms.protocol import Kms, KmsSettings
from deputize.core.vault.private_files import private_folder, read_private
from deputize.core.vault.root_keys import new_key, parse_keys
from deputize.core.vault.seal import KEY_BYTES, id_of

LIST_NAME: Final = "wrapped-keys.json"
"""File name of a list."""
UNWRAP_SECONDS: Final = 8.0
"""Time limit of one unwrap."""
RETRY_SECONDS: Final = 30.0
"""How long a start repeats an unwrap that fails for now."""
FAILURE_TTL: Final = 5.0
"""Seconds for which a running program does not ask again for a key that failed."""
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
_MAX_LIST_BYTES: Final = 1 << 20

log = logging.getLogger("deputize")
T = TypeVar("T")


@frozen
class KeyListFile(Printed):
    """A list of wrapped keys in a file of mode 0600 or less."""

    path: Path

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def is_shared(self) -> bool:
        """Return False: other machines may have a file of their own."""
        return False

    def read(self) -> str | None:
        """Return the text, or None if there is no file. Raises `SettingsError` if others may write it."""
        if not self.path.exists():
            return None
        return read_private(self.path, _MAX_LIST_BYTES).decode("utf-8", "replace")

    def replace(self, old: str | None, new: str) -> bool:
        """Replace the file as a whole, unless it is no longer ``old``."""
        private_folder(self.path.parent)
        with hold_file(self.path):
            if self.read() != old:
                return False
            replace_file(self.path, new)
        return True


@frozen
class WrapStatus(ValueObject):
    """One wrapped copy of a key. ``seconds``: how long the KMS took to unwrap it. ``error``: why it did not."""

    key: str
    kms: str
    provider: str
    kms_key: str
    seconds: float
    error: DeputizeError | None


class WrappedKeys:
    """Root keys from a list, unwrapped by key management services.

    ``services``: the ``[kms.NAME]`` sections. ``before``: the source that has the keys until they are wrapped.
    ``home``: the folder for copies of removed keys. Keys stay in memory, so an outage of the KMS stops no running
    program: see `renew` for a limit.
    """

    def __init__(self, keys: KeyList, services: Mapping[str, KmsSettings], before: KeySource, home: Path) -> None:
        self.list, self.before, self._home = keys, before, home
        self._services, self._open = services, dict[str, Kms]()
        self._guard = threading.RLock()
        self._known, self._answered = dict[str, bytes](), dict[str, float]()
        self._failed, self._failed_at = dict[str, DeputizeError](), 0.0
        self._vouched = dict[str, Mapping[str, str]]()
        self._patient = True

    def __repr__(self) -> str:
        return f"WrappedKeys({self.name!r})"

    @property
    def name(self) -> str:
        """The name of the list, for messages."""
        return self.list.name

    # ------------------------------------------------------------- reading

    def exists(self) -> bool:
        """Return whether keys are listed, or wait in the earlier source to be wrapped."""
        return self.list.read() is not None or self.before.exists()

    def is_wrapped(self) -> bool:
        """Return whether the list exists. Until then the earlier source counts."""
        return self.list.read() is not None

    def read_keys(self) -> list[bytes]:
        """Return the keys that unwrap, newest first. The start waits for an outage of `RETRY_SECONDS`.

        Raises the errors of `Kms` if the newest key does not unwrap. `closed_keys` returns the others that do not.
        """
        with self._guard:
            text = self.list.read()
            if text is None:
                self._failed, self._vouched = {}, {}
                return read_keys(self.before)
            return self._usable(self._read(text))

    def closed_keys(self) -> Mapping[str, DeputizeError]:
        """Return the listed keys that did not unwrap, with the reasons."""
        return {**self._failed}

    def unproven_keys(self, trusted: Collection[str]) -> list[str]:
        """Return the ids of the keys, as last read, for which no trusted key vouches, or one that such a key vouches
        for."""
        with self._guard:
            proven, left = set(trusted), [id for id in self._vouched if id not in trusted]
            while found := [id for id in left if any(self._is_vouched(id, by) for by in proven)]:
                proven |= {*found}
                left = [id for id in left if id not in proven]
            return [id for id in left if id in self._known]

    def _is_vouched(self, id: str, by: str) -> bool:
        key = self._known.get(by)
        return key is not None and hmac.compare_digest(self._vouched[id].get(by, ""), _voucher(key, id))

    def _read(self, text: str) -> list[dict[str, Any]]:
        """Unwrap the keys of a list that are not known yet, and return its entries."""
        listed = _parsed(text, self.name)
        entries: list[dict[str, Any]] = listed["keys"]
        self._vouched = {entry["id"]: entry["vouched"] for entry in entries}
        ids = {*self._vouched}
        self._known = {id: key for id, key in self._known.items() if id in ids}
        recent = self._failed if time.monotonic() - self._failed_at < FAILURE_TTL else {}
        wanted = [entry for entry in entries if entry["id"] not in self._known and entry["id"] not in recent]
        if wanted:
            self._failed = {id: error for id, error in recent.items() if id in ids}
            self._take(_run(self._unwrap_all(listed["vault"], wanted, RETRY_SECONDS if self._patient else 0.0)))
        return entries

    def _take(self, found: Mapping[str, bytes | DeputizeError]) -> None:
        for id, result in found.items():
            if isinstance(result, bytes):
                self._known[id], self._answered[id], self._patient = result, time.monotonic(), False
                self._failed.pop(id, None)
            else:
                self._failed[id], self._failed_at = result, time.monotonic()

    def _usable(self, entries: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Return the known keys. Raises the error of the newest if that is not one of them."""
        newest, *older = [entry["id"] for entry in entries]
        if newest not in self._known:
            raise self._failed[newest]
        for id in older:
            if id not in self._known:
                log.warning("%s Records of this key stay closed.", self._failed[id].message)
        return [self._known[entry["id"]] for entry in entries if entry["id"] in self._known]

    async def _unwrap_all(
        self, vault: str, entries: Sequence[Mapping[str, Any]], patience: float
    ) -> dict[str, bytes | DeputizeError]:
        deadline = time.monotonic() + patience
        results = await asyncio.gather(*(self._unwrap_patiently(vault, entry, deadline) for entry in entries))
        return {entry["id"]: result for entry, result in zip(entries, results, strict=True)}

    async def _unwrap_patiently(self, vault: str, entry: Mapping[str, Any], deadline: float) -> bytes | DeputizeError:
        """Unwrap one key by the first KMS that can. Repeats errors that may pass until the deadline (monotonic)."""
        tries = 0
        while True:
            errors = list[DeputizeError]()
            for wrap in entry["wraps"]:
                try:
                    return await self._unwrap(vault, entry["id"], wrap)
                except DeputizeError as error:
                    errors.append(error)
            passing = [error for error in errors if isinstance(error, StoreUnavailable)]
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            if not passing or time.monotonic() + pause > deadline:
                return (passing or errors)[0]
            tries += 1
            await asyncio.sleep(pause)

    async def _unwrap(self, vault: str, id: str, wrap: Mapping[str, str]) -> bytes:
        with _explained(f"The root key {id} does not unwrap by the KMS {wrap['kms']} ({wrap['provider']})"):
            kms = self._kms(wrap["kms"])
            async with asyncio.timeout(UNWRAP_SECONDS):
                key = await kms.unwrap(b64decode(wrap["wrapped"]), _context(vault, id))
            if len(key) != KEY_BYTES or id_of(key) != id:
                raise SettingsError("It is another key.", hint="Restore the list of keys.")
            return key

    def _kms(self, name: str) -> Kms:
        if name not in self._open:
            if (settings := self._services.get(name)) is None:
                raise SettingsError("No section of the settings has this name.", hint=f"Add [kms.{name}].")
            self._open[name] = kms_type(settings.provider).open(settings)
        return self._open[name]

    # ------------------------------------------------------------- a time limit

    def renew(self, ttl: float) -> list[bytes]:
        """Unwrap all keys again, and return those that may still be used, newest first.

        A key is returned if it unwraps, or if the KMS is only away and has unwrapped it less than ``ttl`` seconds ago.
        Returns an empty list, and forgets all keys, if the newest is not among them or the list cannot be read.
        """
        with self._guard:
            if not self._known:
                return []
            before = {id: self._known[id] for id in self._vouched if id in self._known}
            found = dict[str, bytes | DeputizeError]()
            try:
                if (text := self.list.read()) is None:
                    return read_keys(self.before)
                listed = _parsed(text, self.name)
                entries = [entry for entry in listed["keys"] if entry["id"] in before]
                found = _run(self._unwrap_all(listed["vault"], entries, 0.0))
            except StoreUnavailable as away:
                found = dict.fromkeys(before, away)
            except DeputizeError:
                self._known = {}
                return []
            except Exception as error:  # such as OSError: the limit must hold though the list cannot be read
                failed = StoreUnavailable(f"The list of keys cannot be read: {type(error).__name__}.")
                found = dict.fromkeys(before, failed)
            self._known, newest = {}, next(iter(found), "")
            self._take(found)
            until = time.monotonic() - ttl
            for id, result in found.items():
                if isinstance(result, StoreUnavailable) and self._answered[id] > until:
                    self._known[id] = before[id]
            self._known = {id: self._known[id] for id in found if id in self._known and newest in self._known}
            return [*self._known.values()]

    @property
    def age(self) -> float:
        """Seconds since the KMS last unwrapped every key in use. 0 if it has unwrapped none of them."""
        return max((time.monotonic() - self._answered[id] for id in [*self._known]), default=0.0)

    # ------------------------------------------------------------- changing

    def make_key(self, kms: str = "") -> list[bytes]:
        """Create the first key, wrapped by the KMS of this name, and return it in a list.

        The name may be omitted if there is one KMS. Raises `SettingsError` if keys are listed already.
        """
        if not kms and len(self._services) != 1:
            hint = f"deputize key new --kms NAME, one of: {', '.join(self._services)}"
            raise SettingsError("Several KMS could wrap the first key.", hint=hint)
        if self.exists():
            raise SettingsError("There are root keys already, and they stay as they are.", hint=self.name)
        [key] = keys = parse_keys(new_key())
        self._write(None, secrets.token_hex(8), [_entry(key)], keys, [kms or next(iter(self._services))])
        return keys

    def add_key(self) -> list[bytes]:
        """Add a new key in front, wrapped by each KMS that wraps the newest, and return all, newest first."""
        text, vault, entries, keys = self._current()
        [key] = parse_keys(new_key())
        names = [wrap["kms"] for wrap in entries[0]["wraps"]]
        self._write(text, vault, [_entry(key), *entries], [key, *keys], names, only=id_of(key))
        return [key, *keys]

    def remove_key(self, id: str) -> str:
        """Remove an older key from the list, and return the file with its wrapped copy.

        The caller has checked that no vault needs the key. Raises `SettingsError` if there is no such key, or if it is
        the newest.
        """
        if (text := self.list.read()) is None:
            raise _unwrapped()
        listed = _parsed(text, self.name)
        entries = listed["keys"]
        gone = next((entry for entry in entries[1:] if entry["id"] == id), None)
        if gone is None:
            what = "is the newest, which encrypts" if entries[0]["id"] == id else "is not listed"
            raise SettingsError(f"The key with the id {id} {what}.", hint=f"Look at: deputize key list ({self.name})")
        kept = KeyListFile(self._home / f"{LIST_NAME}.{id}")
        if not kept.replace(kept.read(), _text(listed["vault"], [gone])):
            raise _changed()
        self._replace(text, _text(listed["vault"], [entry for entry in entries if entry is not gone]))
        return kept.name

    def wrap_keys(self, kms: str, *, only: bool = False) -> list[bytes]:
        """Wrap all keys by the KMS of this name, and return them, newest first. No record is encrypted again.

        Takes the keys from the earlier source if none is listed yet. ``only``: remove the copies that others wrapped.
        Raises the errors of `Kms` if a key cannot be unwrapped or wrapped; nothing is changed then.
        """
        self._kms(kms)
        if self.list.read() is None:
            keys = read_keys(self.before)
            self._write(None, secrets.token_hex(8), [_entry(key) for key in keys], keys, [kms])
            return keys
        text, vault, entries, keys = self._current()
        if len(keys) < len(entries):
            raise next(iter(self._failed.values()))
        done = [entry["id"] for entry in entries if any(wrap["kms"] == kms for wrap in entry["wraps"])]
        self._write(text, vault, entries, keys, [kms], skip=() if only else done, replace=only)
        return keys

    def _current(self) -> tuple[str, str, list[dict[str, Any]], list[bytes]]:
        """Return the list, its vault id, its entries and its keys. Raises `SettingsError` if no key is wrapped yet."""
        with self._guard:
            if (text := self.list.read()) is None:
                raise _unwrapped()
            self._failed = {}
            entries = self._read(text)
            return text, _parsed(text, self.name)["vault"], entries, self._usable(entries)

    def _write(
        self,
        old: str | None,
        vault: str,
        entries: Sequence[dict[str, Any]],
        keys: Sequence[bytes],
        names: Sequence[str],
        *,
        only: str = "",
        skip: Collection[str] = (),
        replace: bool = False,
    ) -> None:
        """Wrap keys by each KMS, prove that they unwrap, and replace the list.

        ``only``: id of the single key to wrap. ``skip``: ids of those to leave. ``replace``: drop other copies.
        """
        by_id = {id_of(key): key for key in keys}

        async def wrap(entry: dict[str, Any], name: str) -> dict[str, Any]:
            id, settings = entry["id"], self._services[name]
            with _explained(f"The root key {id} cannot be wrapped by the KMS {name} ({settings.provider})"):
                async with asyncio.timeout(UNWRAP_SECONDS):
                    wrapped = await self._kms(name).wrap(by_id[id], _context(vault, id))
            made = {"kms": name, "provider": settings.provider, "key": settings.key}
            made["wrapped"] = b64encode(wrapped).decode()
            await self._unwrap(vault, id, made)
            return made

        async def wrap_all(entry: dict[str, Any]) -> None:
            made = await asyncio.gather(*(wrap(entry, name) for name in names))
            entry["wraps"] = [*made, *(() if replace else entry["wraps"])]

        async def all_of_them() -> None:
            wanted = [entry for entry in entries if entry["id"] not in skip and only in ("", entry["id"])]
            await asyncio.gather(*map(wrap_all, wanted))

        for name in names:
            self._kms(name)  # raises for a name that the settings do not have
        _run(all_of_them())
        unwrapped = time.monotonic()
        for entry in entries:
            vouchers = {by: _voucher(key, entry["id"]) for by, key in by_id.items() if by != entry["id"]}
            entry["vouched"] = {**entry["vouched"], **vouchers}
        self._replace(old, _text(vault, entries))
        with self._guard:
            self._vouched = {entry["id"]: entry["vouched"] for entry in entries}
            self._known |= by_id
            self._answered = dict.fromkeys(by_id, unwrapped) | self._answered
            self._patient = False

    def _replace(self, old: str | None, new: str) -> None:
        if not self.list.replace(old, new):
            raise _changed()

    # ------------------------------------------------------------- reporting

    def services_of(self) -> dict[str, list[str]]:
        """Return the names of the KMS that have wrapped each key, by key id. Asks none of them."""
        if (text := self.list.read()) is None:
            return {}
        return {entry["id"]: [wrap["kms"] for wrap in entry["wraps"]] for entry in _parsed(text, self.name)["keys"]}

    def check(self) -> list[WrapStatus]:
        """Unwrap each copy of each key now, and return how long that took, or the error. Changes nothing."""
        if (text := self.list.read()) is None:
            return []
        listed = _parsed(text, self.name)

        async def check_one(id: str, wrap: Mapping[str, str]) -> WrapStatus:
            begin, error = time.monotonic(), None
            try:
                await self._unwrap(listed["vault"], id, wrap)
            except DeputizeError as failed:
                error = failed
            return WrapStatus(id, wrap["kms"], wrap["provider"], wrap["key"], time.monotonic() - begin, error)

        async def check_all() -> list[WrapStatus]:
            copies = [(entry["id"], wrap) for entry in listed["keys"] for wrap in entry["wraps"]]
            return await asyncio.gather(*(check_one(*copy) for copy in copies))

        return _run(check_all())


def _unwrapped() -> SettingsError:
    return SettingsError("No root key is wrapped yet.", hint="deputize key wrap NAME")


def _changed() -> StoreUnavailable:
    return StoreUnavailable("Another command has changed the keys.", hint="Look at deputize key list, and try again.")


def _context(vault: str, id: str) -> dict[str, str]:
    return {"deputize:vault": vault, "deputize:key": id}


def _voucher(key: bytes, id: str) -> str:
    """Return the MAC by which a key vouches for the key with this id."""
    return hmac.digest(key, b"deputize root key\0" + id.encode(), "sha256").hex()


def _entry(key: bytes) -> dict[str, Any]:
    return {"id": id_of(key), "made": round(time.time()), "vouched": {}, "wraps": []}


def _text(vault: str, entries: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"vault": vault, "keys": entries}, indent=1) + "\n"


def _parsed(text: str, name: str) -> dict[str, Any]:
    """Return the content of a list. Raises `SettingsError` for another form."""
    try:
        listed: dict[str, Any] = json.loads(text)
        ids = [str(entry["id"]) for entry in listed["keys"]]
        for entry in listed["keys"]:
            for values in (entry["vouched"], *entry["wraps"]):
                if not all(isinstance(value, str) for value in values.values()):
                    raise TypeError
            for wrap in entry["wraps"]:
                _ = wrap["kms"], wrap["provider"], wrap["key"], b64decode(wrap["wrapped"], validate=True)
            if not entry["wraps"]:
                raise ValueError
        if not ids or len({*ids}) != len(ids) or not isinstance(listed["vault"], str):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        hint = f"Restore {name} from a copy. The vault itself is unchanged."
        raise SettingsError("The list of wrapped keys is damaged.", hint=hint) from None
    return listed


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn each exception into `StoreUnavailable` or `SettingsError` with ``what`` failed, and nothing of its text."""
    try:
        yield
    except TimeoutError:
        raise StoreUnavailable(f"{what}: no answer within {UNWRAP_SECONDS:.0f} s.", hint="Check the KMS.") from None
    except DeputizeError as error:
        kind = StoreUnavailable if isinstance(error, StoreUnavailable) else SettingsError
        raise kind(f"{what}: {error.message}", hint=error.hint) from None
    except Exception as error:  # its text may contain a key
        raise StoreUnavailable(f"{what}: {type(error).__name__}.", hint="Check the KMS.") from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also in a thread with a running loop, as a notebook has one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    result = list[Callable[[], T]]()

    def run() -> None:
        try:
            found = asyncio.run(work)
            result.append(lambda: found)
        except BaseException as error:
            failure = error

            def fail() -> T:
                raise failure

            result.append(fail)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0]()
