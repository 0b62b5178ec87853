"""MariaDB: nobody may write here any more.

Theory, found on 10.11 with semi-sync and every acker stopped
- A commit that waits for an acknowledgement holds the locks that read_only needs, as on MySQL. KILL does end it: its
  client is cut off without an answer, and the commit ends locally.
- But commits go in groups, and only the first of a group waits. If that one is killed, the others of its group are told
  that they succeeded, and so are those that have queued up behind a killed one. So a session that hangs may be killed
  only when every other has been cut off before, and nobody new can come.
- So: try read-only for a second, without killing anybody. If that comes through, nothing hangs: kill everybody. If
  not: shut the doors, kill the sessions that do not wait for an acknowledgement, then those that do, then an applier
  that does, set read-only, open the doors. Semi-sync stays on all the time.
- The applier of a server that has a source, such as a co-primary, waits for acknowledgements like a client, and would
  keep read-only out for ever. Nobody was told of what it commits.
- The doors: an init_connect that fails turns away every new session without CONNECTION ADMIN. What it held before is
  kept behind our mark, so whoever finds the mark, left by a manager that died half-way, can put it back.
- Not covered: an account *with* CONNECTION ADMIN that connects and commits in the millisecond in between; and one with
  READ_ONLY ADMIN, which read_only does not bind at all.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.flavors import fencing
from orchestrator_raft.flavors.base import Row, Rows, Statement
from orchestrator_raft.flavors.options import quoted
from orchestrator_raft.flavors.rows import flag, number, text

READ_ONLY = "SET GLOBAL read_only = ON"
ASK_READ_ONLY = "SELECT @@global.read_only AS read_only"
MARK = "orchestrator_raft fences this server; "
"""No statement: a session that has to run it is turned away."""
_ASK_DOORS = "SELECT @@global.init_connect AS init_connect"
_SHORT_LOCK_WAIT = "SET SESSION lock_wait_timeout = 1"
_TIMED_OUT = frozenset({fencing.LOCK_WAIT_TIMEOUT})
_SERVER = "system user"
"""Who the server's own threads are."""
_WAITS_FOR_ACKNOWLEDGEMENT = "Waiting for semi-sync ACK"


def fence() -> tuple[Statement, ...]:
    return fencing.as_myself(_fence)


def _fence(own_user: str) -> tuple[Statement, ...]:
    return (
        Statement(sql=_SHORT_LOCK_WAIT),
        Statement(sql=READ_ONLY, ignored_errors=_TIMED_OUT),
        Statement(sql=ASK_READ_ONLY, then=partial(_end_hung_commits, own_user)),
        Statement(sql=ASK_READ_ONLY, check=not_read_only),
        fencing.kill_clients_until_gone(own_user),
        open_own_doors(),
    )


def not_read_only(rows: Rows) -> str:
    return "" if flag(rows[0], "read_only") else "it is not read_only: statements or commits in progress did not end"


def _end_hung_commits(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    if flag(rows[0], "read_only"):
        return ()
    return (
        Statement(sql=_ASK_DOORS, then=_shut_doors),
        Statement(sql=fencing.SHOW_SESSIONS, then=partial(_kill_in_order, own_user)),
        Statement(sql=READ_ONLY, ignored_errors=_TIMED_OUT),
        open_own_doors(),
    )


def _shut_doors(rows: Rows) -> tuple[Statement, ...]:
    before = text(rows[0], "init_connect")
    if before.startswith(MARK):
        return ()
    return (Statement(sql=f"SET GLOBAL init_connect = {quoted(MARK + before)}"),)


def _kill_in_order(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    waiting = tuple(row for row in rows if _waits(row))
    others = tuple(row for row in rows if not _waits(row))
    return *fencing.kills(own_user, others), *fencing.kills(own_user, waiting), *_end_appliers(waiting)


def _end_appliers(waiting: tuple[Row, ...]) -> tuple[Statement, ...]:
    appliers = [number(row, "Id") for row in waiting if text(row, "User") == _SERVER]
    ignored = frozenset({fencing.NO_SUCH_SESSION, fencing.NOT_ALLOWED})
    return tuple(Statement(sql=f"KILL {each}", ignored_errors=ignored) for each in appliers)


def _waits(row: Row) -> bool:
    return text(row, "State").startswith(_WAITS_FOR_ACKNOWLEDGEMENT)


def open_own_doors() -> Statement:
    """Put back what init_connect was, if it bears our mark."""
    return Statement(sql=_ASK_DOORS, then=_open_own_doors)


def _open_own_doors(rows: Rows) -> tuple[Statement, ...]:
    now = text(rows[0], "init_connect")
    if not now.startswith(MARK):
        return ()
    return (Statement(sql=f"SET GLOBAL init_connect = {quoted(now.removeprefix(MARK))}"),)
