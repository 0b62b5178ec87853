"""Performs the steps of one phase: a short dumb loop around the hands.

Steps on one server run one after the other and stop at the first that fails; servers and hooks run side by side. The
phase has ended when every required step has ended or was not reached; the others go on, owned by this executor, and a
later phase that names the same steps on that server joins them. Whatever a step does, what comes back is an
``Outcome``. Only lost authority ends everything: hooks change the world as statements do, so they need it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from orchestrator_raft.core.errors import AuthorityLost, OrchestratorError, ServerError
from orchestrator_raft.core.instance import Coordinates, Facts, InstanceKey, Unreachable
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import (
    CloneFrom,
    FireHook,
    Outcome,
    Outcomes,
    Pause,
    PointTo,
    ReadCopy,
    ReadPlace,
    Reprobe,
    ResetReplication,
    ServerStep,
    Step,
)
from orchestrator_raft.engine.accounts import AccountBook
from orchestrator_raft.engine.discovery import Discovery
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.flavors.base import Account
from orchestrator_raft.flavors.cloning import ASK_COPY, copy_state
from orchestrator_raft.flavors.places import ask_place, place_of
from orchestrator_raft.ports import Clock, Hooks
from orchestrator_raft.tasks import Tasks

CLOSE_TIMEOUT_S = 5.0


class Executor:
    """Performs the steps of one recovery; closed when that has ended or was lost."""

    def __init__(
        self, tasks: Tasks, clock: Clock, *, hands: Hands, discovery: Discovery, inventory: Inventory,
        accounts: AccountBook, hooks: Hooks,
    ) -> None:  # fmt: skip
        self._tasks = tasks
        self._clock = clock
        self._hands = hands
        self._discovery = discovery
        self._inventory = inventory
        self._accounts = accounts
        self._hooks = hooks
        self._running: dict[InstanceKey | None, _Sequence] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the steps that nobody waits for any more; nothing of this executor acts afterwards."""
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(tuple(self._work), timeout=CLOSE_TIMEOUT_S)

    async def perform(self, steps: Sequence[Step], recovery: Recovery) -> Outcomes:
        """Outcomes of all steps that have ended by the time the required ones have. Raises AuthorityLost."""
        for pause in (step for step in steps if isinstance(step, Pause)):
            await self._clock.sleep(pause.deadline_s)
        sequences = [self._begin(key, group, recovery) for key, group in _by_server(steps).items()]
        required = [sequence.required_done.wait() for sequence in sequences if sequence.is_required]
        await asyncio.gather(*required)
        for sequence in sequences:
            sequence.raise_if_authority_was_lost()
        return tuple(outcome for sequence in sequences for outcome in sequence.outcomes)

    def _begin(self, key: InstanceKey | None, group: tuple[Step, ...], recovery: Recovery) -> _Sequence:
        running = self._running.get(key)
        if running is not None and not running.ended.is_set() and running.steps == group:
            running.require(group)
            return running
        sequence = _Sequence(group, after=running)
        self._running[key] = sequence
        work = sequence.run(lambda step: self._perform_one(step, recovery))
        task = self._tasks.start(f"steps on {key or 'hooks'}", work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return sequence

    async def _perform_one(self, step: Step, recovery: Recovery) -> Outcome:
        facts: Facts | None = None
        place: Coordinates | None = None
        detail = ""
        try:
            if isinstance(step, FireHook):
                await self._fire(step, recovery)
            elif isinstance(step, Reprobe):
                facts = await self._reprobe(step)
            elif isinstance(step, ReadPlace):
                place = await self._read_place(step, recovery)
            elif isinstance(step, ReadCopy):
                rows = await self._hands.ask(step.key, ASK_COPY, term=recovery.term, timeout_s=step.deadline_s)
                detail = copy_state(rows, step.within_s)
            elif isinstance(step, ServerStep):
                async with asyncio.timeout(step.deadline_s):
                    await self._act(step, recovery)
        except AuthorityLost:
            raise
        except TimeoutError:
            return self._outcome(step, ok=False, detail=f"not done within {step.deadline_s:g} s")
        except OrchestratorError as error:
            return self._outcome(step, ok=False, detail=str(error))
        return replace(self._outcome(step, ok=True, detail=detail), facts=facts, place=place)

    def _outcome(self, step: Step, *, ok: bool, detail: str = "") -> Outcome:
        return Outcome(step=step, ok=ok, detail=detail, at_ms=self._clock.wall_ms())

    async def _fire(self, step: FireHook, recovery: Recovery) -> None:
        self._hands.require_authority(recovery.term)
        report = await self._hooks.run(step.hook, recovery, fail_stop=step.fail_stop, timeout_s=step.deadline_s)
        if not report.ok:
            raise ServerError(report.detail)

    async def _reprobe(self, step: Reprobe) -> Facts:
        observation = await self._discovery.probe_now(step.key, timeout_s=step.deadline_s)
        if isinstance(observation.result, Unreachable):
            raise ServerError(f"{step.key}: {observation.result.kind.value}: {observation.result.detail}")
        return observation.result.facts

    async def _read_place(self, step: ReadPlace, recovery: Recovery) -> Coordinates:
        sql = ask_place(self._facts(step.key))
        return place_of(await self._hands.ask(step.key, sql, term=recovery.term, timeout_s=step.deadline_s))

    async def _act(self, step: ServerStep, recovery: Recovery) -> None:
        facts = self._facts(step.key)
        account: Account | None = None
        if isinstance(step, ResetReplication):
            await self._accounts.remember(recovery.cluster_id, facts, term=recovery.term)
        elif isinstance(step, CloneFrom):
            account = self._accounts.own
        elif isinstance(step, PointTo) and facts.channel is None:
            account = await self._account(step, recovery)
        await self._hands.perform(step, facts, term=recovery.term, account=account)

    async def _account(self, step: PointTo, recovery: Recovery) -> Account:
        known = (self._inventory.get(key) for key in step.credentials_from)
        servers = [each.facts for each in known if each is not None and each.facts is not None]
        account = await self._accounts.find(recovery.cluster_id, servers, term=recovery.term)
        if account is None:
            raise ServerError(
                f"{step.key}: no replication account is known to attach it with: set ReplicationCredentialsQuery to a "
                "query that answers with user and password on the servers of this cluster"
            )
        return account

    def _facts(self, key: InstanceKey) -> Facts:
        observation = self._inventory.get(key)
        if observation is None or observation.facts is None:
            raise ServerError(f"{key} has never been reached")
        return observation.facts


def _by_server(steps: Iterable[Step]) -> dict[InstanceKey | None, tuple[Step, ...]]:
    """Steps in order, by server; hooks form one sequence of their own."""
    groups: dict[InstanceKey | None, tuple[Step, ...]] = {}
    for step in steps:
        if not isinstance(step, Pause):
            key = step.key if isinstance(step, ServerStep) else None
            groups[key] = (*groups.get(key, ()), step)
    return groups


class _Sequence:
    """Steps on one server, run in order, after those of an earlier phase that still run there."""

    def __init__(self, steps: tuple[Step, ...], *, after: _Sequence | None = None) -> None:
        self.steps = steps
        self._after: asyncio.Event | None = after.ended if after is not None else None
        self.outcomes: list[Outcome] = []
        self.required_done = asyncio.Event()
        self.ended: asyncio.Event = asyncio.Event()
        self._required_count = _count_required(steps)
        self._lost: AuthorityLost | None = None

    @property
    def is_required(self) -> bool:
        return self._required_count > 0

    def require(self, steps: tuple[Step, ...]) -> None:
        """A later phase names the same steps: now its required ones are waited for."""
        self._required_count = _count_required(steps)
        if len(self.outcomes) < self._required_count and not self.ended.is_set():
            self.required_done.clear()

    async def run(self, perform: Callable[[Step], Awaitable[Outcome]]) -> None:
        try:
            if self._after is not None:
                await self._after.wait()
            for step in self.steps:
                outcome = await perform(step)
                self.outcomes.append(outcome)
                if len(self.outcomes) >= self._required_count:
                    self.required_done.set()
                if not outcome.ok and _stops_the_rest(step):
                    return
        except AuthorityLost as lost:
            self._lost = lost
        finally:
            self.required_done.set()
            self.ended.set()

    def raise_if_authority_was_lost(self) -> None:
        if self._lost is not None:
            raise self._lost


def _stops_the_rest(step: Step) -> bool:
    """A failed step on a server ends its sequence; of the hooks only a fail-stop list does."""
    return step.fail_stop if isinstance(step, FireHook) else True


def _count_required(steps: tuple[Step, ...]) -> int:
    """How many steps, from the first, have to end before the last required one has."""
    return max((position for position, step in enumerate(steps, start=1) if step.required), default=0)
