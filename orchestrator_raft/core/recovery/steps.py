"""The short list of things a recovery may do. Frozen values; the executor performs them.

Rules
- A step names an absolute goal and is idempotent: doing it twice, or after a leader change, ends in the same state.
- Steps on one server run in the order given and stop at the first that fails; different servers run side by side.
- Every step has a deadline. How a step is said in SQL and how its success is checked is the flavour's business.
- ``required`` steps decide when a phase ends; the others may go on into the next phase, which names them again and so
  joins them instead of starting them twice. (So it is left out when steps are compared.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from orchestrator_raft.core.instance import ChannelOption, Coordinates, Facts, InstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Anything a recovery asks for."""

    writes: ClassVar[bool] = True
    """It changes a server, so it needs live authority and the session lock."""

    deadline_s: float = 2.0
    required: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep(Step):
    """A step on one server."""

    key: InstanceKey

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprobe(ServerStep):
    """Read the server anew; the outcome carries the facts and the inventory has them."""

    writes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence(ServerStep):
    """Nobody may write here any more: read-only in the strongest form there is, and all client sessions killed."""

    deadline_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReadOnly(ServerStep):
    """Refuse writes, leaving sessions alone. Waits for commits in progress, so its deadline matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWritable(ServerStep):
    """Accept writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReceiver(ServerStep):
    """Stop the IO thread: this replica receives and acknowledges nothing more. The applier goes on.

    A receiver that stands between two packets of a source that went silent takes its time to notice.
    """

    deadline_s: float = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReplication(ServerStep):
    """Stop receiver and applier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplication(ServerStep):
    """Start receiver and applier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetReplication(ServerStep):
    """Forget the source altogether: this server replicates from nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitApplied(ServerStep):
    """Wait until the server has executed ``gtids``; empty text: everything it has received.

    One that replicates by position has no other measure than its relay log: whatever came whole is executed.
    """

    writes: ClassVar[bool] = False
    gtids: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointTo(ServerStep):
    """Replicate from ``source`` by GTID, keeping options. Post-condition: that is the source and the applier runs."""

    source: InstanceKey
    options: tuple[ChannelOption, ...] = ()
    """Channel options to set; empty keeps those the server has."""
    credentials_from: tuple[InstanceKey, ...] = ()
    """Servers to ask for the replication account where the server has none of its own."""
    was_primary: bool = False
    """The server wrote transactions itself (MariaDB has to be told)."""
    start: bool = True

    def __str__(self) -> str:
        return f"PointTo {self.key} -> {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlace(ServerStep):
    """Ask where the server's own binary log ends; the outcome carries the place."""

    writes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUntil(ServerStep):
    """Apply exactly as far as ``place`` in the source's binary log, and stop. Who is there or further stays so."""

    place: Coordinates
    deadline_s: float = 10.0

    def __str__(self) -> str:
        return f"StartUntil {self.key} {self.place.log_file}:{self.place.log_position}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointAt(ServerStep):
    """Replicate from ``source`` from ``place`` on, by file and position; only from exactly the place that is named."""

    source: InstanceKey
    place: Coordinates
    left_source: InstanceKey
    left_at: Coordinates

    def __str__(self) -> str:
        return f"PointAt {self.key} -> {self.source} {self.place.log_file}:{self.place.log_position}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckClone(ServerStep):
    """See that this server can give its data to the CLONE plugin of another, or take another's."""

    writes: ClassVar[bool] = False
    as_donor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneFrom(ServerStep):
    """Replace all data of this server by a copy of ``donor``'s. The server restarts in the end, or ends."""

    donor: InstanceKey
    deadline_s: float = 6 * 3600.0

    def __str__(self) -> str:
        return f"CloneFrom {self.key} <- {self.donor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCopy(ServerStep):
    """Ask what became of a copy that began at most ``within_s`` seconds ago; the outcome's detail says it."""

    writes: ClassVar[bool] = False
    within_s: float = 0.0


COPIED = "copied"
COPYING = "copying"
"""What ``ReadCopy`` says of a copy that is whole, and of one that still runs; anything else says why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSemiSync(ServerStep):
    """Semi-sync for a role; None leaves a side as it is."""

    source_enabled: bool | None = None
    replica_enabled: bool | None = None
    wait_for_replica_count: int | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNetTimeout(ServerStep):
    """Give a source up that is silent for so long, and want a heartbeat twice as often. Leaves replication stopped."""

    timeout_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEventScheduler(ServerStep):
    """Run scheduled events, or run none; events that run already go on to their end."""

    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushBinaryLogs(ServerStep):
    """Begin a new binary log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeBinaryLogs(ServerStep):
    """Delete the binary logs before ``log_file``."""

    log_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipTransaction(ServerStep):
    """Count the transaction at which the applier stopped with an error as applied; nothing where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDelay(ServerStep):
    """Apply so much later than the source. The threads that this needs stopped stay stopped."""

    delay_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KillQuery(ServerStep):
    """End what a session is doing, not the session."""

    session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectEmpty(ServerStep):
    """Have these transactions in the binary log; those that it lacks are written empty."""

    gtids: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetGtids(ServerStep):
    """Empty the binary logs; exactly ``executed`` counts as executed afterwards."""

    executed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Step):
    """Do nothing until the deadline: the distance between two attempts."""

    writes: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"Pause {self.deadline_s} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class FireHook(Step):
    """Run one of the *Processes lists, in the order given. A failure of a fail-stop list fails the step."""

    writes: ClassVar[bool] = False
    hook: str
    fail_stop: bool = False

    def __str__(self) -> str:
        return f"FireHook {self.hook}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended. Times are milliseconds of replicated time; ``facts`` come with a Reprobe that succeeded."""

    step: Step
    ok: bool
    detail: str = ""
    at_ms: int = 0
    facts: Facts | None = None
    place: Coordinates | None = None

    @property
    def key(self) -> InstanceKey | None:
        return self.step.key if isinstance(self.step, ServerStep) else None


Outcomes = tuple[Outcome, ...]


def succeeded(outcomes: Outcomes, kind: type[ServerStep], key: InstanceKey) -> Outcome | None:
    """The last outcome of a step of this kind on this server that went well, if there is one."""
    found = [each for each in outcomes if each.ok and isinstance(each.step, kind) and each.key == key]
    return found[-1] if found else None


def failures(outcomes: Outcomes) -> tuple[str, ...]:
    """One line for each step that failed."""
    return tuple(f"{each.step}: {each.detail}" for each in outcomes if not each.ok)


def stopping(outcomes: Outcomes) -> tuple[str, ...]:
    """The same, but for hooks of a list that stops nothing."""
    return failures(tuple(each for each in outcomes if not isinstance(each.step, FireHook) or each.step.fail_stop))
