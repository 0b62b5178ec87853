"""Members come, vote, move and go in virtual time: one change at a time, through faults and changes of leader."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.membership import Configuration, Contact
from orchestrator_raft.raft.messages import Append
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import Limits
from tests.raft.counting import Add, Counter
from tests.raft.virtual import CODEC, Site, World

FOUNDERS = ("a", "b", "c")


class Town(World):
    """``a``, ``b`` and ``c`` founded the cluster; others have empty disks and wait to be let in."""

    def __init__(self, seed: int, size: int = 3, limits: Limits | None = None) -> None:
        self.lives: dict[str, int] = {}
        self.emptied = ""
        """A voter whose disk was emptied and who has not been let in again; never two."""
        super().__init__(seed, size=size, limits=limits)

    def own(self, name: str) -> Contact:
        site = self.sites.get(name)
        index = site.replica.members.index if site is not None and site.replica is not None else 0
        return Contact(incarnation=f"{name}{self.lives.get(name, 0)}", address=name, members_index=index)

    def start(self, name: str) -> None:
        site = self.sites[name]
        founded = name in FOUNDERS and not self.lives.get(name, 0)
        others = [other for other in FOUNDERS if other != name] if founded else None
        site.replicated = Replicated(Counter(), CODEC, lambda index, command, _: self._applied(site, index, command))
        site.replica = Replica(
            name, others, store=site.disk, image=site.disk.load(), replicated=site.replicated,
            deliver=lambda peer, message: self._send(name, peer, message), own=self.own(name),
            clock=lambda: self.clock(site), wall=lambda: self.clock(site), timing=self.timing, limits=self.limits,
        )  # fmt: skip
        self._sync_later(site)

    def newcomer(self, name: str) -> None:
        self.sites[name] = Site(name, self.random.uniform(0.99, 1.01), self.random.uniform(0, 9))
        self.start(name)
        self._ticking(name)

    def empty(self, name: str) -> None:
        """The disk of a node that is down is replaced by an empty one."""
        assert self.sites[name].replica is None
        self.sites[name].disk = type(self.sites[name].disk)()
        self.lives[name] = self.lives.get(name, 0) + 1
        self.emptied = name

    def _connect(self, one: str, other: str) -> None:
        """As the handshake does: no connection unless both sides take the other for who it was."""
        for here, there in ((one, other), (other, one)):
            site = self.sites[here]
            if site.replica is not None and not site.replica.members.accepts(there, self.own(there)):
                return
        super()._connect(one, other)

    def _meet(self, here: str, there: str) -> None:
        replica = self.sites[here].replica
        assert replica is not None
        replica.connected(there, self.own(there))

    # people

    def ask(self, change: Callable[[Configuration, str], Configuration]) -> str:
        """Ask whoever leads for a change. Gives the reason if it is refused."""
        leader = next(iter(self.leaders()), None)
        replica = self.sites[leader].replica if leader is not None else None
        standing = replica.standing() if replica is not None else None
        if replica is None or standing is None:
            return "nobody leads"
        if reason := membership.not_yet(standing):
            return reason
        try:
            wanted = change(standing.configuration, standing.me)
        except OrchestratorError as error:
            return str(error)
        if reason := membership.quorum_complaint(standing, wanted):
            return reason
        replica.set_members(wanted)
        self._sync_later(self.sites[standing.me])
        return ""

    def add(self, name: str, *, replaces: str = "") -> str:
        return self.ask(lambda configuration, _: membership.added(configuration, name, replaces=replaces))

    def remove(self, name: str) -> str:
        return self.ask(lambda configuration, leader: membership.removed(configuration, name, leader))

    def done(self, ask: Callable[[], str]) -> None:
        """Ask until it is taken."""
        assert self.run(20, lambda: not ask()), f"never taken: {ask()}"

    def members(self) -> Configuration:
        """As the leader has them; nobody while there is none."""
        leader = next(iter(self.leaders()), None)
        replica = self.sites[leader].replica if leader is not None else None
        return replica.members.configuration if replica is not None else Configuration(())

    def voters(self) -> frozenset[str]:
        return self.members().voters

    def settled(self) -> bool:
        """The members are up and equal, and nothing more is to be done about them."""
        configuration = self.members()
        replicas = [self.sites[slot].replica for slot in sorted(configuration.slots)]
        if not replicas or any(replica is None for replica in replicas) or configuration.slots != configuration.voters:
            return False
        if membership.going(configuration) or not all(seat.incarnation for seat in configuration.seats):
            return False
        return len({(replica.applied_index, replica.journal.last_index) for replica in replicas if replica}) == 1

    def assert_kept(self) -> None:
        states = [site.replicated.state for slot in sorted(self.voters()) if (site := self.sites[slot]).replicated]
        for state in states:
            assert list(states[0].results.items()) == list(state.results.items())
        assert self.acknowledged.keys() <= states[0].results.keys()


def write(town: Town, count: int, prefix: str) -> None:
    for number in range(count):
        assert town.run(10, lambda: len(town.leaders()) == 1)
        town.submit(town.leaders()[0], Add(f"{prefix}{number}"))
        town.run(0.01)


def settle(town: Town) -> None:
    town.heal()
    for name, site in town.sites.items():
        site.paused_until_s = 0.0
        site.disk.is_hung = False
        town.revive(name)
    if town.emptied and town.run(30, lambda: bool(town.voters())) and town.emptied in town.members().slots:
        town.done(lambda: town.remove(town.emptied))
        town.done(lambda: town.add(town.emptied))
    assert town.run(30, town.settled), f"no rest after the faults have ended: {town.members()}"
    town.assert_kept()


def replica(town: Town, name: str) -> Replica:
    found = town.sites[name].replica
    assert found is not None
    return found


def test_a_newcomer_is_a_learner_until_it_has_everything() -> None:
    town = Town(1, limits=Limits(journal_entries=20, retained_entries=5, snapshot_chunk_bytes=100))
    write(town, 300, "w")
    leader = town.leaders()[0]
    town.newcomer("d")
    town.sever("d", leader)
    town.done(lambda: town.add("d"))
    town.run(5)
    assert {"a", "b", "c"} == town.voters()
    assert {"a", "b", "c", "d"} == town.members().slots
    assert not replica(town, "d").is_leader and replica(town, "d").term == 0
    settle(town)
    assert {"a", "b", "c", "d"} == town.voters()


def test_a_learner_counts_nowhere() -> None:
    town = Town(2)
    town.newcomer("d")
    town.run(3)
    leader = town.leaders()[0]
    for other in {"a", "b", "c"} - {leader}:
        town.sever(leader, other, silent=True)
    town.add("d")
    assert town.run(10, lambda: town.leaders() not in ([], [leader])), "a learner kept a lease alive"
    settle(town)


def test_the_last_voter_that_is_to_stay_is_not_removed_after_a_leader_that_is_leaving() -> None:
    leaving = membership.removed(membership.founded(("a", "b")), "a", "a")
    with pytest.raises(OrchestratorError, match="only voter"):
        membership.removed(leaving, "b", "a")


def test_a_member_is_removed_and_disturbs_nobody() -> None:
    town = Town(3)
    town.run(3)
    leader = town.leaders()[0]
    gone = next(name for name in FOUNDERS if name != leader)
    term = replica(town, leader).term
    town.done(lambda: town.remove(gone))
    town.run(10)
    assert {*FOUNDERS} - {gone} == town.voters()
    assert gone not in replica(town, gone).members.configuration.slots, "it was not told"
    town.kill(gone, power_lost=False)
    town.start(gone)
    town.run(10)
    assert ([leader], term) == (town.leaders(), replica(town, leader).term)
    settle(town)


def of_two_voters(town: Town) -> tuple[str, str]:
    """A cluster of two: the one that leads, and the other."""
    town.run(3)
    town.done(lambda: town.remove(next(name for name in FOUNDERS if name not in town.leaders())))
    assert town.run(5, lambda: len(town.voters()) == 2 and not town.remove("nobody").startswith("another"))
    leader = town.leaders()[0]
    (other,) = town.voters() - {leader}
    return leader, other


def removal_that_only_the_removed_has(town: Town) -> tuple[str, str]:
    """Of two voters the leader takes the other out, and loses power before its own disk has it. Gives both."""
    leader, other = of_two_voters(town)
    town.sites[leader].disk.is_hung = True
    town.done(lambda: town.remove(other))
    last = replica(town, leader).journal.last_index
    assert town.run(0.5, lambda: replica(town, other).journal.synced_index == last)
    town.kill(leader, power_lost=True)
    town.sites[leader].disk.is_hung = False
    return leader, other


def test_a_removal_that_only_the_removed_one_has_goes_on() -> None:
    """Nobody else can be elected against its log, so it leads, by the votes of those that stay, and hands over."""
    town = Town(31)
    leader, other = removal_that_only_the_removed_has(town)
    assert {leader} == replica(town, other).voters
    town.start(leader)
    assert {leader, other} == replica(town, leader).voters
    led: list[str] = []

    def goes_on() -> bool:
        led.extend(site.name for site in town.alive() if site.replica is not None and site.replica.is_leader)
        return town.leaders() == [leader] and {leader} == replica(town, leader).voters

    assert town.run(10, goes_on)
    assert other in led, "who was removed had to pass it on"
    write(town, 3, "w")
    settle(town)
    assert {leader} == town.voters()


def test_a_removed_node_that_leads_neither_acts_nor_takes_commands() -> None:
    town = Town(32)
    leader, other = removal_that_only_the_removed_has(town)
    town.start(leader)
    assert town.run(10, lambda: replica(town, other).is_leader)
    assert replica(town, other).authority() is None
    assert not town.submit(other, Add("in vain"))
    settle(town)
    assert town.run(5, lambda: not replica(town, other).is_leader) and replica(town, other).members.is_gone
    term = replica(town, leader).term
    town.kill(other, power_lost=False)
    town.start(other)
    town.run(10)
    assert ([leader], term) == (town.leaders(), replica(town, leader).term), "it is gone, and disturbs nobody"


def test_a_leader_that_is_removed_hands_over_first() -> None:
    town = Town(4)
    town.run(3)
    leader = town.leaders()[0]
    town.done(lambda: town.remove(leader))
    assert town.run(3, lambda: bool(town.voters()) and leader not in town.voters())
    assert town.leaders() != [leader]
    settle(town)


def test_a_voter_that_is_left_alone_commits_nothing_that_its_disk_does_not_have() -> None:
    town = Town(33)
    leader, other = of_two_voters(town)
    town.done(lambda: town.remove(leader))

    def alone() -> bool:
        last = replica(town, other)
        assert not last.members.is_alone or last.commit_index <= last.journal.synced_index
        return last.members.is_alone and last.journal.all_synced

    assert town.run(5, alone)


@pytest.mark.parametrize("of_leader", [True, False])
def test_a_replacement_goes_on_under_another_leader(of_leader: bool) -> None:
    town = Town(5)
    town.newcomer("d")
    town.run(3)
    leader = town.leaders()[0]
    old = leader if of_leader else next(name for name in FOUNDERS if name != leader)
    for other in FOUNDERS:
        town.sever("d", other)
    town.done(lambda: town.add("d", replaces=old))
    town.run(1)
    town.kill(leader, power_lost=True)
    town.run(5)
    settle(town)
    assert {"a", "b", "c", "d"} - {old} == town.voters()


def test_an_emptied_disk_is_refused_until_the_member_was_removed_and_added() -> None:
    town = Town(6)
    write(town, 10, "w")
    gone = next(name for name in FOUNDERS if name != town.leaders()[0])
    town.kill(gone, power_lost=False)
    town.empty(gone)
    town.start(gone)
    town.run(10)
    assert 1 == replica(town, gone).journal.last_index, "it was sent entries"
    assert not replica(town, gone).members.is_known
    town.done(lambda: town.remove(gone))
    town.done(lambda: town.add(gone))
    settle(town)
    assert {*FOUNDERS} == town.voters()


def test_who_was_away_while_every_other_disk_was_replaced_catches_up() -> None:
    town = Town(34)
    town.run(3)
    for name in ("d", "e"):
        town.newcomer(name)
        town.done(lambda name=name: town.add(name))  # type: ignore[misc]
    assert town.run(20, lambda: len(town.voters()) == 5 and all(seat.incarnation for seat in town.members().seats))
    town.run(1)
    town.kill("d", power_lost=False)
    for name in (*FOUNDERS, "e"):
        town.kill(name, power_lost=False)
        town.empty(name)
        town.start(name)
        town.done(lambda name=name: town.remove(name))  # type: ignore[misc]
        town.done(lambda name=name: town.add(name))  # type: ignore[misc]
        assert town.run(20, lambda name=name: name in town.voters() and "is no member" in town.remove("x"))  # type: ignore[misc]
    town.emptied = ""
    write(town, 5, "w")
    town.start("d")
    settle(town)
    assert {*FOUNDERS, "d", "e"} == town.voters()


def test_one_change_at_a_time_and_none_that_loses_the_quorum() -> None:
    town = Town(7)
    town.run(3)
    one, other = sorted({*FOUNDERS} - {*town.leaders()})
    town.newcomer("d")
    assert "" == town.add("d")
    assert "another change of the members is under way" in town.remove(one)
    assert "" == town.remove("d") or town.run(5, lambda: not town.remove("d"))
    assert town.run(5, lambda: town.members().slots == {*FOUNDERS})
    town.kill(one, power_lost=False)
    town.run(2)
    assert f"the quorum would be lost: of the 2 voters that there would be, 1 answer now; start {one}" in (
        town.remove(other)
    )
    assert "is a member already" in town.add(one)
    assert "'x' is no member" in town.remove("x")
    assert "" == town.remove(one)
    settle(town)
    assert {*FOUNDERS} - {one} == town.voters()


def test_a_newcomer_takes_no_snapshot_before_it_knows_the_members() -> None:
    """What founders write before the log names them comes to it first."""
    town = Town(36, size=1)
    town.newcomer("d")
    newcomer = replica(town, "d")
    command = b"\x00\x00" + CODEC.encode_command(Add("first"))
    newcomer.received("a", [Append(1, 1, 0, 3, 0.0, ((b"\x01", 2, 1), (command, 3, 1)))])
    newcomer.compact()
    town.run(1)
    assert 3 == newcomer.applied_index and newcomer.snapshot() is None
    members = membership.encode(membership.founded(("a", "d")))
    newcomer.received("a", [Append(1, 3, 1, 4, 0.0, ((members, 4, 1),))])
    town.run(1)
    assert newcomer.snapshot() is not None


def test_who_has_nothing_yet_is_not_promoted() -> None:
    """A single voter that had promoted it, and lost power before it had sent anything, could not be led again."""
    town = Town(35, size=1)
    replica(town, "a").found(membership.founded("a"))
    town.run(2)
    town.newcomer("d")
    town.run(1)
    town.done(lambda: town.add("d"))
    assert town.run(2, lambda: replica(town, "d").term > 0 and replica(town, "d").journal.all_synced)
    town.sites["d"].disk.is_hung = True
    town.run(1)
    assert {"a"} == town.voters()
    for name in ("a", "d"):
        town.kill(name, power_lost=True)
    town.start("a")
    assert town.run(5, lambda: town.leaders() == ["a"])
    settle(town)
    assert {"a", "d"} == town.voters()


def test_a_single_voter_grows_and_shrinks_again() -> None:
    town = Town(8, size=1)
    replica(town, "a").found(membership.founded("a"))
    town.run(2)
    for name in ("d", "e"):
        town.newcomer(name)
        town.done(lambda name=name: town.add(name))  # type: ignore[misc]
        write(town, 5, name)
    assert town.run(10, lambda: town.voters() == {"a", "d", "e"})
    for name in ("d", "e"):
        town.done(lambda name=name: town.remove(name))  # type: ignore[misc]
        assert town.run(10, lambda name=name: bool(town.voters()) and name not in town.voters())  # type: ignore[misc]
    assert town.run(5, lambda: "the only voter" in town.remove("a"))
    settle(town)
    assert {"a"} == town.voters()


def change(town: Town) -> None:
    """Somebody new, somebody gone, or the one for the other; most of it is refused."""
    names = sorted(town.sites)
    fresh = chr(ord(names[-1]) + 1)
    slots = sorted(town.members().slots)
    if not slots:
        return
    what = town.random.choice(("add", "remove", "replace", "empty"))
    if what in ("add", "replace") and len(slots) < 6 and len(names) < 12:
        town.newcomer(fresh)
        town.add(fresh, replaces=town.random.choice(slots) if what == "replace" else "")
    elif what == "remove" and len(slots) > 2:
        town.remove(town.random.choice(slots))
    elif what == "empty" and not town.emptied and len(town.voters()) > 2:
        empty(town, town.random.choice(slots))


def empty(town: Town, name: str) -> None:
    """Its leader has written down who it is, so that it cannot come back as if nothing had happened."""
    seat = town.members().seat(name)
    if seat is not None and seat.incarnation and town.sites[name].replica is not None:
        town.kill(name, power_lost=True)
        town.empty(name)
        town.at(town.random.uniform(0.01, 2), lambda: town.revive(name))


def cut(town: Town) -> None:
    one, other = town.random.sample(sorted(town.sites), 2)
    town.sever(one, other, silent=town.random.random() < 0.5)


def kill(town: Town) -> None:
    name = town.random.choice(sorted(town.sites))
    if town.sites[name].replica is not None:
        town.kill(name, power_lost=town.random.random() < 0.5)
        town.at(town.random.uniform(0.01, 2), lambda: town.revive(name))


def pause(town: Town) -> None:
    town.pause(town.random.choice(sorted(town.sites)), town.random.uniform(0.1, 3))


def submit(town: Town) -> None:
    for _ in range(town.random.choice((1, 3, 20))):
        for site in list(town.alive()):
            town.submit(site.name, Add(f"s{len(town.submitted)}"))


FAULTS = (change, change, change, cut, cut, kill, kill, pause, World.heal, submit, submit, submit)


@pytest.mark.parametrize("seed", range(20))
def test_promises_hold_while_members_change_under_faults(seed: int) -> None:
    limits = Limits(journal_entries=20 if seed % 2 else 10_000, retained_entries=seed % 7, snapshot_chunk_bytes=300)
    town = Town(seed, limits=limits)
    town.run(2)
    for _ in range(80):
        town.random.choice(FAULTS)(town)
        town.run(town.random.choice((0.001, 0.01, 0.1, 0.5, 1.5)))
    settle(town)
