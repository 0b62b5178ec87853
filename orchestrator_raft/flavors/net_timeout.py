"""How soon a receiver notices that its source is silent: a server variable, and the channel's heartbeat period.

A channel takes another period only while it is stopped, and both count from the receiver's next start on. A change may
drop the relay log, so whoever asks for it has let it be applied before.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.instance import Channel
from orchestrator_raft.core.recovery.steps import SetNetTimeout
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.replication import NO_ERROR, STOP, Grammar, awaited, with_channel
from orchestrator_raft.flavors.rows import number


def set_net_timeout(grammar: Grammar, step: SetNetTimeout) -> tuple[Statement, ...]:
    name = f"{grammar.replica.lower()}_net_timeout"
    return (
        Statement(sql=f"SET GLOBAL {name} = {step.timeout_s}"),
        with_channel(grammar, partial(_change, grammar, step)),
        Statement(sql=f"SELECT @@global.{name} AS timeout_s", check=partial(_differs, name, step)),
        awaited(grammar, partial(_beats_otherwise, step)),
    )


def period_s(step: SetNetTimeout) -> float:
    return step.timeout_s / 2


def _change(grammar: Grammar, step: SetNetTimeout, channel: Channel) -> tuple[Statement, ...]:
    if channel.heartbeat_period_s == period_s(step):
        return ()
    change = f"{grammar.change} {grammar.prefix}_HEARTBEAT_PERIOD = {period_s(step):g}"
    end = grammar.say("{channel}", channel.name)
    return Statement(sql=grammar.say(STOP, channel.name)), Statement(sql=f"{change} {end}")


def _differs(name: str, step: SetNetTimeout, rows: Rows) -> str:
    now_s = number(rows[0], "timeout_s")
    return NO_ERROR if now_s == step.timeout_s else f"its {name} is {now_s}, not {step.timeout_s}"


def _beats_otherwise(step: SetNetTimeout, channel: Channel | None) -> str:
    """MySQL's status does not tell the period."""
    now_s = channel.heartbeat_period_s if channel is not None else None
    return NO_ERROR if now_s in (None, period_s(step)) else f"its heartbeat period is {now_s} s, not {period_s(step)} s"
