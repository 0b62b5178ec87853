"""MySQL: every step of a recovery as statements."""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.gtid import EMPTY_MYSQL, GtidSet, parse_mysql
from orchestrator_raft.core.instance import ChannelOption, Facts
from orchestrator_raft.core.recovery.steps import SetReadOnly, WaitApplied
from orchestrator_raft.flavors import mysql_fence, mysql_rows
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.fencing import LOCK_WAIT_TIMEOUT
from orchestrator_raft.flavors.replication import Grammar, Options, acting_channel
from orchestrator_raft.flavors.rows import flag
from orchestrator_raft.flavors.waiting import Wait, drained, wait, wait_limit_s


def _needed_options(future: Options) -> tuple[ChannelOption, ...]:
    """Without TLS a new source, which has not seen the account yet, needs its public key to log the replica in."""
    if future.get("SOURCE_SSL") == 1 or future.get("SOURCE_PUBLIC_KEY_PATH") or future.get("GET_SOURCE_PUBLIC_KEY"):
        return ()
    return (ChannelOption("GET_SOURCE_PUBLIC_KEY", 1),)


GRAMMAR = Grammar(
    show=mysql_rows.SHOW_CHANNELS,
    channels=mysql_rows.channels,
    replica="REPLICA",
    change="CHANGE REPLICATION SOURCE TO",
    prefix="SOURCE",
    by_gtid="SOURCE_AUTO_POSITION = 1",
    by_place="SOURCE_AUTO_POSITION = 0",
    until="START REPLICA UNTIL SOURCE_LOG_FILE = {file}, SOURCE_LOG_POS = {position} FOR CHANNEL {name}",
    applier_says="Replica_SQL_Running_State",
    options=mysql_rows.OPTIONS,
    needed_options=_needed_options,
    demote="",
)


def set_read_only(step: SetReadOnly) -> tuple[Statement, ...]:
    wait_s = max(1, int(step.deadline_s) - 1)
    return (
        Statement(sql=f"SET SESSION lock_wait_timeout = {wait_s}"),
        Statement(sql=mysql_fence.READ_ONLY, ignored_errors=frozenset({LOCK_WAIT_TIMEOUT})),
        Statement(sql=mysql_fence.ASK_READ_ONLY, check=partial(_commits_in_progress, wait_s)),
    )


def _commits_in_progress(wait_s: int, rows: Rows) -> str:
    if not mysql_fence.not_read_only(rows):
        return ""
    return f"commits or statements in progress did not end within {wait_s} s, so it is not read-only"


def set_writable() -> tuple[Statement, ...]:
    ask = "SELECT @@global.read_only AS read_only"
    open_up = Statement(sql="SET GLOBAL read_only = OFF")
    return open_up, mysql_fence.open_own_doors(), Statement(sql=ask, check=_is_read_only)


def _is_read_only(rows: Rows) -> str:
    return "it is still read_only" if flag(rows[0], "read_only") else ""


def wait_applied(step: WaitApplied) -> tuple[Statement, ...]:
    """Wait for the named transactions, or for all that the channel has received."""
    wanted = parse_mysql(step.gtids) if step.gtids else None
    return (Statement(sql=GRAMMAR.show, then=partial(_wait, wanted, wait_limit_s(step.deadline_s))),)


def _wait(wanted: GtidSet | None, limit_s: float, rows: Rows) -> tuple[Statement, ...]:
    channel = acting_channel(GRAMMAR.channels(rows))
    received = channel.retrieved if channel is not None else None
    target = wanted if wanted is not None else received or EMPTY_MYSQL
    if target.is_empty:
        return drained(GRAMMAR, channel)
    wish = Wait(
        grammar=GRAMMAR,
        ask=f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{target}', {{seconds}}) AS late",
        compare=f"SELECT GTID_SUBSET('{target}', @@global.gtid_executed) AS applied",
        lacks=_lacks,
        total_s=limit_s,
    )
    return wait(wish, channel, limit_s)


def _lacks(rows: Rows) -> bool:
    return not flag(rows[0], "applied")


def account_queries(facts: Facts) -> tuple[str, ...]:
    """User and password of the server's own channel; the one place where MySQL tells them."""
    if facts.channel is None:
        return ()
    name = facts.channel.name.replace("'", "''")
    columns = "SELECT User_name, User_password FROM mysql.slave_master_info"
    return (f"{columns} WHERE Channel_name = '{name}' AND User_name <> ''",)
