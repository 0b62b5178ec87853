"""An operation across two clusters, while one of them needs something more urgent: it acts no more, on either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Act, Plan, Stage, Verb, Wish
from orchestrator_raft.core.recovery.model import EndState, Move
from orchestrator_raft.core.replicated.commands import ClaimRecovery, RecordPhase
from tests.engine.bench import PRIMARY, R1, Bench, Gate
from tests.engine.fleet import Fleet, key, primary_facts, replica_facts

OTHER, OTHER_REPLICA = key(24010), key(24011)


class Across:
    """R1 of the first cluster is to go below the primary of the other one, and its server does not answer."""

    def __init__(self) -> None:
        fleet = Fleet.cluster()
        fleet.add(primary_facts(OTHER, cluster_alias="other"))
        fleet.add(replica_facts(OTHER_REPLICA, OTHER))
        self.bench = Bench(fleet=fleet)
        self.leader = self.bench.leader()
        self.sessions = self.bench.sessions["n1"]
        self.gate = self.sessions.before_statement = Gate(lambda key, sql: key == R1 and sql.startswith("STOP"))

    def cluster_id(self, server: InstanceKey) -> str:
        return self.bench.raft.state.servers[server].cluster_id

    async def begin(self) -> Across:
        await self.bench.known(self.leader)
        await self._claimed()
        self.leader.supervisor.look()
        await self.gate.reached.wait()
        return self

    async def _claimed(self) -> None:
        acts = (
            Act(verb=Verb.STOP, key=R1),
            Act(verb=Verb.POINT, key=R1, source=OTHER, starts=False),
            Act(verb=Verb.STOP, key=OTHER_REPLICA),
        )
        plan = Plan(text="below the other", stages=(Stage(text="below the other", acts=acts),), movers=(R1,))
        asked = self.bench.recovery(
            self.leader, "operation", on=R1, name="across", command="relocate",
            wish=Wish(operation="relocate", server=R1, target=OTHER),
        )  # fmt: skip
        asked = replace(asked, plan=plan, other_clusters=(self.cluster_id(OTHER),))
        proposals = self.leader.proposals
        assert (await proposals.propose(ClaimRecovery, recovery=asked, block_ms=0)).ok
        begun = replace(
            self.bench.raft.state.recoveries["across"], phase="act",
            moves=(Move(R1, OTHER), Move(OTHER_REPLICA, OTHER)),
        )  # fmt: skip
        assert (await proposals.propose(RecordPhase, recovery=begun)).ok


@pytest_asyncio.fixture
async def across() -> AsyncIterator[Across]:
    stage = await Across().begin()
    yield stage
    await stage.bench.close()


@pytest.mark.parametrize("failed", [PRIMARY, OTHER])
async def test_it_acts_no_more_once_it_gave_way(across: Across, failed: InstanceKey) -> None:
    bench, leader = across.bench, across.leader
    assert across.sessions.open_count > 0
    bench.fleet.crash(failed.port)
    await bench.claimed(leader, "dead_primary", on=failed, name="urgent")
    assert bench.raft.state.recoveries["across"].end is EndState.FAILED
    leader.supervisor.look()
    await bench.until(lambda: not bench.raft.state.recoveries["urgent"].is_active)
    said = len(across.sessions.said_to(R1))
    across.gate.open()
    await bench.until(lambda: len(leader.tasks) == 0)
    pointed = [sql for sql in across.sessions.said_to(R1)[said:] if str(OTHER.port) in sql]
    assert pointed == [], "it went on"
    assert bench.facts(R1).source != OTHER
    assert across.sessions.open_count == 0, "hands are left on a server of one of its clusters"
