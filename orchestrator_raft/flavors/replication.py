"""Steps on a replica's channel, said alike by both dialects; a ``Grammar`` holds the words in which they differ.

Theory
- Every plan begins by asking the server how its channel is *now*, since facts may be as old as the last probe, and ends
  with a post-condition that is awaited. So each step can be done twice, or by a second manager, with the same end.
- We act on one channel, the unnamed default one or else the only one; where several are named, on none.
- STOP and START do what they say at once and then wait for the thread, as long as the thread is busy. The step's
  deadline bounds that wait for us; the request itself stays with the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator_raft.core.instance import Channel, ChannelOption, Facts, ThreadState
from orchestrator_raft.core.recovery.steps import PointTo
from orchestrator_raft.flavors.base import Account, Rows, Statement
from orchestrator_raft.flavors.options import Option, quoted, without_host_bound, write_options

NO_ERROR = ""
Options = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The words of one dialect for acting on a replication channel."""

    show: str
    """The statement that shows all channels."""
    channels: Callable[[Rows], tuple[Channel, ...]]
    """Its rows as channels."""
    replica: str
    """REPLICA or SLAVE, in START and STOP."""
    change: str
    """How a CHANGE statement begins."""
    prefix: str
    """SOURCE or MASTER, in the names of options."""
    by_gtid: str
    """The term that makes a channel replicate by GTID."""
    by_place: str
    """The one that makes it replicate by file and position."""
    until: str
    """START up to a place: with {name}, {file} and {position}."""
    applier_says: str
    """The column of the status in which the applier says what it does."""
    options: tuple[Option, ...]
    needed_options: Callable[[Options], tuple[ChannelOption, ...]]
    """Options without which a channel that has these would not come to life on another source."""
    demote: str
    """The term for a server that has written transactions itself; empty where there is none."""
    interrupt_receiver: tuple[Statement, ...] = ()
    """What to say before a receiver is stopped that waits for its source; empty where STOP ends that wait at once."""

    def say(self, template: str, channel: str) -> str:
        """A statement from a template that has the words {replica} and {channel}."""
        return template.format(replica=self.replica, channel=f"FOR CHANNEL {quoted(channel)}")


STOP = "STOP {replica} {channel}"
STOP_RECEIVER = "STOP {replica} IO_THREAD {channel}"
START = "START {replica} {channel}"
START_RECEIVER = "START {replica} IO_THREAD {channel}"
RESET = "RESET {replica} ALL {channel}"


def failing(complaint: str) -> Statement:
    """A statement that does nothing on the server and makes the step fail with this text."""
    return Statement(sql="DO 0", check=partial(_say, complaint))


def _say(complaint: str, _rows: Rows) -> str:
    return complaint


def acting_channel(channels: tuple[Channel, ...]) -> Channel | None:
    """The channel we act on, if there is one. Same rule as ``Facts.channel``."""
    for channel in channels:
        if channel.name == "":
            return channel
    return channels[0] if len(channels) == 1 else None


def with_channel(grammar: Grammar, act: Callable[[Channel], tuple[Statement, ...]]) -> Statement:
    """Ask for the channel and do ``act`` on it; nothing where there is none, a failure where nobody can tell which."""
    return Statement(sql=grammar.show, then=partial(_act, grammar, act))


def _act(grammar: Grammar, act: Callable[[Channel], tuple[Statement, ...]], rows: Rows) -> tuple[Statement, ...]:
    channels = grammar.channels(rows)
    channel = acting_channel(channels)
    if channel is not None:
        return act(channel)
    return (failing(_several(channels)),) if channels else ()


def _several(channels: tuple[Channel, ...]) -> str:
    names = ", ".join(channel.name for channel in channels)
    return f"it has the channels {names} and no default one, so nothing is done to any of them"


def awaited(grammar: Grammar, complaint_of: Callable[[Channel | None], str]) -> Statement:
    """The post-condition: shown again and again until the channel gives no cause for complaint."""
    return Statement(sql=grammar.show, check=partial(_complaint, grammar, complaint_of), until_checked=True)


def _complaint(grammar: Grammar, complaint_of: Callable[[Channel | None], str], rows: Rows) -> str:
    return complaint_of(acting_channel(grammar.channels(rows)))


# -- stop, start, reset ----------------------------------------------------------------------------------------------


def stop_receiver(grammar: Grammar) -> tuple[Statement, ...]:
    return with_channel(grammar, partial(_say_if_receiving, grammar)), awaited(grammar, _still_receiving)


def _say_if_receiving(grammar: Grammar, channel: Channel) -> tuple[Statement, ...]:
    if _is_down(channel.receiver):
        return ()
    interrupt = grammar.interrupt_receiver if channel.receiver is ThreadState.RUNNING else ()
    return (*interrupt, Statement(sql=grammar.say(STOP_RECEIVER, channel.name)))


def _is_down(state: ThreadState) -> bool:
    return state in (ThreadState.STOPPED, ThreadState.ABSENT)


def _still_receiving(channel: Channel | None) -> str:
    return NO_ERROR if channel is None or _is_down(channel.receiver) else "its receiver still runs"


def stop(grammar: Grammar) -> tuple[Statement, ...]:
    return with_channel(grammar, partial(_say_if_running, grammar)), awaited(grammar, _still_running)


def _say_if_running(grammar: Grammar, channel: Channel) -> tuple[Statement, ...]:
    return () if not _still_running(channel) else (Statement(sql=grammar.say(STOP, channel.name)),)


def _still_running(channel: Channel | None) -> str:
    if channel is None or (_is_down(channel.receiver) and _is_down(channel.applier)):
        return NO_ERROR
    return "its replication threads still run"


def start(grammar: Grammar) -> tuple[Statement, ...]:
    ask = Statement(sql=grammar.show, check=partial(_complaint, grammar, _no_source))
    return ask, with_channel(grammar, partial(_say_start, grammar)), awaited(grammar, _not_started)


def _no_source(channel: Channel | None) -> str:
    return "it has no source to replicate from" if channel is None else NO_ERROR


def _say_start(grammar: Grammar, channel: Channel) -> tuple[Statement, ...]:
    return (Statement(sql=grammar.say(START, channel.name)),)


def _not_started(channel: Channel | None) -> str:
    if channel is None:
        return _no_source(channel)
    if _is_down(channel.receiver) or channel.applier is not ThreadState.RUNNING:
        return f"replication does not run{errors(channel)}"
    return NO_ERROR


def errors(channel: Channel) -> str:
    """The errors of a channel's threads, to end a sentence with; empty where there are none."""
    found = [
        (channel.receiver_error_number, channel.receiver_error),
        (channel.applier_error_number, channel.applier_error),
    ]
    return "".join(f": {said} ({number})" for number, said in found if number)


def reset(grammar: Grammar) -> tuple[Statement, ...]:
    return *stop(grammar), with_channel(grammar, partial(_say_reset, grammar)), awaited(grammar, _still_there)


def _say_reset(grammar: Grammar, channel: Channel) -> tuple[Statement, ...]:
    return (Statement(sql=grammar.say(RESET, channel.name)),)


def _still_there(channel: Channel | None) -> str:
    return NO_ERROR if channel is None else f"it still has {channel.source} as its source"


def restart_receiver(grammar: Grammar) -> Statement:
    """Stop and start the receiver, if it runs."""
    return with_channel(grammar, partial(_say_restart, grammar))


def _say_restart(grammar: Grammar, channel: Channel) -> tuple[Statement, ...]:
    if _is_down(channel.receiver):
        return ()
    return tuple(Statement(sql=grammar.say(words, channel.name)) for words in (STOP_RECEIVER, START_RECEIVER))


# -- change of source ------------------------------------------------------------------------------------------------


def point_to(grammar: Grammar, step: PointTo, facts: Facts, account: Account | None) -> tuple[Statement, ...]:
    """Replicate from the step's source by GTID. A change of source keeps every option but the heartbeat period."""
    change = Statement(sql=grammar.show, then=partial(_change_or_fail, grammar, step, facts, account))
    pointed = awaited(grammar, partial(_not_pointed, step))
    if not step.start:
        return change, pointed
    started = Statement(
        sql=grammar.show,
        then=partial(_give_up_if_broken, grammar),
        check=partial(_not_followed, grammar, step),
        until_checked=True,
    )
    return change, with_channel(grammar, partial(_say_start, grammar)), pointed, started


def _change_or_fail(
    grammar: Grammar, step: PointTo, facts: Facts, account: Account | None, rows: Rows
) -> tuple[Statement, ...]:
    try:
        return _change(grammar, step, facts, account, rows)
    except ValueError as error:
        return (failing(f"its options cannot be set: {error}"),)


def _change(
    grammar: Grammar, step: PointTo, facts: Facts, account: Account | None, rows: Rows
) -> tuple[Statement, ...]:
    channels = grammar.channels(rows)
    channel = acting_channel(channels)
    if channel is None and channels:
        return (failing(_several(channels)),)
    if channel is None and account is None:
        return (failing("it has no replication account of its own, and none was given"),)
    options = wanted_options(grammar, step, channel)
    if channel is None:
        return (change_source(grammar, step, options, None, account),)
    given = None if channel.user else account
    if given is None and _is_pointed(step, options, channel, facts):
        return ()
    kept = with_heartbeat(grammar, options, channel, facts)
    return Statement(sql=grammar.say(STOP, channel.name)), change_source(grammar, step, kept, channel, given)


def wanted_options(grammar: Grammar, step: PointTo, channel: Channel | None) -> tuple[ChannelOption, ...]:
    """Options to set: those of the step, and those the channel cannot do without."""
    options = step.options if channel is not None else without_host_bound(grammar.options, step.options)
    present = channel.options if channel is not None else ()
    future = {option.name: option.value for option in (*present, *options)}
    return *options, *grammar.needed_options(future)


def _is_pointed(step: PointTo, options: tuple[ChannelOption, ...], channel: Channel, facts: Facts) -> bool:
    """Nothing is to be changed: the source is the wanted one and every wanted option is set already."""
    known = facts.channel.options if facts.channel is not None else ()
    present = {option.name: option.value for option in (*known, *channel.options)}
    as_wanted = all(present.get(option.name) == option.value for option in options)
    return channel.source == step.source and channel.uses_gtid and as_wanted


def with_heartbeat(
    grammar: Grammar, options: tuple[ChannelOption, ...], channel: Channel, facts: Facts
) -> tuple[ChannelOption, ...]:
    """A change of source keeps every option but this one, so it is named."""
    name = f"{grammar.prefix}_HEARTBEAT_PERIOD"
    period_s = channel.heartbeat_period_s
    if period_s is None and facts.channel is not None:
        period_s = facts.channel.heartbeat_period_s
    if period_s is None or name in {option.name for option in options}:
        return options
    return *options, ChannelOption(name, period_s)


def change_source(
    grammar: Grammar,
    step: PointTo,
    options: tuple[ChannelOption, ...],
    channel: Channel | None,
    account: Account | None,
) -> Statement:
    """The CHANGE statement. The account's password is in ``sql`` alone."""
    prefix = grammar.prefix
    terms = [
        f"{prefix}_HOST = {quoted(step.source.hostname)}",
        f"{prefix}_PORT = {step.source.port}",
        grammar.by_gtid,
        *write_options(grammar.options, options),
    ]
    if step.was_primary and grammar.demote:
        terms.append(grammar.demote)
    end = grammar.say("{channel}", channel.name if channel is not None else "")
    if account is None:
        return Statement(sql=f"{grammar.change} {', '.join(terms)} {end}")
    terms.append(f"{prefix}_USER = {quoted(account.user)}")
    return Statement(
        sql=f"{grammar.change} {', '.join([*terms, f'{prefix}_PASSWORD = {quoted(account.password)}'])} {end}",
        masked=f"{grammar.change} {', '.join([*terms, f'{prefix}_PASSWORD = ***'])} {end}",
    )


def _not_pointed(step: PointTo, channel: Channel | None) -> str:
    if channel is None or channel.source != step.source or not channel.uses_gtid:
        return f"its source is {channel.source if channel else 'none'}, not {step.source} by GTID"
    return NO_ERROR


def _give_up_if_broken(grammar: Grammar, rows: Rows) -> tuple[Statement, ...]:
    """A thread that has ended with an error does not come back by itself: no need to wait for the deadline."""
    channel = acting_channel(grammar.channels(rows))
    if channel is None:
        return ()
    receiver_broke = _is_down(channel.receiver) and channel.receiver_error_number != 0
    applier_broke = _is_down(channel.applier) and channel.applier_error_number != 0
    return (failing(f"replication stopped{errors(channel)}"),) if receiver_broke or applier_broke else ()


def _not_followed(grammar: Grammar, step: PointTo, rows: Rows) -> str:
    channel = acting_channel(grammar.channels(rows))
    complaint = _not_pointed(step, channel)
    if complaint or channel is None:
        return complaint
    if not channel.replicates:
        return f"it does not replicate from {step.source} yet{errors(channel)}"
    return NO_ERROR
