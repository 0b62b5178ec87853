"""The statements that the MySQL dialect says, as a modelled server understands them; any other one is a violation.

Most are over at once. Those that wait (read-only for commits in progress, WAIT_FOR_EXECUTED_GTID_SET, SLEEP) become
``Blocked`` and go on when the server says so, whether their client is still there or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import InstanceKey

if TYPE_CHECKING:
    from tests.fleetsim.server import Server, Session

Row = dict[str, object]
LOCK_WAIT_TIMEOUT, NO_SUCH_SESSION, MUST_STOP = 1205, 1094, 3021
CHANGES = re.compile(r"(SET GLOBAL|STOP|START|RESET|CHANGE) ")
"""Statements that change a server."""
DELAY = re.compile(r"(SOURCE|MASTER)_DELAY = (?P<seconds>\d+)")


@dataclass(slots=True, eq=False)
class Blocked:
    """A statement that waits."""

    session: Session
    is_ready: Callable[[], bool]
    finish: Callable[[int | None], None]
    """Called once, with an error number or None."""
    is_read_only: bool = False


class Refused(Exception):
    """The statement fails."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Call:
    """One statement in hand."""

    def __init__(self, server: Server, session: Session, number: int, *, term: int) -> None:
        self.server = server
        self.session = session
        self.number = number
        self.term = term

    def reply(self, rows: list[Row]) -> None:
        self.server.reply(self.session, self.number, rows)

    def fail(self, error: int, text: str) -> None:
        self.server.fail(self.session, self.number, error, text)

    def wait(
        self, is_ready: Callable[[], bool], finish: Callable[[int | None], None], limit_s: float, *,
        is_read_only: bool = False,
    ) -> None:  # fmt: skip
        if is_ready():
            finish(None)
            return
        blocked = Blocked(self.session, is_ready, finish, is_read_only)
        self.session.blocked = blocked
        self.server.waiting.append(blocked)
        self.server.at(limit_s, self._give_up, blocked)

    def _give_up(self, blocked: Blocked) -> None:
        if blocked in self.server.waiting:
            self.server.unblock(blocked, LOCK_WAIT_TIMEOUT)


def answer(server: Server, session: Session, number: int, sql: str, term: int) -> None:
    """Carry out one statement. ``term`` is that of the manager that sent it, for the checks only."""
    call = Call(server, session, number, term=term)
    if CHANGES.match(sql):
        server.world.checks.takes_effect(server, session, sql, term)
    for pattern, handler in server.statements:
        match = pattern.fullmatch(sql.strip())
        if match is None:
            continue
        try:
            rows = handler(call, match)
        except Refused as refused:
            call.fail(refused.number, str(refused))
            return
        if rows is not None:
            call.reply(rows)
        return
    server.world.checks.unknown_statement(server, sql)


Handler = Callable[[Call, re.Match[str]], list[Row] | None]


def _nothing(_call: Call, _match: re.Match[str]) -> list[Row]:
    return []


def _probe(call: Call, _match: re.Match[str]) -> list[Row]:
    return [{"facts": call.server.facts()}]


def _lock_wait(call: Call, match: re.Match[str]) -> list[Row]:
    call.session.lock_wait_s = float(match["seconds"])
    return []


def _set_global(call: Call, match: re.Match[str]) -> list[Row] | None:
    """Assignments in order; the last one may have to wait."""
    assignments = [each.split(" = ", 1) for each in match["assignments"].split(", GLOBAL ")]
    for name, value in assignments:
        if name in ("read_only", "super_read_only") and value == "ON" and not call.server.read_only:
            _refuse_writes(call, name)
            return None
        _assign(call, name, value)
    call.server.settle()
    return []


def _refuse_writes(call: Call, name: str) -> None:
    server = call.server

    def finish(error: int | None) -> None:
        if error is not None:
            call.fail(error, "Lock wait timeout exceeded")
            return
        _assign(call, name, "ON")
        call.reply([])

    server.settle()
    limit_s = min(call.session.lock_wait_s, 3600.0)
    call.wait(lambda: not server.pending and not server.out_of_space, finish, limit_s, is_read_only=True)


def _assign(call: Call, name: str, value: str) -> None:
    server, on = call.server, value == "ON"
    short = name.removeprefix("rpl_semi_sync_").replace("master", "source").replace("slave", "replica")
    if name == "super_read_only":
        server.super_read_only, server.read_only = on, on or server.read_only
    elif name == "read_only":
        server.read_only, server.super_read_only = on, on and server.super_read_only
        if not on:
            server.opened_by = "a manager" if call.term else "a person"
            server.world.checks.opened(server, call.term)
    elif name == "offline_mode":
        _set_offline(server, on)
    elif short == "source_enabled":
        if on and not server.semi_sync.source_enabled:
            server.semi_sync_active = True
        server.semi_sync.source_enabled = on
    else:
        _set_semi_sync(server, short, value)


def _set_offline(server: Server, on: bool) -> None:
    server.offline_mode = on
    if on:
        for session in [each for each in server.sessions.values() if each.user != "orc"]:
            server.end(session)


def _set_semi_sync(server: Server, name: str, value: str) -> None:
    match name:
        case "replica_enabled":
            server.semi_sync.replica_enabled = value == "ON"
        case "source_timeout":
            server.semi_sync.timeout_ms = int(value)
        case "source_wait_for_replica_count":
            server.semi_sync.wait_count = int(value)
        case "source_wait_no_replica":
            server.semi_sync.wait_no_replica = value == "ON"
        case _:
            server.world.checks.unknown_statement(server, f"SET GLOBAL {name} = {value}")


def _ask_variable(call: Call, match: re.Match[str]) -> list[Row]:
    return [{match["shown"]: str(int(getattr(call.server, match["name"])))}]


def _who_shut_doors(call: Call, _match: re.Match[str]) -> list[Row]:
    shut = str(int(call.server.offline_mode))
    return [{"offline_mode": shut, "ours": shut}]


def show_channel(call: Call, _match: re.Match[str]) -> list[Row]:
    return call.server.replication.rows()


def threads(call: Call, match: re.Match[str]) -> list[Row]:
    replication, thread = call.server.replication, match["thread"]
    act = replication.start if match["verb"] == "START" else replication.stop
    act(receiver=thread != " SQL_THREAD", applier=thread != " IO_THREAD")
    return []


def _reset(call: Call, _match: re.Match[str]) -> list[Row]:
    _must_be_stopped(call)
    call.server.replication.reset()
    return []


def change_source(call: Call, match: re.Match[str]) -> list[Row]:
    _must_be_stopped(call)
    replication, delay = call.server.replication, DELAY.search(match[0])
    replication.point_to(InstanceKey(match["host"], int(match["port"])))
    if delay is not None:
        replication.delay_s = int(delay["seconds"])
    return []


def _must_be_stopped(call: Call) -> None:
    replication = call.server.replication
    if replication.receiver.value > 0 or replication.applier.value > 0:
        raise Refused(MUST_STOP, "This operation cannot be performed with running replication threads")


def _wait_executed(call: Call, match: re.Match[str]) -> None:
    server, wanted = call.server, parse_mysql(match["gtids"])

    def finish(error: int | None) -> None:
        call.reply([{"late": "0" if error is None else "1"}])

    call.wait(lambda: server.executed.covers(wanted), finish, float(match["seconds"]))


def _is_applied(call: Call, match: re.Match[str]) -> list[Row]:
    return [{"applied": str(int(call.server.executed.covers(parse_mysql(match["gtids"]))))}]


def _semi_sync_variables(call: Call, _match: re.Match[str]) -> list[Row]:
    live = call.server.semi_sync
    values = (
        ("source_enabled", "ON" if live.source_enabled else "OFF"),
        ("replica_enabled", "ON" if live.replica_enabled else "OFF"),
        ("source_timeout", str(live.timeout_ms)),
        ("source_wait_for_replica_count", str(live.wait_count)),
        ("source_wait_no_replica", "ON" if live.wait_no_replica else "OFF"),
    )
    names = (_in_words_of(call.server, name) for name, _ in values)
    return [{"Variable_name": name, "Value": value} for name, (_, value) in zip(names, values, strict=True)]


def _in_words_of(server: Server, name: str) -> str:
    if not server.uses_new_words:
        name = name.replace("source", "master").replace("replica", "slave")
    return f"rpl_semi_sync_{name}"


def _semi_sync_status(call: Call, _match: re.Match[str]) -> list[Row]:
    server = call.server
    states = (
        ("replica_status", server.replication.is_semi_sync),
        ("source_status", server.semi_sync.source_enabled and server.semi_sync_active),
    )
    server = call.server
    return [{"Variable_name": _in_words_of(server, name), "Value": "ON" if on else "OFF"} for name, on in states]


def _show_sessions(call: Call, _match: re.Match[str]) -> list[Row]:
    return call.server.processes()


def _kill(call: Call, match: re.Match[str]) -> list[Row]:
    session = call.server.sessions.get(int(match["id"]))
    if session is None:
        raise Refused(NO_SUCH_SESSION, f"Unknown thread id: {match['id']}")
    call.server.kill_session(session)
    return []


def _sleep(call: Call, match: re.Match[str]) -> None:
    call.wait(lambda: False, lambda _error: call.reply([]), float(match["seconds"]))


def _take_lock(call: Call, _match: re.Match[str]) -> list[Row]:
    server = call.server
    if server.lock_holder is None:
        server.lock_holder = call.session.id
        server.lock_term = max(server.lock_term, call.term)
    taken = server.lock_holder == call.session.id
    return [{"taken": str(int(taken)), "holder": str(server.lock_holder)}]


def _release_lock(call: Call, _match: re.Match[str]) -> list[Row]:
    if call.server.lock_holder == call.session.id:
        call.server.lock_holder = None
    return []


def _account(_call: Call, _match: re.Match[str]) -> list[Row]:
    return [{"User_name": "repl", "User_password": "a secret"}]


Word = tuple[re.Pattern[str], Handler]


def words(*rows: tuple[str, Handler]) -> tuple[Word, ...]:
    return tuple((re.compile(pattern, re.DOTALL), handler) for pattern, handler in rows)


COMMON = words(
    (r"PROBE", _probe),
    (r"SET SESSION lock_wait_timeout = (?P<seconds>\d+)", _lock_wait),
    (r"SET SESSION sql_mode = ''", _nothing),
    (r"SELECT GET_LOCK\(.*", _take_lock),
    (r"DO RELEASE_LOCK\(.*", _release_lock),
    (r"SET GLOBAL (?P<assignments>.*)", _set_global),
    (r"SELECT @@global\.(?P<name>super_read_only|read_only|offline_mode) AS (?P<shown>\w+)", _ask_variable),
    (r"(?P<verb>START|STOP) (REPLICA|SLAVE)(?P<thread> IO_THREAD| SQL_THREAD)?( FOR CHANNEL '')?", threads),
    (r"RESET (REPLICA|SLAVE) ALL( FOR CHANNEL '')?", _reset),
    (r"SHOW GLOBAL VARIABLES LIKE 'rpl.*", _semi_sync_variables),
    (r"SHOW GLOBAL STATUS LIKE 'rpl.*", _semi_sync_status),
    (r"SELECT SUBSTRING_INDEX\(USER\(\), '@', 1\) AS user", lambda _call, _match: [{"user": "orc"}]),
    (r"SHOW PROCESSLIST", _show_sessions),
    (r"KILL (?P<id>\d+)", _kill),
    (r"DO SLEEP\((?P<seconds>[\d.]+)\)", _sleep),
    (r"DO 0|SELECT 1", _nothing),
    (r"SELECT user, password FROM meta.account", _account),
)
STATEMENTS = COMMON + words(
    (r"SHOW REPLICA STATUS", show_channel),
    (r"SELECT @@global.offline_mode AS offline_mode, .*", _who_shut_doors),
    (r"CHANGE REPLICATION SOURCE TO .*SOURCE_HOST = '(?P<host>[^']*)', SOURCE_PORT = (?P<port>\d+).*", change_source),
    (r"SELECT WAIT_FOR_EXECUTED_GTID_SET\('(?P<gtids>[^']*)', (?P<seconds>[\d.]+)\) AS late", _wait_executed),
    (r"SELECT GTID_SUBSET\('(?P<gtids>[^']*)', @@global.gtid_executed\) AS applied", _is_applied),
    (r"SELECT User_name, User_password FROM mysql.slave_master_info.*", _account),
)
