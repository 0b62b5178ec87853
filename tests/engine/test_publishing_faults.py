"""Publishing under chance: leaders come and go and linger, leases lapse, targets fail, hang and lose answers.

Whatever happens, a target that can check and set never goes back, nobody without live authority writes, and once all
is well again every target has the newest records, soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from orchestrator_raft.core.errors import Refused, ServerError, Unavailable
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.publishing import BACK_OFF_MAX_S, COMPARE_S, Outlet, Publishing
from orchestrator_raft.tasks import Tasks
from tests.engine.bench import R1, R2, R3, Bench

ALIASES = ("shop", "store")
TURNS = 60


class Store:
    """What a target has, for all nodes, with check-and-set; and every record it ever had, in order."""

    def __init__(self) -> None:
        self.has: dict[str, tuple[int, Publication]] = {}
        self.history: list[Publication] = []
        self.index = 0
        self.is_down = False

    def write(self, record: Publication, index: int) -> None:
        known = self.has.get(record.alias)
        if index != (known[0] if known is not None else 0):
            raise ServerError("the index is stale")
        self.index += 1
        self.has[record.alias] = (self.index, record)
        self.history.append(record)


class ChanceTarget:
    """One node's way to the store."""

    def __init__(self, store: Store, chance: Random, may_act: Callable[[], bool]) -> None:
        self.name = "store"
        self._store = store
        self._chance = chance
        self._may_act = may_act

    def takes(self, alias: str) -> bool:
        return True

    async def close(self) -> None:
        return

    async def _wait(self) -> None:
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.01, 0.5, 3.0)))
        if self._store.is_down:
            raise Unavailable("the store is down")

    async def publish(
        self, published: Published, *, forced: bool, before_write: Callable[[], None], timeout_s: float
    ) -> bool:
        record = published.record
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait()
                index, known = self._store.has.get(record.alias, (0, None))
                if known is not None and known.generation > record.generation:
                    raise Refused(f"generation {known.generation} is there")
                if known == record:
                    return False
                await asyncio.sleep(self._chance.choice((0.0, 0.01, 0.5)))
                before_write()
                assert self._may_act(), "somebody writes without live authority"
                self._store.write(record, index)
                await self._wait()  # the answer may be lost
        except TimeoutError as error:
            raise Unavailable("the store did not answer") from error
        return True


class Chance:
    """Nodes that lead in turn, and linger."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.raft = bench.raft
        self.chance = Random(seed)
        self.store = Store()
        self.number = 0
        self.leading: list[tuple[Publishing, Tasks]] = []

    def lead(self, node: str) -> None:
        """This node leads from now on; those before it have not noticed yet."""
        self.raft.elect(node)
        term, consensus = self.raft.term, self.raft.nodes[node]

        def may_act() -> bool:
            authority = consensus.authority()
            return authority is not None and authority.term == term

        tasks = Tasks(f"publishing of term {term}", self.bench._failed)
        target = ChanceTarget(self.store, self.chance, may_act)
        publishing = Publishing(
            term, consensus, self.bench.clock, tasks,
            outlet=Outlet(targets=(target,)), proposals=Proposals(consensus, self.bench.clock),
        )  # fmt: skip
        publishing.start()
        self.leading.append((publishing, tasks))

    def change(self) -> None:
        """Another server is primary, by a committed record."""
        self.number += 1
        alias = self.chance.choice(ALIASES)
        primary = self.chance.choice((R1, R2, R3))
        record = Publication(alias=alias, cluster_id=alias, primary=primary, generation=self.number, at_ms=0)
        self.raft.state = replace(self.raft.state, publications={**self.raft.state.publications, alias: record})
        for publishing, _ in self.leading:
            publishing.look()

    async def turn(self) -> None:
        what = self.chance.randrange(7)
        if what == 0:
            self.lead(self.chance.choice(self.raft.node_ids))
        elif what == 1 and len(self.leading) > 1:
            _, tasks = self.leading.pop(0)
            await tasks.close()
        elif what == 2 and self.raft.leader is not None:
            self.raft.without_authority ^= {self.raft.leader}
        elif what == 3:
            self.store.is_down = not self.store.is_down
        else:
            self.change()
        await asyncio.sleep(self.chance.choice((0.0, 0.01, 0.3, 2.0, 20.0)))


@pytest.mark.parametrize("seed", range(60))
async def test_a_target_never_goes_back_and_is_caught_up_in_the_end(bench: Bench, seed: int) -> None:
    run = Chance(bench, seed)
    run.lead("n1")
    for _ in range(TURNS):
        await run.turn()
    run.change()
    run.raft.without_authority.clear()
    run.store.is_down = False
    await asyncio.sleep(2 * BACK_OFF_MAX_S + COMPARE_S)
    for alias in ALIASES:
        seen = [each.generation for each in run.store.history if each.alias == alias]
        assert seen == sorted(set(seen)), "it went back, or wrote one record twice"
    assert {alias: record for alias, (_, record) in run.store.has.items()} == run.raft.state.publications
    for _, tasks in run.leading:
        await tasks.close()
