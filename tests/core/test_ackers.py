"""Who may have acknowledged: strangers end the promise, the gone are released when they may be, the returned count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.candidates import gone, promise_of
from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.core.replicated.commands import AdmitAckers, ForgetServers, LapsePromise, ReleaseAckers
from orchestrator_raft.core.topology import ClusterRecord
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306 semi-sync=1
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
  + R3 10.0.0.4:3306
"""
STRANGER = STAR + "  + U 10.0.0.9:3306 unseen"
TWO_OF_ONE = "4 replicas acknowledge to P and only 3 of them are known"
LONG_S = 8


class Stage:
    """A semi-sync cluster, healthy at first."""

    def __init__(self, drawing: str = STAR) -> None:
        self.world = World(drawing.splitlines())
        self.manager = self.world.manager

    @property
    def cluster(self) -> ClusterRecord:
        return self.manager.state.clusters["c1"]

    @property
    def ackers(self) -> str:
        return self.world.names(self.cluster.ackers)

    @property
    def promise(self) -> str:
        said = self.world.said(str(promise_of(self.manager.topology, self.cluster.id)))
        return said.removeprefix("no-loss promise: ")

    def change(self, *lines: str) -> None:
        """Each is seen before the next happens."""
        for line in lines:
            self.world.change_line(line)
            self.manager.look()

    def keys(self, *names: str) -> tuple[object, ...]:
        return tuple(self.world.fleet[name].key for name in names)

    def fail_over(self) -> str:
        """Kill the primary; how the failover ends, and who is the primary then."""
        self.change("P dead")
        self.manager.claim("dead_primary", "P")
        recovery = self.manager.run()
        return f"{recovery.end.value} {self.world.name(self.cluster.primary)} {'; '.join(recovery.errors)}".strip()


# -- strangers


def test_a_replica_that_nobody_knows_keeps_the_promise_from_being_made() -> None:
    stage = Stage(STRANGER)
    assert stage.promise == f"no, because {TWO_OF_ONE}"
    assert not stage.cluster.caught_up


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("R1,R2,R3 io=stopped", "1 replica acknowledges to P and none of them is known"),
        ("R1,R2 io=stopped", "2 replicas acknowledge to P and only 1 of them are known"),
    ],
)
def test_it_is_said_how_many(change: str, said: str) -> None:
    stage = Stage(STRANGER)
    stage.change(change)
    assert stage.promise == f"no, because {said}"


def test_one_that_attaches_ends_it_and_a_leader_that_never_saw_the_primary_knows() -> None:
    stage = Stage(STRANGER.replace("unseen", "unseen noack"))
    assert stage.promise == "yes"
    stage.change("U acks", "P dead")
    stage.manager.take_over()
    assert stage.promise.startswith(f"no, because {TWO_OF_ONE}")
    recovery = stage.manager.claim("dead_primary", "P")
    assert not recovery.promised and "4 replicas acknowledge" in recovery.unpromised_because


def test_it_is_made_anew_when_the_stranger_is_known_or_has_left() -> None:
    stage = Stage(STRANGER)
    stage.change("U back")
    assert (stage.promise, stage.ackers) == ("yes", "R1,R2,R3,U")
    other = Stage(STRANGER)
    other.change("U noack io=stopped")
    assert other.promise == "yes" and other.cluster.lapsed_because == ""


def test_a_stranger_beside_a_possible_acker_that_is_not_connected_is_seen() -> None:
    stage = Stage(STRANGER)
    stage.change("R3 io=stopped")
    assert stage.promise == "no, because 3 replicas acknowledge to P and only 2 of them are known"


def test_a_lapse_needs_a_reason_and_is_recorded_once() -> None:
    stage = Stage()
    assert not stage.manager.propose(LapsePromise, cluster_id="c1", because="").ok
    assert not stage.manager.propose(LapsePromise, cluster_id="c9", because="x").ok
    assert stage.manager.propose(LapsePromise, cluster_id="c1", because="x").ok
    lapses = stage.cluster.lapses
    assert stage.manager.propose(LapsePromise, cluster_id="c1", because="x").ok
    assert stage.cluster.lapses == lapses


# -- release


def test_a_dead_replica_is_released_after_a_while_and_the_cluster_fails_over_by_itself() -> None:
    stage = Stage()
    stage.change("P writes=3", "R3 dead")
    stage.manager.wait(3)
    assert stage.promise == "no, because possible ackers out of reach: R3"
    stage.manager.wait(LONG_S)
    assert (stage.promise, stage.ackers, stage.world.names(stage.cluster.released)) == ("yes", "R1,R2", "R3")
    assert stage.fail_over().startswith("succeeded R1 not attached")


def test_before_that_a_failover_is_refused() -> None:
    stage = Stage()
    stage.change("P writes=3", "R3 dead")
    assert stage.fail_over().startswith("failed P 10.0.0.4:3306 may have acknowledged transactions")


def test_it_is_not_released_before_the_others_have_what_it_may_have_acknowledged_alone() -> None:
    stage = Stage()
    stage.change("R1,R2 io=connecting", "P writes", "R3 dead")
    stage.manager.wait(LONG_S)
    assert "R3" in stage.ackers
    stage.change("R2 io=running")
    assert stage.ackers == "R1,R2"
    stage.change("R2 io=connecting")
    assert stage.fail_over().startswith("succeeded R2 not attached")


def test_as_many_of_the_others_as_the_primary_waits_for_have_to_have_it() -> None:
    stage = Stage(STAR.replace("semi-sync=1", "semi-sync=2"))
    stage.change("R1 io=connecting", "P writes", "R3 dead")
    stage.manager.wait(LONG_S)
    assert "R3" in stage.ackers
    stage.change("R1 io=running")
    assert stage.ackers == "R1,R2"


def test_the_last_one_that_a_primary_waits_for_is_never_released() -> None:
    stage = Stage(STAR.split("  + R2")[0])
    stage.change("R1 dead")
    stage.manager.wait(LONG_S)
    assert stage.ackers == "R1"


def test_one_that_only_we_do_not_reach_is_not_released() -> None:
    stage = Stage()
    stage.change("R3 cut")
    stage.manager.wait(LONG_S)
    assert stage.ackers == "R1,R2,R3"


def test_one_that_answers_and_may_come_back_at_any_time_is_not_released() -> None:
    stage = Stage()
    stage.change("R3 io=stopped")
    stage.manager.wait(LONG_S)
    assert stage.ackers == "R1,R2,R3"


def test_one_whose_semi_sync_is_off_is_released() -> None:
    stage = Stage()
    stage.change("R3 noack")
    stage.manager.wait(LONG_S)
    assert stage.ackers == "R1,R2"


def test_nobody_is_released_while_a_stranger_acknowledges_or_the_primary_does_not_tell() -> None:
    stage = Stage(STRANGER)
    stage.change("R3 dead")
    stage.manager.wait(LONG_S)
    assert "R3" in stage.ackers
    blind = Stage()
    blind.change("R3 dead")
    server = blind.manager.topology.servers[blind.world.fleet["P"].key]
    assert server.facts is not None
    silent = replace(server, facts=replace(server.facts, replica_ids=None))
    topology = replace(blind.manager.topology, servers={**blind.manager.topology.servers, silent.key: silent})
    assert gone(blind.manager.topology, blind.cluster) == blind.keys("R3")
    assert gone(topology, blind.cluster) == ()


@pytest.mark.parametrize("seconds", [1, 4])
def test_one_that_comes_and_goes_is_not_released(seconds: int) -> None:
    stage = Stage()
    for _ in range(4):
        stage.change("R3 dead")
        stage.manager.wait(seconds)
        stage.change("R3 back")
        stage.manager.wait(1)
    assert stage.ackers == "R1,R2,R3"


def test_a_new_leader_begins_to_count_anew() -> None:
    stage = Stage()
    stage.change("R3 dead")
    stage.manager.wait(4)
    stage.manager.take_over()
    stage.manager.wait(4)
    assert "R3" in stage.ackers
    stage.manager.wait(4)
    assert "R3" not in stage.ackers


# -- return


def test_a_released_one_that_answers_is_a_possible_acker_again() -> None:
    stage = Stage()
    stage.change("R3 dead")
    stage.manager.wait(LONG_S)
    stage.change("R3 back")
    assert (stage.promise, stage.ackers, stage.cluster.released) == ("yes", "R1,R2,R3", ())


def test_so_is_one_that_is_connected_to_the_primary_and_does_not_answer_us() -> None:
    stage = Stage()
    stage.change("R3 dead")
    stage.manager.wait(LONG_S)
    stage.change("R3 back cut")
    assert stage.ackers == "R1,R2,R3"
    assert stage.promise == "no, because possible ackers out of reach: R3"


def test_one_that_answers_only_when_the_primary_is_dead_is_asked() -> None:
    """Nobody saw it come back: it acknowledged alone, and is found when the receivers are stopped."""
    stage = Stage()
    stage.change("R3 dead")
    stage.manager.wait(LONG_S)
    for line in ("R3 back", "R1,R2 io=connecting", "P writes"):
        stage.world.change_line(line)
    stage.world.change_line("P dead")
    stage.manager.look(stage.keys("P", "R1", "R2"))  # type: ignore[arg-type]
    stage.manager.claim("dead_primary", "P")
    stage.manager.look(stage.keys("R3"))  # type: ignore[arg-type]
    recovery = stage.manager.run()
    assert (recovery.end, stage.world.name(stage.cluster.primary)) == (EndState.SUCCEEDED, "R3")
    assert recovery.errors == ()


# -- refusals


@pytest.mark.parametrize(
    ("change", "fields", "reason"),
    [
        ("R3 dead", {"lapses": 99}, "has changed meanwhile"),
        ("R3 back", {}, "answers again"),
        ("P semi-sync=2", {"names": ("R2", "R3")}, "fewer possible ackers"),
        ("P semi-sync=off", {}, "semi-sync is off"),
        ("R3 dead", {"names": ("P",)}, "none of them"),
        ("R3 dead", {"cluster_id": "c9"}, "there is no cluster"),
    ],
)
def test_a_release_is_refused(change: str, fields: dict[str, object], reason: str) -> None:
    stage = Stage()
    stage.change(change)
    names = fields.pop("names", ("R3",))
    given = {"cluster_id": "c1", "lapses": stage.cluster.lapses, "keys": stage.keys(*names), **fields}  # type: ignore[misc]
    result = stage.manager.propose(ReleaseAckers, **given)
    assert not result.ok and reason in result.reason
    assert stage.ackers == "R1,R2,R3"


def test_a_release_is_refused_while_the_cluster_is_recovered() -> None:
    stage = Stage()
    stage.change("R3 dead", "P dead")
    stage.manager.claim("dead_primary", "P")
    late = stage.manager.propose(ReleaseAckers, cluster_id="c1", keys=stage.keys("R3"), lapses=stage.cluster.lapses)
    assert not late.ok and "is being recovered" in late.reason


def test_only_who_was_released_is_admitted() -> None:
    stage = Stage()
    assert not stage.manager.propose(AdmitAckers, cluster_id="c1", keys=stage.keys("R3")).ok
    assert not stage.manager.propose(AdmitAckers, cluster_id="c9", keys=stage.keys("R3")).ok


# -- forget


def test_a_living_acker_is_not_forgotten_and_the_refusal_says_what_to_do() -> None:
    """Seen: forgotten, it went on to acknowledge; the primary died, and its writes were gone."""
    stage = Stage()
    refused = stage.manager.propose(ForgetServers, keys=stage.keys("R3"))
    assert not refused.ok
    for part in ("10.0.0.4:3306 answers and acknowledges writes to 10.0.0.1:3306", "Shut it down", "--force"):
        assert part in refused.reason
    assert stage.ackers == "R1,R2,R3"


def test_forced_it_ends_the_promise_for_as_long_as_it_acknowledges() -> None:
    stage = Stage()
    assert stage.manager.propose(ForgetServers, keys=stage.keys("R3"), forced=True).ok
    del stage.manager.seen[stage.world.fleet["R3"].key]
    stage.manager.look(stage.keys("P", "R1", "R2"))  # type: ignore[arg-type]
    assert stage.promise == "no, because 3 replicas acknowledge to P and only 2 of them are known"
    assert "forgotten" in stage.cluster.lapsed_because


def test_a_dead_one_may_be_forgotten_and_what_it_had_has_to_be_seen_with_others() -> None:
    stage = Stage()
    stage.change("R1,R2 io=connecting", "P writes", "R3 dead")
    assert stage.manager.propose(ForgetServers, keys=stage.keys("R3")).ok
    assert "10.0.0.4:3306: forgotten" in stage.cluster.lapsed_because
    assert "has" in stage.promise and "forgotten" in stage.promise
    stage.world.change_line("R1 io=running")
    stage.manager.look(stage.keys("P", "R1", "R2"))  # type: ignore[arg-type]
    assert stage.promise == "yes"


def test_where_nothing_is_promised_or_the_primary_goes_too_nothing_is_refused() -> None:
    asynchronous = Stage(STAR.replace("semi-sync=1", ""))
    asynchronous.change("R3 acks")
    assert asynchronous.ackers == "R3"
    assert asynchronous.manager.propose(ForgetServers, keys=asynchronous.keys("R3")).ok
    everybody = Stage()
    assert everybody.manager.propose(ForgetServers, keys=everybody.keys("P", "R1", "R2", "R3")).ok
