"""Every part of a deputy, put together in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from deputize.core.act.approval import Approvals
from deputize.core.act.budget import Budgets
from deputize.core.act.catalog import Catalog
from deputize.core.act.files import Files
from deputize.core.act.gate import Gate
from deputize.core.act.ledger import Ledger
from deputize.core.act.mandates import Mandates
from deputize.core.act.missing_scopes import Asking
from deputize.core.act.only_from import OnlyFrom
from deputize.core.act.outside_record import OutsideRecord
from deputize.core.act.people_search import PeopleSearch
from deputize.core.act.perform import Performer
from deputize.core.act.plans import Planner
from deputize.core.act.policy import Judge, Policy
from deputize.core.act.recognizing import Recognizing
from deputize.core.act.sender import Sender
from deputize.core.act.toolkit import Toolkit
from deputize.core.act.unauthenticated import PublicSender
from deputize.core.act.undoing import Undoing
from deputize.core.consent.consents import Consents
from deputize.core.engine import Engine
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.mass_revocation import MassRevocation
from deputize.core.grants.refresh import Refresher
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.revoke import Revoker
from deputize.core.grants.sources.obtaining import GrantSources
from deputize.core.vault.rotation import go_on
from deputize.core.vault.sweeping import Sweeper


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Parts:
    """What works with an `Engine`: grants first, then consents, then acts."""

    outbox: RevocationQueue
    sources: GrantSources
    refresher: Refresher
    accounts: Accounts
    consents: Consents
    revoker: Revoker
    asking: Asking
    catalog: Catalog
    files: Files
    sweeper: Sweeper
    sender: Sender
    judge: Judge
    ledger: Ledger
    approvals: Approvals
    mandates: Mandates
    planner: Planner
    performer: Performer
    gate: Gate
    undoing: Undoing
    recognizing: Recognizing


def put_together(
    engine: Engine,
    outside: PublicSender,
    policy: Policy,
    toolkits: Iterable[Toolkit] | None,
    only_from: Mapping[str, str] | None = None,
    *,
    per_minute: float,
    kept: float,
) -> Parts:
    """The parts of one deputy. ``outside`` fetches from addresses that strangers chose.

    ``per_minute``: requests of one user's agents to one provider. ``kept``: seconds that outcomes are.
    ``only_from``: whose texts a model may read, by toolkit.
    """
    outbox, accounts = RevocationQueue(engine), Accounts(engine)
    sources = GrantSources(engine, outbox)
    refresher, consents = Refresher(engine, outbox, sources), Consents(engine, outbox)
    files, budgets = Files(engine.vault, engine.clock), Budgets(per_minute, engine.clock)
    catalog = Catalog(toolkits)
    sender = Sender(engine, refresher, outside, files, budgets, OnlyFrom.of(only_from or {}, catalog.toolkit))
    judge, ledger, approvals = Judge(policy), Ledger(engine, kept), Approvals(engine)
    mandates, named = Mandates(engine, approvals, kept), OutsideRecord(engine)
    planner = Planner(engine, judge, approvals, mandates, sender, refresher, named)
    performer = Performer(engine, ledger, approvals, mandates, planner, sender, refresher, named)
    gate, asking = (
        Gate(engine, catalog, judge, accounts, ledger, approvals, planner, refresher, named, sources),
        Asking(engine, accounts, consents),
    )
    many = MassRevocation(engine, consents, outbox, mandates.end_all)
    sender.questions = gate.questions
    sender.people = PeopleSearch(engine, catalog, gate, performer, asking)
    return Parts(
        outbox=outbox,
        sources=sources,
        refresher=refresher,
        accounts=accounts,
        consents=consents,
        revoker=Revoker(engine, accounts, consents, outbox, many),
        asking=asking,
        catalog=catalog,
        files=files,
        sweeper=Sweeper(
            engine.vault,
            files.remove,
            engine.clock,
            recover=consents.recover,
            jobs=[many.follow, partial(go_on, engine.vault, engine.audit), ledger.unsaved.settle_all],
        ),
        sender=sender,
        judge=judge,
        ledger=ledger,
        approvals=approvals,
        mandates=mandates,
        planner=planner,
        performer=performer,
        gate=gate,
        undoing=Undoing(ledger),
        recognizing=Recognizing(engine, gate),
    )
