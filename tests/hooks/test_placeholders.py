"""What hooks are told: values, quoting by place, and that no name can make a shell run anything."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery, Request
from orchestrator_raft.hooks.placeholders import (
    ROWS,
    Story,
    Successor,
    environment,
    harmless,
    known_successor,
    substitute,
    values,
)
from tests.hooks.story import FAILED, PROMOTED, RECOVERY, REPLICAS, SUBJECT, with_alias

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "hooks.md"
PEERS_PLACEHOLDERS = {
    "failureType", "instanceType", "isMaster", "isCoMaster", "failureDescription", "command", "failedHost",
    "failedPort", "failureCluster", "failureClusterAlias", "failureClusterDomain", "countSlaves", "countReplicas",
    "isDowntimed", "autoMasterRecovery", "autoIntermediateMasterRecovery", "orchestratorHost", "recoveryUID",
    "isSuccessful", "lostSlaves", "lostReplicas", "countLostReplicas", "slaveHosts", "replicaHosts", "successorHost",
    "successorPort", "successorAlias", "successorBinlogCoordinates",
}  # fmt: skip
PEERS_VARIABLES = {
    "ORC_FAILURE_TYPE", "ORC_INSTANCE_TYPE", "ORC_IS_MASTER", "ORC_IS_CO_MASTER", "ORC_FAILURE_DESCRIPTION",
    "ORC_COMMAND", "ORC_FAILED_HOST", "ORC_FAILED_PORT", "ORC_FAILURE_CLUSTER", "ORC_FAILURE_CLUSTER_ALIAS",
    "ORC_FAILURE_CLUSTER_DOMAIN", "ORC_COUNT_REPLICAS", "ORC_IS_DOWNTIMED", "ORC_AUTO_MASTER_RECOVERY",
    "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY", "ORC_ORCHESTRATOR_HOST", "ORC_IS_SUCCESSFUL", "ORC_LOST_REPLICAS",
    "ORC_REPLICA_HOSTS", "ORC_RECOVERY_UID", "ORC_SUCCESSOR_HOST", "ORC_SUCCESSOR_PORT", "ORC_SUCCESSOR_ALIAS",
    "ORC_SUCCESSOR_BINLOG_COORDINATES",
}  # fmt: skip
SUCCESSOR = Successor(key=REPLICAS[0], alias="two", coordinates="bin.000007:154")


def story(recovery: Recovery, successor: Successor | None = None) -> Story:
    return Story(recovery=recovery, orchestrator_host="manager1", successor=successor)


def test_the_vocabulary_is_the_peers_own() -> None:
    assert PEERS_PLACEHOLDERS == {name for row in ROWS for name in row.placeholders}
    assert PEERS_VARIABLES | {"ORC_REQUEST_ID", "ORC_IDEMPOTENCY_KEY", "ORC_IS_DRILL"} == {
        row.variable for row in ROWS if row.variable
    }


def test_the_document_has_every_placeholder_and_variable() -> None:
    text = DOCUMENT.read_text()
    for row in ROWS:
        names = " ".join(f"`{{{name}}}`" for name in row.placeholders)
        variable = f"`{row.variable}`" if row.variable else ""
        assert f"| {names} | {variable} | {row.help} |" in text


def test_values_before_a_successor_is_known() -> None:
    assert {
        "failureType": "DeadMaster",
        "instanceType": "master",
        "isMaster": "true",
        "isCoMaster": "false",
        "failureDescription": "The primary is dead, its replicas answer and none of them replicates",
        "command": "force-master-failover",
        "failedHost": "db1.example",
        "failedPort": "3306",
        "failureCluster": "db1.example:3306",
        "failureClusterAlias": "shop",
        "failureClusterDomain": "shop.example",
        "countSlaves": "2",
        "countReplicas": "2",
        "isDowntimed": "false",
        "autoMasterRecovery": "true",
        "autoIntermediateMasterRecovery": "false",
        "orchestratorHost": "manager1",
        "recoveryUID": "r-7",
        "isSuccessful": "false",
        "lostSlaves": "",
        "lostReplicas": "",
        "countLostReplicas": "0",
        "slaveHosts": "db2.example:3306,db3.example:3307",
        "replicaHosts": "db2.example:3306,db3.example:3307",
    } == values(story(RECOVERY))


def test_values_of_a_successor_and_of_lost_replicas() -> None:
    known = values(story(PROMOTED, SUCCESSOR))
    expected = {
        "isSuccessful": "true",
        "successorHost": "db2.example",
        "successorPort": "3306",
        "successorAlias": "two",
        "successorBinlogCoordinates": "bin.000007:154",
        "lostReplicas": "db3.example:3307",
        "countLostReplicas": "1",
    }
    assert expected == {name: known[name] for name in expected}


@pytest.mark.parametrize(
    ("is_primary", "is_co_primary", "expected"),
    [(True, False, "master"), (False, False, "intermediate-master"), (False, True, "co-master")],
)
def test_the_type_of_the_failed_server(is_primary: bool, is_co_primary: bool, expected: str) -> None:
    subject = replace(SUBJECT, is_primary=is_primary, is_co_primary=is_co_primary)
    assert expected == values(story(replace(RECOVERY, subject=subject)))["instanceType"]


def test_a_committed_but_not_promoted_server_is_no_successor_yet() -> None:
    assert known_successor(replace(RECOVERY, successor=REPLICAS[0])) is None
    assert REPLICAS[0] == known_successor(PROMOTED)


def test_a_planned_takeover_knows_its_successor_from_the_start_if_a_person_named_it() -> None:
    asked = replace(RECOVERY, kind="takeover", request=Request(designated=REPLICAS[1]))
    assert REPLICAS[1] == known_successor(asked)
    assert known_successor(replace(asked, request=Request())) is None


def test_an_unknown_successor_stays_in_the_text_and_out_of_the_environment() -> None:
    assert "to {successorHost}" == substitute("to {successorHost}", values(story(RECOVERY)))
    assert "ORC_SUCCESSOR_HOST" not in environment(story(RECOVERY))


def test_the_environment_has_raw_values() -> None:
    hostile = 'it\'s; $(reboot) `x` "y" \\ é'
    assert hostile == environment(story(with_alias(hostile)))["ORC_FAILURE_CLUSTER_ALIAS"]


def test_what_no_variable_can_hold_is_left_out() -> None:
    known = environment(story(with_alias("a\0b\ud800c")))
    assert "ab?c" == known["ORC_FAILURE_CLUSTER_ALIAS"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("notify {a}", "notify 'My Shop'"),
        ("notify '{a}'", "notify 'My Shop'"),
        ('notify "cluster {a}!"', 'notify "cluster My Shop!"'),
        ('echo "it\'s {a}" {a}', "echo \"it's My Shop\" 'My Shop'"),
        ("echo 'a \"b' {a}", "echo 'a \"b' 'My Shop'"),
        ("echo it\\'s {a}", "echo it\\'s 'My Shop'"),
        ("echo 'a\\' {a}", "echo 'a\\' 'My Shop'"),
        ('echo "a\\" {a}"', 'echo "a\\" My Shop"'),
        ("echo {h} '{h}' \"{h}\"", "echo db1 'db1' \"db1\""),
        ("echo --a={e}", "echo --a="),
        ("echo ${h} {nonsense} {} {a", "echo $db1 {nonsense} {} {a"),
    ],
)
def test_a_value_gets_quotes_only_where_the_person_wrote_none(command: str, expected: str) -> None:
    assert expected == substitute(command, {"a": "My Shop", "h": "db1", "e": ""})


def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again() -> None:
    assert "a _failedHost_" == substitute("a {x}", {"x": harmless("{failedHost}"), "failedHost": str(FAILED)})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("db-1.example", "db-1.example"),
        ("[fd00::1%eth0]:3306", "[fd00::1%eth0]:3306"),
        ("läden @ nord", "läden @ nord"),
        ("a;b", "a,b"),
        ("$(reboot)", "__reboot_"),
        ("a\nreboot\n", "a_reboot_"),
        ("-oProxyCommand=reboot", "_oProxyCommand=reboot"),
    ],
)
def test_signs_that_could_run_something_are_replaced(raw: str, expected: str) -> None:
    assert expected == harmless(raw)


PLACES = (
    "true {failureClusterAlias}",
    "true '{failureClusterAlias}'",
    'true "{failureClusterAlias}"',
    "true $(echo {failureClusterAlias})",
    'true "$(echo {failureClusterAlias})" `echo {failureClusterAlias}`',
    "bash -c 'true {failureClusterAlias}'",
    'bash -c "true {failureClusterAlias}"',
    "bash -c \"bash -c 'true {failureClusterAlias}'\"",
    'eval "true {failureClusterAlias}"',
    "cat <<EOF\n{failureClusterAlias}\nEOF",
    "bash <<'EOF'\ntrue {failureClusterAlias}\nEOF",
    "true ${UNSET:-{failureClusterAlias}}",
    "# it's a comment\ntrue {failureClusterAlias}",
    "python3 -c 'print(\"{failureClusterAlias}\")'",
)
ATTACKS = (
    "$(touch hit)",
    "`touch hit`",
    "; touch hit ;",
    "'; touch hit; '",
    '"; touch hit; "',
    "\ntouch hit\n",
    "& touch hit &",
    "| touch hit",
    "' ; touch hit #",
    "}; touch hit; {",
    "\\'; touch hit; \\'",
    "x\nEOF\ntouch hit\n",
    "> hit",
    '"+open(chr(104)+"it","w").name+"',
    "<(touch hit)",
    "' \"$(touch hit)\" '",
)


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_a_hostile_alias_runs_nothing_anywhere(place: str, tmp_path: Path) -> None:
    for attack in ATTACKS:
        command = substitute(place, values(story(with_alias(attack))))
        subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=30)
        assert [] == list(tmp_path.iterdir()), attack


def test_the_attacks_do_hit_when_values_are_pasted_as_they_are(tmp_path: Path) -> None:
    """The yardstick itself: each attack succeeds in at least one place of a manager that only pastes."""
    for number, attack in enumerate(ATTACKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place in PLACES:
            command = place.replace("{failureClusterAlias}", attack)
            subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=30)
        assert [folder / "hit"] == list(folder.iterdir()), attack


@settings(max_examples=60, deadline=None)
@given(alias=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_alias_is_exactly_one_word_in_every_kind_of_quotes(alias: str) -> None:
    known = values(story(with_alias(alias)))
    template = "printf '%s\\0' x{failureClusterAlias} 'x{failureClusterAlias}' \"x{failureClusterAlias}\""
    run = subprocess.run(
        ["bash", "-c", substitute(template, known)], capture_output=True, timeout=30, env={**os.environ, "LC_ALL": "C"}
    )
    word = f"x{known['failureClusterAlias']}".encode()
    assert [word, word, word, b""] == run.stdout.split(b"\0")


HOSTILE = st.sampled_from(ATTACKS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_texts_in_every_placeholder_run_nothing(data: st.DataObject, tmp_path: Path) -> None:
    """Every text that could ever stand in a placeholder, all at once, in every kind of quotes and in a second shell."""

    def text() -> str:
        return data.draw(HOSTILE)

    def key() -> InstanceKey:
        return InstanceKey(text(), 3306)

    subject = replace(
        SUBJECT, key=key(), code=text(), text=text(), cluster_name=text(), cluster_alias=text(), cluster_domain=text(),
        replicas=(key(), key()),
    )  # fmt: skip
    recovery = replace(
        RECOVERY, id=text(), subject=subject, lost=(key(),), request=Request(command=text(), request_id=text())
    )
    told = Story(
        recovery=recovery, orchestrator_host=text(), hook=text(),
        successor=Successor(key=key(), alias=text(), coordinates=text()),
    )  # fmt: skip
    known = values(told)
    assert set(known) == {name for row in ROWS for name in row.placeholders}
    names = " ".join(f"x{{{name}}}" for name in sorted(known))
    template = f"true {names}; true \"{names}\"; true '{names}'; bash -c 'true {names}'; printf '%s\\0' {names}"
    run = subprocess.run(
        ["bash", "-c", substitute(template, known)], capture_output=True, timeout=60, cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C", **environment(told)},
    )  # fmt: skip
    assert [f"x{known[name]}".encode() for name in sorted(known)] == run.stdout.split(b"\0")[:-1]
    assert [] == list(tmp_path.iterdir())
