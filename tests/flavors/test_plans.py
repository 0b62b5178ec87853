"""Plans as values: what they say, in which order, and where a password may stand. No server is needed for these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.core.gtid import parse_mariadb
from orchestrator_raft.core.instance import Channel, ChannelOption, Coordinates, Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery import steps
from orchestrator_raft.core.recovery.steps import (
    Fence,
    PointTo,
    ResetReplication,
    ServerStep,
    SetEventScheduler,
    SetSemiSync,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from orchestrator_raft.flavors import DIALECTS, mariadb_rows, mysql_rows
from orchestrator_raft.flavors.base import Account, Rows, Statement
from orchestrator_raft.flavors.fencing import client_sessions
from orchestrator_raft.flavors.mariadb_fence import MARK
from orchestrator_raft.flavors.mariadb_steps import last_of_each_domain
from orchestrator_raft.flavors.options import quoted, read_options, write_options
from orchestrator_raft.flavors.replication import acting_channel
from orchestrator_raft.flavors.waiting import wait_limit_s

KEY, SOURCE, OTHER = (InstanceKey("127.0.0.1", port) for port in (3306, 3307, 3308))
SECRET = "it's\\secret"
ACCOUNT = Account("repl", SECRET)
FACTS = {flavor: Facts(key=KEY, flavor=flavor, version="x") for flavor in Flavor}
KINDS = [
    kind for kind in vars(steps).values()
    if isinstance(kind, type) and issubclass(kind, ServerStep) and kind is not ServerStep
]  # fmt: skip
FAILING = "DO 0"
BOTH = pytest.mark.parametrize("flavor", list(Flavor))
CHANNEL_ROWS: dict[Flavor, dict[str, Any]] = {
    Flavor.MYSQL: {
        "Channel_Name": "", "Source_Host": "127.0.0.1", "Source_Port": "3308", "Source_User": "repl",
        "Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Auto_Position": "1", "Source_SSL_Allowed": "Yes",
    },
    Flavor.MARIADB: {
        "Connection_name": "", "Master_Host": "127.0.0.1", "Master_Port": "3308", "Master_User": "repl",
        "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Using_Gtid": "Slave_Pos", "Gtid_IO_Pos": "0-1-5",
        "Slave_heartbeat_period": "1.5",
    },
}  # fmt: skip
HERE = Coordinates("binlog.000001", 4)


def plan(flavor: Flavor, step: ServerStep, account: Account | None = None) -> tuple[Statement, ...]:
    return DIALECTS[flavor].plan(step, FACTS[flavor], account)


def said(statements: Sequence[Statement], rows: Rows) -> Iterator[Statement]:
    """Everything a plan says where every question is answered with these rows."""
    for statement in statements:
        yield statement
        if statement.then is not None:
            yield from said(statement.then(rows), rows)


NEEDED: dict[Any, dict[str, Any]] = {
    PointTo: {"source": SOURCE},
    SetEventScheduler: {"on": True},
    steps.SetNetTimeout: {"timeout_s": 4},
    steps.CloneFrom: {"donor": SOURCE},
    steps.InjectEmpty: {"gtids": ""},
    steps.KillQuery: {"session": 7},
    steps.PointAt: {"source": SOURCE, "place": HERE, "left_source": SOURCE, "left_at": HERE},
    steps.PurgeBinaryLogs: {"log_file": "binlog.000007"},
    steps.ResetGtids: {"executed": ""},
    steps.SetDelay: {"delay_s": 5},
    steps.StartUntil: {"place": HERE},
}


PLACE = Coordinates("binlog.000002", 157)
NEEDED |= {
    steps.StartUntil: {"place": PLACE},
    steps.PointAt: {"source": SOURCE, "place": PLACE, "left_source": SOURCE, "left_at": PLACE},
}


def texts(statements: Sequence[Statement], rows: Rows = ()) -> list[str]:
    return [statement.sql for statement in said(statements, rows)]


def complaints(statements: Sequence[Statement], rows: Rows) -> list[str]:
    return [found for each in said(statements, rows) if each.check is not None and (found := each.check(rows))]


@BOTH
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_step_on_a_server_has_a_plan(flavor: Flavor, kind: Any) -> None:
    step = kind(key=KEY, **NEEDED.get(kind, {}))
    assert FAILING not in [statement.sql for statement in plan(flavor, step)]


@BOTH
def test_a_step_that_no_dialect_knows_fails_and_says_so(flavor: Flavor) -> None:
    (statement,) = plan(flavor, ServerStep(key=KEY))
    assert statement.check is not None
    assert "cannot be carried out" in statement.check(())


@BOTH
def test_gtids_of_another_family_fail_the_step_instead_of_the_program(flavor: Flavor) -> None:
    (statement,) = plan(flavor, WaitApplied(key=KEY, gtids="nonsense"))
    assert statement.check is not None
    assert "no M" in statement.check(())


@BOTH
def test_a_password_stands_in_one_statement_only_and_that_one_is_masked(flavor: Flavor) -> None:
    statements = list(said(plan(flavor, PointTo(key=KEY, source=SOURCE), ACCOUNT), ()))
    with_secret = [statement for statement in statements if quoted(SECRET) in statement.sql]
    assert len(with_secret) == 1
    assert with_secret[0].masked
    assert "secret" not in with_secret[0].masked
    assert all("secret" not in statement.sql for statement in statements if statement is not with_secret[0])
    assert "secret" not in repr(ACCOUNT)


@BOTH
def test_the_account_stays_the_servers_own_where_it_has_one(flavor: Flavor) -> None:
    said_texts = texts(plan(flavor, PointTo(key=KEY, source=SOURCE), ACCOUNT), [CHANNEL_ROWS[flavor]])
    assert any("_HOST = '127.0.0.1'" in text and "_PORT = 3307" in text for text in said_texts)
    assert not [text for text in said_texts if "PASSWORD" in text]


@BOTH
def test_only_what_a_change_of_source_would_reset_is_named(flavor: Flavor) -> None:
    facts = replace(FACTS[flavor], channels=(Channel(source=OTHER, heartbeat_period_s=1.5),))
    statements = DIALECTS[flavor].plan(PointTo(key=KEY, source=SOURCE), facts)
    (change,) = [text for text in texts(statements, [CHANNEL_ROWS[flavor]]) if text.startswith("CHANGE")]
    assert "HEARTBEAT_PERIOD = 1.5" in change
    assert "RETRY" not in change
    assert change.endswith(" FOR CHANNEL ''")


@BOTH
def test_nothing_is_changed_where_the_source_is_right_already(flavor: Flavor) -> None:
    said_texts = texts(plan(flavor, PointTo(key=KEY, source=OTHER)), [CHANNEL_ROWS[flavor]])
    assert not [text for text in said_texts if text.startswith(("STOP", "CHANGE"))]
    assert [text for text in said_texts if text.startswith("START")]


@BOTH
def test_options_of_another_host_are_not_carried_over(flavor: Flavor) -> None:
    options = {
        Flavor.MYSQL: (ChannelOption("SOURCE_BIND", "10.0.0.9"), ChannelOption("SOURCE_CONNECT_RETRY", 3)),
        Flavor.MARIADB: (ChannelOption("MASTER_CONNECT_RETRY", 3),),
    }[flavor]
    step = PointTo(key=KEY, source=SOURCE, options=options)
    (anew,) = [text for text in texts(plan(flavor, step, ACCOUNT)) if text.startswith("CHANGE")]
    assert "_CONNECT_RETRY = 3" in anew
    assert "BIND" not in anew
    (moved,) = [text for text in texts(plan(flavor, step), [CHANNEL_ROWS[flavor]]) if text.startswith("CHANGE")]
    assert ("SOURCE_BIND = '10.0.0.9'" in moved) is (flavor is Flavor.MYSQL)


def test_mariadb_is_told_that_the_server_was_a_primary() -> None:
    for was_primary in (True, False):
        step = PointTo(key=KEY, source=SOURCE, was_primary=was_primary)
        (change,) = [text for text in texts(plan(Flavor.MARIADB, step, ACCOUNT)) if text.startswith("CHANGE")]
        assert ("MASTER_DEMOTE_TO_SLAVE = 1" in change) is was_primary


@BOTH
def test_nothing_is_done_to_several_named_channels(flavor: Flavor) -> None:
    name = "Channel_Name" if flavor is Flavor.MYSQL else "Connection_name"
    rows = [CHANNEL_ROWS[flavor] | {name: each} for each in ("one", "two")]
    for step in (
        StopReceiver(key=KEY),
        StopReplication(key=KEY),
        ResetReplication(key=KEY),
        PointTo(key=KEY, source=SOURCE),
    ):
        statements = plan(flavor, step)
        assert not [text for text in texts(statements, rows) if text.startswith(("STOP", "CHANGE", "RESET"))]
        assert any("channels one, two and no default" in complaint for complaint in complaints(statements, rows))


def test_the_channel_we_act_on_is_the_one_that_facts_name() -> None:
    one, two, unnamed = (Channel(name=name, source=SOURCE) for name in ("one", "two", ""))
    for channels in ((), (one,), (one, two), (one, unnamed), (unnamed,)):
        assert acting_channel(channels) == replace(FACTS[Flavor.MYSQL], channels=channels).channel


WAITING = {"Id": "9", "User": "system user", "Command": "Slave_IO", "State": "Waiting for master to send event"}


def test_a_mariadb_receiver_that_waits_for_its_source_is_killed_before_it_is_stopped() -> None:
    """Stopped alone it would log in to its source, which takes seconds where that is frozen."""
    steps = plan(Flavor.MARIADB, StopReceiver(key=KEY))
    found = texts(steps, [CHANNEL_ROWS[Flavor.MARIADB] | WAITING])
    assert found.index("KILL 9") < found.index("STOP SLAVE IO_THREAD FOR CHANNEL ''")


@pytest.mark.parametrize(
    "others",
    [
        {"State": "Reconnecting after a failed master event read"},
        {"State": "Queueing master event to the relay log"},
        {"Command": "Slave_SQL"},
        {"Slave_IO_Running": "Connecting"},
    ],
    ids=lambda others: next(iter(others.values())),
)
def test_no_other_thread_of_mariadb_is_killed(others: dict[str, str]) -> None:
    found = texts(plan(Flavor.MARIADB, StopReceiver(key=KEY)), [CHANNEL_ROWS[Flavor.MARIADB] | WAITING | others])
    assert not [text for text in found if text.startswith("KILL")]
    assert "STOP SLAVE IO_THREAD FOR CHANNEL ''" in found


@BOTH
def test_a_broken_thread_ends_the_wait_for_replication(flavor: Flavor) -> None:
    words = {"Last_IO_Errno": "1236", "Last_IO_Error": "purged required binary logs"}
    thread = "Replica_IO_Running" if flavor is Flavor.MYSQL else "Slave_IO_Running"
    rows = [CHANNEL_ROWS[flavor] | words | {thread: "No"}]
    found = complaints(plan(flavor, PointTo(key=KEY, source=OTHER)), rows)
    assert "replication stopped: purged required binary logs (1236)" in found


@BOTH
def test_semi_sync_without_plugins_is_refused_unless_it_is_to_be_off(flavor: Flavor) -> None:
    on = complaints(plan(flavor, SetSemiSync(key=KEY, source_enabled=True)), ())
    assert on == ["the server does not offer semi-sync as a source: install the semi-sync plugins"]
    assert complaints(plan(flavor, SetSemiSync(key=KEY, source_enabled=False, replica_enabled=False)), ()) == []


@given(st.text())
def test_a_quoted_text_ends_where_it_should(value: str) -> None:
    inside = quoted(value)[1:-1]
    assert inside.replace("\\\\", "").replace("''", "").count("'") == 0
    assert inside.replace("''", "'").replace("\\\\", "\\") == value


@given(data=st.data())
@pytest.mark.parametrize("table", [mysql_rows.OPTIONS, mariadb_rows.OPTIONS])
def test_options_are_written_as_they_were_read(table: Any, data: st.DataObject) -> None:
    values = {
        "text": st.text(), "number": st.integers(0, 10**9).map(str), "seconds with a fraction": st.just("1.5"),
        "switch": st.sampled_from(["Yes", "No", "1", "0"]), "keyword, written without quotes": st.just("STREAM"),
        "account, quoted by the server itself": st.just("'a'@'%'"), "list of numbers": st.sampled_from(["", "5, 6"]),
    }  # fmt: skip
    row = {option.column: data.draw(values[option.kind.value]) for option in table}
    options = read_options(table, row)
    terms = list(write_options(table, options))
    assert [term.split(" = ")[0] for term in terms] == [option.name for option in table]


def test_words_that_could_end_a_statement_are_not_written_bare() -> None:
    for option in (
        ChannelOption("PRIVILEGE_CHECKS_USER", "'a'@'%', SOURCE_SSL = 0"),
        ChannelOption("REQUIRE_TABLE_PRIMARY_KEY_CHECK", "ON; DROP"),
        ChannelOption("NO_SUCH_OPTION", 1),
    ):
        step = PointTo(key=KEY, source=SOURCE, options=(option,))
        rows = [CHANNEL_ROWS[Flavor.MYSQL]]
        found = complaints(plan(Flavor.MYSQL, step), rows)
        assert [complaint for complaint in found if option.name in complaint]
        assert not [text for text in texts(plan(Flavor.MYSQL, step), rows) if text.startswith("CHANGE")]


@pytest.mark.parametrize(
    ("gtids", "last"),
    [
        ("0-1-5", "0-1-5"),
        ("0-1-5,0-2-7", "0-2-7"),
        ("0-2-7,0-1-9,3-1-1", "0-1-9,3-1-1"),
    ],
)
def test_mariadb_waits_for_the_newest_of_each_domain(gtids: str, last: str) -> None:
    assert last_of_each_domain(parse_mariadb(gtids)) == last


@given(st.floats(0.05, 86_400))
def test_a_wait_ends_before_its_step_does(deadline_s: float) -> None:
    assert 0 < wait_limit_s(deadline_s) < max(deadline_s, 0.15)


def test_replication_and_the_manager_itself_are_no_clients() -> None:
    rows = [
        {"Id": "1", "User": "app", "Command": "Query"},
        {"Id": "2", "User": "app", "Command": "Killed"},
        {"Id": "3", "User": "orc", "Command": "Sleep"},
        {"Id": "4", "User": "repl", "Command": "Binlog Dump GTID"},
        {"Id": "5", "User": "system user", "Command": "Slave_IO"},
        {"Id": "6", "User": "event_scheduler", "Command": "Daemon"},
        {"Id": "7", "User": "unauthenticated user", "Command": "Connect"},
        {"Id": "8", "User": "root", "Command": "Sleep"},
    ]
    assert client_sessions("orc", rows) == (1, 8)


def test_mariadb_kills_the_session_that_holds_up_the_others_last() -> None:
    """Its group would be acknowledged if it went first."""
    rows = [
        {"Id": "1", "User": "app", "Command": "Query", "State": "Waiting for semi-sync ACK from slave"},
        {"Id": "2", "User": "app", "Command": "Query", "State": "Commit"},
        {"Id": "3", "User": "app", "Command": "Sleep", "State": ""},
    ]
    answers: dict[str, Rows] = {"AS user": [{"user": "orc"}], "read_only AS": [{"read_only": "0"}], "PROCESSLIST": rows}
    order = [text for text in answered(plan(Flavor.MARIADB, Fence(key=KEY)), answers) if "KILL" in text]
    assert order[:3] == ["KILL 2", "KILL 3", "KILL 1"]


def test_mariadb_shuts_the_doors_before_it_kills_anybody_and_opens_them_after() -> None:
    answers: dict[str, Any] = {
        "AS user": [{"user": "orc"}],
        "read_only AS": [{"read_only": "0"}],
        "PROCESSLIST": [{"Id": "1", "User": "app", "Command": "Query", "State": "Commit"}],
        "init_connect AS": [{"init_connect": "SET @it = 'its'"}],
    }
    order = list(answered(plan(Flavor.MARIADB, Fence(key=KEY)), answers))
    shut = order.index(f"SET GLOBAL init_connect = {quoted(MARK + answers['init_connect AS'][0]['init_connect'])}")
    assert shut < order.index("KILL 1")
    assert order.index("SET GLOBAL read_only = ON") < shut


def answered(statements: Sequence[Statement], answers: dict[str, Rows]) -> Iterator[str]:
    """What a plan says where each question is answered by the first answer whose words it has."""
    for statement in statements:
        yield statement.sql
        if statement.then is not None:
            rows = next((rows for words, rows in answers.items() if words in statement.sql), [{}])
            yield from answered(statement.then(rows), answers)
