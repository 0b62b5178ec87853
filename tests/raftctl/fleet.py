"""Nodes to talk to: the product's own HTTP side and read operations, over a fleet that exists only as values.

What a write would do is not done here: it is recorded, and answered as the test says.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from api.app import create_app
from api.front import Front
from api.node import NodeStatus, Role
from api.server import ApiServer, TcpAddress
from api.settings import ApiSettings
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import (
    Binlog,
    Channel,
    Facts,
    Flavor,
    InstanceKey,
    Reached,
    SemiSync,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.core.recovery.model import EndState, Mark, Recovery, RefusedServer, Request, Subject
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.state import AuditEntry, BlockedRecovery
from orchestrator_raft.core.topology import ClusterRecord, Downtime, ServerRecord, StalePrimary, build
from orchestrator_raft.core.topology.model import StaleStatus
from orchestrator_raft.engine.service import Call, Reply, Service, reads
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import Channel as NodeChannel

START_TIMEOUT_S = 20.0
NOW_MS = 1_795_402_800_000
DB1, DB2, DB3 = (InstanceKey(f"db{number}.example", 3306) for number in (1, 2, 3))
BINLOG = Binlog(enabled=True, format="ROW", logs_replica_updates=True)
PRIMARY = Facts(
    key=DB1,
    flavor=Flavor.MYSQL,
    version="9.7.4",
    version_comment="Source distribution",
    server_uuid="00000000-0000-0000-0000-000000000001",
    alias="one",
    executed=parse_mysql("00000000-0000-0000-0000-000000000001:1-5"),
    gtid_mode="ON",
    binlog=BINLOG,
    semi_sync=SemiSync(
        available=True, source_enabled=True, source_active=True, after_sync=True, wait_without_replicas=True,
        timeout_ms=86_400_000, wait_for_replica_count=1, source_clients=2,
    ),
)  # fmt: skip


def replica(key: InstanceKey, lag_s: int = 0) -> Facts:
    running = ThreadState.RUNNING
    channel = Channel(source=DB1, receiver=running, applier=running, uses_gtid=True, lag_s=lag_s)
    return Facts(
        key=key, flavor=Flavor.MYSQL, version="9.7.4", read_only=True, super_read_only=True, channels=(channel,),
        gtid_mode="ON", binlog=BINLOG, executed=PRIMARY.executed, semi_sync=SemiSync(replica_enabled=True),
    )  # fmt: skip


FACTS = {DB1: PRIMARY, DB2: replica(DB2), DB3: replica(DB3, lag_s=3)}
RECOVERY = Recovery(
    id="r-7",
    number=7,
    kind="dead_primary",
    cluster_id="c1",
    subject=Subject(
        key=InstanceKey("db0.example", 3306),
        code="DeadMaster",
        text="The primary is dead",
        cluster_name="db0.example:3306",
        cluster_alias="shop",
    ),
    request=Request(by="alice"),
    holder="n1",
    term=4,
    phase="close",
    started_ms=NOW_MS - 60_000,
    deadline_ms=NOW_MS,
    finished_ms=NOW_MS - 59_500,
    end=EndState.SUCCEEDED,
    successor=DB1,
    promoted=True,
    moved=(DB2, DB3),
    lost=(InstanceKey("db9.example", 3306),),
    refused=(RefusedServer(DB3, "lags 40 s behind"),),
    errors=("PointTo db9.example:3306: refused",),
    timeline=(
        Mark("noticed", NOW_MS - 60_100),
        Mark("confirmed", NOW_MS - 60_000),
        Mark("promoted", NOW_MS - 59_800, "db1.example:3306"),
        Mark("repointed", NOW_MS - 59_500, "2 servers"),
    ),
)
RETURNED = replace(RECOVERY, id="r-8", number=8, kind="rejoin", cluster_id="c2", subject=replace(
    RECOVERY.subject, key=DB3, code="ServerReturned", cluster_alias="other"))  # fmt: skip


CLUSTER = ClusterRecord(id="c1", primary=DB1, alias="shop", domain="shop.example", ackers=(DB2, DB3), caught_up=True)


def healthy_state() -> State:
    return State(
        time_ms=NOW_MS,
        servers={key: ServerRecord(key=key, facts=facts, cluster_id="c1") for key, facts in FACTS.items()},
        clusters={"c1": CLUSTER},
        recoveries={"r-7": RECOVERY, "r-8": RETURNED},
        audit=(AuditEntry(number=1, at_ms=NOW_MS, type="discover", message="found", key=DB2, by="alice"),),
        blocked=(
            BlockedRecovery(
                key=DB1, cluster_id="c1", cluster_name="db1.example:3306", code="DeadMaster", reason="too recent",
                at_ms=NOW_MS,
            ),
        ),
    )  # fmt: skip


def with_marks(state: State) -> State:
    """db2 in downtime, db3 quarantined."""
    downtime = Downtime(key=DB2, owner="bob", reason="disk", begun_ms=NOW_MS, ends_ms=NOW_MS + 600_000)
    stale = StalePrimary(
        key=DB3, cluster_id="c1", recovery_id="r-7", since_ms=NOW_MS, status=StaleStatus.QUARANTINED, extra="uuid:9"
    )
    return replace(state, downtimes={DB2: downtime}, stale={DB3: stale})


@dataclass
class Fleet:
    """What all nodes of a test tell, and what they were asked to change."""

    state: State = field(default_factory=healthy_state)
    dead: frozenset[InstanceKey] = frozenset()
    has_leader: bool = True
    calls: list[Call] = field(default_factory=list)
    answers: dict[str, Callable[[Call], Reply]] = field(default_factory=dict)
    """What the writes answer, by operation; the default is a message."""

    def moment(self) -> Moment:
        observations = {key: self._observation(key, facts) for key, facts in FACTS.items()}
        return Moment(
            state=self.state,
            topology=build(self.state.servers, self.state.clusters, observations, self.state.marks, NOW_MS),
            policy=Policy(recover_primary=ClusterFilters(("*",)), recovery_block_s=1.0),
            now_ms=NOW_MS,
            now_s=100.0,
        )

    def _observation(self, key: InstanceKey, facts: Facts) -> Observation:
        if key in self.dead:
            gone = Unreachable(key, UnreachableKind.REFUSED, "connection refused")
            return Observation(key=key, result=gone, at_s=100.0, facts=facts, seen_at_s=90.0)
        return Observation(key=key, result=Reached(facts), at_s=100.0, facts=facts, seen_at_s=100.0)

    @property
    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """The writes so far: operation and arguments as text."""
        return [(call.operation.name, {name: str(value) for name, value in call.arguments.items()})
                for call in self.calls]  # fmt: skip


@dataclass
class Desk:
    fleet: Fleet

    @property
    def leads(self) -> bool:
        return self.fleet.has_leader

    def moment(self) -> Moment:
        return self.fleet.moment()


class RecordingService:
    """The real reads; writes are recorded."""

    may_act = True

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def kept_answer(self, key: str) -> None:
        """No request here comes a second time."""

    async def keep_answer(self, *details: object, **more: object) -> None:
        """Nobody asks for it."""

    async def call(self, call: Call) -> Reply:
        read = reads.HANDLERS.get(call.operation.name)
        if read is not None:
            return await read(call, cast(Any, Desk(self._fleet)))
        self._fleet.calls.append(call)
        answer = self._fleet.answers.get(call.operation.name)
        return answer(call) if answer else Reply(message=f"{call.operation.name} done", moment=self._fleet.moment())


class NoChannel:
    """These nodes forward nothing: each answers from the same values."""


@dataclass
class Node:
    """One HTTP side, served by a thread of its own. It leads as far as it is asked; ``says`` changes its status."""

    fleet: Fleet
    host: str
    port: int
    says: Mapping[str, Any] = field(default_factory=dict)
    settings: ApiSettings = field(default_factory=ApiSettings)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def status(self) -> NodeStatus:
        known: dict[str, Any] = {
            "node_id": "n1", "hostname": "m1", "token": "t", "version": "0.1", "started_ms": 1, "now_ms": NOW_MS,
            "role": Role.LEADER, "term": 4, "holds_authority": True, "leader_id": "n1",
            "advertise": f"{self.host}:10008", "peers": (f"{self.host}:10008",), "leader_uri": self.url,
        }  # fmt: skip
        return NodeStatus(**{**known, **self.says})

    async def _serve(self) -> None:
        service = cast(Service, RecordingService(self.fleet))
        front = Front(
            self.settings, service, self, cast(NodeChannel, NoChannel()), on_error=lambda id_, what, error: None
        )
        server = ApiServer(create_app(front), TcpAddress(self.host, self.port), tls=self.tls, shutdown_timeout_s=0.5)
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.stop()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(START_TIMEOUT_S)

    def stop(self) -> None:
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_TIMEOUT_S)
