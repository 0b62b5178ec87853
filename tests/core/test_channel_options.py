"""The options of a replication channel (TLS and such) outlive the reset of the server that is promoted.

They are noted at the choice, since a promotion forgets them, and given to whoever replicates without having been a
replica: the old primary that is taken below its successor, and a successor that is made a replica again.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import ChannelOption
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.steps import Outcome, PointTo, SetWritable, Step
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306 semi-sync=1
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
  + R3 10.0.0.4:3306
""".splitlines()
TLS = (ChannelOption("SOURCE_SSL", 1), ChannelOption("SOURCE_SSL_CA", "/ca.pem"))


class Play:
    """The star, all of whose channels use TLS, and a recovery of it."""

    def __init__(self) -> None:
        self.world = World(STAR)
        self.fleet, self.manager = self.world.fleet, self.world.manager
        for name in ("R1", "R2", "R3"):
            self.fleet[name].options = TLS
        self.manager.look()
        self.pointed: dict[str, tuple[ChannelOption, ...]] = {}
        self.manager.hooks.after_step = self._note

    def _note(self, outcome: Outcome) -> None:
        if isinstance(outcome.step, PointTo) and outcome.ok:
            self.pointed[self.world.name(outcome.step.key)] = outcome.step.options

    def run(self, kind: str) -> Recovery:
        self.manager.claim(kind, "P", request=Request(by="anna", forced=True))
        return self.manager.run()


def test_an_old_primary_that_is_demoted_gets_the_options_of_its_successors_channel() -> None:
    play = Play()
    recovery = play.run("takeover")
    assert recovery.end is EndState.SUCCEEDED
    assert play.pointed["P"] == TLS
    assert play.fleet["P"].options == TLS
    assert play.fleet["R1"].options == (), "a promoted server has no channel"


def test_replicas_that_follow_keep_their_own_options() -> None:
    play = Play()
    play.fleet["R3"].options = (ChannelOption("SOURCE_SSL", 0),)
    play.manager.look()
    play.run("takeover")
    assert play.pointed["R2"] == play.pointed["R3"] == ()
    assert play.fleet["R3"].options == (ChannelOption("SOURCE_SSL", 0),)


def test_the_choice_of_a_failover_notes_them_as_well() -> None:
    play = Play()
    play.fleet.crash("P")
    play.manager.look()
    recovery = play.run("dead_primary")
    assert (recovery.end, recovery.channel_options) == (EndState.SUCCEEDED, TLS)


def test_a_successor_that_becomes_a_replica_again_gets_its_options_back() -> None:
    play = Play()

    def fails(step: Step) -> str | None:
        is_opened = isinstance(step, SetWritable) and step.key == play.fleet["R1"].key
        return "access denied" if is_opened else None

    play.manager.hooks.instead = fails
    recovery = play.run("takeover")
    assert recovery.end is EndState.UNDONE
    assert play.pointed["R1"] == TLS
    assert play.fleet["R1"].options == TLS
