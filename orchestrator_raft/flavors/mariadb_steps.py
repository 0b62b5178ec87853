"""MariaDB: every step of a recovery as statements."""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.gtid import EMPTY_MARIADB, GtidSet, parse_mariadb
from orchestrator_raft.core.gtid.gtid_set import DomainServer
from orchestrator_raft.core.instance import Channel, ChannelOption
from orchestrator_raft.core.recovery.steps import SetReadOnly, WaitApplied
from orchestrator_raft.flavors import fencing, mariadb_fence, mariadb_rows
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.fencing import LOCK_WAIT_TIMEOUT
from orchestrator_raft.flavors.replication import Grammar, Options, acting_channel
from orchestrator_raft.flavors.rows import flag, number, text
from orchestrator_raft.flavors.waiting import Wait, drained, wait, wait_limit_s

_ASK_POSITIONS = "SELECT @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos"


_RECEIVER = "Slave_IO"
_WAITS_FOR_SOURCE = "Waiting for master to send event"
_PAUSE = "DO SLEEP(0.005)"
_LOOKS_MAX = 20


def _end_waiting_receiver(rows: Rows) -> tuple[Statement, ...]:
    """Under semi-sync a receiver that STOP ends logs in to its source first, to end its sender there, and waits two
    seconds where that is frozen. One that is killed does not, if STOP is not said before it is gone. Where there are
    several receivers nobody can tell whose is which."""
    receivers = [row for row in rows if text(row, "Command") == _RECEIVER]
    if len(receivers) != 1 or text(receivers[0], "State") != _WAITS_FOR_SOURCE:
        return ()
    session = number(receivers[0], "Id")
    ignored = frozenset({fencing.NO_SUCH_SESSION, fencing.NOT_ALLOWED})
    return Statement(sql=f"KILL {session}", ignored_errors=ignored), *_gone(session, _LOOKS_MAX)


def _gone(session: int, looks: int) -> tuple[Statement, ...]:
    return Statement(sql=_PAUSE), Statement(sql=fencing.SHOW_SESSIONS, then=partial(_look_again, session, looks - 1))


def _look_again(session: int, looks: int, rows: Rows) -> tuple[Statement, ...]:
    is_there = any(number(row, "Id") == session for row in rows)
    return _gone(session, looks) if is_there and looks > 0 else ()


def _needed_options(_future: Options) -> tuple[ChannelOption, ...]:
    return ()


GRAMMAR = Grammar(
    show=mariadb_rows.SHOW_CHANNELS,
    channels=mariadb_rows.channels,
    replica="SLAVE",
    change="CHANGE MASTER TO",
    prefix="MASTER",
    by_gtid="MASTER_USE_GTID = slave_pos",
    by_place="MASTER_USE_GTID = no",
    until="START SLAVE {name} UNTIL MASTER_LOG_FILE = {file}, MASTER_LOG_POS = {position}",
    applier_says="Slave_SQL_State",
    options=mariadb_rows.OPTIONS,
    needed_options=_needed_options,
    demote="MASTER_DEMOTE_TO_SLAVE = 1",  # start from the own binary log's position: gtid_slave_pos is old
    interrupt_receiver=(Statement(sql=fencing.SHOW_SESSIONS, then=_end_waiting_receiver),),
)


def set_read_only(step: SetReadOnly) -> tuple[Statement, ...]:
    wait_s = max(1, int(step.deadline_s) - 1)
    return (
        Statement(sql=f"SET SESSION lock_wait_timeout = {wait_s}"),
        Statement(sql=mariadb_fence.READ_ONLY, ignored_errors=frozenset({LOCK_WAIT_TIMEOUT})),
        Statement(sql=mariadb_fence.ASK_READ_ONLY, check=partial(_commits_in_progress, wait_s)),
    )


def _commits_in_progress(wait_s: int, rows: Rows) -> str:
    if not mariadb_fence.not_read_only(rows):
        return ""
    return f"commits or statements in progress did not end within {wait_s} s, so it is not read-only"


def set_writable() -> tuple[Statement, ...]:
    open_up = Statement(sql="SET GLOBAL read_only = OFF")
    ask = Statement(sql=mariadb_fence.ASK_READ_ONLY, check=_still_read_only)
    return open_up, mariadb_fence.open_own_doors(), ask


def _still_read_only(rows: Rows) -> str:
    return "it is still read_only" if flag(rows[0], "read_only") else ""


def wait_applied(step: WaitApplied) -> tuple[Statement, ...]:
    """Wait for the named transactions, or for all that the channel has received."""
    wanted = parse_mariadb(step.gtids) if step.gtids else None
    return (Statement(sql=GRAMMAR.show, then=partial(_wait, wanted, wait_limit_s(step.deadline_s))),)


def _wait(wanted: GtidSet | None, limit_s: float, rows: Rows) -> tuple[Statement, ...]:
    channel = acting_channel(GRAMMAR.channels(rows))
    received = channel.retrieved if channel is not None else None
    target = wanted if wanted is not None else received or EMPTY_MARIADB
    is_by_position = wanted is None and channel is not None and not channel.uses_gtid  # then Gtid_IO_Pos is old
    if target.is_empty or is_by_position:
        return drained(GRAMMAR, channel)
    wish = Wait(
        grammar=GRAMMAR,
        ask=f"SELECT MASTER_GTID_WAIT('{last_of_each_domain(target)}', {{seconds}}) AS late",
        compare=_ASK_POSITIONS,
        lacks=partial(_lacks, target),
        total_s=limit_s,
    )
    return (Statement(sql=_ASK_POSITIONS, then=partial(_wait_unless_applied, wish, channel)),)


def _wait_unless_applied(wish: Wait, channel: Channel | None, rows: Rows) -> tuple[Statement, ...]:
    return wait(wish, channel, wish.total_s) if wish.lacks(rows) else ()


def _lacks(target: GtidSet, rows: Rows) -> bool:
    return not mariadb_rows.executed(rows[0]).covers(target)


def last_of_each_domain(target: GtidSet) -> str:
    """What MASTER_GTID_WAIT takes: one transaction a domain, the one with the highest number."""
    last: dict[int, tuple[int, int]] = {}
    for key, intervals in target.lines:
        pair, newest = DomainServer(*key), intervals[-1][1] - 1
        last[pair.domain_id] = max(last.get(pair.domain_id, (0, 0)), (newest, pair.server_id))
    return ",".join(f"{domain}-{server}-{newest}" for domain, (newest, server) in sorted(last.items()))
