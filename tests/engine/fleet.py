"""Modelled MySQL servers for tests of the engine and the API: facts that change when the right SQL is said.

A ``ModelServer`` understands exactly the statements that the MySQL dialect says in its steps; anything else is an
error, so a new statement has to be taught here. Time does not pass in here: a running replica has everything at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.gtid import EMPTY_MYSQL, GtidSet, parse_mysql
from orchestrator_raft.core.instance import (
    Binlog,
    Channel,
    ChannelOption,
    Coordinates,
    Facts,
    Flavor,
    InstanceKey,
    SemiSync,
    ThreadState,
    Unreachable,
    UnreachableKind,
)

Rows = list[dict[str, object]]
Said = Callable[["ModelServer", re.Match[str]], Rows]
RUNNING, STOPPED = ThreadState.RUNNING, ThreadState.STOPPED
WORDS = {RUNNING: "Yes", STOPPED: "No", ThreadState.CONNECTING: "Connecting"}


def key(port: int, host: str = "127.0.0.1") -> InstanceKey:
    return InstanceKey(host, port)


def uuid_of(server: InstanceKey) -> str:
    return f"00000000-0000-0000-0000-{server.port:012d}"


def primary_facts(server: InstanceKey, **changes: object) -> Facts:
    """A healthy semi-sync primary that has written transactions 1 to 20."""
    facts = Facts(
        key=server, flavor=Flavor.MYSQL, version="9.7.4", version_comment="(Debian)", server_id=server.port,
        server_uuid=uuid_of(server), uptime_s=100, gtid_mode="ON",
        binlog=Binlog(enabled=True, format="ROW", row_image="FULL", logs_replica_updates=True,
                      coordinates=Coordinates("bin.000001", 6058)),
        executed=parse_mysql(f"{uuid_of(server)}:1-20"), purged=EMPTY_MYSQL, cluster_alias="bench",
        cluster_domain="bench.example",
        semi_sync=SemiSync(available=True, source_enabled=True, source_active=True, source_clients=3,
                           wait_for_replica_count=1, wait_without_replicas=True, after_sync=True,
                           timeout_ms=3_600_000, replica_enabled=True, new_names=True),
    )  # fmt: skip
    return replace(facts, **changes)  # type: ignore[arg-type]


def replica_facts(server: InstanceKey, source: InstanceKey, **changes: object) -> Facts:
    """A healthy replica of ``source`` that has everything."""
    executed = parse_mysql(f"{uuid_of(source)}:1-20")
    facts = primary_facts(
        server, executed=executed, read_only=True, super_read_only=True, channels=(running_channel(source, executed),)
    )
    semi_sync = replace(
        facts.semi_sync, source_enabled=False, source_active=False, source_clients=0, replica_active=True
    )
    return replace(facts, semi_sync=semi_sync, **changes)  # type: ignore[arg-type]


def running_channel(source: InstanceKey, retrieved: GtidSet) -> Channel:
    return Channel(
        source=source, source_uuid=uuid_of(source), source_server_id=source.port, user="repl", receiver=RUNNING,
        applier=RUNNING, uses_gtid=True, retrieved=retrieved, lag_s=0, read=Coordinates("bin.000001", 6058),
        executed=Coordinates("bin.000001", 6058), relay=Coordinates("relay.000002", 404),
        options=(ChannelOption("SOURCE_SSL", 1), ChannelOption("SOURCE_RETRY_COUNT", 10)),
    )  # fmt: skip


class ModelServer:
    """One server: its facts, whether it answers, and what was said to it."""

    def __init__(self, facts: Facts, fleet: Fleet) -> None:
        self.facts = facts
        self.fleet = fleet
        self.down: Unreachable | None = None
        self.said: list[str] = []
        self.next_gtid = "AUTOMATIC"

    def say(self, sql: str) -> Rows:
        """Rows of one statement. Raises ServerError for one it does not know, or when it is down."""
        if self.down is not None:
            raise ServerError(f"{self.facts.key}: {self.down.detail}")
        self.said.append(sql)
        for pattern, handler in STATEMENTS:
            match = re.fullmatch(pattern, sql.strip(), re.DOTALL)
            if match is not None:
                return handler(self, match)
        raise ServerError(f"{self.facts.key}: the model does not know the statement: {sql}")

    @property
    def channel(self) -> Channel | None:
        return self.facts.channel

    def set_channel(self, channel: Channel | None) -> None:
        self.facts = replace(self.facts, channels=(channel,) if channel is not None else ())
        self.fleet.settle()

    def set_semi_sync(self, **changes: object) -> None:
        self.facts = replace(self.facts, semi_sync=replace(self.facts.semi_sync, **changes))  # type: ignore[arg-type]
        self.fleet.settle()


class Fleet:
    """All modelled servers, joined by replication."""

    def __init__(self, facts: Iterable[Facts] = ()) -> None:
        self.servers = {each.key: ModelServer(each, self) for each in facts}
        self.settle()

    @classmethod
    def cluster(cls, primary_port: int = 24000, replicas: int = 3) -> Fleet:
        """One primary and its replicas on consecutive ports."""
        primary = key(primary_port)
        followers = [key(primary_port + number) for number in range(1, replicas + 1)]
        return cls([primary_facts(primary), *(replica_facts(each, primary) for each in followers)])

    def __getitem__(self, port: int) -> ModelServer:
        return self.servers[key(port)]

    def add(self, facts: Facts) -> None:
        self.servers[facts.key] = ModelServer(facts, self)
        self.settle()

    def crash(self, port: int, kind: UnreachableKind = UnreachableKind.REFUSED) -> None:
        server = self[port]
        server.down = Unreachable(server.facts.key, kind, f"{kind.value} by {server.facts.key}")
        self.settle()

    def settle(self) -> None:
        """Let replication do what it would do: threads find their source, sets and semi-sync follow."""
        for server in self.servers.values():
            if server.down is None and server.channel is not None:
                self._replicate(server, server.channel)
        for server in self.servers.values():
            all_replicas = [each for each in self.servers.values() if each.facts.source == server.facts.key]
            clients = [each for each in all_replicas if _is_connected(each)]
            active = [each for each in clients if each.facts.semi_sync.replica_active]
            on = server.facts.semi_sync.source_enabled
            semi_sync = replace(server.facts.semi_sync, source_active=on, source_clients=len(active) if on else 0)
            connected = tuple(sorted(each.facts.key for each in clients))
            ids = tuple(sorted(each.facts.server_id for each in clients))
            server.facts = replace(server.facts, semi_sync=semi_sync, replicas=connected, replica_ids=ids)

    def _replicate(self, server: ModelServer, channel: Channel) -> None:
        source = self.servers.get(channel.source)
        if channel.receiver is not STOPPED:
            is_up = source is not None and source.down is None
            error = "" if is_up else f"error reconnecting to source 'repl@{channel.source}'"
            state = RUNNING if is_up else ThreadState.CONNECTING
            channel = replace(channel, receiver=state, receiver_error=error, receiver_error_number=0 if is_up else 2003)
            if source is not None and is_up and source.facts.executed is not None:
                have = (channel.retrieved or EMPTY_MYSQL).union(source.facts.executed)
                channel = replace(channel, retrieved=have, source_uuid=source.facts.server_uuid)
        executed = server.facts.executed
        if channel.applier is RUNNING and channel.retrieved is not None and executed is not None:
            executed = executed.union(channel.retrieved)
        lag_s = 0 if channel.replicates else None
        semi_sync = replace(server.facts.semi_sync, replica_active=channel.receiver is RUNNING)
        server.facts = replace(
            server.facts, channels=(replace(channel, lag_s=lag_s),), executed=executed, semi_sync=semi_sync
        )


def _is_connected(server: ModelServer) -> bool:
    return server.down is None and server.channel is not None and server.channel.receiver is RUNNING


def _nothing(_server: ModelServer, _match: re.Match[str]) -> Rows:
    return []


def _set_read_only(server: ModelServer, match: re.Match[str]) -> Rows:
    on = match["value"] == "ON"
    strong = on and match["name"] == "super_read_only"
    server.facts = replace(server.facts, read_only=on, super_read_only=strong)
    return []


def _ask_variable(server: ModelServer, match: re.Match[str]) -> Rows:
    values = {"read_only": server.facts.read_only, "super_read_only": server.facts.super_read_only}
    return [{match["name"]: str(int(values.get(match["name"], False)))}]


def _show_channel(server: ModelServer, _match: re.Match[str]) -> Rows:
    channel = server.channel
    if channel is None:
        return []
    return [{
        "Channel_Name": channel.name, "Source_Host": channel.source.hostname, "Source_Port": str(channel.source.port),
        "Source_User": channel.user, "Source_UUID": channel.source_uuid,
        "Source_Server_Id": str(channel.source_server_id), "Replica_IO_Running": WORDS[channel.receiver],
        "Replica_SQL_Running": WORDS[channel.applier], "Last_IO_Errno": str(channel.receiver_error_number),
        "Last_IO_Error": channel.receiver_error, "Auto_Position": "1" if channel.uses_gtid else "0",
        "Retrieved_Gtid_Set": str(channel.retrieved or ""), "Executed_Gtid_Set": str(server.facts.executed or ""),
        "Source_SSL_Allowed": "Yes", "Source_Retry_Count": "10", "SQL_Delay": str(channel.delay_s),
    }]  # fmt: skip


def _threads(server: ModelServer, match: re.Match[str]) -> Rows:
    channel = server.channel
    if channel is None:
        raise ServerError(f"{server.facts.key}: it has no source")
    state, thread = RUNNING if match["verb"] == "START" else STOPPED, (match["thread"] or "").strip()
    receiver = channel.receiver if thread == "SQL_THREAD" else state
    applier = channel.applier if thread == "IO_THREAD" else state
    server.set_channel(replace(channel, receiver=receiver, applier=applier))
    return []


def _reset(server: ModelServer, _match: re.Match[str]) -> Rows:
    server.set_channel(None)
    return []


def _change_source(server: ModelServer, match: re.Match[str]) -> Rows:
    source = InstanceKey(match["host"], int(match["port"]))
    before = server.channel or Channel(source=source, user="repl")
    server.set_channel(
        replace(before, source=source, source_uuid="", receiver=STOPPED, applier=STOPPED, uses_gtid=True,
                retrieved=EMPTY_MYSQL)
    )  # fmt: skip
    return []


def _delay(server: ModelServer, match: re.Match[str]) -> Rows:
    if server.channel is not None:
        server.set_channel(replace(server.channel, delay_s=int(match["seconds"])))
    return []


def _is_late(server: ModelServer, match: re.Match[str]) -> Rows:
    executed = server.facts.executed or EMPTY_MYSQL
    return [{"late": "0" if executed.covers(parse_mysql(match["gtids"])) else "1"}]


def _is_applied(server: ModelServer, match: re.Match[str]) -> Rows:
    executed = server.facts.executed or EMPTY_MYSQL
    return [{"applied": "1" if executed.covers(parse_mysql(match["gtids"])) else "0"}]


def _semi_sync_variables(server: ModelServer, _match: re.Match[str]) -> Rows:
    semi_sync = server.facts.semi_sync
    values: Sequence[tuple[str, object]] = (
        ("source_enabled", "ON" if semi_sync.source_enabled else "OFF"),
        ("replica_enabled", "ON" if semi_sync.replica_enabled else "OFF"),
        ("source_timeout", semi_sync.timeout_ms),
        ("source_wait_for_replica_count", semi_sync.wait_for_replica_count),
    )
    return [{"Variable_name": f"rpl_semi_sync_{name}", "Value": str(value)} for name, value in values]


def _semi_sync_status(server: ModelServer, _match: re.Match[str]) -> Rows:
    on = server.facts.semi_sync.replica_active
    return [{"Variable_name": "Rpl_semi_sync_replica_status", "Value": "ON" if on else "OFF"}]


def _set_semi_sync(server: ModelServer, match: re.Match[str]) -> Rows:
    fields = {"source_enabled": "source_enabled", "replica_enabled": "replica_enabled", "source_timeout": "timeout_ms",
              "source_wait_for_replica_count": "wait_for_replica_count"}  # fmt: skip
    value = match["value"]
    server.set_semi_sync(**{fields[match["name"]]: value == "ON" if value in ("ON", "OFF") else int(value)})
    return []


def _ask_executed(server: ModelServer, _match: re.Match[str]) -> Rows:
    return [{"executed": str(server.facts.executed or "")}]


def _set_next_gtid(server: ModelServer, match: re.Match[str]) -> Rows:
    server.next_gtid = match["gtid"]
    return []


def _commit(server: ModelServer, _match: re.Match[str]) -> Rows:
    if server.next_gtid != "AUTOMATIC":
        _execute(server, (server.facts.executed or EMPTY_MYSQL).union(parse_mysql(server.next_gtid)))
    return []


def _execute(server: ModelServer, executed: GtidSet) -> None:
    server.facts = replace(server.facts, executed=executed)
    server.fleet.settle()


def _reset_logs(server: ModelServer, _match: re.Match[str]) -> Rows:
    _execute(server, EMPTY_MYSQL)
    return []


def _set_purged(server: ModelServer, match: re.Match[str]) -> Rows:
    _execute(server, parse_mysql(match["gtids"]))
    return []


def _failed_workers(server: ModelServer, _match: re.Match[str]) -> Rows:
    channel = server.channel
    said = channel.applier_error if channel is not None else ""
    return [{"said": said}] if said else []


STATEMENTS: tuple[tuple[str, Said], ...] = (
    (r"SET SESSION lock_wait_timeout = \d+", _nothing),
    (r"SET GLOBAL (?P<name>super_read_only|read_only) = (?P<value>ON|OFF)", _set_read_only),
    (r"SELECT @@global\.(?P<name>super_read_only|read_only|offline_mode) AS \w+", _ask_variable),
    (r"SHOW REPLICA STATUS", _show_channel),
    (r"(?P<verb>START|STOP) REPLICA(?P<thread> IO_THREAD| SQL_THREAD)?( FOR CHANNEL '')?", _threads),
    (r"RESET REPLICA ALL( FOR CHANNEL '')?", _reset),
    (r"CHANGE REPLICATION SOURCE TO .*SOURCE_HOST = '(?P<host>[^']*)', SOURCE_PORT = (?P<port>\d+).*", _change_source),
    (r"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = (?P<seconds>\d+).*", _delay),
    (r"SELECT WAIT_FOR_EXECUTED_GTID_SET\('(?P<gtids>[^']*)', [\d.]+\) AS late", _is_late),
    (r"SELECT GTID_SUBSET\('(?P<gtids>[^']*)', @@global.gtid_executed\) AS applied", _is_applied),
    (r"SHOW GLOBAL VARIABLES LIKE 'rpl.*", _semi_sync_variables),
    (r"SHOW GLOBAL STATUS LIKE 'rpl.*", _semi_sync_status),
    (r"SET GLOBAL rpl_semi_sync_(?P<name>\w+) = (?P<value>\w+)", _set_semi_sync),
    (r"SELECT SUBSTRING_INDEX\(USER\(\), '@', 1\) AS user", lambda _server, _match: [{"user": "orc"}]),
    (r"SHOW PROCESSLIST", _nothing),
    (r"FLUSH BINARY LOGS", _nothing),
    (r"SHOW BINARY LOGS", lambda _server, _match: [{"Log_name": "bin.000001"}]),
    (r"KILL QUERY \d+", _nothing),
    (r"PURGE BINARY LOGS TO '[^']*'", _nothing),
    (r"SELECT @@global.gtid_executed AS executed", _ask_executed),
    (r"SET SESSION gtid_next = '(?P<gtid>[^']*)'", _set_next_gtid),
    (r"BEGIN", _nothing),
    (r"COMMIT", _commit),
    (r"RESET BINARY LOGS AND GTIDS|RESET MASTER", _reset_logs),
    (r"SET GLOBAL gtid_purged = '(?P<gtids>[^']*)'", _set_purged),
    (r"SELECT LAST_ERROR_MESSAGE AS said FROM performance_schema.*", _failed_workers),
    (r"SELECT @@global.offline_mode AS offline_mode, .*",
     lambda _server, _match: [{"offline_mode": "0", "ours": "0"}]),
    (r"SELECT User_name, User_password FROM mysql.slave_master_info.*",
     lambda _server, _match: [{"User_name": "repl", "User_password": "a secret"}]),
)  # fmt: skip
