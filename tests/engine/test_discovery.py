"""Discovery: who is probed when, at most one probe a server at a time, and nobody waits for the dead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Reached, Unreachable, UnreachableKind
from orchestrator_raft.engine.discovery import Discovery, Pace
from orchestrator_raft.engine.inventory import Change, Inventory
from orchestrator_raft.tasks import Tasks
from tests.engine.bench import PRIMARY, R1, R2, R3
from tests.engine.fleet import Fleet, key
from tests.engine.virtual import VirtualClock

PACE = Pace(interval_s=5.0, timeout_s=1.0)


class SlowProber:
    """``ports.Prober``: a probe takes its time, and counts who is probed, and by how many at once."""

    def __init__(self) -> None:
        self.fleet = Fleet.cluster()
        self.begun: list[tuple[InstanceKey, float]] = []
        self.under_way: Counter[InstanceKey] = Counter()
        self.at_once_max: Counter[InstanceKey] = Counter()
        self.all_at_once_max = 0
        self.takes_s: dict[InstanceKey, float] = {}
        self.forgotten: list[InstanceKey] = []

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        self.begun.append((key, asyncio.get_running_loop().time()))
        self.under_way[key] += 1
        self.at_once_max[key] = max(self.at_once_max[key], self.under_way[key])
        self.all_at_once_max = max(self.all_at_once_max, self.under_way.total())
        facts = self.fleet.servers[key].facts if key in self.fleet.servers else None
        takes_s = self.takes_s.get(key, 0.01)
        try:
            await asyncio.sleep(min(takes_s, timeout_s))
        finally:
            self.under_way[key] -= 1
        if takes_s > timeout_s or facts is None:
            return Unreachable(key, UnreachableKind.QUERY_TIMEOUT, "it does not answer")
        return Reached(facts)

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        raise AssertionError("discovery does not do that")

    def on_closed(self, listener: object) -> None:
        raise AssertionError("discovery does not do that")

    def forget(self, key: InstanceKey) -> None:
        self.forgotten.append(key)

    async def close(self) -> None:
        """There is nothing to close."""

    def count(self, key: InstanceKey) -> int:
        return sum(1 for each, _ in self.begun if each == key)


class Stage:
    def __init__(self, concurrency_max: int = 300) -> None:
        self.prober = SlowProber()
        self.inventory = Inventory()
        self.clock = VirtualClock()
        self.failures: list[BaseException] = []
        self.tasks = Tasks("test", lambda _name, error: self.failures.append(error))
        self.discovery = Discovery(
            self.prober, self.inventory, self.clock, self.tasks, concurrency_max=concurrency_max
        )  # fmt: skip

    def watch(self, *keys: InstanceKey, pace: Pace = PACE) -> None:
        self.discovery.watch(dict.fromkeys(keys, pace), {})

    async def probe(self, key: InstanceKey, timeout_s: float = 1.0) -> bool:
        return (await self.discovery.probe_now(key, timeout_s=timeout_s)).reached


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.tasks.close()
    assert made.failures == []


async def test_a_watched_server_is_probed_at_its_pace(stage: Stage) -> None:
    stage.watch(R1)
    await asyncio.sleep(16.0)
    begun = [at_s for _, at_s in stage.prober.begun]
    assert [round(later - earlier, 2) for earlier, later in pairwise(begun)] == [5.01, 5.01, 5.01]


async def test_one_that_is_woken_is_probed_at_once_and_only_that_one(stage: Stage) -> None:
    stage.watch(R1, R2)
    await asyncio.sleep(1.0)
    stage.discovery.wake([R1, key(24999)])
    await asyncio.sleep(0.001)
    assert (stage.prober.count(R1), stage.prober.count(R2)) == (2, 1)


async def test_one_that_is_woken_during_a_probe_is_probed_again_after_it(stage: Stage) -> None:
    """What the running probe reads may be from before the event."""
    stage.prober.takes_s[R1] = 0.5
    stage.watch(R1)
    await asyncio.sleep(0.1)
    stage.discovery.wake([R1])
    await asyncio.sleep(0.3)
    assert stage.prober.count(R1) == 1
    await asyncio.sleep(0.3)
    assert stage.prober.count(R1) == 2


async def test_a_server_is_never_probed_twice_at_once(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 0.5
    stage.watch(R1)
    asked = [asyncio.wait_for(stage.probe(R1, 5.0), 10.0) for _ in range(5)]
    answers = asyncio.gather(*asked)
    for _ in range(20):
        await asyncio.sleep(0.1)
        stage.discovery.wake([R1])
    assert await answers == [True] * 5
    assert stage.prober.at_once_max[R1] == 1


async def test_not_even_when_it_is_forgotten_and_watched_again_meanwhile(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 0.5
    stage.watch(R1)
    await asyncio.sleep(1.0)
    asked = stage.tasks.start("ask", stage.probe(R1))
    await asyncio.sleep(0.1)
    stage.watch(R2)
    await asyncio.sleep(0.1)
    stage.watch(R1, R2)
    await asyncio.sleep(1.0)
    assert await asked
    assert stage.prober.at_once_max[R1] == 1


async def test_probe_now_begins_a_probe_of_its_own_after_the_one_under_way(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 0.5
    stage.watch(R1)
    await asyncio.sleep(0.1)
    server = stage.prober.fleet.servers[R1]
    server.facts = replace(server.facts, read_only=False)
    await stage.discovery.probe_now(R1, timeout_s=1.0)
    observation = stage.inventory.get(R1)
    assert observation is not None and observation.facts is not None and observation.facts.is_writable


async def test_a_probe_under_way_holds_probe_now_up_to_its_deadline_and_no_longer(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 999.0
    stage.watch(R1, pace=Pace(interval_s=0.5, timeout_s=30.0))
    await asyncio.sleep(0.1)
    begun_s = stage.clock.monotonic_s()
    with pytest.raises(ServerError, match=r"an earlier probe has not ended within 0\.25 s"):
        await stage.discovery.probe_now(R1, timeout_s=0.25)
    assert stage.clock.monotonic_s() - begun_s == pytest.approx(0.25, abs=0.01)
    stage.prober.takes_s[R1] = 0.2
    await asyncio.sleep(30.0)
    assert await stage.probe(R1), "the turn was given back"


async def test_a_probe_that_had_to_wait_gets_the_rest_of_the_time(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 0.6
    stage.watch(R1, pace=Pace(interval_s=60.0, timeout_s=30.0))
    await asyncio.sleep(0.1)
    stage.prober.takes_s[R1] = 999.0
    begun_s = stage.clock.monotonic_s()
    assert not await stage.probe(R1, 1.0)
    assert stage.clock.monotonic_s() - begun_s == pytest.approx(1.0, abs=0.01)


async def test_a_dead_server_costs_nobody_else_time(stage: Stage) -> None:
    stage.prober.takes_s[R1] = 999.0
    stage.watch(PRIMARY, R1, R2, R3, pace=Pace(interval_s=0.5, timeout_s=30.0))
    await asyncio.sleep(10.0)
    assert stage.prober.count(R1) == 1
    assert min(stage.prober.count(each) for each in (PRIMARY, R2, R3)) >= 19


async def test_no_more_probes_at_once_than_the_limit() -> None:
    stage = Stage(concurrency_max=3)
    keys = [key(25000 + number) for number in range(20)]
    for each in keys:
        stage.prober.takes_s[each] = 0.5
    stage.watch(*keys)
    await asyncio.sleep(4.0)
    assert stage.prober.all_at_once_max == 3
    assert {each for each, _ in stage.prober.begun} == set(keys)
    await stage.tasks.close()


async def test_one_that_is_not_watched_any_more_is_left_alone_and_its_connection_closed(stage: Stage) -> None:
    stage.watch(R1, R2)
    await asyncio.sleep(0.1)
    stage.watch(R2)
    assert stage.prober.forgotten == [R1]
    stage.discovery.wake([R1])
    await asyncio.sleep(60.0)
    assert stage.prober.count(R1) == 1


async def test_a_shorter_interval_counts_at_once(stage: Stage) -> None:
    stage.watch(R1, pace=Pace(interval_s=60.0, timeout_s=1.0))
    await asyncio.sleep(1.0)
    stage.watch(R1, pace=Pace(interval_s=0.1, timeout_s=1.0))
    await asyncio.sleep(1.0)
    assert stage.prober.count(R1) > 5


async def test_each_result_is_in_the_inventory_when_the_listener_hears_of_it(stage: Stage) -> None:
    heard: list[tuple[Change, bool]] = []

    def listen(change: Change) -> None:
        observation = stage.inventory.get(change.key)
        assert observation is not None and observation.at_s == stage.clock.monotonic_s()
        heard.append((change, observation.reached))

    stage.discovery.on_change(listen)
    await stage.probe(R1)
    await stage.probe(R1)
    stage.prober.takes_s[R1] = 999.0
    await stage.probe(R1)
    await stage.probe(R1)
    assert heard == [
        (Change(R1, urgent=True), True),
        (Change(R1, urgent=False), True),
        (Change(R1, urgent=True), False),
        (Change(R1, urgent=False), False),
    ]


async def test_asking_about_any_address_leaves_nothing_behind(stage: Stage) -> None:
    for number in range(50):
        assert not await stage.probe(key(26000 + number))
    assert len(stage.discovery._turns) == 0


@pytest.mark.parametrize("timeout_s", [0.2, 3.0])
async def test_the_deadline_of_a_probe_is_that_of_the_asker(stage: Stage, timeout_s: float) -> None:
    stage.prober.takes_s[R1] = 999.0
    begun_s = stage.clock.monotonic_s()
    assert not await stage.probe(R1, timeout_s)
    assert stage.clock.monotonic_s() - begun_s == pytest.approx(timeout_s)


async def test_a_probe_that_takes_long_is_told_of_while_it_is_under_way(stage: Stage) -> None:
    told: list[tuple[InstanceKey, float]] = []
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    stage.discovery.on_late(lambda key: told.append((key, round(loop.time() - begun_s, 3))))
    stage.prober.takes_s[PRIMARY] = 0.9
    stage.watch(PRIMARY, R1, pace=Pace(interval_s=5.0, timeout_s=1.0, late_s=0.3))
    await asyncio.sleep(0.8)
    assert told == [(PRIMARY, 0.3)]
    stage.prober.takes_s[PRIMARY] = 0.2
    await asyncio.sleep(20.0)
    assert len(told) == 1, "one that was in time is not told of"
