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
