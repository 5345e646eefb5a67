"""The verdict on a schedule, from what users did and what providers saw. The vault is asked only what it knows."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from deputize.core import DeputizeError, User
from deputize.core.audit.reader import time_of
from deputize.core.audit.verify_permissions import PermissionCheck
from deputize.core.consent.redeem import INTERRUPTED
from deputize.core.vault.record import KINDS
from deputize.core.vault.rotation import key_uses
from tests.simulation.jobs import Jobs, reseal_with
from tests.simulation.providers import Family
from tests.simulation.world import World

KEPT = ("granted", "partial")
Group = tuple[str, str, str]
"""User, provider and account."""


async def judge(world: World, jobs: Jobs) -> None:
    """Note everything that must not be, at the end, when nothing is in progress and nothing fails."""
    verdict = Verdict(world, jobs)
    verdict.posts()
    verdict.audited()
    await verdict.outcomes()
    await verdict.records()
    verdict.unknown()
    verdict.ended()
    await verdict.revoked()
    await verdict.usable()
    if world.rng.random() < 0.3:
        await verdict.nothing_left()


class Verdict:
    """See the module. ``kept``: the families whose consent was granted, as their users were told."""

    def __init__(self, world: World, jobs: Jobs) -> None:
        self.world, self.jobs, self.providers = world, jobs, world.providers
        self.violated = world.providers.violated
        self.families = [one for one in self.providers.families.values() if one.redeemed]
        self.kept = {one for one in self.families if one.consent == "initial"}
        self.groups: defaultdict[Group, list[Family]] = defaultdict(list)
        for one in self.families:
            self.groups[one.user, one.provider, one.email].append(one)

    def audited(self) -> None:
        """The rows of all programs, with those lost that a death took, accuse no act."""
        for audit in self.world.audits:
            audit.hand_over()
        check = PermissionCheck()
        for row in sorted(self.world.rows, key=time_of):
            check.take(row)
        for misuse in check.misuses():
            self.violated(f"the audit accuses an act: {misuse}")

    def _shared(self, family: Family) -> list[Family]:
        """The families that end with this one."""
        if family.provider != "birch":
            return [family]
        return [one for one in self.families if (one.provider, one.email) == (family.provider, family.email)]

    def _group(self, family: Family) -> list[Family]:
        return self.groups[family.user, family.provider, family.email]

    def _of_user(self, family: Family) -> list[Family]:
        return [one for one in self.families if (one.user, one.provider) == (family.user, family.provider)]

    def _excused(self, family: Family) -> bool:
        """Whether it may live on unknown: its latest tokens never came to a process that could store them, or, where
        one revocation ends all of a person, those of another family did not, whose grant answered for this one."""
        return any(one.lost for one in self._shared(family))

    def _was_lost(self, group: list[Family]) -> bool:
        """Whether a grant of these may be over: the latest tokens of a family that was kept are lost."""
        return any(one.lost for one in group if one in self.kept)

    # ------------------------------------------------------------- what happened

    def posts(self) -> None:
        """At most one effect of a call; no approval is used twice; nothing is posted after a rejection."""
        under_mandates = defaultdict[str, int](int)
        for note in self.jobs.notes:
            number = sum(post.text == note.text for post in self.providers.posts)
            under_mandates[note.text.rpartition(" ")[2]] += max(number - note.approvals, 0)
            if number > note.calls:
                self.violated(f"{note.text!r} was posted {number} times, and {note.calls} calls wanted it")
            if number < len(note.done):
                self.violated(f"{note.text!r} was posted {number} times, and {len(note.done)} calls returned a result")

        self.world.met["posts"] += len(self.providers.posts)
        self.world.met["posts under mandates"] += sum(under_mandates.values())
        for user, number in under_mandates.items():
            if number > sum(one.acts for one in self.jobs.mandates if one.user == user):
                self.violated(f"{user} posted {number} notes too many for the approvals and mandates")
        approved = {note.text for note in self.jobs.notes if note.approvals}
        for post in self.providers.posts:
            mine = [one for one in self.jobs.mandates if one.user == post.family.user]
            if post.text not in approved and all(one.ended and one.ended < post.began for one in mine):
                self.violated(f"{post.text!r} was posted, and all mandates had ended")

    async def outcomes(self) -> None:
        """What became of each consent, as its user sees it. Of two codes for one consent, the later one counts, and the
        consent names its account."""
        for family, consent in self.jobs.consents:
            found = await self.world.tried(
                self.world.call(self.world.some(), lambda deputy, one=consent: deputy.get_consent(one))  # type: ignore[misc]
            )
            status = found.status if found else "unknown"
            self.world.met[f"consent {status}"] += 1
            if found and found.reason_code == INTERRUPTED and not self.world.has_met_faults():
                self.violated(f"a consent of {consent.provider} was interrupted, and nothing had failed")
            if family and family.redeemed and found and status in KEPT and found.account == family.email:
                self.kept.add(family)

    # ------------------------------------------------------------- families

    async def records(self) -> None:
        """Every record opens, and needs no older key once everything was sealed with the newest."""
        shut = sum([(await self.world.vault.scan_openable(kind))[1] for kind in KINDS])
        if shut:
            self.violated(f"{shut} records do not open")
        if len(self.world.root_keys.now) > 1:
            program = self.world.some()
            await self.world.call(program, partial(reseal_with, self.world.root_keys.read_keys()))
            if uses := set(await key_uses(self.world.vault)) - {self.world.vault.sealer.ids[0]}:
                self.violated(f"records need {len(uses)} older keys")

    def unknown(self) -> None:
        """The vault knows a token of every family that is alive."""
        known = {token for one in self.world.known_families() for token in one.tokens}
        held = {self.providers.fingerprints[token] for token in known if token in self.providers.fingerprints}
        for family in self.families:
            if family.alive and not self._excused(family) and not held.intersection(self._shared(family)):
                self.violated(f"{family.name} is alive, and the vault does not know it")

    def _is_ordered(self, family: Family) -> bool:
        return any(order.covers(family) for order in self.providers.disconnects)

    def ended(self) -> None:
        """No account that somebody connected is over without an order."""
        for (user, provider, email), group in self.groups.items():
            kept = [one for one in group if one in self.kept and not self._is_ordered(one)]
            if kept and not self._was_lost(group) and not any(one.alive for one in group):
                ends = ", ".join(f"{one.name}: {one.ended_by}" for one in group)
                self.violated(f"{user} connected {email} at {provider}, and nobody ended that: {ends}")

    async def revoked(self) -> None:
        """What was there before a disconnect is over after it, unless a newer grant might end with it: of its account,
        or any of the user's if the account of the tokens could not be asked for."""
        entries = [entry.json for entry in (await self.world.vault.scan_openable("outbox"))[0]]
        unnamed = {self.providers.tokens[note["token"].reveal()] for note in entries if "place" not in note}
        for order in self.providers.disconnects:
            for family in self.families:
                if not family.alive or not order.must_end(family) or self._excused(family):
                    continue
                might_end = self._of_user(family) if family in unnamed else self._group(family)
                held_by = (one for one in might_end if one in self.kept and not order.must_end(one))
                if family.provider == "acme" or not any(one.alive for one in held_by):
                    self.violated(f"{family.name} outlived the disconnect of {order.user or 'everybody'}")

    async def usable(self) -> None:
        """A user can act with what they have connected, and as nobody else."""
        for user in self.world.users:
            for provider in self.world.names:
                mine = [one for one in self.families if (one.user, one.provider) == (user, provider)]
                must = [one for one in mine if one in self.kept and not self._is_ordered(one)]
                if not must or self._was_lost(mine):
                    continue
                try:
                    found = await self.jobs.read_once(user, provider)
                except DeputizeError as error:
                    self.violated(f"{user} connected {provider} and cannot act: {type(error).__name__}: {error}")
                    continue
                if found["who"] not in {one.email for one in mine if one.alive}:
                    self.violated(f"{user} acted as {found['who']} at {provider}")

    async def nothing_left(self) -> None:
        """After everybody was disconnected, no provider accepts a token."""
        for user in self.world.users:
            await self.world.call(self.world.some(), lambda deputy, user=user: deputy.revoke(User(user)))  # type: ignore[misc]
        await self.world.call(self.world.some(), lambda deputy: deputy.revoker.retry())
        for family in self.families:
            if family.alive and not self._excused(family):
                self.violated(f"{family.name} outlived the disconnect of everything")
