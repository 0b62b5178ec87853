"""MySQL: nobody may write here any more.

Theory, found on 9.7 with semi-sync and every acker stopped
- A commit that waits for an acknowledgement holds the locks that read-only needs: SET GLOBAL super_read_only waits for
  it, for a day if that is the semi-sync timeout.
- KILL cuts the client off at once, so it can never hear that its commit succeeded, but the commit itself goes on
  waiting. Only switching semi-sync off lets it end, and that acknowledges every commit whose client is still there.
- So: kill; try read-only for a second; only if commits hang, shut the doors (offline_mode refuses and cuts off every
  account without CONNECTION_ADMIN), kill the rest until nobody is left, and then switch semi-sync off and read-only on
  in one statement. Afterwards semi-sync and the doors are as before. What committed so was promised to nobody; it shows
  in this server's GTIDs.
- Not covered: an account *with* CONNECTION_ADMIN that connects and commits in the millisecond before that statement.
- Doors left shut by a manager that died half-way are opened by the next one: the server knows who set offline_mode.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.flavors import fencing
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.rows import flag, named_values

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
_SHOW_SEMI_SYNC = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%\\_enabled'"
_SOURCE_SIDES = ("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")
_COMMAND_DENIED = 1142


def fence() -> tuple[Statement, ...]:
    return fencing.as_myself(_fence)


def _fence(own_user: str) -> tuple[Statement, ...]:
    return (
        Statement(sql=SHORT_LOCK_WAIT),
        fencing.kill_clients(own_user),
        Statement(sql=READ_ONLY, ignored_errors=frozenset({fencing.LOCK_WAIT_TIMEOUT})),
        Statement(sql=ASK_READ_ONLY, then=partial(_end_hung_commits, own_user)),
        fencing.kill_clients(own_user),
        Statement(sql=_ASK_WHO_SHUT_DOORS, then=_open_own_doors, ignored_errors=frozenset({_COMMAND_DENIED})),
        Statement(sql=ASK_READ_ONLY, check=not_read_only),
    )


def not_read_only(rows: Rows) -> str:
    return "" if flag(rows[0], "super_read_only") else "it is not super_read_only"


def _end_hung_commits(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    if flag(rows[0], "super_read_only"):
        return ()
    return (Statement(sql=_ASK_DOORS, then=partial(_behind_closed_doors, own_user)),)


def _behind_closed_doors(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    nobody = partial(fencing.none_alive, own_user)
    shut_already = flag(rows[0], "offline_mode")
    return (
        Statement(sql=_SHUT_DOORS),
        Statement(sql=fencing.SHOW_SESSIONS, then=partial(fencing.kills, own_user), check=nobody, until_checked=True),
        Statement(sql=_SHOW_SEMI_SYNC, then=_let_commits_end),
        *(() if shut_already else (Statement(sql=_OPEN_DOORS),)),
    )


def _let_commits_end(rows: Rows) -> tuple[Statement, ...]:
    live = named_values(rows)
    sides = [name for name in _SOURCE_SIDES if live.get(name, "").upper() == "ON"]
    if not sides:
        return (Statement(sql=READ_ONLY),)
    return (
        Statement(sql=f"SET GLOBAL {sides[0]} = OFF, GLOBAL super_read_only = ON"),
        Statement(sql=f"SET GLOBAL {sides[0]} = ON"),
    )


def _open_own_doors(rows: Rows) -> tuple[Statement, ...]:
    is_ours = flag(rows[0], "offline_mode") and flag(rows[0], "ours")
    return (Statement(sql=_OPEN_DOORS),) if is_ours else ()
