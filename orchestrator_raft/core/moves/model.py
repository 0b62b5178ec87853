"""What a person asks for, and the plan that comes of it. All of it is replicated and shown, so it holds no secrets.

Theory. A plan is decided purely, in full, before anything is done: stages one after the other, in each of them acts on
servers side by side, and beside them the acts that put back what the stage did. So it can be shown before it is done, a
new leader goes on with the stage it finds, and whatever fails is put back in reverse.

Rules
- An act names an absolute goal. Where it depends on what only shows once servers stand still (a binary log's position,
  a set of transactions), it names the server to look at, and the look is taken when its stage begins.
- Servers that others' acts look at have been stopped by an earlier stage, so the answer stays true for a new leader.
- A plan that is ``piecemeal`` moves servers that have nothing to do with each other: what fails is put back alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from orchestrator_raft.core.instance import ChannelOption, Coordinates, InstanceKey

TEXT_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for: the name of the operation and its arguments."""

    operation: str
    server: InstanceKey
    target: InstanceKey | None = None
    pattern: str = ""
    """Regex on ``host:port``: of several servers, only those it matches."""
    text: str = ""
    number: int = 0
    forced: bool = False


class Verb(Enum):
    """What is done to a server."""

    STOP = "stop replication"
    STOP_RECEIVER = "receive nothing more"
    DRAIN = "apply all that it has received"
    START = "start replication"
    POINT = "replicate by GTID from"
    WAIT = "wait until it has applied what there is at"
    READ_PLACE = "say where its binary log ends"
    UNTIL = "apply exactly as far as"
    POINT_AT = "replicate by position from"
    RESET = "forget its source"
    CLOSE = "refuse writes"
    OPEN = "take writes"
    DELAY = "apply later than its source by seconds:"
    SKIP = "skip the transaction that stopped its applier"
    KILL_QUERY = "end what this session does:"
    FLUSH = "begin a new binary log"
    PURGE = "delete the binary logs before"
    AWAIT_ACKS = "wait for semi-sync replicas"
    AWAIT_NO_ACKS = "wait for no semi-sync replica"
    ACKNOWLEDGE = "acknowledge what it receives"
    ACKNOWLEDGE_NOTHING = "acknowledge nothing"
    INJECT = "write these transactions empty:"
    FORGET_GTIDS = "empty its binary logs, and forget"
    HAVE_GTIDS = "empty its binary logs, and have executed exactly"


NUMBERED = frozenset({Verb.DELAY, Verb.KILL_QUERY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing done to one server."""

    verb: Verb
    key: InstanceKey
    source: InstanceKey | None = None
    starts: bool = True
    """A changed source is followed at once."""
    was_primary: bool = False
    """The server wrote transactions itself until now."""
    credentials_from: tuple[InstanceKey, ...] = ()
    options: tuple[ChannelOption, ...] = ()
    """Options of the channel, where it is made anew."""
    at: tuple[InstanceKey, ...] = ()
    """Servers to look at when the stage begins."""
    log_of: InstanceKey | None = None
    """Whose binary log ``left_at`` is a place in: the source before, where there is a new one."""
    place: Coordinates | None = None
    """Where to go on in the new source's binary log; known when the stage begins, like the next one."""
    left_at: Coordinates | None = None
    """Where the server has to stand, or to get to, in the binary log of ``log_of``."""
    text: str = ""
    number: int = 0
    deadline_s: float = 10.0

    def __str__(self) -> str:
        object_ = self.source if self.source is not None else ", ".join(map(str, self.at))
        said = str(self.number) if self.verb in NUMBERED else str(object_ or self.text)
        return " ".join(filter(None, (f"{self.key}: {self.verb.value}", said)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server's own binary log ended when it stood still."""

    key: InstanceKey
    log: Coordinates


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Acts that are done side by side, those on one server in order."""

    text: str
    acts: tuple[Act, ...] = ()
    undo: tuple[Act, ...] = ()
    """Puts back what this stage did, whether it did it or not."""
    stays: bool = False
    """Once it is done it is not put back when a later stage fails: servers have gone on from there."""
    repeats: bool = True
    """It is tried once more when it fails."""
    is_final: bool = False
    """What it does cannot be put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A server that stays as it is, and why."""

    key: InstanceKey
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done."""

    text: str
    """One line for people."""
    how: str = ""
    """By which means servers find their place below the new source."""
    stages: tuple[Stage, ...] = ()
    reads: tuple[InstanceKey, ...] = ()
    """Servers that the plan rests on; they are read anew before it begins."""
    movers: tuple[InstanceKey, ...] = ()
    """Servers that the operation is about: they are reported one by one."""
    places: tuple[Place, ...] = ()
    """What was read on the way."""
    piecemeal: bool = False
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    block_s: float = 0.0
    """How long clients' writes are expected to wait, at most."""
    shown: InstanceKey | None = None
    """The server that the answer is about, as with the peers; None: the movers."""
    hook: str = ""
    """The *Processes list that runs when it is done."""
    successor: InstanceKey | None = None
    """For the hook: the server that took a place."""
    demoted: InstanceKey | None = None
    """For the hook: the server whose place that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a plan has been carried out."""

    stage: int = 0
    """The stage that is being done, or put back."""
    failing: tuple[InstanceKey, ...] = ()
    """Of a piecemeal plan: servers that are being put back while the others stay."""
    reached: int = 0
    """The stage in which they failed; the plan goes on after it. Where all is put back: how far it had come."""


NOT_BEGUN = Progress()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it is not done; the text says what to do instead where there is something."""

    reason: str
    passes: bool = False
    """Once the servers are read again it may be otherwise."""


def counted(count: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


Planned = Plan | Refusal
HOW_GTID = "GTID"
HOW_PLACE = "the same coordinates"


def joined(plans: tuple[Plan, ...], parallel: int) -> tuple[Stage, ...]:
    """Stages of plans that have nothing to do with each other: up to ``parallel`` of them side by side, then the next.

    The plans of one such batch have their n-th stages together, since each waits for its own only.
    """
    stages: list[Stage] = []
    for first in range(0, len(plans), parallel):
        batch = plans[first : first + parallel]
        for number in range(max(len(plan.stages) for plan in batch)):
            together = [plan.stages[number] for plan in batch if number < len(plan.stages)]
            stages.append(_merged(together))
    return tuple(stages)


def _merged(stages: list[Stage]) -> Stage:
    if len(stages) == 1:
        return stages[0]
    waits: dict[InstanceKey, Act] = {}
    acts: list[Act] = []
    for act in (act for stage in stages for act in stage.acts):
        if act.verb is Verb.WAIT:
            before = waits.get(act.key)
            waits[act.key] = act if before is None else replace(before, at=(*before.at, *act.at))
        else:
            acts.append(act)
    text = "; ".join(dict.fromkeys(stage.text for stage in stages))
    undo = tuple(act for stage in stages for act in stage.undo)
    return Stage(text=text[:TEXT_MAX], acts=(*waits.values(), *acts), undo=undo)
