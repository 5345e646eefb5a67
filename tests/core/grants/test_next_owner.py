"""A grant ends only if another record takes over its tokens."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import deputize.core
from deputize.core import Secret
from deputize.core.vault.record import Record
from deputize.core.vault.token_ownership import EndedByProvider
from deputize.core.vault.vault import Vault
from tests.core.grants.test_families import grant
from tests.support.sandbox_deputy import new_vault

CORE = Path(deputize.core.__file__).parent
MAY_END = {"vault/vault.py", "vault/grant.py", "vault/restore.py", "grants/end_grant.py", "grants/refresh.py"}
MAY_END |= {"grants/revocation_queue.py", "grants/sources/store_tokens.py", "consent/grant_writer.py"}
MAY_DROP_REPLIES = {"grants/sources/store_tokens.py", "consent/grant_writer.py"}


async def entry(vault: Vault, token: str, kind: str = "outbox") -> Record:
    """Return a record of the revocation queue with this token."""
    made = await vault.insert(kind, "k" + token, {"token": Secret(token), "tokens": {"access": Secret(token)}}, None)
    assert made
    return made


async def test_grant_with_unowned_tokens_cannot_end() -> None:
    vault = await new_vault()
    held = await vault.add(grant("f1", "r1"))
    for owner in (None, await entry(vault, "r2"), await entry(vault, "r1", "intent")):
        with pytest.raises(TypeError, match="revoke"):
            await vault.end_grant(held, held.tombstone(), owner)
        with pytest.raises(TypeError, match="revoke"):
            await vault.end_grant(held, held.dead("rejected"), owner)
    assert await vault.get_stored_grant(vault.record_key(held)) == held
    await vault.close()


@pytest.mark.parametrize(("kind", "token"), [("outbox", "r1"), ("outbox", "access-f1"), ("received", "access-f1")])
async def test_grant_can_end_if_a_queue_entry_has_one_of_its_tokens(kind: str, token: str) -> None:
    vault = await new_vault()
    held = await vault.add(grant("f1", "r1"))
    assert await vault.end_grant(held, held.tombstone(), await entry(vault, token, kind))
    await vault.close()


async def test_grant_without_tokens_ends_without_an_owner() -> None:
    vault = await new_vault()
    held = await vault.add(grant("f1", "r1"))
    dead = await vault.end_grant(held, held.dead("invalid_grant"), EndedByProvider())
    assert dead and await vault.end_grant(dead, dead.tombstone(), None)
    await vault.close()


async def test_other_writes_cannot_drop_tokens() -> None:
    vault = await new_vault()
    held = await vault.add(grant("f1", "r1"))
    with pytest.raises(TypeError, match="end_grant"):
        await vault.replace(held, held.tombstone())
    with pytest.raises(TypeError, match="earlier grant"):
        await vault.add(grant("f2", "r2"))
    assert await vault.add(replace(held, scopes=frozenset({"read", "write"})))
    await vault.close()


def test_only_listed_modules_end_grants_or_drop_token_replies() -> None:
    ends, drops = set[str](), set[str]()
    for path in CORE.rglob("*.py"):
        module = path.relative_to(CORE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called, of = node.func.attr, ast.unparse(node.func.value)
                if called in ("tombstone", "dead") or (called == "end_grant" and of.endswith("vault")):
                    ends.add(module)
                if called == "remove" and of.endswith("received"):
                    drops.add(module)
    assert ends <= MAY_END, "take the next owner of the tokens: `end_grant` in deputize.core.grants.end_grant"
    assert drops == MAY_DROP_REPLIES
