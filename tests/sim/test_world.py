"""What the simulated world itself promises: it brings no troubles that a real machine cannot have."""

from __future__ import annotations

from tests.raft.counting import Add
from tests.sim.world import World


def test_news_of_the_disk_that_comes_late_takes_nothing_back() -> None:
    """A process that is woken early hears of a later write first; a lone voter would wait for its disk for ever."""
    world = World(1, size=1, sync_s=(0.01, 0.01))
    site = world.sites["a"]
    assert world.run(10, world.settled) and site.replica is not None
    world.run(1.5)
    world.step(site, site.replica.save_facts, {"first": "of two groups"})
    world.submit("a", Add("second"))
    world.pause("a", 3.0)
    world.run(0.1)
    world.end_faults()
    world.run(5.0)
    world.submit("a", Add("third"))
    assert world.run(5.0, lambda: "third" in world.ledger.results)


def test_a_node_that_is_killed_while_it_founds_a_cluster_has_all_of_its_facts_or_none() -> None:
    for seed in range(30):
        world = World(seed, size=3, sync_s=(0.001, 0.02))
        for number, site in enumerate(world.sites.values()):
            site.fuse = 1 + (seed + number) % 12
        world.run(3.0)
        for site in world.sites.values():
            facts = site.disk.durable.facts
            assert len({"slot", "slots", "cluster_id"} & facts.keys()) in (0, 3), f"seed {seed}: {facts}"
        assert world.run(10.0, world.settled)
