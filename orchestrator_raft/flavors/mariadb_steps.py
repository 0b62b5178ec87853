"""MariaDB: every step of a recovery as statements.

Fencing, found on 10.11 with semi-sync and every acker stopped: a commit that waits for an acknowledgement holds the
locks that read_only needs, but KILL ends it: its client is cut off without an answer and the commit ends locally. New
commits may hang before SET GLOBAL read_only comes through; so kill and set are repeated. Semi-sync stays on all the
time, so nobody is told that a commit succeeded. read_only does not bind accounts with READ_ONLY ADMIN: their sessions
are killed like all others, but they may come back and write.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.gtid import GtidSet, parse_mariadb
from orchestrator_raft.core.gtid.gtid_set import DomainServer
from orchestrator_raft.core.instance import Channel, ThreadState
from orchestrator_raft.core.recovery.steps import PointTo, SetReadOnly, WaitApplied
from orchestrator_raft.flavors import fencing, mariadb_rows
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.replication import Grammar, acting_channel, errors
from orchestrator_raft.flavors.rows import flag, number

_READ_ONLY = "SET GLOBAL read_only = ON"
_ASK_READ_ONLY = "SELECT @@global.read_only AS read_only"
_ASK_POSITIONS = "SELECT @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos"
_TIMED_OUT = frozenset({fencing.LOCK_WAIT_TIMEOUT})
_FENCE_ATTEMPTS = 3
_WAIT_CHUNK_S = 0.25


def _extra_terms(step: PointTo, _future: dict[str, object]) -> tuple[str, ...]:
    """A server that wrote transactions itself starts from its own binary log's position: its gtid_slave_pos is old."""
    return ("MASTER_DEMOTE_TO_SLAVE = 1",) if step.was_primary else ()


GRAMMAR = Grammar(
    show=mariadb_rows.SHOW_CHANNELS,
    channels=mariadb_rows.channels,
    replica="SLAVE",
    change="CHANGE MASTER TO",
    prefix="MASTER",
    by_gtid="MASTER_USE_GTID = slave_pos",
    options=mariadb_rows.OPTIONS,
    extra_terms=_extra_terms,
)


def fence() -> tuple[Statement, ...]:
    return fencing.as_myself(_fence)


def _fence(own_user: str) -> tuple[Statement, ...]:
    return (
        Statement(sql="SET SESSION lock_wait_timeout = 1"),
        *_shut(own_user, _FENCE_ATTEMPTS),
        fencing.kill_clients_until_gone(own_user),
        Statement(sql=_ASK_READ_ONLY, check=_not_read_only),
    )


def _shut(own_user: str, attempts: int) -> tuple[Statement, ...]:
    return (
        fencing.kill_clients(own_user),
        Statement(sql=_READ_ONLY, ignored_errors=_TIMED_OUT),
        Statement(sql=_ASK_READ_ONLY, then=partial(_shut_again, own_user, attempts - 1)),
    )


def _shut_again(own_user: str, attempts: int, rows: Rows) -> tuple[Statement, ...]:
    return _shut(own_user, attempts) if attempts > 0 and _not_read_only(rows) else ()


def _not_read_only(rows: Rows) -> str:
    return "" if flag(rows[0], "read_only") else "it is not read_only"


def set_read_only(step: SetReadOnly) -> tuple[Statement, ...]:
    wait_s = max(1, int(step.deadline_s) - 1)
    return (
        Statement(sql=f"SET SESSION lock_wait_timeout = {wait_s}"),
        Statement(sql=_READ_ONLY, ignored_errors=_TIMED_OUT),
        Statement(sql=_ASK_READ_ONLY, check=partial(_commits_in_progress, wait_s)),
    )


def _commits_in_progress(wait_s: int, rows: Rows) -> str:
    if not _not_read_only(rows):
        return ""
    return f"commits or statements in progress did not end within {wait_s} s, so it is not read-only"


def set_writable() -> tuple[Statement, ...]:
    return (Statement(sql="SET GLOBAL read_only = OFF"), Statement(sql=_ASK_READ_ONLY, check=_still_read_only))


def _still_read_only(rows: Rows) -> str:
    return "it is still read_only" if flag(rows[0], "read_only") else ""


def wait_applied(step: WaitApplied) -> tuple[Statement, ...]:
    """Wait for the named transactions, or for all that the channel has received."""
    wanted = parse_mariadb(step.gtids) if step.gtids else None
    return (Statement(sql=GRAMMAR.show, then=partial(_wait, wanted)),)


def _wait(wanted: GtidSet | None, rows: Rows) -> tuple[Statement, ...]:
    channel = acting_channel(GRAMMAR.channels(rows))
    received = channel.retrieved if channel is not None else None
    target = wanted if wanted is not None else received
    if target is None or target.is_empty:
        return ()
    return (Statement(sql=_ASK_POSITIONS, then=partial(_wait_unless_applied, target, channel)),)


def _wait_unless_applied(target: GtidSet, channel: Channel | None, rows: Rows) -> tuple[Statement, ...]:
    if not _lacking(target, rows):
        return ()
    if channel is None or channel.applier is not ThreadState.RUNNING:
        return (Statement(sql=_ASK_POSITIONS, check=partial(_never, target, channel)),)
    ask = f"SELECT MASTER_GTID_WAIT('{last_of_each_domain(target)}', {_WAIT_CHUNK_S}) AS outcome"
    return (
        Statement(sql=ask, then=partial(_look_after_applier, target), check=_is_late, until_checked=True),
        Statement(sql=_ASK_POSITIONS, check=partial(_lacking, target), until_checked=True),
    )


def last_of_each_domain(target: GtidSet) -> str:
    """What MASTER_GTID_WAIT takes: one transaction a domain, the one with the highest number."""
    last: dict[int, tuple[int, int]] = {}
    for key, intervals in target.lines:
        pair, newest = DomainServer(*key), intervals[-1][1] - 1
        last[pair.domain_id] = max(last.get(pair.domain_id, (0, 0)), (newest, pair.server_id))
    return ",".join(f"{domain}-{server}-{newest}" for domain, (newest, server) in sorted(last.items()))


def _lacking(target: GtidSet, rows: Rows) -> str:
    return "" if mariadb_rows.executed(rows[0]).covers(target) else "it has not applied everything yet"


def _never(target: GtidSet, channel: Channel | None, rows: Rows) -> str:
    if not _lacking(target, rows):
        return ""
    reason = "it replicates from nobody" if channel is None else f"its applier does not run{errors(channel)}"
    return f"it lacks transactions that it will not get: {reason}"


def _look_after_applier(target: GtidSet, rows: Rows) -> tuple[Statement, ...]:
    return (Statement(sql=GRAMMAR.show, then=partial(_give_up, target)),) if _is_late(rows) else ()


def _give_up(target: GtidSet, rows: Rows) -> tuple[Statement, ...]:
    channel = acting_channel(GRAMMAR.channels(rows))
    if channel is not None and channel.applier is ThreadState.RUNNING:
        return ()
    return (Statement(sql=_ASK_POSITIONS, check=partial(_never, target, channel)),)


def _is_late(rows: Rows) -> str:
    return "it has not applied everything yet" if number(rows[0], "outcome") else ""
