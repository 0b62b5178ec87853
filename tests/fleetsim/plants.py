"""Planted bugs: what a builder might get wrong, one row each, and which check has to notice it.

That the simulator finds each of them, in a bounded number of seeds, is what its silence about the real code is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_raft.core.analysis import Confirmed
from orchestrator_raft.core.candidates import Promise, promised
from orchestrator_raft.core.instance import Channel, Facts
from orchestrator_raft.core.recovery import losses, rejoin
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.machine import Context
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import Outcomes, WaitApplied
from orchestrator_raft.core.replicated import State, claims, effects
from orchestrator_raft.core.topology import ClusterRecord
from orchestrator_raft.engine import watch
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.engine.supervisor import Supervisor
from orchestrator_raft.flavors import fencing, mariadb_fence, plans
from orchestrator_raft.mysql import sessions
from tests.fleetsim import checks
from tests.seeded import planting
from tests.seeded.planting import Patches


@dataclass(frozen=True, slots=True)
class Plant(planting.Plant):
    """One that may be rare."""

    is_rare: bool = False
    """It takes more seeds than an ordinary test run has time for: ``scripts/fleetsim --find-plants``."""


def _put_phase(patches: Patches, kind: str, name: str, **changes: Any) -> None:
    """In the table of recoveries."""
    row = KINDS[kind]
    phases = tuple(replace(each, **changes) if each.name == name else each for each in row.phases)
    patches.put_row(KINDS, kind, replace(row, phases=phases))


def _skip_authority(patches: Patches) -> None:
    patches.put(Hands, "require_authority", lambda self, term: None)


def _skip_lock(patches: Patches) -> None:
    async def take_nothing(*_details: Any, **_more: Any) -> None:
        """Neither taken nor asked who has it."""

    patches.put(sessions, "_take_lock", take_nothing)


def _promote_before_fence(patches: Patches) -> None:
    """A primary that answers is taken for fenced."""
    freeze = KINDS["dead_primary"].phase("freeze")

    def as_fenced(context: Context) -> Context:
        return replace(context, recovery=replace(context.recovery, fenced=True))

    def leave(context: Context, outcomes: Outcomes) -> Recovery:
        return freeze.leave(as_fenced(context), outcomes)

    _put_phase(patches, "dead_primary", "freeze", enter=lambda context: freeze.enter(as_fenced(context)), leave=leave)


def _ignore_missing_ackers(patches: Patches) -> None:
    patches.put(losses, "missing_ackers", lambda ackers, waits_for, stopped: ())


def _promote_without_drain(patches: Patches) -> None:
    plan = plans._plan

    def without_wait(speech: Any, step: Any, facts: Any, account: Any) -> Any:
        return () if isinstance(step, WaitApplied) else plan(speech, step, facts, account)

    patches.put(plans, "_plan", without_wait)


def _skip_eyes(patches: Patches) -> None:
    patches.put(watch, "confirm", lambda problem, *_more: Confirmed(problem.evidence))


def _forget_stale(patches: Patches) -> None:
    def unmarked(state: State, before: Recovery, after: Recovery) -> State:
        del before, after
        return state

    patches.put(effects, "_mark_stale", unmarked)


def _taken_over(patches: Patches, changed: Callable[[Recovery], Recovery]) -> None:
    """What a new leader makes of the record that it takes over."""
    take_over = Supervisor._take_over

    async def changing(self: Any, recovery_id: str) -> Recovery:
        before = self._recorded(recovery_id)
        after = await take_over(self, recovery_id)
        return after if before.term == after.term else changed(after)

    patches.put(Supervisor, "_take_over", changing)


def _restart(patches: Patches) -> None:
    def begun_anew(recovery: Recovery) -> Recovery:
        first = KINDS[recovery.kind].phases[0].name
        return replace(
            recovery, phase=first, attempt=1, successor=None, promoted=False, catch_up_from=None, target_gtids="",
            followers=(), stale=(), fenced=False, moved=(), timeline=(),
        )  # fmt: skip

    _taken_over(patches, begun_anew)


def _choose_again(patches: Patches) -> None:
    def chosen_anew(recovery: Recovery) -> Recovery:
        if recovery.kind != "dead_primary" or recovery.phase not in ("catch_up", "promote"):
            return recovery
        return replace(recovery, phase="freeze", attempt=1, successor=None, catch_up_from=None, target_gtids="")

    _taken_over(patches, chosen_anew)


def _rejoin_uncompared(patches: Patches) -> None:
    patches.put(rejoin, "extra_transactions", lambda server, primary: ("", ""))


def _count_lapsed(patches: Patches) -> None:
    def settings_alone(cluster: ClusterRecord, primary: Facts | None, *more: Any) -> Promise:
        if primary is None:
            return promised(cluster, primary, *more)
        semi_sync = replace(primary.semi_sync, source_active=primary.semi_sync.source_enabled)
        return promised(replace(cluster, caught_up=True), replace(primary, semi_sync=semi_sync), *more)

    patches.put(losses, "promised", settings_alone)


def _act_while_disabled(patches: Patches) -> None:
    refuse = claims._refuse_automatic

    def unswitched(state: State, recovery: Recovery, block_ms: int) -> Any:
        return refuse(replace(state, recoveries_disabled=False), recovery, block_ms)

    patches.put(claims, "_refuse_automatic", unswitched)


def _act_while_paused(patches: Patches) -> None:
    patches.put(claims, "refuse_paused", lambda state, cluster_id: "")


def _lend_delay(patches: Patches) -> None:
    patches.put(Channel, "options_for_others", property(lambda self: self.options))


def _kill_in_any_order(patches: Patches) -> None:
    """Waiting commits first: whoever has queued up behind them is told that his write is safe."""
    patches.put(mariadb_fence, "_kill_in_order", fencing.kills)


LOSS = (checks.LOST, checks.TWO_WRITERS, checks.ERRANT, checks.STUCK)
PLANTS = (
    Plant("skip-authority", "statements are sent without asking for authority", _skip_authority,
          (checks.NO_AUTHORITY, checks.NO_TOKEN, checks.LATE), theme="double"),
    Plant("skip-lock", "a session acts without the lock, and ends nobody's that has it", _skip_lock,
          (checks.LATE, checks.TWO_WRITERS, checks.LOST), theme="late", is_rare=True),
    Plant("promote-before-fence", "a primary that answers is replaced without being fenced", _promote_before_fence,
          LOSS, theme="orders"),
    Plant("ignore-missing-ackers", "a failover does not wait for possible ackers that are gone",
          _ignore_missing_ackers, LOSS, theme="acker"),
    Plant("promote-without-drain", "nobody waits until a server has applied what it received", _promote_without_drain,
          LOSS, theme="semi", is_rare=True),
    Plant("skip-eyes", "a primary that this node does not reach is dead", _skip_eyes, (checks.FALSE_ALARM,),
          theme="partitions"),
    Plant("forget-stale", "a primary that could not be fenced is on no list", _forget_stale,
          (checks.TWO_WRITERS, checks.STUCK, checks.ERRANT), theme="deaths"),
    Plant("restart", "a new leader begins a recovery at its beginning", _restart, LOSS, theme="double"),
    Plant("choose-again", "a new leader chooses another successor", _choose_again, LOSS, theme="double", is_rare=True),
    Plant("rejoin-uncompared", "a returning server is attached whatever it holds", _rejoin_uncompared,
          (checks.ERRANT,), theme="deaths"),
    Plant("count-lapsed", "semi-sync that is out of force counts as a promise", _count_lapsed, LOSS,
          theme="lapsed"),
    Plant("act-while-disabled", "the switch of automatic recoveries is not looked at", _act_while_disabled,
          (checks.DISABLED,), theme="disabled"),
    Plant("act-while-paused", "a pause of writes is not looked at", _act_while_paused, (checks.PAUSED,),
          theme="paused"),
    Plant("lend-delay", "a returning server gets the delay of the replica whose options it gets", _lend_delay,
          (checks.UNDELAYED, checks.STUCK), theme="delays"),
    Plant("kill-in-any-order", "a MariaDB primary is fenced by killing its sessions as they come",
          _kill_in_any_order, LOSS, theme="doors", is_rare=True),
)  # fmt: skip
BY_NAME = {plant.name: plant for plant in PLANTS}
