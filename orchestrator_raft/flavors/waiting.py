"""Waiting until a server has applied transactions: in pieces, so that a broken applier ends the wait at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orchestrator_raft.core.instance import Channel, ThreadState
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.replication import Grammar, acting_channel, errors, failing
from orchestrator_raft.flavors.rows import text

_PIECE_MIN_S = 0.25
_PIECES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What to wait for, in one dialect's words."""

    grammar: Grammar
    ask: str
    """The function that waits {seconds}; its one value is 0 when everything is applied."""
    compare: str
    """The statement that shows what is applied now."""
    lacks: Callable[[Rows], bool]
    """Whether something is missing in its rows."""
    total_s: float


def wait_limit_s(deadline_s: float) -> float:
    """How long to wait in a step with this deadline, so that the step can still say what it saw."""
    return max(0.1, deadline_s * 0.85 - 0.1)


def wait(wish: Wait, channel: Channel | None, left_s: float) -> tuple[Statement, ...]:
    """Wait for the next piece of time; or look once, where nobody applies anything."""
    if channel is None or channel.applier is not ThreadState.RUNNING:
        return (Statement(sql=wish.compare, check=partial(_never, wish, channel)),)
    piece_s = min(left_s, max(_PIECE_MIN_S, wish.total_s / _PIECES_MAX))
    return (Statement(sql=wish.ask.format(seconds=round(piece_s, 3)), then=partial(_after, wish, left_s - piece_s)),)


def _after(wish: Wait, left_s: float, rows: Rows) -> tuple[Statement, ...]:
    (value,) = rows[0].values()
    if str(value) == "0":
        return (Statement(sql=wish.compare, check=partial(_lacking, wish), until_checked=True),)
    if left_s <= 0:
        return (failing(f"it has not applied everything within {wish.total_s:.1f} s"),)
    return (Statement(sql=wish.grammar.show, then=partial(_again, wish, left_s)),)


def _again(wish: Wait, left_s: float, rows: Rows) -> tuple[Statement, ...]:
    return wait(wish, acting_channel(wish.grammar.channels(rows)), left_s)


def _lacking(wish: Wait, rows: Rows) -> str:
    return "it has not applied everything yet" if wish.lacks(rows) else ""


def _never(wish: Wait, channel: Channel | None, rows: Rows) -> str:
    if not wish.lacks(rows):
        return ""
    reason = "it replicates from nobody" if channel is None else f"its applier does not run{errors(channel)}"
    return f"it lacks transactions that it will not get: {reason}"


# -- by position

_READ_ALL = "has read all relay log"


def drained(grammar: Grammar, channel: Channel | None) -> tuple[Statement, ...]:
    """Wait until a channel that replicates by position has executed its relay log.

    What of a transaction came only in part is never executed; then the applier says that it has read all there is.
    """
    if channel is None or channel.uses_gtid:
        return ()
    check = partial(_not_drained, grammar)
    return (Statement(sql=grammar.show, then=partial(_give_up, grammar), check=check, until_checked=True),)


def _not_drained(grammar: Grammar, rows: Rows) -> str:
    channel = acting_channel(grammar.channels(rows))
    if channel is None or channel.executed == channel.read:
        return ""
    says = (text(row, grammar.applier_says) for row in rows)
    if channel.applier is ThreadState.RUNNING and any(_READ_ALL in each for each in says):
        return ""
    return (
        f"it has executed {channel.executed} of what it has received up to {channel.read}"
        if channel.applier is ThreadState.RUNNING
        else f"its applier does not run{errors(channel)}"
    )


def _give_up(grammar: Grammar, rows: Rows) -> tuple[Statement, ...]:
    """An applier that does not run executes nothing any more: no need to wait for the deadline."""
    complaint = _not_drained(grammar, rows)
    channel = acting_channel(grammar.channels(rows))
    stands = channel is not None and channel.applier is not ThreadState.RUNNING
    return (failing(complaint),) if complaint and stands else ()
