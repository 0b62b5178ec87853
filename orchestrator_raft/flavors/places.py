"""Moves by file and position, for replicas that do not use GTID: said alike by both dialects.

Theory. A position means something in one binary log only. So a replica is stopped exactly where another server stands,
whose position in the new source's log is known as well, and then changed over. To be changed from anywhere else would
leave transactions out or apply them twice; so a change names the place that the replica has to stand at, too.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.instance import Channel, Coordinates, Facts, Flavor, ThreadState
from orchestrator_raft.core.recovery.steps import PointAt, StartUntil
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.options import quoted, write_options
from orchestrator_raft.flavors.replication import (
    NO_ERROR,
    Grammar,
    awaited,
    errors,
    failing,
    stop,
    with_channel,
    with_heartbeat,
)
from orchestrator_raft.flavors.rows import named_values, number, text

NEW_WORDS_SINCE = (8, 2)


def ask_place(facts: Facts) -> str:
    """The statement that says where a server's own binary log ends. MariaDB's own one takes a privilege more."""
    if facts.flavor is Flavor.MARIADB:
        return "SHOW GLOBAL STATUS LIKE 'Binlog\\_snapshot\\_%'"
    return "SHOW BINARY LOG STATUS" if facts.major_version >= NEW_WORDS_SINCE else "SHOW MASTER STATUS"


def place_of(rows: Rows) -> Coordinates:
    """The place in its rows; empty where there is no binary log."""
    told = named_values(rows)
    if "binlog_snapshot_file" in told:
        return Coordinates(told["binlog_snapshot_file"], int(told["binlog_snapshot_position"] or 0))
    return Coordinates(text(rows[0], "File"), number(rows[0], "Position")) if rows else Coordinates()


def is_at_least(one: Coordinates, other: Coordinates) -> bool:
    """``one`` is there or further; a longer file number is a later file."""
    return _order(one) >= _order(other)


def _order(place: Coordinates) -> tuple[int, str, int]:
    return len(place.log_file), place.log_file, place.log_position


def start_until(grammar: Grammar, step: StartUntil) -> tuple[Statement, ...]:
    """Apply exactly so far and stop. One that is there already, or further, stays as it is."""
    start = with_channel(grammar, partial(_start, grammar, step.place))
    there = awaited(grammar, partial(_not_there, step.place))
    return start, there, *stop(grammar)


def _start(grammar: Grammar, place: Coordinates, channel: Channel) -> tuple[Statement, ...]:
    if is_at_least(channel.executed, place):
        return ()
    sql = grammar.until.format(name=quoted(channel.name), file=quoted(place.log_file), position=place.log_position)
    return (Statement(sql=sql),)


def _not_there(place: Coordinates, channel: Channel | None) -> str:
    if channel is None:
        return "it has no source to replicate from"
    if is_at_least(channel.executed, place):
        return NO_ERROR
    return f"it stands at {_said(channel.executed)} and not at {_said(place)} yet{errors(channel)}"


def _said(place: Coordinates) -> str:
    return f"{place.log_file}:{place.log_position}"


def point_at(grammar: Grammar, step: PointAt, facts: Facts) -> tuple[Statement, ...]:
    """From the one place to the other, and from nowhere else."""
    change = with_channel(grammar, partial(_change, grammar, step, facts))
    return change, awaited(grammar, partial(_not_pointed, step))


def _change(grammar: Grammar, step: PointAt, facts: Facts, channel: Channel) -> tuple[Statement, ...]:
    if channel.source == step.source and not channel.uses_gtid:
        return ()
    is_still = channel.applier is not ThreadState.RUNNING and channel.receiver is ThreadState.STOPPED
    if channel.source != step.left_source or channel.executed != step.left_at or not is_still:
        at = f"{_said(channel.executed)} of {channel.source}"
        return (failing(f"it is not where it has to be ({_said(step.left_at)} of {step.left_source}), but at {at}"),)
    prefix, present = grammar.prefix, {option.name: option.value for option in channel.options}
    options = with_heartbeat(grammar, grammar.needed_options(present), channel, facts)
    terms = [
        f"{prefix}_HOST = {quoted(step.source.hostname)}",
        f"{prefix}_PORT = {step.source.port}",
        f"{prefix}_LOG_FILE = {quoted(step.place.log_file)}",
        f"{prefix}_LOG_POS = {step.place.log_position}",
        grammar.by_place,
        *write_options(grammar.options, options),
    ]
    end = grammar.say("{channel}", channel.name)
    return (Statement(sql=f"{grammar.change} {', '.join(terms)} {end}"),)


def _not_pointed(step: PointAt, channel: Channel | None) -> str:
    if channel is None or channel.source != step.source or channel.uses_gtid:
        return f"its source is {channel.source if channel else 'none'}, not {step.source} by position"
    return NO_ERROR
