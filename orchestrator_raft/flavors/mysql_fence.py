"""MySQL: nobody may write here any more.

Theory, found on 9.7 with semi-sync and every acker stopped
- A commit that waits for an acknowledgement holds the locks that read-only needs: SET GLOBAL super_read_only waits for
  it, for a day if that is the semi-sync timeout.
- KILL cuts the client off at once, so it can never hear that its commit succeeded, but the commit itself goes on
  waiting. Only semi-sync can let it end, and that acknowledges every commit whose client is still there.
- So: kill; try read-only for a second; only if commits hang, see that every session can be killed, shut the doors
  (offline_mode refuses and cuts off every account without CONNECTION_ADMIN), kill until nobody is left, and then tell
  semi-sync not to wait without replicas while read-only is asked for in the same statement: the senders to replicas
  were cut off too, and when the last of them has ended, within a second, so do the commits. If that is not enough,
  semi-sync is switched off. Whether it came through or not, semi-sync and the doors are put back as they were.
- What committed so was promised to nobody; it shows in this server's GTIDs.
- Not covered: an account *with* CONNECTION_ADMIN that connects and commits in the millisecond before that statement.
- Doors left shut by a manager that died half-way are opened by the next one: the server knows who set offline_mode.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.flavors import fencing
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.replication import failing
from orchestrator_raft.flavors.rows import flag, named_values
from orchestrator_raft.flavors.semi_sync import SHOW_VARIABLES

SHORT_LOCK_WAIT = "SET SESSION lock_wait_timeout = 1"
READ_ONLY = "SET GLOBAL super_read_only = ON"
ASK_READ_ONLY = "SELECT @@global.super_read_only AS super_read_only"
_SHUT_DOORS = "SET GLOBAL offline_mode = ON"
_OPEN_DOORS = "SET GLOBAL offline_mode = OFF"
_ASK_DOORS = "SELECT @@global.offline_mode AS offline_mode"
_ASK_WHO_SHUT_DOORS = (
    "SELECT @@global.offline_mode AS offline_mode, (SELECT SET_USER FROM performance_schema.variables_info "
    "WHERE VARIABLE_NAME = 'offline_mode') = SUBSTRING_INDEX(USER(), '@', 1) AS ours"
)
_SEMI_SYNC_NAMES = (
    ("rpl_semi_sync_source_enabled", "rpl_semi_sync_source_wait_no_replica"),
    ("rpl_semi_sync_master_enabled", "rpl_semi_sync_master_wait_no_slave"),
)
_COMMAND_DENIED = 1142
_TIMED_OUT = frozenset({fencing.LOCK_WAIT_TIMEOUT})
_KILL_ATTEMPTS = 8
_PAUSE = "DO SLEEP(0.02)"


def fence() -> tuple[Statement, ...]:
    return fencing.as_myself(_fence)


def _fence(own_user: str) -> tuple[Statement, ...]:
    return (
        Statement(sql=SHORT_LOCK_WAIT),
        fencing.kill_clients(own_user),
        Statement(sql=READ_ONLY, ignored_errors=_TIMED_OUT),
        Statement(sql=ASK_READ_ONLY, then=partial(_end_hung_commits, own_user)),
        fencing.kill_clients(own_user),
        open_own_doors(),
        Statement(sql=ASK_READ_ONLY, check=not_read_only),
    )


def not_read_only(rows: Rows) -> str:
    return "" if flag(rows[0], "super_read_only") else "it is not super_read_only"


def _end_hung_commits(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    if flag(rows[0], "super_read_only"):
        return ()
    return (
        Statement(sql=fencing.SHOW_SESSIONS, then=partial(fencing.kills_or_fail, own_user)),
        Statement(sql=_ASK_DOORS, then=partial(_behind_closed_doors, own_user)),
    )


def _behind_closed_doors(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    opening = () if flag(rows[0], "offline_mode") else (Statement(sql=_OPEN_DOORS),)
    count = partial(_kill_until_nobody_is_left, own_user, opening, _KILL_ATTEMPTS)
    return Statement(sql=_SHUT_DOORS), Statement(sql=fencing.SHOW_SESSIONS, then=count)


def _kill_until_nobody_is_left(
    own_user: str, opening: tuple[Statement, ...], attempts: int, rows: Rows
) -> tuple[Statement, ...]:
    alive = fencing.none_alive(own_user, rows)
    if not alive:
        return Statement(sql=SHOW_VARIABLES, then=_let_commits_end), *opening
    if attempts == 0:
        return *opening, failing(alive)
    again = partial(_kill_until_nobody_is_left, own_user, opening, attempts - 1)
    return (
        *fencing.kills(own_user, rows),
        Statement(sql=_PAUSE),
        Statement(sql=fencing.SHOW_SESSIONS, then=again),
    )


def _let_commits_end(rows: Rows) -> tuple[Statement, ...]:
    live = named_values(rows)
    names = [names for names in _SEMI_SYNC_NAMES if live.get(names[0], "").upper() == "ON"]
    if not names:
        return (Statement(sql=READ_ONLY, ignored_errors=_TIMED_OUT),)
    enabled, wait_alone = names[0]
    return (
        Statement(sql="SET SESSION lock_wait_timeout = 2"),
        Statement(sql=f"SET GLOBAL {wait_alone} = OFF, GLOBAL super_read_only = ON", ignored_errors=_TIMED_OUT),
        Statement(sql=f"SET GLOBAL {wait_alone} = {live.get(wait_alone, 'ON')}"),
        Statement(sql=ASK_READ_ONLY, then=partial(_without_semi_sync, enabled)),
    )


def _without_semi_sync(enabled: str, rows: Rows) -> tuple[Statement, ...]:
    if flag(rows[0], "super_read_only"):
        return ()
    return (
        Statement(sql=f"SET GLOBAL {enabled} = OFF, GLOBAL super_read_only = ON", ignored_errors=_TIMED_OUT),
        Statement(sql=f"SET GLOBAL {enabled} = ON"),
    )


def open_own_doors() -> Statement:
    """Take offline_mode back if the manager's account has set it."""
    return Statement(sql=_ASK_WHO_SHUT_DOORS, then=_open_own_doors, ignored_errors=frozenset({_COMMAND_DENIED}))


def _open_own_doors(rows: Rows) -> tuple[Statement, ...]:
    is_ours = flag(rows[0], "offline_mode") and flag(rows[0], "ours")
    return (Statement(sql=_OPEN_DOORS),) if is_ours else ()
