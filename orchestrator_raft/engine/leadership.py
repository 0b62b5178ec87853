"""What a node does only while it leads: built anew for each term, closed when the term is over.

A term's parts share one ``Tasks``; closing it stops probing, watching, guarding and every recovery at once. Between
two heartbeats authority may lapse for a moment without another leader being elected: then the parts stay, and whoever
wants to act asks for authority and does not act.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.engine.accounts import AccountBook
from orchestrator_raft.engine.claims import Claims
from orchestrator_raft.engine.discovery import Discovery
from orchestrator_raft.engine.doubt import Doubts
from orchestrator_raft.engine.executor import Executor
from orchestrator_raft.engine.figures import Figures
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.engine.housekeeping import Chore, Housekeeping
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.engine.pacing import Paces, Pacing
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.publishing import Outlet, Publishing
from orchestrator_raft.engine.rebuilds import Rebuilds
from orchestrator_raft.engine.records import Recorder
from orchestrator_raft.engine.salvaging import Salvaging
from orchestrator_raft.engine.sight import Sight
from orchestrator_raft.engine.stale import StaleGuard
from orchestrator_raft.engine.supervisor import Supervisor
from orchestrator_raft.engine.upkeep import Upkeep
from orchestrator_raft.engine.vantage import Vantage
from orchestrator_raft.engine.view import Viewer
from orchestrator_raft.engine.watch import Watch
from orchestrator_raft.engine.witness import Witnesses
from orchestrator_raft.engine.write_probe import WritePace, WriteProbes
from orchestrator_raft.flavors.base import Account
from orchestrator_raft.ports import Channel, Clock, Consensus, Hooks, Prober, RaftAdmin, Salvager, Sessions, Writer
from orchestrator_raft.tasks import OnFailure, Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Plain values from the configuration."""

    policy: Policy
    paces: Paces = field(default_factory=Paces)
    concurrency_max: int = 300
    witness_timeout_s: float = 0.4
    write_pace: WritePace = field(default_factory=WritePace)
    credentials_query: str = ""
    seeds: tuple[InstanceKey, ...] = ()
    """Servers to begin with (DiscoverySeeds)."""
    own_account: Account | None = None
    """The manager's own, with which a server that is rebuilt logs in at the one that gives its data."""
    save_lost_transactions: bool = True
    """By itself, as soon as a server is quarantined; a person may ask for it all the same."""
    token_use_s: int = 60
    """For so long a new access token may be taken into use."""
    token_valid_s: int = 24 * 3600
    """For so long it is valid."""
    rule_valid_s: int = 3600
    """For so long a promotion rule counts that a person registers without saying how long."""
    pool_valid_s: int = 3600
    figures_kept_s: float = 120.0
    queue_samples_max: int = 120
    """For so long a pool is kept that is not submitted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The ports, plugged in by the composition root."""

    consensus: Consensus
    channel: Channel
    prober: Prober
    sessions: Sessions
    hooks: Hooks
    clock: Clock
    writer: Writer | None = None
    """Where people want it seen whether primaries can write."""
    salvager: Salvager | None = None
    """Where the transactions of servers that are kept out can be saved."""
    raft: RaftAdmin | None = None
    """With it a leader can hand its leadership to a node that sees more."""
    outlet: Outlet = field(default_factory=Outlet)
    """Where it is published who is primary."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Who hears of tasks that failed by a defect."""

    on_failure: OnFailure
    on_broken: OnFailure
    """Of those without which a leader sees nothing any more: this node must not go on leading."""


class Leader:
    """All parts of one term's leader."""

    def __init__(
        self, term: int, outside: Outside, settings: EngineSettings, reports: Reports, figures: Figures | None = None
    ) -> None:
        self.term = term
        self._outside = outside
        self._settings = settings
        consensus, clock = outside.consensus, outside.clock
        self.tasks = Tasks(f"leader of term {term}", reports.on_failure)
        self.eyes = Tasks(f"eyes of term {term}", reports.on_broken)
        self.inventory = Inventory()
        self.proposals = Proposals(consensus, clock)
        self.viewer = Viewer(consensus, self.inventory, settings.policy, clock)
        self.recorder = Recorder(consensus, self.proposals, self.inventory)
        self.discovery = Discovery(
            outside.prober, self.inventory, clock, self.eyes, concurrency_max=settings.concurrency_max,
            figures=figures,
        )  # fmt: skip
        self.hands = Hands(consensus, outside.sessions, clock)
        self.accounts = AccountBook(self.hands, settings.credentials_query, settings.own_account)
        self.witnesses = Witnesses(consensus, outside.channel, clock, self.tasks, timeout_s=settings.witness_timeout_s)
        self.claims = Claims(consensus.node_id, term, self.proposals, outside.hooks, on_claimed=self.look)
        self.supervisor = Supervisor(
            term, consensus, self.proposals, self.tasks,
            viewer=self.viewer, recorder=self.recorder, make_executor=self._make_executor, on_ended=self._ended,
        )  # fmt: skip
        self.guard = StaleGuard(
            term, consensus, clock, self.tasks,
            prober=outside.prober, hands=self.hands, discovery=self.discovery, inventory=self.inventory,
            proposals=self.proposals,
        )  # fmt: skip
        self.publishing = Publishing(
            term, consensus, clock, self.tasks, outlet=outside.outlet, proposals=self.proposals
        )
        self.pacing = Pacing(settings.paces, settings.seeds)
        self.watch = Watch(
            term, consensus, self.viewer, self.tasks,
            discovery=self.discovery, witnesses=self.witnesses, recorder=self.recorder, claims=self.claims,
            upkeep=Upkeep(consensus.node_id, term, self.proposals, on_claimed=self.look),
            pacing=self.pacing, housekeeping=Housekeeping(self.proposals, *self._chores()),
            authority_since_s=clock.monotonic_s(), on_look=self.look,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Leader of term {self.term}: {self.inventory!r}, {self.tasks!r}>"

    def use_policy(self, policy: Policy) -> None:
        """Decide by this policy from the next look on."""
        self.viewer.policy = policy
        self.watch.changed()

    def start(self) -> None:
        """Begin to probe, watch and recover."""
        self.discovery.on_change(self.watch.changed)
        self.discovery.on_late(self._is_late)
        self.witnesses.on_answer(lambda _key: self.watch.changed())
        self.eyes.start("watch", self.watch.run())
        self.eyes.start("figures", self.discovery.sample_for_ever())
        self.publishing.start()

    def look(self) -> None:
        """The state may have changed: see what has to be resumed or guarded."""
        self.supervisor.look()
        self.guard.look()
        self.publishing.look()

    def state_changed(self) -> None:
        """The replicated state moved on."""
        self.look()
        self.watch.changed()

    def _is_late(self, key: InstanceKey) -> None:
        """A primary takes long to answer: see what its replicas have heard from it by now."""
        server = self.viewer.moment().topology.servers.get(key)
        if server is not None:
            self.discovery.wake(server.replicas)

    def connection_closed(self, key: InstanceKey) -> None:
        """A server hung up: look at it, at its source and at its replicas now, and have the others look too."""
        self.guard.connection_closed(key)
        moment = self.viewer.moment()
        server = moment.topology.servers.get(key)
        if server is None:
            return
        self.discovery.wake({key, *server.replicas, *((server.source,) if server.source is not None else ())})
        if server.source is None and server.replicas:
            self.witnesses.ask(key)

    def _chores(self) -> Iterator[Chore]:
        """What is looked after now and then, where it is wanted."""
        outside, settings, proposals = self._outside, self._settings, self.proposals
        if outside.writer is not None:
            yield WriteProbes(outside.writer, self.inventory, outside.clock, settings.write_pace)
        if outside.salvager is not None and settings.save_lost_transactions:
            yield Salvaging(outside.salvager, proposals)
        if outside.raft is not None:
            yield Vantage(outside.consensus, outside.channel, outside.prober, outside.clock,
                          proposals=proposals, raft=outside.raft)  # fmt: skip
        yield Rebuilds(self.term, proposals, on_claimed=self.look)
        yield Doubts(self.term, proposals, self.witnesses, on_claimed=self.look)

    def _make_executor(self) -> Executor:
        return Executor(
            self.tasks, self._outside.clock,
            hands=self.hands, discovery=self.discovery, inventory=self.inventory, accounts=self.accounts,
            hooks=self._outside.hooks,
        )  # fmt: skip

    def _ended(self, recovery: Recovery) -> None:
        self.claims.ended(recovery)
        clusters = self.viewer.moment().topology.clusters
        held = (recovery.cluster_id, *recovery.other_clusters)
        members = (key for each in held if each in clusters for key in clusters[each].members)
        touched = {recovery.subject.key, *recovery.subject.replicas, *recovery.stale, *members}
        self.tasks.start(f"let go after {recovery.id}", self.hands.let_go(touched))
        self.watch.changed()

    async def close(self) -> None:
        """Stop everything; nothing of this term acts afterwards."""
        await self.eyes.close()
        await self.tasks.close()
        await self.hands.let_go()


class Engine:
    """One node's engine: idle on a follower, a ``Leader`` while this node leads."""

    def __init__(self, outside: Outside, settings: EngineSettings, reports: Reports) -> None:
        self._outside = outside
        self._settings = settings
        self._reports = reports
        self._tasks = Tasks("engine", reports.on_broken)
        self.leader: Leader | None = None
        self.figures = Figures(outside.clock, kept_s=settings.figures_kept_s, samples_max=settings.queue_samples_max)
        self.sight = Sight(outside.consensus, outside.channel, outside.clock)
        outside.prober.on_closed(self._connection_closed)

    def __repr__(self) -> str:
        return f"<Engine: {self.leader!r}>"

    @property
    def settings(self) -> EngineSettings:
        return self._settings

    def use_policy(self, policy: Policy) -> None:
        """Decide by this policy from now on, leading or not."""
        self._settings = replace(self._settings, policy=policy)
        if self.leader is not None:
            self.leader.use_policy(policy)

    def _connection_closed(self, key: InstanceKey) -> None:
        if self.leader is not None:
            self.leader.connection_closed(key)

    def facts_of(self, key: InstanceKey) -> Facts | None:
        """The newest facts of a server: with positions while this node leads, else as replicated."""
        observation = self.leader.inventory.get(key) if self.leader is not None else None
        record = self._outside.consensus.state.servers.get(key)
        return observation.facts if observation is not None else record.facts if record is not None else None

    def start(self) -> None:
        self._tasks.start("leadership", self._follow())
        self._tasks.start("contact", self.sight.watch_contact())

    async def close(self) -> None:
        await self._tasks.close()
        await self._change(None)

    async def _follow(self) -> None:
        """Keep the leader's parts in step with the consensus."""
        consensus = self._outside.consensus
        async for _ in consensus.changes():
            authority = consensus.authority()
            if authority is not None and (self.leader is None or self.leader.term != authority.term):
                await self._change(Leader(authority.term, self._outside, self._settings, self._reports, self.figures))
            elif self.leader is not None and consensus.leader() != consensus.node_id:
                await self._change(None)
            elif self.leader is not None:
                self.leader.state_changed()

    async def _change(self, leader: Leader | None) -> None:
        before, self.leader = self.leader, leader
        if before is not None:
            await before.close()
        if leader is not None:
            leader.start()
            leader.tasks.start("sight", self.sight.show(leader.viewer, leader.term, leader.tasks))
