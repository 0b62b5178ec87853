"""What do decisions about a large fleet cost? ``python -m bench.decisions`` (about a minute)

Everything runs in this process, without servers: 10,000 of them in clusters of four, as ``raft_machine.fleet`` makes
them. Each figure is of one call; one server changes between two calls where the name says so. It is CPU time, since
nothing is waited for: so other work on the machine falsifies little. Garbage is collected as seldom as in a node.

Parts (``--only`` chooses some):
apply      the replicated state after one more ``ObserveServers``
view       the topology and its diagnoses, from records and observations
gtid       the algebra on large sets, as two servers of one topology print them
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bench import report
from bench.raft_machine import fleet
from bench.report import Figure, figure
from orchestrator_raft.app.run import GARBAGE_THRESHOLDS
from orchestrator_raft.core.analysis import analyze
from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.health import Load, ServerSettings
from orchestrator_raft.core.instance import (
    Coordinates,
    InstanceKey,
    ProbeResult,
    Reached,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation, observe
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.core.replicated import State, apply
from orchestrator_raft.core.replicated.commands import ObserveServers, ServerObservation
from orchestrator_raft.core.topology import ServerRecord, build

NOW_MS = 10**9
POLICY = Policy(recover_primary=ClusterFilters(("*",)), recover_intermediate=ClusterFilters(("*",)))
SETTINGS = ServerSettings(binlog_sync=1, redo_flush=1, net_timeout_s=5)
Part = Callable[[argparse.Namespace], Iterator[Figure]]


def timed_ms(call: Callable[[], Any]) -> float:
    """CPU milliseconds of one call, the garbage of earlier ones cleared away before."""
    gc.collect()
    begun_s = time.process_time()
    call()
    return 1000 * (time.process_time() - begun_s)


def known_fleet(options: argparse.Namespace) -> State:
    state = State()
    for command in fleet(options.instances):
        state, _ = apply(state, command)
    return state


def apply_part(options: argparse.Namespace) -> Iterator[Figure]:
    state = known_fleet(options)
    keys = list(state.servers)
    names = ("one server changed", "one server out of reach or back", "one new server")
    for name, observed in zip(names, (with_another_version, out_of_reach_or_back, unknown_server), strict=True):
        times_ms = []
        for number in range(options.calls):
            seen = observed(state, keys[number * 7 % len(keys)], number)
            command = ObserveServers(id=f"{name}-{number}", at_ms=NOW_MS + number, servers=(seen,))
            begun_s = time.process_time()
            state, result = apply(state, command)
            times_ms.append(1000 * (time.process_time() - begun_s))
            assert result.ok
        yield figure(f"apply, {options.instances} servers, {name}", "CPU ms", times_ms)


def with_another_version(state: State, key: InstanceKey, number: int) -> ServerObservation:
    facts = state.servers[key].facts
    assert facts is not None
    return ServerObservation(key=key, facts=replace(facts, version=f"8.4.{100 + number}"))


def out_of_reach_or_back(state: State, key: InstanceKey, number: int) -> ServerObservation:
    del number
    return ServerObservation(key=key, facts=None, reachable=not state.servers[key].reachable)


def unknown_server(state: State, key: InstanceKey, number: int) -> ServerObservation:
    del state
    return ServerObservation(key=key._replace(hostname=f"new{number}"), facts=None, reachable=False)


def view_part(options: argparse.Namespace) -> Iterator[Figure]:
    state = known_fleet(options)
    promising = {cluster.id: replace(cluster, caught_up=True) for cluster in state.clusters.values()}
    state = replace(state, clusters=promising)
    records = [record for record in state.servers.values() if record.facts is not None]
    keys = list(state.servers)
    for name, result in (("healthy", healthy), ("no replica replicates", stopped), ("nobody answers", unreachable)):
        observations: dict[InstanceKey, Observation] = {}
        build_ms: list[float] = []
        analyze_ms: list[float] = []
        for number in range(1, 1 + options.full_calls):
            observations = {
                each.key: seen(observations.get(each.key), each.key, result(each, number), number) for each in records
            }
            gc.collect()
            look(state, observations, build_ms, analyze_ms)
        yield figure(f"topology of {options.instances} servers, {name}, all probed again", "CPU ms", build_ms)
        yield figure(f"analyze, {options.instances} servers, {name}, all probed again", "CPU ms", analyze_ms)
        build_ms, analyze_ms = [], []
        for number, key in enumerate(random.Random(1).sample(keys, options.calls), start=1 + options.full_calls):
            one = seen(observations[key], key, result(state.servers[key], number), number)
            observations = {**observations, key: one}
            look(state, observations, build_ms, analyze_ms)
        yield figure(f"topology of {options.instances} servers, {name}, one probed again", "CPU ms", build_ms[1:])
        yield figure(f"analyze, {options.instances} servers, {name}, one probed again", "CPU ms", analyze_ms[1:])


def look(
    state: State, observations: dict[InstanceKey, Observation], build_ms: list[float], analyze_ms: list[float]
) -> None:
    begun_s = time.process_time()
    topology = build(state.servers, state.clusters, observations, state.marks, NOW_MS)
    built_s = time.process_time()
    diagnoses = analyze(topology, POLICY)
    ended_s = time.process_time()
    assert len(diagnoses) == len(state.servers)
    build_ms.append(1000 * (built_s - begun_s))
    analyze_ms.append(1000 * (ended_s - built_s))


def seen(before: Observation | None, key: InstanceKey, result: ProbeResult, number: int) -> Observation:
    """One probe a second; that of a primary is begun after those of its replicas have ended, so GTIDs are compared."""
    at_s = float(number)
    return observe(before, key, result, at_s=at_s, asked_at_s=at_s)


def healthy(record: ServerRecord, number: int) -> ProbeResult:
    """As a probe of a server finds it that writes, or replicates what its primary has written."""
    facts = record.facts
    assert facts is not None
    source_uuid = facts.channels[0].source_uuid if facts.channels else facts.server_uuid
    executed = parse_mysql(f"{source_uuid}:1-{1000 * number}")
    channels = tuple(
        replace(each, receiver=ThreadState.RUNNING, applier=ThreadState.RUNNING, lag_s=0, heartbeats=number,
                heartbeat_period_s=1.0, read=Coordinates("binlog.000007", 1000 * number), retrieved=executed)
        for each in facts.channels
    )  # fmt: skip
    semi_sync = replace(facts.semi_sync, source_active=not channels, source_clients=0 if channels else 3)
    load = Load(connections=50, connections_max=500, syncs=1000 * number)
    return Reached(replace(facts, uptime_s=100_000 + number, executed=executed, settings=SETTINGS, load=load,
                           semi_sync=semi_sync, channels=channels))  # fmt: skip


def stopped(record: ServerRecord, number: int) -> ProbeResult:
    """Somebody stopped every replica."""
    found = healthy(record, number)
    assert isinstance(found, Reached)
    return Reached(replace(found.facts, channels=tuple(each.structural() for each in found.facts.channels)))


def unreachable(record: ServerRecord, number: int) -> ProbeResult:
    """The node that looks is cut off from all of them."""
    return Unreachable(record.key, UnreachableKind.NO_GREETING, f"no greeting within 1 s ({number})")


def gtid_part(options: argparse.Namespace) -> Iterator[Figure]:
    """Two servers of one topology: the same history, of which the last number of a few or of all sources differs.

    The last kind is what no topology has: a gap in the early history of every source, which one of the two has not.
    """
    size = f"{options.uuids} UUIDs x {options.intervals} intervals"
    pairs = {
        f"{moving} UUIDs differ": (text(options, moving, 0), text(options, moving, 1))
        for moving in (10, options.uuids // 10, options.uuids)
    }
    whole = text(options, 0, 0)
    pairs["all have an early gap"] = (whole.replace(":101-150:", ":101-120:122-150:"), whole)
    for name, (older_text, newer_text) in pairs.items():
        older, newer = parse_mysql(older_text), parse_mysql(newer_text)
        for operation, call in operations(older, newer):
            yield figure(
                f"gtid {operation}, {size}, {name}", "CPU ms", [timed_ms(call) for _ in range(options.gtid_calls)]
            )
    texts = [text(options, 10, number) for number in range(2, 3 + options.gtid_calls)]
    times_ms = [timed_ms(partial(parse_mysql, each)) for each in texts]
    yield figure(f"gtid parse, {size}, 10 UUIDs differ from those of the last text", "CPU ms", times_ms[1:])


def operations(older: GtidSet, newer: GtidSet) -> tuple[tuple[str, Callable[[], Any]], ...]:
    assert newer.covers(older) and not older.covers(newer) and newer.minus(older)
    return (
        ("contains", lambda: newer.covers(older)),
        ("minus", lambda: newer.minus(older)),
        ("union", lambda: newer.union(older)),
    )


def text(options: argparse.Namespace, moving: int, more: int) -> str:
    ranges = "".join(f":{1 + 100 * number}-{50 + 100 * number}" for number in range(options.intervals - 1))
    last = 100 * options.intervals
    groups = (
        f"00000000-0000-4000-8000-{number:012}{ranges}:{last}-{last + 10 + (more if number < moving else 0)}"
        for number in range(options.uuids)
    )
    return ",\n".join(groups)


PARTS: dict[str, Part] = {"apply": apply_part, "view": view_part, "gtid": gtid_part}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    top = argparse.ArgumentParser(prog="bench.decisions")
    top.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    top.add_argument("--instances", type=int, default=10_000)
    top.add_argument("--calls", type=int, default=200, help="of what changes one server")
    top.add_argument("--full-calls", type=int, default=10, help="of what changes all servers")
    top.add_argument("--uuids", type=int, default=10_000)
    top.add_argument("--intervals", type=int, default=100)
    top.add_argument("--gtid-calls", type=int, default=10)
    return top.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts one after another."""
    options = parse(arguments)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    about = report.machine()
    figures = [each for name in options.only for each in PARTS[name](options)]
    report.show("Decisions about a large fleet", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
