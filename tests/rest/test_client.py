"""orchestrator-client against us: for each of its 106 commands the requests it makes and the lines it prints.

The script itself is not ours to ship, so it is written down here what it does: it takes the status for nothing and
``Code`` for everything, gives ``host/port`` in two segments and an alias or ``host:port`` in one, and sends a trailing
slash where the last argument is missing. ``PRINTS`` has the fields that it reads of the last reply.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from api.routing import Router, routes
from api.settings import ApiSettings
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import ThreadState
from orchestrator_raft.core.policy import ClusterFilters
from tests.engine.fleet import Fleet, key, replica_facts, running_channel
from tests.rest.rig import POLICY, Rig

HOST = "127.0.0.1"
COMMANDS_OF_THE_CLIENT = 106


def shown(found: dict[str, Any]) -> str:
    return f"{found['Hostname']}:{found['Port']}"


def moved(details: dict[str, Any]) -> list[str]:
    return [f"{shown(details['Key'])}<{shown(details['MasterKey'])}"]


def is_broken(each: dict[str, Any]) -> bool:
    runs = each["ReplicationSQLThreadRuning"] and each["ReplicationIOThreadRuning"]
    return not runs and bool(each["LastSQLError"] or each["LastIOError"])


def in_state(reply: dict[str, Any], state: int) -> list[str]:
    states = reply["ReplicationSQLThreadState"], reply["ReplicationIOThreadState"]
    return [shown(reply["Key"])] if states == (state, state) else []


def analysis(reply: dict[str, Any]) -> list[str]:
    return [
        f"{shown(each['AnalyzedInstanceKey'])} (cluster {each['ClusterDetails']['ClusterName']}): "
        + (each["StructureAnalysis"][0] if each["Analysis"] == "NoProblem" else each["Analysis"])
        for each in reply["Details"]
    ]


def texts(value: Any) -> list[str]:
    return value.split("\n") if isinstance(value, str) else [str(each) for each in value]


PRINTS: dict[str, Callable[[Any], list[str]]] = {
    "instance": lambda reply: [shown(reply["Details"]["Key"])],
    "moved": lambda reply: moved(reply["Details"]),
    "instances": lambda reply: [shown(each["Key"]) for each in reply["Details"]],
    "key": lambda reply: [shown(reply["Details"])],
    "keys": lambda reply: [shown(each) for each in reply["Details"]],
    "details": lambda reply: texts(reply["Details"]),
    "number": lambda reply: [str(reply["Details"])],
    "nothing": lambda reply: [],
    "successor": lambda reply: [shown(reply["Details"]["SuccessorKey"])],
    "bare instance": lambda reply: [shown(reply["Key"])],
    "bare instances": lambda reply: [shown(each["Key"]) for each in reply or ()],
    "bare keys": lambda reply: [shown(each) for each in reply],
    "bare text": texts,
    "source": lambda reply: [shown(reply["MasterKey"])],
    "errant": lambda reply: [reply["GtidErrant"]],
    "name": lambda reply: [reply["ClusterName"]],
    "alias": lambda reply: [reply["ClusterAlias"]],
    "names": lambda reply: [each["ClusterName"] for each in reply],
    "names and aliases": lambda reply: [f"{each['ClusterName']},{each['ClusterAlias']}" for each in reply],
    "if allowed": lambda reply: [shown(reply["Details"])] if "true" in reply["Message"] else [],
    "if running": lambda reply: in_state(reply, 1),
    "if stopped": lambda reply: in_state(reply, 0),
    "broken": lambda reply: [shown(each["Key"]) for each in reply if is_broken(each)],
    "running": lambda reply: [
        shown(each["Key"]) for each in reply if each["ReplicationSQLThreadRuning"] and each["ReplicationIOThreadRuning"]
    ],
    "data centers": lambda reply: sorted({each["DataCenter"] for each in reply}),
    "analysis": analysis,
    "pairs": lambda reply: [f"{each['Key']}:{each['Value']}" for each in reply["Details"]],
    "host": lambda reply: [reply["Details"]["Hostname"]],
}
ONE, TWO, THREE, FOUR, FIVE = (f"{HOST}:{port}" for port in (24001, 24002, 24003, 24004, 24005))
PRIMARY = f"{HOST}:24000"
I1, I2, I4, I0 = (f"{HOST}/{port}" for port in (24001, 24002, 24004, 24000))
ALL = [PRIMARY, ONE, TWO, THREE, FOUR, FIVE]
REFUSED = "refused"
"""The command prints the message of the error; ``expected`` stands in it."""


@dataclass(frozen=True)
class Command:
    """One command: what it asks for, in order, and what it makes of the last reply."""

    name: str
    requests: tuple[str, ...]
    prints: str
    expected: list[str]
    before: tuple[str, ...] = ()
    """Asked first, so that there is something to be done."""
    fleet: str = ""
    """What has happened to the fleet."""


def read(name: str, path: str, prints: str, *expected: str) -> Command:
    return Command(name, (path,), prints, list(expected))


def write(name: str, path: str, prints: str, *expected: str, before: str = "", fleet: str = "") -> Command:
    return Command(name, (path,), prints, list(expected), tuple(before.split()), fleet)


READS = (
    read("which-gtid-errant", f"instance/{I1}", "errant", ""),
    read("can-replicate-from", f"can-replicate-from/{I4}/{I2}", "if allowed", TWO),
    read("can-replicate-from-gtid", f"can-replicate-from-gtid/{I4}/{I2}", "if allowed", TWO),
    read("is-replicating", f"instance/{I1}", "if running", ONE),
    read("is-replication-stopped", f"instance/{I1}", "if stopped"),
    read("last-pseudo-gtid", f"last-pseudo-gtid/{I1}", REFUSED, "Pseudo-GTID"),
    read("locate-gtid-errant", f"locate-gtid-errant/{I1}", REFUSED, "errant"),
    read("which-heuristic-cluster-pool-instances", "heuristic-cluster-pool-instances/bench/pool1", "instances"),
    read("search", f"search?s={HOST}:24003", "bare instances", THREE),
    read("clusters", "clusters-info", "names", PRIMARY),
    read("clusters-alias", "clusters-info", "names and aliases", f"{PRIMARY},bench"),
    read("all-clusters-masters", "masters", "bare instances", PRIMARY),
    read("all-instances", "all-instances", "bare instances", *ALL),
    read("which-instance", f"instance/{I1}", "bare instance", ONE),
    read("instance", f"instance/{I1}", "bare instance", ONE),
    read("which-cluster", "cluster-info/bench", "name", PRIMARY),
    read("which-cluster-alias", f"cluster-info/{HOST}:24003", "alias", "bench"),
    read("which-cluster-master", f"master/{HOST}:24003", "name", PRIMARY),
    read("which-cluster-instances", "cluster/bench", "bare instances", *ALL),
    read("which-cluster-osc-replicas", "cluster-osc-replicas/bench", "bare instances", ONE, TWO, FOUR, FIVE),
    read("which-cluster-osc-running-replicas", "cluster-osc-replicas/bench", "running", ONE, TWO, FOUR, FIVE),
    read("which-master", f"instance/{I4}", "source", ONE),
    read("which-replicas", f"instance-replicas/{I1}", "bare instances", FOUR, FIVE),
    read("which-broken-replicas", f"instance-replicas/{I1}", "broken"),
    read("tags", f"tags/{I1}", "bare text", "role=web"),
    read("tag-value", f"tag-value/{I1}?tag=role", "bare text", "web"),
    read("tagged", "tagged/?tag=role", "bare keys", ONE),
    read("downtimed", "downtimed/", "bare instances"),
    read("dominant-dc", "masters", "data centers", ""),
    read("replication-analysis", "replication-analysis", "analysis"),
    read("check-global-recoveries", "check-global-recoveries", "details", "enabled"),
    read("raft-health", "raft-health", "bare text", "healthy"),
    Command("raft-leader", ("raft-state", "raft-leader"), "bare text", ["127.0.0.1:10008"]),
    Command("raft-leader-hostname", ("raft-state", "status"), "host", ["host-n1"]),
    read("api", "clusters", "bare text", PRIMARY),
    read("restart-replica-statements", f"restart-replica-statements/{I1}?q=select%201", "details",
         "stop replica", "select 1", "start replica"),
)  # fmt: skip
TREES = ("topology", "topology-tabulated", "topology-tags")
WITHOUT_REQUEST = ("which-api", "help")
WRITES = (
    write("relocate", f"relocate/{I4}/{I2}", "moved", f"{FOUR}<{TWO}"),
    write("relocate-replicas", f"relocate-replicas/{I1}/{I2}", "instances", FOUR, FIVE),
    write("take-siblings", f"take-siblings/{I4}", "moved", f"{FOUR}<{ONE}"),
    write("move-up", f"move-up/{I4}", "moved", f"{FOUR}<{PRIMARY}"),
    write("move-up-replicas", f"move-up-replicas/{I1}/", "instances", FOUR, FIVE),
    write("move-below", f"move-below/{I1}/{I2}", "moved", f"{ONE}<{TWO}"),
    write("move-equivalent", f"move-equivalent/{I4}/{I2}", "moved", f"{FOUR}<{TWO}"),
    write("repoint", f"repoint/{I4}/{I2}", "moved", f"{FOUR}<{TWO}"),
    write("repoint-replicas", f"repoint-replicas/{I1}/", "instances", FOUR, FIVE),
    write("take-master", f"take-master/{I4}", "moved", f"{FOUR}<{PRIMARY}"),
    write("make-co-master", f"make-co-master/{I2}", "moved", f"{TWO}<{PRIMARY}"),
    write("move-gtid", f"move-gtid/{I4}/{I2}", "moved", f"{FOUR}<{TWO}"),
    write("move-replicas-gtid", f"move-replicas-gtid/{I1}/{I2}", "instances", FOUR, FIVE),
    write("match", f"match/{I4}/{I2}", REFUSED, "Pseudo-GTID"),
    write("match-up", f"match-up/{I4}", REFUSED, "Pseudo-GTID"),
    write("match-up-replicas", f"match-up-replicas/{I1}/", REFUSED, "Pseudo-GTID"),
    write("gtid-errant-reset-master", f"gtid-errant-reset-master/{I2}", "instance", TWO, fleet="errant"),
    write("gtid-errant-inject-empty", f"gtid-errant-inject-empty/{I2}", "instance", PRIMARY, fleet="errant"),
    write("skip-query", f"skip-query/{I2}", "instance", TWO, fleet="broken"),
    write("stop-replica", f"stop-replica/{I2}", "instance", TWO),
    write("start-replica", f"start-replica/{I2}", "instance", TWO),
    write("restart-replica", f"restart-replica/{I2}", "instance", TWO),
    write("stop-replica-nice", f"stop-replica-nice/{I2}", "instance", TWO),
    write("reset-replica", f"reset-replica/{I4}", "instance", FOUR),
    write("detach-replica-master-host", f"detach-replica-master-host/{I4}", "instance", FOUR),
    write("detach-replica", f"detach-replica/{I4}", "instance", FOUR),
    write("reattach-replica-master-host", f"reattach-replica-master-host/{I4}", "instance", FOUR,
          before=f"detach-replica/{I4}"),
    write("reattach-replica", f"reattach-replica/{I4}", "instance", FOUR, before=f"detach-replica/{I4}"),
    write("enable-semi-sync-master", f"enable-semi-sync-master/{I1}", "instance", ONE),
    write("disable-semi-sync-master", f"disable-semi-sync-master/{I1}", "instance", ONE),
    write("enable-semi-sync-replica", f"enable-semi-sync-replica/{I1}", "instance", ONE),
    write("disable-semi-sync-replica", f"disable-semi-sync-replica/{I4}", "instance", FOUR),
    write("set-read-only", f"set-read-only/{I1}", "instance", ONE),
    write("set-writeable", f"set-writeable/{I0}", "instance", PRIMARY),
    write("flush-binary-logs", f"flush-binary-logs/{I1}", "instance", ONE),
    write("purge-binary-logs", f"purge-binary-logs/{I1}/bin.000001", "instance", ONE),
    write("submit-pool-instances", f"submit-pool-instances/pool1?instances={ONE},{TWO}", "details", "pool1"),
    write("submit-masters-to-kv-stores", "submit-masters-to-kv-stores/", "pairs",
          f"mysql/master/bench:{PRIMARY}", f"mysql/master/bench/hostname:{HOST}", "mysql/master/bench/port:24000",
          "mysql/master/bench/ipv4:", "mysql/master/bench/ipv6:"),
    write("tag", f"tag/{I1}?tag=role=web", "key", ONE),
    write("untag", f"untag/{I1}?tag=role", "keys", ONE, before=f"tag/{I1}?tag=role=web"),
    write("untag-all", "untag-all?tag=role", "keys", ONE, before=f"tag/{I1}?tag=role=web"),
    write("discover", f"discover/{I1}", "instance", ONE),
    write("async-discover", f"async-discover/{I1}", "nothing"),
    write("forget", f"forget/{HOST}/24003", "nothing", fleet="dead replica"),
    write("forget-cluster", "forget-cluster/bench", "nothing"),
    write("begin-maintenance", f"begin-maintenance/{I1}/ann/why", "key", ONE),
    write("end-maintenance", f"end-maintenance/{I1}", "key", ONE, before=f"begin-maintenance/{I1}/ann/why"),
    write("begin-downtime", f"begin-downtime/{I1}/ann/why/30m", "key", ONE),
    write("end-downtime", f"end-downtime/{I1}", "key", ONE, before=f"begin-downtime/{I1}/ann/why/30m"),
    write("recover", f"recover/{I0}/{I2}", "key", TWO, fleet="dead primary"),
    write("force-master-failover", "force-master-failover/bench", "successor", ONE),
    write("force-master-takeover", f"force-master-takeover/bench/{I2}", "successor", TWO),
    write("graceful-master-takeover", f"graceful-master-takeover/bench/{I2}", "successor", TWO),
    write("graceful-master-takeover-auto", "graceful-master-takeover-auto/bench", "successor", ONE),
    write("ack-all-recoveries", "ack-all-recoveries?comment=seen", "details", "seen"),
    write("ack-cluster-recoveries", "ack-recovery/cluster/bench?comment=seen", "details", PRIMARY),
    write("register-candidate", f"register-candidate/{I1}/prefer", "key", ONE),
    write("register-hostname-unresolve", f"register-hostname-unresolve/{I1}/virtual", "key", ONE),
    write("deregister-hostname-unresolve", f"deregister-hostname-unresolve/{I1}", "key", ONE,
          before=f"register-hostname-unresolve/{I1}/virtual"),
    write("snapshot-topologies", "snapshot-topologies", REFUSED, "not kept"),
    write("disable-global-recoveries", "disable-global-recoveries", "details", "disabled"),
    write("enable-global-recoveries", "enable-global-recoveries", "details", "enabled"),
    write("delay-replication", f"delay-replication/{I2}/5", "number", "5"),
    Command("raft-elect-leader", ("raft-state", "raft-yield-hint/127.0.0.2"), "details", ["127.0.0.2"]),
)  # fmt: skip


MISSING = ("change-master-credentials",)
"""Commands that nothing answers yet."""


def test_every_command_of_the_client_is_here() -> None:
    names = [*TREES, *WITHOUT_REQUEST, *MISSING, *(each.name for each in (*READS, *WRITES))]
    assert len(names) == len(set(names)) == COMMANDS_OF_THE_CLIENT


def tree() -> Fleet:
    """24000 with the replicas 24001 to 24003, and 24001 with 24004 and 24005."""
    fleet = Fleet.cluster()
    executed = fleet[24001].facts.executed
    assert executed is not None
    for port in (24004, 24005):
        channel = running_channel(key(24001), executed)
        fleet.add(replica_facts(key(port), key(24001), executed=executed, channels=(channel,)))
    return fleet


ROUTER = Router(routes(ApiSettings()))


@pytest.mark.parametrize("name", MISSING)
def test_what_is_said_to_be_missing_is(name: str) -> None:
    assert not ROUTER.match(f"/api/{name}/{I2}"), "it is served: give it a line in the table"


async def said(rig: Rig, node: str, command: Command) -> list[str]:
    """What the command prints, asked of one node."""
    for request in command.requests:
        reply = (await rig[node].get(f"/api/{request}")).json
        if isinstance(reply, dict) and re.search("ERROR", str(reply.get("Code", ""))):
            assert command.prints == REFUSED, reply
            return [word for word in command.expected if word in reply["Message"]]
    return PRINTS[command.prints](reply)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing() -> AsyncIterator[Rig]:
    async with Rig(3, fleet=tree()) as rig:
        await rig.discovered()
        assert (await rig.first.get(f"/api/tag/{I1}?tag=role=web")).status == 200
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        yield rig


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("command", READS, ids=lambda each: each.name)
async def test_a_command_that_reads_prints_what_it_should(standing: Rig, command: Command) -> None:
    assert await said(standing, "n1", command) == command.expected
    if not command.name.startswith("raft-leader"):
        assert await said(standing, "n3", command) == command.expected, "another node says something else"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", TREES)
async def test_a_topology_is_printed_as_text(standing: Rig, name: str) -> None:
    for hint in ("bench", ONE):
        lines = await said(standing, "n2", read(name, f"{name}/{hint}", "details"))
        assert [re.search(r"[\d.]+:\d+", line)[0] for line in lines] == [  # type: ignore[index]
            PRIMARY, ONE, FOUR, FIVE, TWO, THREE
        ]  # fmt: skip


async def _dead_primary(rig: Rig) -> None:
    rig.first.prober.crash(24000)
    moment = rig.first.service.desk.moment
    await rig.until(lambda: not moment().topology.server(key(24000)).reached)
    receivers = (key(24001), key(24002), key(24003))
    await rig.until(lambda: not any(_replicates(rig, each) for each in receivers))


def _replicates(rig: Rig, server: Any) -> bool:
    channel = rig.first.service.desk.moment().topology.server(server).channel
    return channel is not None and channel.replicates


async def _dead_replica(rig: Rig) -> None:
    rig.first.prober.crash(24003)
    await rig.until(lambda: not rig.raft.state.servers[key(24003)].reachable)


async def _broken(rig: Rig) -> None:
    server = rig.fleet[24002]
    channel = server.channel
    assert channel is not None
    stopped = replace(channel, applier=ThreadState.STOPPED, applier_error_number=1062, applier_error="Duplicate entry")
    server.set_channel(stopped)
    await rig.until(lambda: not _replicates(rig, key(24002)))


async def _errant(rig: Rig) -> None:
    server = rig.fleet[24002]
    executed = server.facts.executed
    assert executed is not None
    extra = parse_mysql(f"{server.facts.server_uuid}:1-2")
    server.facts = replace(server.facts, executed=executed.union(extra))
    await rig.until(lambda: _has(rig, extra))


def _has(rig: Rig, extra: Any) -> bool:
    facts = rig.first.service.desk.moment().topology.server(key(24002)).facts
    return facts is not None and facts.executed is not None and facts.executed.covers(extra)


HAPPENED: dict[str, Callable[[Rig], Awaitable[None]]] = {
    "dead primary": _dead_primary, "dead replica": _dead_replica, "broken": _broken, "errant": _errant,
}  # fmt: skip


@pytest.mark.parametrize("command", WRITES, ids=lambda each: each.name)
async def test_a_command_that_writes_prints_what_it_should(command: Command) -> None:
    policy = replace(POLICY, recover_primary=ClusterFilters(()), close_replicas=False, restart_receivers=False)
    async with Rig(2, fleet=tree(), policy=policy) as rig:
        await rig.discovered()
        if command.fleet:
            await HAPPENED[command.fleet](rig)
        for path in command.before:
            assert (await rig.first.get(f"/api/{path}")).status == 200
        node = "n1" if command.name.startswith("raft") else "n2"
        assert await said(rig, node, command) == command.expected
        assert rig.first.defects == []
