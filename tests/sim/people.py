"""What people do to a cluster: they change its members, replace its disks, and install the next version.

They ask as ``RaftNode`` lets them ask, with all its refusals, and what is refused they may ask again. Rules that they
keep, because the product asks for them or nothing could save them: not two disks are emptied at a time, none of a
cluster of less than three, none before a leader has written down whose it is, and none while other members change;
nobody installs an older version.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.membership import Configuration, Standing
from tests.sim.joining import CODECS
from tests.sim.world import Site, World

Change = Callable[[Configuration, str], Configuration]


def leader_of(world: World) -> tuple[Site, Standing] | None:
    """Who would be asked, and what it knows."""
    for site in world.running():
        standing = site.replica.standing() if site.replica is not None and site.replica.is_leader else None
        if standing is not None:
            return site, standing
    return None


def ask(world: World, change: Change) -> None:
    """Ask whoever leads for a change of the members."""
    found = leader_of(world)
    if found is None:
        return
    leader, standing = found
    try:
        wanted = change(standing.configuration, standing.me)
        refused = bool(membership.not_yet(standing) or membership.quorum_complaint(standing, wanted))
    except OrchestratorError:
        wanted, refused = standing.configuration, True
    if refused or leader.replica is None:
        world.statistics.changes_refused += 1
        return
    world.statistics.member_changes += 1
    world.note(f"members: {sorted(standing.configuration.slots)} to {sorted(wanted.slots)}")
    world.step(leader, leader.replica.set_members, wanted)


def change_members(world: World) -> None:
    """Somebody comes, goes, or takes the place of somebody else."""
    if world.emptied:
        return
    name = world.dice.choice(sorted(world.sites))

    def change(configuration: Configuration, leader: str) -> Configuration:
        if configuration.seat(name) is not None:
            return membership.removed(configuration, name, leader)
        return membership.added(configuration, name, replaces=world.dice.choice(["", *sorted(configuration.slots)]))

    ask(world, change)


def empty_disk(world: World) -> None:
    """The disk of a member is replaced by an empty one; people take the member out and let it in again."""
    found = leader_of(world)
    if found is None or world.emptied or membership.not_yet(found[1]):
        return
    configuration = found[1].configuration
    seat = world.dice.choice(configuration.seats)
    changes = configuration.slots != configuration.voters or membership.going(configuration)
    if changes or len(configuration.voters) < 3 or not all(each.incarnation for each in configuration.seats):
        return
    world.statistics.disks_emptied += 1
    world.emptied = seat.slot
    world.kill(seat.slot, power_lost=True)
    world.sites[seat.slot].disk.empty()
    world.note(f"{seat.slot} has an empty disk")
    fuse = world.dice.choice((None, world.dice.randint(1, 3)))
    world.at(world.dice.uniform(0.01, 1), world.start, seat.slot, fuse)
    world.at(world.dice.uniform(0.01, 3), let_in_again, world, seat.slot)


def let_in_again(world: World, name: str) -> None:
    """Until it votes again, by its new disk."""
    found, node = leader_of(world), world.sites[name].node
    if found is not None and node is not None and not membership.not_yet(found[1]):
        seat, incarnation = found[1].configuration.seat(name), node.roster.node_id
        if seat is not None and seat.votes and seat.incarnation == incarnation:
            world.statistics.disks_let_in_again += 1
            world.emptied = ""
            return
        if seat is None:
            ask(world, lambda configuration, _: membership.added(configuration, name))
        elif seat.incarnation not in ("", incarnation):
            ask(world, lambda configuration, leader: membership.removed(configuration, name, leader))
    world.at(0.2, let_in_again, world, name)


def roll_out(world: World) -> None:
    """The next version comes to one machine after another."""
    if any(site.version > 1 for site in world.sites.values()):
        return
    names = sorted(world.sites)
    world.dice.shuffle(names)
    at_s = 0.0
    for name in names:
        world.at(at_s, _install, world, name)
        at_s += world.dice.uniform(0.1, 1.0)


def _install(world: World, name: str) -> None:
    site = world.sites[name]
    if site.version == len(CODECS):
        return
    world.note(f"{name} gets version {len(CODECS)}")
    world.statistics.upgrades += 1
    world.kill(name, power_lost=False)
    site.version = len(CODECS)
    world.start(name)
