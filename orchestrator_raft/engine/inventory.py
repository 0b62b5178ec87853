"""The newest observation of every server, in the leader's memory, and what of it has to be replicated.

Rules
- One observation a server, under its own key; other addresses under which it was reached lead to that key.
- Lag, positions and GTID sets stay here. Only structural differences are handed to Raft (design D3.3).
- Semi-sync that goes out of force is structure and handed on at once; that it is in force again only when it has been
  for a while, so that a primary on which it comes and goes cannot fill the log.
- Nothing here awaits: reading the inventory and deciding on it happen in one go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import (
    Facts,
    InstanceKey,
    ProbeResult,
    Reached,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation, Observations, after_write, observe
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.commands import ServerObservation
from orchestrator_raft.core.replicated.servers import is_absorbed
from orchestrator_raft.core.topology import ServerRecord

SEMI_SYNC_HOLD_S = 30.0
"""So long after semi-sync was last seen out of force on a server it counts as out of force."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a probe result changed. ``urgent``: somebody has to look at once."""

    key: InstanceKey
    urgent: bool


@dataclass(frozen=True, slots=True)
class Structure:
    """What of some facts may be replicated. It stays one object as long as it stays equal."""

    of: Facts
    facts: Facts


class Inventory:
    """Observations by key, and the addresses that lead to them."""

    def __init__(self) -> None:
        self._observations: dict[InstanceKey, Observation] = {}
        self._addresses: dict[InstanceKey, InstanceKey] = {}
        self._out_of_force_at_s: dict[InstanceKey, float] = {}
        self._structures: dict[InstanceKey, Structure] = {}

    def __repr__(self) -> str:
        reached = sum(1 for each in self._observations.values() if each.reached)
        return f"<Inventory: {reached} of {len(self._observations)} servers reached>"

    @property
    def observations(self) -> Observations:
        return self._observations

    def key_of(self, address: InstanceKey) -> InstanceKey:
        """The key of the server that answers at this address, as far as known."""
        return self._addresses.get(address, address)

    def get(self, key: InstanceKey) -> Observation | None:
        return self._observations.get(self.key_of(key))

    def record(
        self, asked: InstanceKey, result: ProbeResult, at_s: float, known: Mapping[InstanceKey, ServerRecord], *,
        asked_at_s: float | None = None,
    ) -> Change:  # fmt: skip
        """Take in one probe result. ``known`` are the replicated records, by which a server is recognised."""
        if isinstance(result, Reached):
            return self._record_reached(asked, result, at_s, known, asked_at_s=asked_at_s)
        key = self.key_of(asked)
        before = self._observations.get(key)
        self._observations[key] = observe(before, key, result, at_s=at_s, asked_at_s=asked_at_s)
        return Change(key, urgent=before is None or before.reached)

    def record_write(self, key: InstanceKey, complaint: str, at_s: float) -> None:
        """Take in what became of a write that was tried; '' when it was done."""
        before = self._observations.get(key)
        if before is not None:
            self._observations[key] = after_write(before, complaint, at_s)

    def _record_reached(
        self, asked: InstanceKey, result: Reached, at_s: float, known: Mapping[InstanceKey, ServerRecord], *,
        asked_at_s: float | None,
    ) -> Change:  # fmt: skip
        key = self._recognise(asked, result.facts, known)
        facts = result.facts if result.facts.key == key else replace(result.facts, key=key)
        self._addresses.pop(key, None)  # it may have been a second address of this server, or of another one
        for address in {asked, result.facts.key} - {key}:
            if _is_another(known.get(address), result.facts):
                self._record_stranger(address, result.facts.key, at_s)
            else:
                self._addresses[address] = key
                self._observations.pop(address, None)
                self._structures.pop(address, None)
        if facts.semi_sync.source_enabled and not facts.semi_sync.source_active:
            self._out_of_force_at_s[key] = at_s
        before = self._observations.get(key)
        recorded = known[key].facts if key in known else None
        read = Reached(facts, result.latency_s)
        self._observations[key] = observe(before, key, read, at_s=at_s, asked_at_s=asked_at_s, recorded=recorded)
        return Change(key, urgent=before is None or not before.reached or self._differs(key, before.facts, facts))

    def _differs(self, key: InstanceKey, before: Facts | None, after: Facts) -> bool:
        """Structure or thread states changed, so a rule may give another answer."""
        if before is None or self._structure(key, before) is not self._structure(key, after):
            return True
        return [(c.receiver, c.applier) for c in before.channels] != [(c.receiver, c.applier) for c in after.channels]

    def _structure(self, key: InstanceKey, facts: Facts) -> Facts:
        """The structural part of the facts of this server."""
        known = self._structures.get(key)
        if known is not None and known.of is facts:
            return known.facts
        structure = facts.structural()
        if known is not None and known.facts == structure:
            structure = known.facts
        self._structures[key] = Structure(facts, structure)
        return structure

    def _record_stranger(self, address: InstanceKey, name: InstanceKey, at_s: float) -> None:
        """Where a known server was, another one answers: that is for people to sort out, and no sign of death."""
        self._addresses.pop(address, None)
        text = f"at {address} another server answers, which calls itself {name}: forget the one that is gone"
        result = Unreachable(address, UnreachableKind.PROTOCOL, text)
        self._observations[address] = observe(self._observations.get(address), address, result, at_s=at_s)

    def _recognise(self, asked: InstanceKey, facts: Facts, known: Mapping[InstanceKey, ServerRecord]) -> InstanceKey:
        """The key of a server that now has another name, at its old address or at a second one of a living server.

        At an address where the known one does not answer any more it may be the same server after a move, or a copy of
        it; so it gets a key of its own.
        """
        if facts.key in known:
            return facts.key
        if asked in known and not _is_another(known[asked], facts) and known[asked].facts is not None:
            return asked
        if not facts.server_uuid:
            return facts.key
        for key, record in known.items():
            if record.facts is not None and record.facts.is_same_server(facts):
                observation = self._observations.get(key)
                if observation is not None and observation.reached:
                    return key
        return facts.key

    def forget(self, key: InstanceKey) -> None:
        self._observations.pop(key, None)
        self._out_of_force_at_s.pop(key, None)
        self._structures.pop(key, None)
        for address in [address for address, target in self._addresses.items() if target == key]:
            del self._addresses[address]

    def differences(self, state: State) -> tuple[ServerObservation, ...]:
        """What differs between the observations and the replicated records: the next ObserveServers, if not empty."""
        found = []
        names: dict[InstanceKey, list[InstanceKey]] = {}
        for address, target in self._addresses.items():
            names.setdefault(target, []).append(address)
        for key, observation in self._observations.items():
            record = state.servers.get(key)
            facts = self._structural(observation)
            addresses = tuple(names.get(key, ()))
            if record is None and not observation.reached:
                continue
            is_twofold = any(is_absorbed(state, address, facts) for address in addresses)
            if record is None or is_twofold or self._is_news(record, facts, observation.reached, addresses):
                seen = ServerObservation(key=key, facts=facts, reachable=observation.reached, addresses=addresses)
                found.append(seen)
        return (*found, *self._unknown_sources(state))

    def _structural(self, observation: Observation) -> Facts | None:
        """What is to be replicated of a server."""
        if observation.facts is None:
            return None
        facts = self._structure(observation.key, observation.facts)
        lapsed_at_s, seen_at_s = self._out_of_force_at_s.get(observation.key), observation.seen_at_s
        if lapsed_at_s is None or seen_at_s is None or seen_at_s - lapsed_at_s >= SEMI_SYNC_HOLD_S:
            return facts
        return replace(facts, semi_sync=replace(facts.semi_sync, source_active=False))

    def _is_news(
        self, record: ServerRecord, facts: Facts | None, reached: bool, addresses: tuple[InstanceKey, ...]
    ) -> bool:
        if record.reachable != reached or not set(addresses) <= set(record.addresses):
            return True
        if not reached or record.facts is facts:
            return False
        if record.facts is None or record.facts != facts:
            return True
        known = self._structures.get(record.key)
        if known is not None and known.facts is facts:
            self._structures[record.key] = Structure(
                known.of, record.facts
            )  # one object: the next look sees it at once
        return False

    def _unknown_sources(self, state: State) -> tuple[ServerObservation, ...]:
        """Sources that nobody has reached yet, but that a known replica names: the fleet is not shown without them."""
        found = {}
        for observation in self._observations.values():
            source = observation.facts.source if observation.facts is not None else None
            if source is None:
                continue
            key = self.key_of(source)
            own = self._observations.get(key)
            if key not in state.servers and own is not None and not own.reached and not _is_recorded(state, key):
                found[key] = ServerObservation(key=key, facts=None, reachable=False)
        return tuple(found.values())


def _is_another(record: ServerRecord | None, facts: Facts) -> bool:
    """The record is that of a server which has been seen, and which these facts are not about."""
    return record is not None and record.facts is not None and not record.facts.is_same_server(facts)


def _is_recorded(state: State, address: InstanceKey) -> bool:
    return any(address in record.addresses for record in state.servers.values())
