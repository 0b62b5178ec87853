"""Who is connected to a server, and how sessions are killed: what both dialects need to fence one.

Sessions of the manager's own account are left alone (a deposed leader's is stopped by the lock, see
``mysql.sessions``), and so is replication: threads of the server itself and the senders that feed replicas. Who is
still logging in is no client yet: where it matters the doors are shut first, and a login passes them last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from orchestrator_raft.flavors.base import Row, Rows, Statement
from orchestrator_raft.flavors.rows import number, text

WHO_AM_I = "SELECT SUBSTRING_INDEX(USER(), '@', 1) AS user"
SHOW_SESSIONS = "SHOW PROCESSLIST"
NO_SUCH_SESSION, NOT_ALLOWED = 1094, 1095
LOCK_WAIT_TIMEOUT = 1205
_NO_CLIENTS = ("system user", "event_scheduler", "unauthenticated user")
_KILLED = "Killed"


def as_myself(plan: Callable[[str], tuple[Statement, ...]]) -> tuple[Statement, ...]:
    """Find out our own account's name, then do what ``plan`` makes of it."""
    return (Statement(sql=WHO_AM_I, then=partial(_with_own_user, plan)),)


def _with_own_user(plan: Callable[[str], tuple[Statement, ...]], rows: Rows) -> tuple[Statement, ...]:
    return plan(text(rows[0], "user"))


def client_sessions(own_user: str, rows: Rows) -> tuple[int, ...]:
    """Ids of the sessions that clients hold and that have not been killed yet."""
    return tuple(number(row, "Id") for row in rows if _is_client(own_user, row) and text(row, "Command") != _KILLED)


def _is_client(own_user: str, row: Row) -> bool:
    user, command = text(row, "User"), text(row, "Command")
    return user not in (*_NO_CLIENTS, own_user) and command != "Daemon" and not command.startswith("Binlog Dump")


def kill_clients(own_user: str) -> Statement:
    """Kill every client session there is now."""
    return Statement(sql=SHOW_SESSIONS, then=partial(kills, own_user))


def kills(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    """KILL statements; a session that is gone already, or that we may not kill, does not end the plan."""
    ignored = frozenset({NO_SUCH_SESSION, NOT_ALLOWED})
    return tuple(Statement(sql=f"KILL {each}", ignored_errors=ignored) for each in client_sessions(own_user, rows))


def kills_or_fail(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    """KILL statements of which one that is not allowed fails the step, before anything else is done."""
    ignored = frozenset({NO_SUCH_SESSION})
    return tuple(Statement(sql=f"KILL {each}", ignored_errors=ignored) for each in client_sessions(own_user, rows))


def kill_clients_until_gone(own_user: str) -> Statement:
    """Kill every client session there is now, and wait until those are cut off."""
    return Statement(sql=SHOW_SESSIONS, then=partial(_kills_and_wait, own_user))


def _kills_and_wait(own_user: str, rows: Rows) -> tuple[Statement, ...]:
    wanted = frozenset(client_sessions(own_user, rows))
    wait = Statement(sql=SHOW_SESSIONS, check=partial(_still_there, own_user, wanted), until_checked=True)
    return (*kills(own_user, rows), wait)


def _still_there(own_user: str, wanted: frozenset[int], rows: Rows) -> str:
    left = sorted(wanted.intersection(client_sessions(own_user, rows)))
    return _alive(left)


def none_alive(own_user: str, rows: Rows) -> str:
    """A complaint while any client session is alive."""
    return _alive(client_sessions(own_user, rows))


def _alive(sessions: list[int] | tuple[int, ...]) -> str:
    if not sessions:
        return ""
    ids = ", ".join(str(each) for each in sessions[:5])
    return f"{len(sessions)} client sessions are still there ({ids}): may the manager's account kill all others?"
