"""What must be true, from what the test itself did and the providers saw; the product is asked for nothing of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from deputize.core.vault.record import KINDS
from deputize.core.vault.vault import Vault
from deputize.sandbox.google import GOOGLE_CLIENT_ID
from deputize.sandbox.oauth import digest
from tests.properties.request_log import Family, Witness
from tests.properties.simulated_providers import SCOPES, Stage
from tests.support.token_families import alive, ends_with, unknown

USERS: Final = ("alice", "bob")
Answer: TypeAlias = Literal["yes", "no"]


@dataclass(eq=False)
class Given:
    """A user's mandate. ``stands``: it is there, or never will be: who ends all from now on ends it, too; ``ended``:
    when its end had returned, 0 while none has."""

    user: str
    most: int
    until: float
    stands: bool = False
    ended: int = 0


class Asked(NamedTuple):
    """An approval: whose, its id, and the account it is about."""

    user: str
    approval: str
    email: str


@dataclass(eq=False)
class Oracle:
    """See the module.

    ``asked``: by text of a post, what was asked last; ``answers``: what was answered, by text and account: who has said
    no as one account may have given a mandate as another;
    ``began``: when an act with that text began last; ``done``: texts of acts that returned; ``hurt``: users and
    providers for whom something was cut off or ended.
    """

    stage: Stage
    witness: Witness
    asked: dict[str, Asked] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    mandates: list[Given] = field(default_factory=list)
    hurt: set[tuple[str, str]] = field(default_factory=set)
    _judged: int = 0
    _posted: set[str] = field(default_factory=set)
    _by_mandate: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    # ------------------------------------------------------------- told by the test

    def hurt_at(self, provider: str = "") -> None:
        """Something was cut off, or ended, at this provider, or at all: for everybody who has an account in common."""
        self.hurt |= {(user, name) for user in USERS for name in SCOPES if provider in ("", name)}

    def noes_expire(self) -> None:
        """More than an hour has passed, as long as a no is one: a mandate given later may cover what it was to."""
        self.answers = {what: answer for what, answer in self.answers.items() if answer == "yes"}

    def disconnected(self, families: list[Family]) -> None:
        """A disconnect of these has returned."""
        for one in families:
            one.ended = one.ended or self.witness.tick()

    def given_by(self, *users: str) -> list[Given]:
        """The mandates that these have given so far: one that is being given while others end is not among those."""
        return [one for one in self.mandates if one.user in users and one.stands]

    def mandates_ended(self, given: list[Given]) -> None:
        """The end of these has returned."""
        for one in given:
            one.ended = one.ended or self.witness.tick()

    def lost(self, user: str, provider: str, reason: str) -> None:
        """A user was told to connect again: only where something was cut off, or lost on the way, or ended there."""
        excused = any(one.lost for one in self.witness.families(user, provider))
        if provider == "acme" and not excused and (user, provider) not in self.hurt:
            self.witness.violated(f"{user} lost the grant of {provider} for no reason: {reason}")

    # ------------------------------------------------------------- after each step

    def check(self) -> None:
        """Raise `Violated` where anything happened that must not."""
        for family, text in self.witness.posted[self._judged :]:
            self._check_post(family, text)
        self._judged = len(self.witness.posted)
        if missing := self.done - self._posted:
            self.witness.violated(f"acts returned and nothing was posted: {sorted(missing)}")
        if self.witness.wrong:
            self.witness.violated("; ".join(self.witness.wrong))

    def _check_post(self, family: Family, text: str) -> None:
        _, user, provider, _ = text.split()
        if text in self._posted:
            self.witness.violated(f"{text!r} was posted twice")
        self._posted.add(text)
        if (family.user, family.provider) != (user, provider):
            self.witness.violated(f"{text!r} was posted as {family.user}'s {family.email} at {family.provider}")
        answer = self.answers.get((text, family.email))
        if answer == "no":
            self.witness.violated(f"{text!r} was posted after a no")
        if answer is None:
            self._by_mandate[user] += 1
            alive = [one for one in self.mandates if one.user == user and self._counted(one, self.began[text])]
            if not alive or self._by_mandate[user] > sum(one.most for one in self.mandates if one.user == user):
                self.witness.violated(f"{text!r} was posted without a yes")

    def _counted(self, one: Given, began: int) -> bool:
        return one.until > self.stage.clock() and (not one.ended or one.ended > began)

    # ------------------------------------------------------------- at the end

    def excused(self) -> set[str]:
        """Families, as the sandbox names them, whose tokens a program or the line had in hand when it died.

        Where ending one ends all of a person's, no token is kept but the grant's: where that one is lost so, the others
        live on until the account is connected again, and ends.
        """
        lost = [one for one in self.witness.codes.values() if one.lost]
        groups = {f"{self._client(one.provider)} {self._subject(one.email)}" for one in lost}
        issued = self.stage.sandbox._world.authority.tokens.values()
        beside = {one.family for one in issued if ends_with(one, self.stage.sandbox) in groups}
        return beside | {digest(one.code) for one in lost}

    def _client(self, provider: str) -> str:
        played = self.stage.sandbox.played.get(provider)
        return played.app.client_id if played else GOOGLE_CLIENT_ID

    def _subject(self, email: str) -> str:
        return next(one.sub for one in self.stage.sandbox.people if one.email == email)

    async def all_known(self, vault: Vault) -> None:
        """All records open, and the vault has a token of every family that is alive at a provider."""
        for kind in KINDS:
            if shut := (await vault.scan_openable(kind))[1]:
                self.witness.violated(f"{shut} records of {kind} do not open")
        if families := await unknown(vault, self.stage.sandbox, self.stage.clock) - self.excused():
            self.witness.violated(f"{len(families)} families alive that nobody knows")

    def nothing_left(self) -> None:
        """Everybody was disconnected: no provider would take a token. And what was posted is what was seen."""
        if left := alive(self.stage.sandbox, self.stage.clock) - self.excused():
            self.witness.violated(f"{len(left)} families outlived their disconnect")
        seen = sorted((one.provider, one.email, text) for one, text in self.witness.posted)
        if seen != sorted(self.stage.effects()):
            self.witness.violated("the providers have other posts than those that were seen on the way")
