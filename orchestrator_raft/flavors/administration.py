"""What people have done to a single server, beside its replication threads and its role, in either dialect.

Rules
- A transaction to be skipped is the one that the server names in its error; nobody guesses the next number.
- A step that is repeated finds out what is done already, since a binary log cannot be emptied twice with the same end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.instance import Channel, Facts, Flavor, ThreadState
from orchestrator_raft.core.recovery.steps import (
    FlushBinaryLogs,
    InjectEmpty,
    KillQuery,
    PurgeBinaryLogs,
    ResetGtids,
    ServerStep,
    SetDelay,
    SkipTransaction,
)
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.fencing import NO_SUCH_SESSION
from orchestrator_raft.flavors.options import quoted
from orchestrator_raft.flavors.replication import NO_ERROR, Grammar, awaited, failing, with_channel
from orchestrator_raft.flavors.rows import text

Plan = tuple[Statement, ...]
AUTOMATIC = Statement(sql="SET SESSION gtid_next = 'AUTOMATIC'")
ASK_EXECUTED = "SELECT @@global.gtid_executed AS executed"
SHOW_LOGS = "SHOW BINARY LOGS"
FAILED_WORKERS = (
    "SELECT LAST_ERROR_MESSAGE AS said FROM performance_schema.replication_applier_status_by_worker "
    "WHERE LAST_ERROR_NUMBER <> 0"
)
_NAMED = re.compile(r"transaction '([^']+)'")
RENAMED_RESET = (8, 2)
"""Since this version of MySQL the statement names what it resets."""


@dataclass(frozen=True, slots=True)
class Words:
    """Where the dialects differ."""

    stop_applier: str
    skip_counter: str


WORDS = {
    Flavor.MYSQL: Words("STOP {replica} SQL_THREAD {channel}", "sql_replica_skip_counter"),
    Flavor.MARIADB: Words("STOP {replica} {channel}", "sql_slave_skip_counter"),
}
"""MariaDB changes a channel only while neither of its threads runs."""


def plan(grammar: Grammar, step: ServerStep, facts: Facts) -> Plan:
    """The statements of a step. Raises ValueError for one that no dialect knows."""
    match step:
        case FlushBinaryLogs():
            return (Statement(sql="FLUSH BINARY LOGS"),)
        case PurgeBinaryLogs():
            purge, left = partial(_purge, step), partial(_left, step)
            return (Statement(sql=SHOW_LOGS, then=purge, check=left, until_checked=True),)
        case KillQuery():
            return (Statement(sql=f"KILL QUERY {step.session}", ignored_errors=frozenset({NO_SUCH_SESSION})),)
        case SkipTransaction():
            return (with_channel(grammar, partial(_skip, facts)),)
        case SetDelay():
            change = with_channel(grammar, partial(_set_delay, grammar, WORDS[facts.flavor], step))
            return change, awaited(grammar, partial(_other_delay, step))
        case InjectEmpty():
            return _inject(step)
        case ResetGtids():
            return _reset_gtids(step, facts)
        case _:
            raise ValueError("no dialect knows this step")


# -- binary logs


def _before(step: PurgeBinaryLogs, rows: Rows) -> list[str]:
    names = [text(row, "Log_name") for row in rows]
    return names[: names.index(step.log_file)] if step.log_file in names else names


def _purge(step: PurgeBinaryLogs, rows: Rows) -> Plan:
    if not _before(step, rows):
        return ()
    return (Statement(sql=f"PURGE BINARY LOGS TO {quoted(step.log_file)}"),)


def _left(step: PurgeBinaryLogs, rows: Rows) -> str:
    """A log that a replica is reading is not deleted, and nothing is said of it."""
    left = _before(step, rows)
    return f"{', '.join(left[:3])} could not be deleted yet: a replica reads it" if left else NO_ERROR


# -- skip a transaction


def _skip(facts: Facts, channel: Channel) -> Plan:
    if not channel.applier_error_number or channel.applier is ThreadState.RUNNING:
        return ()
    if facts.flavor is Flavor.MYSQL and channel.uses_gtid:
        return (Statement(sql=FAILED_WORKERS, then=partial(_skip_named, channel)),)
    return (Statement(sql=f"SET GLOBAL {WORDS[facts.flavor].skip_counter} = 1"),)


def _skip_named(channel: Channel, rows: Rows) -> Plan:
    said = [*(text(row, "said") for row in rows), channel.applier_error]
    named = next((match[1] for each in said if (match := _NAMED.search(each)) is not None), "")
    if not named:
        return (failing(f"its error names no transaction, so it is not known which to skip: {channel.applier_error}"),)
    return *_empty(parse_mysql(named)), AUTOMATIC


def _empty(gtids: GtidSet) -> Plan:
    statements: list[Statement] = []
    for gtid in _one_by_one(gtids):
        statements += (Statement(sql=f"SET SESSION gtid_next = '{gtid}'"), Statement(sql="BEGIN"))
        statements.append(Statement(sql="COMMIT"))
    return tuple(statements)


def _one_by_one(gtids: GtidSet) -> Iterator[str]:
    for (uuid, tag), intervals in gtids.lines:
        name = f"{uuid}:{tag}" if tag else uuid
        yield from (f"{name}:{number}" for first, end in intervals for number in range(first, end))


# -- delay


def _set_delay(grammar: Grammar, words: Words, step: SetDelay, channel: Channel) -> Plan:
    if channel.delay_s == step.delay_s:
        return ()
    change = f"{grammar.change} {grammar.prefix}_DELAY = {step.delay_s} {{channel}}"
    return tuple(Statement(sql=grammar.say(each, channel.name)) for each in (words.stop_applier, change))


def _other_delay(step: SetDelay, channel: Channel | None) -> str:
    if channel is None:
        return "it has no source to replicate from"
    return NO_ERROR if channel.delay_s == step.delay_s else f"its delay is {channel.delay_s} s"


# -- errant transactions


def _inject(step: InjectEmpty) -> Plan:
    wanted = parse_mysql(step.gtids)
    return (
        Statement(sql=ASK_EXECUTED, then=partial(_inject_missing, wanted)),
        Statement(sql=ASK_EXECUTED, check=partial(_lacks, wanted)),
    )


def _executed(rows: Rows) -> GtidSet:
    return parse_mysql(text(rows[0], "executed"))


def _inject_missing(wanted: GtidSet, rows: Rows) -> Plan:
    missing = wanted.minus(_executed(rows))
    return (*_empty(missing), AUTOMATIC) if missing else ()


def _lacks(wanted: GtidSet, rows: Rows) -> str:
    missing = wanted.minus(_executed(rows))
    return f"it still lacks {missing}" if missing else NO_ERROR


def _reset_gtids(step: ResetGtids, facts: Facts) -> Plan:
    wanted = parse_mysql(step.executed)
    reset = "RESET BINARY LOGS AND GTIDS" if facts.major_version >= RENAMED_RESET else "RESET MASTER"
    return (
        Statement(sql=ASK_EXECUTED, then=partial(_reset_to, reset, wanted)),
        Statement(sql=ASK_EXECUTED, check=partial(_differs, wanted)),
    )


def _reset_to(reset: str, wanted: GtidSet, rows: Rows) -> Plan:
    if _executed(rows) == wanted:
        return ()
    return Statement(sql=reset), Statement(sql=f"SET GLOBAL gtid_purged = '{wanted}'")


def _differs(wanted: GtidSet, rows: Rows) -> str:
    if _executed(rows) == wanted:
        return NO_ERROR
    return f"its executed transactions are not as they should be: SET GLOBAL gtid_purged = '{wanted}' puts that right"
