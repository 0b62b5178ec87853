"""The GTID algebra against real servers: they read our text, we read theirs, and we agree on every answer.

MySQL has the algebra itself (GTID_SUBSET, GTID_SUBTRACT) and judges random texts. MariaDB has none, so there real
transactions of several servers and domains show that a position stands for what was written.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator_raft.core.gtid import DomainServer, parse_mariadb, parse_mysql
from sandbox.binaries import Flavor
from sandbox.servers import Server

if TYPE_CHECKING:
    from tests.adapters.conftest import NewTopology

UUIDS = (
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3E11FA47-71CA-11E1-9E33-C80AA9429563",
    "f0000000-0000-4000-8000-00000000000f",
    "00000000-0000-4000-8000-00000000000F",
)
"""Upper and lower case, and an order by text in which the first letters decide."""
BLANKS = ("", "", "", " ", "\n", "\t ", "\r\n", "\v")
PAIRS = 300
STATES = 30


@pytest.fixture(scope="module")
def mysql(module_topology: NewTopology) -> Server:
    return module_topology(Flavor.MYSQL, 1, semi_sync=False).servers[0]


@pytest.fixture(scope="module")
def mariadb(module_topology: NewTopology) -> Server:
    return module_topology(Flavor.MARIADB, 1, semi_sync=False).servers[0]


def random_item(random: Random, *, large: bool) -> str:
    first = random.randint(1, 2**62 if large else 30)
    last = first + random.choice((0, random.randint(1, 2**61 if large else 6)))
    blank = random.choice(BLANKS)
    return f"{blank}:{blank}{first}{blank}" + (f"-{blank}{last}" if last > first else "")


def random_text(random: Random) -> str:
    large = random.random() < 0.2
    groups = []
    for _ in range(random.randint(0, 5)):
        items = [random_item(random, large=large) for _ in range(random.randint(1, 4))]
        for place in random.sample(range(len(items)), min(random.randint(0, 2), len(items))):
            tag = random.choice(BLANKS) + random.choice(("a", "A", "B_2", "_x", "mytag"))
            items[place] = f":{tag}{items[place]}"
        groups.append(random.choice(UUIDS) + "".join(items))
    return random.choice((",", ",\n", " , ", ",,")).join(groups)


def as_we_print(text: str) -> str:
    """A server writes a newline after each comma; we do not."""
    return text.replace("\n", "")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mysql_answers_as_we_do_about_random_sets(mysql: Server, seed: int) -> None:
    random = Random(seed)
    question = (
        "SELECT GTID_SUBTRACT(%(a)s, '') AS a, GTID_SUBTRACT(%(a)s, %(b)s) AS minus,"
        " GTID_SUBSET(%(b)s, %(a)s) AS covers, GTID_SUBTRACT(%(ours)s, '') AS ours,"
        " GTID_SUBTRACT(CONCAT(%(a)s, ',', %(b)s), '') AS united"
    )
    connection = mysql.connect()
    with connection, connection.cursor() as cursor:
        for _ in range(PAIRS):
            a, b = random_text(random), random_text(random)
            ours, theirs = parse_mysql(a), parse_mysql(b)
            cursor.execute(question, {"a": a, "b": b, "ours": str(ours)})
            answer: dict[str, Any] = cursor.fetchone() or {}
            assert as_we_print(answer["a"]) == str(ours), a
            assert answer["a"] == answer["ours"], a
            assert as_we_print(answer["minus"]) == str(ours.minus(theirs)), (a, b)
            assert as_we_print(answer["united"]) == str(ours.union(theirs)), (a, b)
            assert bool(answer["covers"]) == ours.covers(theirs), (a, b)


def test_what_mysql_executed_is_printed_and_grows_by_one_with_each_transaction_tagged_or_not(mysql: Server) -> None:
    uuid = mysql.value("@@server_uuid")
    before = parse_mysql(mysql.value("@@gtid_executed"))
    connection = mysql.connect()
    with connection, connection.cursor() as cursor:
        for number, next_gtid in enumerate(("AUTOMATIC", "AUTOMATIC:mytag", "AUTOMATIC:Other_1", "AUTOMATIC:mytag")):
            cursor.execute("SET SESSION gtid_next = %s", (next_gtid,))
            cursor.execute(f"CREATE DATABASE gtid_{number}")
            text = mysql.value("@@gtid_executed")
            now = parse_mysql(text)
            assert as_we_print(text) == str(now)
            assert now.covers(before)
            assert 1 == now.minus(before).count()
            assert now.minus(before) == now.minus(before).only_from({uuid.upper()})
            before = now
    assert ":mytag:1-2" in str(before)
    assert ":other_1:1" in str(before)


def test_a_mariadb_state_set_by_hand_is_read_as_the_server_reads_it(mariadb: Server) -> None:
    random = Random(1)
    connection = mariadb.connect()
    with connection, connection.cursor() as cursor:
        for _ in range(STATES):
            pairs = random.sample(
                [(domain, server) for domain in (0, 1, 10) for server in (1, 2, 3)], random.randint(0, 6)
            )
            text = ",".join(f"{domain}-{server}-{random.randint(1, 2**64 - 1)}" for domain, server in pairs)
            cursor.execute("RESET MASTER")
            cursor.execute("SET GLOBAL gtid_binlog_state = %s", (text,))
            cursor.execute("SELECT @@gtid_binlog_state AS state")
            state: dict[str, Any] = cursor.fetchone() or {}
            assert parse_mariadb(text) == parse_mariadb(state["state"])
            assert set(state["state"].split(",")) == set(str(parse_mariadb(text)).split(","))
        cursor.execute("RESET MASTER")


def test_a_mariadb_state_covers_every_transaction_of_every_server_and_misses_the_next(mariadb: Server) -> None:
    random = Random(2)
    written = [parse_mariadb("")]
    connection = mariadb.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("RESET MASTER")
        cursor.execute("CREATE DATABASE gtid")
        cursor.execute("CREATE TABLE gtid.written (id INT)")
        before = parse_mariadb(mariadb.value("@@gtid_binlog_state"))
        for number in range(40):
            domain_id, server_id = random.choice((0, 1)), random.choice((101, 102, 103))
            cursor.execute("SET SESSION gtid_domain_id = %s, server_id = %s", (domain_id, server_id))
            cursor.execute("INSERT INTO gtid.written VALUES (%s)", (number,))
            cursor.execute("SELECT @@last_gtid AS gtid, @@gtid_binlog_state AS state")
            row: dict[str, Any] = cursor.fetchone() or {}
            this = parse_mariadb(f"{row['gtid']}..{row['gtid'].split('-')[2]}")
            now = parse_mariadb(row["state"])
            assert now.covers(before) and not before.covers(this)
            assert now.minus(before).covers(this) and 1 == this.count()
            assert {DomainServer(domain_id, server_id)} == now.minus(before).sources()
            written.append(this)
            assert all(now.covers(earlier) for earlier in written)
            before = now
