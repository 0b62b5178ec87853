"""The machines of the Raft bench: a small one for throughput, and the product's own with a large fleet in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator_raft.core.instance import (
    Binlog,
    Channel,
    ChannelOption,
    Facts,
    Flavor,
    InstanceKey,
    SemiSync,
    ThreadState,
)
from orchestrator_raft.core.replicated.commands import ObserveServers, ServerObservation
from orchestrator_raft.raft.codec import Codec

PAYLOAD = "x" * 100
REPLICAS_PER_PRIMARY = 3
SERVERS_PER_COMMAND = 400
OPTIONS = (ChannelOption("SOURCE_SSL", 1), ChannelOption("SOURCE_RETRY_COUNT", 10))


@dataclass(frozen=True, slots=True)
class Put:
    """``id`` is ``proposer/number``, so that what is remembered of ids stays small."""

    id: str
    payload: str = PAYLOAD


@dataclass(frozen=True, slots=True)
class Tally:
    total: int = 0
    newest: Mapping[str, int] = field(default_factory=dict)
    """The newest number of each proposer."""


class Tallying:
    """Counts each command once."""

    def initial(self) -> Tally:
        return Tally()

    def apply(self, state: Tally, command: Put) -> tuple[Tally, int]:
        proposer, _, number = command.id.rpartition("/")
        if int(number) <= state.newest.get(proposer, 0):
            return state, state.total
        total = state.total + 1
        return Tally(total, {**state.newest, proposer: int(number)}), total


def tally_codec() -> Codec[Tally, Put]:
    return Codec(commands=[Put], state_type=Tally)


def fleet(instances: int) -> Iterator[ObserveServers]:
    """Commands that make the product know so many servers, in clusters of one primary and three replicas."""
    keys = [InstanceKey(f"db{number // 200:03}.example", 3306 + number % 200) for number in range(instances)]
    observed = [ServerObservation(key=key, facts=_facts(number, key, keys)) for number, key in enumerate(keys)]
    for start in range(0, len(observed), SERVERS_PER_COMMAND):
        batch = tuple(observed[start : start + SERVERS_PER_COMMAND])
        yield ObserveServers(id=f"fleet-{start}", at_ms=1_000 + start, servers=batch)


def _facts(number: int, key: InstanceKey, keys: list[InstanceKey]) -> Facts:
    """What a probe of an ordinary server keeps: semi-sync, binary log, options of its channel, a cluster's name."""
    first = number - number % (REPLICAS_PER_PRIMARY + 1)
    channels: tuple[Channel, ...] = ()
    if number != first:
        source = keys[first]
        channels = (Channel(source=source, source_uuid=_uuid(first), source_server_id=first + 1, user="repl",
                            uses_gtid=True, receiver=ThreadState.RUNNING, applier=ThreadState.RUNNING,
                            options=OPTIONS),)  # fmt: skip
    facts = Facts(
        key=key, flavor=Flavor.MYSQL, version="8.4.6", version_comment="MySQL Community Server - GPL",
        server_uuid=_uuid(number), server_id=number + 1, gtid_mode="ON", read_only=bool(channels),
        super_read_only=bool(channels), channels=channels, cluster_alias=f"shop-{first}",
        binlog=Binlog(enabled=True, format="ROW", row_image="FULL", logs_replica_updates=True),
        semi_sync=SemiSync(available=True, source_enabled=not channels, replica_enabled=True, after_sync=True,
                           wait_for_replica_count=1, wait_without_replicas=True, timeout_ms=3_600_000, new_names=True),
    )  # fmt: skip
    return facts.structural()


def _uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"
