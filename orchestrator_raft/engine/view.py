"""One consistent moment: state, observations and policy joined into a topology, without an await in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator_raft.core.analysis import Diagnosis
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.observation import Observations
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.topology import Topology, build
from orchestrator_raft.engine.changelog import Changelog
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.ports import Clock, Consensus


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What decisions and answers are made from."""

    state: State
    topology: Topology
    policy: Policy
    now_ms: int
    """Replicated time as far as known: never behind the state's."""
    now_s: float
    """This node's monotonic clock, to compare with observations."""
    unconfirmed: Mapping[InstanceKey, str] = field(default_factory=dict)
    """Why a problem of this server is not acted on now, where it could be."""
    diagnoses: tuple[Diagnosis, ...] = ()
    """What the watch found at its last look: not of this moment, and nothing on a node that does not lead."""


class Viewer:
    """Takes moments."""

    def __init__(self, consensus: Consensus, inventory: Inventory, policy: Policy, clock: Clock) -> None:
        self._consensus = consensus
        self._inventory = inventory
        self.policy = policy
        """What decisions are made by; another one when the configuration is read again."""
        self._clock = clock
        self.unconfirmed: dict[InstanceKey, str] = {}
        """Kept by the watch, shown to whoever asks."""
        self.diagnoses: tuple[Diagnosis, ...] = ()
        """What the watch found last."""
        self.changelog = Changelog()

    @property
    def observations(self) -> Observations:
        return self._inventory.observations

    def moment(self) -> Moment:
        state = self._consensus.state
        now_ms = max(state.time_ms, self._clock.wall_ms())
        observations = dict(self._inventory.observations)
        return Moment(
            state=state,
            topology=build(state.servers, state.clusters, observations, state.marks, now_ms),
            policy=self.policy,
            now_ms=now_ms,
            now_s=self._clock.monotonic_s(),
            unconfirmed=dict(self.unconfirmed),
            diagnoses=self.diagnoses,
        )
