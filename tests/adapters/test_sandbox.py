"""The sandbox itself: what its servers promise to the demo, the tests and the benches, shown on real ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from sandbox import accounts, apt, dialects, install, ledger, spawn, writer
from sandbox.binaries import Flavor, inspect, parse_version
from sandbox.errors import SandboxError
from sandbox.ledger import Attempt, Outage, Outcome
from sandbox.servers import Server
from sandbox.topology import Topology, replica_status, replicates, start

NewTopology = Callable[..., Topology]
"""The factory of conftest: flavour, count, settings."""

ROOT = Path(__file__).resolve().parent.parent.parent
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
SOURCE_ENABLED = {Flavor.MYSQL: "@@rpl_semi_sync_source_enabled", Flavor.MARIADB: "@@rpl_semi_sync_master_enabled"}
WAITING = {Flavor.MYSQL: "Rpl_semi_sync_source_wait_sessions", Flavor.MARIADB: "Rpl_semi_sync_master_wait_sessions"}
ids = iter(range(1_000_000, 2_000_000))


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.01)


def insert(server: Server, timeout_s: float = 20.0) -> int:
    """A row of the application's; its id."""
    number = next(ids)
    server.execute(
        "INSERT INTO app.ledger (id, server) VALUES (%s, @@port)", (number,), user="app", timeout_s=timeout_s
    )
    return number


def rows(server: Server) -> list[int]:
    return [row["id"] for row in server.execute("SELECT id FROM app.ledger ORDER BY id")]


@contextmanager
def writing(topology: Topology, log: Path, **options: float) -> Iterator[Path]:
    """An application writes to whichever server is writable."""
    process = writer.launch([server.port for server in topology.servers], log, **options)
    try:
        until(lambda: len(ledger.acknowledged(ledger.read(log))) > 20, "the writer writes")
        yield log
    finally:
        assert writer.end(process) == 0, log.with_suffix(".err").read_text()


# -- a topology as it starts -------------------------------------------------------------------------------------------


def test_a_star_replicates_what_the_application_writes(topology: Topology) -> None:
    insert(topology.primary())
    topology.wait_caught_up()
    expected = rows(topology.primary())
    assert expected
    assert [expected, expected] == [rows(replica) for replica in topology.replicas()]


def test_replicas_acknowledge_every_commit(topology: Topology) -> None:
    primary = topology.primary()
    before = primary.status("Rpl_semi_sync_%_yes_tx")
    for _ in range(5):
        insert(primary)
    (name,) = before
    assert int(before[name]) + 5 == int(primary.status(name)[name])
    assert ["0"] == list(primary.status("Rpl_semi_sync_%_no_tx").values())


def test_a_commit_is_not_acknowledged_without_a_replica_that_holds_it(topology: Topology) -> None:
    primary, replicas = topology.primary(), topology.replicas()
    for replica in replicas:
        replica.execute("STOP REPLICA IO_THREAD")
    try:
        with pytest.raises(pymysql.err.OperationalError):
            insert(primary, timeout_s=1.0)
        assert primary.status(WAITING[primary.flavor]) == {WAITING[primary.flavor]: "1"}
    finally:
        for replica in replicas:
            replica.execute("START REPLICA IO_THREAD")
    topology.wait_replicating()
    topology.wait_acknowledging(primary, len(replicas))
    insert(primary)


def test_every_configuration_is_safe_and_starts_read_only(topology: Topology) -> None:
    for server in topology.servers:
        text = server.configuration.read_text()
        assert "read-only = ON" in text
        assert "super-read-only = ON" in text or server.flavor is Flavor.MARIADB
        assert f"timeout = {dialects.SEMI_SYNC_TIMEOUT_MS}" in text
        variables = {
            row["Variable_name"]: row["Value"] for row in server.execute("SHOW GLOBAL VARIABLES LIKE '%semi_sync%'")
        }
        values = {name.rpartition("semi_sync_")[2]: value for name, value in variables.items()}
        assert [] == [name for name in ("source_wait_no_replica", "master_wait_no_slave") if values.get(name) == "OFF"]
        assert {"AFTER_SYNC"} == {values[name] for name in values if name.endswith("wait_point")}
        assert {"ON"} == {values[name] for name in values if name in ("replica_enabled", "slave_enabled")}


def test_servers_name_their_cluster_and_report_where_they_are(topology: Topology) -> None:
    for server in topology.servers:
        assert [{"cluster_name": "demo"}] == server.execute("SELECT cluster_name FROM meta.cluster LIMIT 1", user="orc")
        assert [{"cluster_domain": "demo.example"}] == server.execute(
            "SELECT cluster_domain FROM meta.cluster", user="orc"
        )
        assert server.key == (server.value("@@report_host"), server.value("@@report_port"))
        assert server.port == server.value("@@server_id")


def test_net_timeout_and_heartbeat_are_short_unless_the_servers_defaults_are_wanted(
    topology: Topology, new_topology: NewTopology
) -> None:
    variable = "@@replica_net_timeout" if topology.flavor is Flavor.MYSQL else "@@slave_net_timeout"
    assert {4} == {server.value(variable) for server in topology.servers}
    word = "Source" if topology.flavor is Flavor.MYSQL else "Master"
    assert {1} == {(replica_status(replica) or {})["Connect_Retry"] for replica in topology.replicas()}
    plain = new_topology(topology.flavor, 2, semi_sync=False, server_defaults=True)
    assert {60} == {server.value(variable) for server in plain.servers}
    assert {60} == {(replica_status(replica) or {})["Connect_Retry"] for replica in plain.replicas()}, word
    plain.stop_all(discard=True)


# -- accounts ----------------------------------------------------------------------------------------------------------

MANAGER_STATEMENTS = {
    Flavor.MYSQL: """
        SHOW REPLICA STATUS; SHOW REPLICAS; SHOW BINARY LOG STATUS; SELECT @@gtid_executed, @@super_read_only
        SELECT GET_LOCK('orchestrator_raft', 0), IS_USED_LOCK('orchestrator_raft')
        SELECT User_name, User_password FROM mysql.slave_master_info
        SELECT * FROM performance_schema.replication_connection_status
        STOP REPLICA IO_THREAD; STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY = 1; START REPLICA
        SET GLOBAL rpl_semi_sync_source_enabled = OFF; SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 1
        SET GLOBAL rpl_semi_sync_replica_enabled = ON; SET GLOBAL super_read_only = ON
        SET PERSIST super_read_only = ON; RESET PERSIST super_read_only
        STOP REPLICA; RESET REPLICA ALL
    """,
    Flavor.MARIADB: """
        SHOW ALL SLAVES STATUS; SHOW REPLICA STATUS; SHOW REPLICA HOSTS; SHOW BINLOG STATUS
        SELECT @@gtid_binlog_state, @@gtid_slave_pos
        SELECT GET_LOCK('orchestrator_raft', 0), IS_USED_LOCK('orchestrator_raft')
        STOP SLAVE IO_THREAD; STOP SLAVE; CHANGE MASTER TO MASTER_CONNECT_RETRY = 1; START SLAVE
        SET GLOBAL rpl_semi_sync_master_enabled = OFF; SET GLOBAL rpl_semi_sync_slave_enabled = ON
        SET GLOBAL read_only = ON
        STOP SLAVE; RESET SLAVE ALL
    """,
}


def test_the_managers_account_can_do_what_a_failover_needs_and_no_more(topology: Topology) -> None:
    replica, primary = topology.replicas()[-1], topology.primary()
    session = replica.connect("app")
    manager = replica.connect("orc")
    with manager.cursor() as cursor:
        for statement in MANAGER_STATEMENTS[topology.flavor].replace("\n", ";").split(";"):
            if statement.strip():
                cursor.execute(statement.strip())
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'app'")
        assert [{"id": session.thread_id()}] == [
            {name.lower(): value for name, value in row.items()} for row in cursor.fetchall()
        ]
        cursor.execute(f"KILL {session.thread_id()}")
        if topology.flavor is Flavor.MARIADB:
            cursor.execute(
                "SELECT grantee FROM information_schema.user_privileges WHERE privilege_type = 'READ_ONLY ADMIN'"
            )
            assert {"'root'@'%'", "'orc'@'%'"} <= {row["grantee"] for row in cursor.fetchall()}
    manager.close()
    with pytest.raises(pymysql.err.OperationalError), session.cursor() as cursor:
        cursor.execute("SELECT 1")
    for statement in ("INSERT INTO app.ledger (id, server) VALUES (1, 1)", "SELECT * FROM app.ledger"):
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            primary.execute(statement, user="orc")
    topology.point(replica, primary)
    topology.wait_replicating()
    topology.wait_acknowledging(primary, len(topology.replicas()))


def test_every_privilege_of_the_manager_has_its_reason() -> None:
    assert [] == [
        name for rows_ in accounts.MANAGER_PRIVILEGES.values() for name, reason in rows_.items() if not reason
    ]


def test_an_application_cannot_write_where_it_is_read_only(topology: Topology) -> None:
    for replica in topology.replicas():
        with pytest.raises(pymysql.err.OperationalError) as refused:
            insert(replica)
        assert refused.value.args[0] == 1290


# -- what servers go through -------------------------------------------------------------------------------------------


@BOTH
def test_servers_come_back_safe_and_replicating_after_kill_9(flavor: Flavor, new_topology: NewTopology) -> None:
    topology = new_topology(flavor)
    primary, replica = topology.servers[0], topology.servers[1]
    replica.kill()
    assert not replica.is_running()
    insert(primary)
    replica.start()
    topology.wait_replicating()
    insert(primary)
    topology.wait_caught_up()
    assert rows(primary) == rows(replica)
    assert (1, 0) == (replica.value("@@global.read_only"), replica.value(SOURCE_ENABLED[flavor]))
    primary.kill()
    primary.start()
    assert (1, 1) == (primary.value("@@global.read_only"), primary.value(SOURCE_ENABLED[flavor]))
    with pytest.raises(SandboxError, match="exactly one server should be writable, but: none"):
        topology.primary()
    topology.make_writable(primary)
    topology.wait_replicating()
    insert(primary)


@BOTH
def test_an_unacknowledged_commit_is_there_when_a_killed_primary_comes_back(
    flavor: Flavor, new_topology: NewTopology
) -> None:
    topology = new_topology(flavor)
    primary, replicas = topology.primary(), topology.replicas()
    for replica in replicas:
        replica.execute("STOP REPLICA IO_THREAD")
    with pytest.raises(pymysql.err.OperationalError):
        insert(primary, timeout_s=0.5)
    assert [] == rows(primary)
    primary.kill()
    primary.start()
    assert 1 == len(rows(primary))
    assert [[], []] == [rows(replica) for replica in replicas]


@BOTH
def test_nothing_acknowledged_is_lost_when_the_primary_is_killed_under_a_writer(
    flavor: Flavor, new_topology: NewTopology, tmp_path: Path
) -> None:
    topology = new_topology(flavor)
    old, new, other = topology.servers
    with writing(topology, tmp_path / "writes.log") as log:
        old.kill()
        topology.promote(new, others=[other])
        written = len(ledger.acknowledged(ledger.read(log)))
        until(lambda: len(ledger.acknowledged(ledger.read(log))) > written + 20, "writes are back")
    attempts = ledger.read(log)
    assert [old.port, new.port] == ledger.ports_in_order(attempts)
    assert 1 == len(ledger.outages(attempts, least_s=1e9))
    topology.wait_caught_up()
    for server in (new, other):
        found = ledger.compare(attempts, server)
        assert ((), ()) == (found.missing, found.refused_present)
        assert found.acknowledged > 40
    old.start()
    topology.point(old, new)
    until(lambda: topology_tells_its_end(old), "the old primary replicates, or says why it cannot")


def topology_tells_its_end(server: Server) -> bool:
    status = replica_status(server) or {}
    return replicates(server) or bool(status["Last_IO_Error"] or status["Last_SQL_Error"])


@BOTH
def test_a_frozen_server_accepts_connections_and_answers_only_when_thawed(
    flavor: Flavor, new_topology: NewTopology, tmp_path: Path
) -> None:
    topology = new_topology(flavor)
    primary, replica = topology.primary(), topology.replicas()[0]
    replica.freeze()
    with pytest.raises(SandboxError, match="timed out"):
        replica.connect(timeout_s=0.3)
    assert replica.is_running()
    replica.thaw()
    assert 1 == replica.value("1")
    topology.wait_replicating()
    with writing(topology, tmp_path / "writes.log", timeout_ms=300) as log:
        primary.freeze()
        until(lambda: bool(ledger.ids(ledger.read(log), Outcome.UNKNOWN)), "the writer gives a frozen server up")
        primary.thaw()
        written = len(ledger.acknowledged(ledger.read(log)))
        until(lambda: len(ledger.acknowledged(ledger.read(log))) > written + 20, "writes are back")
    assert () == ledger.compare(ledger.read(log), primary).missing


@BOTH
def test_replicas_can_be_added_and_chained(flavor: Flavor, new_topology: NewTopology) -> None:
    topology = new_topology(flavor)
    primary, middle, leaf = topology.servers
    topology.point(leaf, middle)
    added = topology.add_replica(leaf)
    insert(primary)
    topology.wait_replicating()
    topology.wait_caught_up()
    assert rows(primary) == rows(added)
    assert f"{leaf} read-only, replicates from {middle}" in topology.describe()
    assert [middle, leaf, added] == topology.replicas()


def test_mysql_can_wait_for_two_replicas_and_mariadb_says_that_it_cannot(
    new_topology: NewTopology, tmp_path: Path
) -> None:
    topology = new_topology(Flavor.MYSQL, wait_for_replica_count=2)
    insert(topology.primary())
    topology.replicas()[0].execute("STOP REPLICA IO_THREAD")
    with pytest.raises(pymysql.err.OperationalError):
        insert(topology.primary(), timeout_s=0.5)
    with pytest.raises(SandboxError, match="MariaDB's semi-sync always waits for one replica"):
        start(Flavor.MARIADB, 3, 31990, tmp_path, wait_for_replica_count=2)


def test_servers_end_with_the_process_that_started_them(new_topology: NewTopology, tmp_path: Path) -> None:
    port = new_topology(Flavor.MARIADB, 1, semi_sync=False).base_port + 1
    program = (
        "from pathlib import Path; from sandbox.topology import start, Flavor; import sys, time\n"
        f"print(start(Flavor.MARIADB, 1, {port}, Path(sys.argv[1]), semi_sync=False).servers[0].pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        marker = f"--defaults-file={tmp_path}/{port}/my.cnf"
        assert marker in spawn.command_line(pid)
        parent.send_signal(signal.SIGKILL)
    until(lambda: spawn.command_line(pid) == [], "the server is gone")


def test_only_a_left_over_of_ours_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "server.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file.write_text(f"{stranger.pid}\n")
        until(lambda: "60" in spawn.command_line(stranger.pid), "the program runs")
        spawn.end_stale(pid_file, f"--defaults-file={tmp_path}/my.cnf")
        assert stranger.poll() is None
        spawn.end_stale(pid_file, "60")
        assert stranger.wait(10) == -signal.SIGKILL
    spawn.end_stale(pid_file, "60")


def test_a_server_that_cannot_start_says_why(new_topology: NewTopology) -> None:
    topology = new_topology(Flavor.MARIADB, 1, semi_sync=False)
    server = topology.servers[0]
    server.kill()
    server.options["no-such-option"] = 1
    with pytest.raises(SandboxError, match=r"(?s)ended while starting; its error log .* ends with.*no-such-option"):
        server.start()
    del server.options["no-such-option"]
    server.start()
    twin = Server(server.binary, server.port, server.directory.parent / "twin", server.options, server.data)
    with pytest.raises(SandboxError, match="is in use by another process"):
        twin.start()


# -- which server is used ----------------------------------------------------------------------------------------------


def fake_server(folder: Path, name: str, says: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{name}  Ver {says}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", (Flavor.MYSQL, (9, 7, 4))),
        ("/usr/sbin/mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL))", (Flavor.MYSQL, (8, 0, 36))),
        ("mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64", (Flavor.MARIADB, (10, 11, 6))),
        ("bash: not a server", None),
    ],
)
def test_flavour_and_version_come_from_the_binary_itself(says: str, expected: object) -> None:
    assert expected == parse_version(says)


def test_a_named_server_is_used_or_refused_but_never_passed_over(tmp_path: Path) -> None:
    new = fake_server(tmp_path, "mysqld", "8.4.3 for Linux on x86_64")
    environ = {"ORCHESTRATOR_SANDBOX_MYSQLD": str(new), "PATH": ""}
    assert new == install.find_or_install(Flavor.MYSQL, environ=environ).path
    old = fake_server(tmp_path, "old", "8.0.36 for Linux on x86_64")
    with pytest.raises(SandboxError, match=r"old is MySQL 8\.0\.36, too old: MySQL 8\.4 or newer is needed"):
        install.find_or_install(Flavor.MYSQL, binary=old, environ=environ)
    with pytest.raises(SandboxError, match="is MySQL, not MariaDB"):
        install.find_or_install(Flavor.MARIADB, binary=new)
    with pytest.raises(SandboxError, match="is no program"):
        install.find_or_install(Flavor.MARIADB, binary=tmp_path / "none")
    with pytest.raises(SandboxError, match="is no MySQL or MariaDB server"):
        inspect(Path("/bin/true"))


def test_path_comes_first_and_an_old_or_foreign_server_there_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "MORE_FOLDERS", ())
    fake_server(tmp_path, "mysqld", "10.6.1-MariaDB for debian-linux-gnu")
    refused: list[str] = []
    assert install.on_path(Flavor.MYSQL, str(tmp_path), refused) is None
    assert install.on_path(Flavor.MARIADB, str(tmp_path), refused) is None
    assert [f"{tmp_path}/mysqld is MariaDB 10.6.1, too old: MariaDB 10.11 or newer is needed"] == refused
    good = fake_server(tmp_path, "mariadbd", "11.8.6-MariaDB for debian-linux-gnu")
    environ = {"PATH": str(tmp_path), "ORCHESTRATOR_CACHE": str(tmp_path)}
    assert good == install.find_or_install(Flavor.MARIADB, environ=environ).path


def test_only_a_whole_installation_in_the_cache_counts_and_the_newest_is_taken(tmp_path: Path) -> None:
    for folder, version in ((".mysql.new", "9.9.9"), ("mysql-8.4.1", "8.4.1"), ("mysql-9.7.4", "9.7.4")):
        (tmp_path / "servers" / folder / "bin").mkdir(parents=True)
        fake_server(tmp_path / "servers" / folder / "bin", "mysqld", f"{version} for Linux")
    found = install.cached(Flavor.MYSQL, tmp_path)
    assert found is not None and found.version == (9, 7, 4)
    assert install.cached(Flavor.MARIADB, tmp_path) is None


def test_where_nothing_can_be_installed_one_line_says_what_to_do() -> None:
    debian = {"ID": "debian"}
    assert "" == install.why_not_here(debian, is_root=True, has_apt=True)
    assert "neither Debian nor Ubuntu" in install.why_not_here({"ID": "alpine"}, is_root=True, has_apt=False)
    reason = install.why_not_here(debian, is_root=False, has_apt=True)
    line = install.what_to_install(Flavor.MYSQL, reason, ["/opt/mysqld is MySQL 5.7.1, too old"])
    assert "\n" not in line
    for word in ("MySQL 8.4 or newer", "only root", "ORCHESTRATOR_SANDBOX_MYSQLD", "/opt/mysqld is MySQL 5.7.1"):
        assert word in line


def test_archives_are_the_hosts_own_mirror_without_third_parties() -> None:
    listing = """
        http://mirror.example/debian/ trixie main
        http://mirror.example/debian/ trixie-updates main
        http://mirror.example/debian-security/ trixie-security main
        https://vendor.example/apt vendor-trixie main
    """
    own, sid = apt.archives(listing, "debian", "trixie")
    assert ("http://mirror.example/debian/ sid main",) == sid.lines
    assert 3 == len(own.lines) and not any("vendor" in line for line in own.lines)
    with pytest.raises(SandboxError, match="apt's sources name no mirror"):
        apt.archives(listing, "debian", "bookworm")


def test_a_failed_command_is_one_line_and_a_slow_one_is_ended() -> None:
    with pytest.raises(SandboxError, match=r"^sh -c .* failed: E: no such thing$"):
        apt.run(["sh", "-c", "echo 'E: no such thing' >&2; exit 100"], 10)
    with pytest.raises(SandboxError, match="took more than 0 s"):
        apt.run(["sleep", "60"], 0.1)


def test_one_caller_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    with (
        install.file_lock(tmp_path / "lock"),
        pytest.raises(SandboxError, match="another process has held"),
        install.file_lock(tmp_path / "lock", timeout_s=0.1),
    ):
        pass
    with install.file_lock(tmp_path / "lock", timeout_s=0.1):
        pass


# -- the ledger --------------------------------------------------------------------------------------------------------


def log_of(*entries: tuple[int, int, Outcome]) -> list[Attempt]:
    """Attempts from (id, end in milliseconds, outcome)."""
    return [Attempt(number, 1, (end - 1) * 10**6, end * 10**6, outcome) for number, end, outcome in entries]


OK, NO, LOST = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN


def test_an_outage_lasts_from_the_last_acknowledged_write_to_the_next() -> None:
    attempts = log_of((1, 5, OK), (2, 10, OK), (3, 15, LOST), (4, 20, NO), (5, 260, OK), (6, 265, OK))
    (outage,) = ledger.outages(attempts)
    assert Outage(10 * 10**6, 260 * 10**6) == outage
    assert 0.25 == outage.duration_s


def test_a_long_gap_is_an_outage_without_any_error_and_one_may_still_last() -> None:
    assert [Outage(5 * 10**6, 500 * 10**6)] == ledger.outages(log_of((1, 5, OK), (2, 500, OK), (3, 505, OK)))
    assert [Outage(5 * 10**6, None)] == ledger.outages(log_of((1, 5, OK), (2, 10, LOST)))
    assert [] == ledger.outages(log_of((1, 5, NO), (2, 10, OK)))


def test_the_log_survives_its_own_format_and_an_unfinished_line() -> None:
    attempts = log_of((1, 5, OK), (2, 10, LOST))
    text = "".join(ledger.to_line(attempt) for attempt in attempts)
    assert attempts == ledger.parse(text)
    assert attempts[:1] == ledger.parse(text[:-3])
    assert [] == ledger.parse("")


def test_lost_rows_are_those_acknowledged_and_absent() -> None:
    class Rows:
        def execute(self, statement: str) -> list[dict[str, object]]:
            return [{"id": 1}, {"id": 3}, {"id": 4}]

    found = ledger.compare(log_of((1, 1, OK), (2, 2, OK), (3, 3, LOST), (4, 4, NO), (5, 5, LOST)), Rows())
    assert (2, (2,), (3,), (4,)) == (found.acknowledged, found.missing, found.unknown_present, found.refused_present)
