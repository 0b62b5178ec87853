"""What people set, in the replicated state: ends, limits, and what becomes of a mark when its server changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey, PromotionRule
from orchestrator_raft.core.replicated import Command, Result, State, apply, policies
from orchestrator_raft.core.replicated.commands import ForgetServers, ObserveServers, ServerObservation
from orchestrator_raft.core.replicated.events import with_events
from orchestrator_raft.core.replicated.policy_commands import (
    BeginMaintenance,
    DropPool,
    DropRule,
    EndMaintenance,
    RegisterRule,
    SetClusterAlias,
    SetVirtualName,
    SubmitPool,
    TagServer,
    UntagServers,
)

ONE, TWO, OTHER_NAME = InstanceKey("db1", 3306), InstanceKey("db2", 3306), InstanceKey("10.0.0.1", 3306)


class Log:
    """A replicated log with two servers, one a cluster."""

    def __init__(self) -> None:
        self.state, self.now_ms, self._number = State(), 1000, 0
        for key in (ONE, TWO):
            assert self.observe(key).ok

    def propose(self, kind: type[Command], **fields: Any) -> Result:
        self._number += 1
        command = kind(id=str(self._number), at_ms=self.now_ms, by="ann", **fields)
        self.state, result = apply(self.state, command)
        return result

    def observe(self, key: InstanceKey, *addresses: InstanceKey, **facts: Any) -> Result:
        seen = Facts(key=key, flavor=Flavor.MYSQL, version="9.7", server_uuid=f"uuid of {key}", **facts)
        return self.propose(ObserveServers, servers=(ServerObservation(key=key, facts=seen, addresses=addresses),))


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_mark_that_should_have_ended_already_is_refused(log: Log) -> None:
    marks: tuple[tuple[type[Command], dict[str, Any]], ...] = (
        (BeginMaintenance, {"key": ONE, "owner": "ann", "reason": "disk"}),
        (RegisterRule, {"key": ONE, "rule": PromotionRule.PREFER}),
        (SubmitPool, {"name": "p", "members": (ONE,)}),
    )
    for kind, fields in marks:
        assert not log.propose(kind, **fields, ends_ms=log.now_ms).ok
        assert log.propose(kind, **fields, ends_ms=log.now_ms + 1).ok


def test_a_mark_is_ended_by_the_clock_only_when_its_time_has_come(log: Log) -> None:
    log.propose(BeginMaintenance, key=ONE, owner="ann", reason="disk", ends_ms=5000)
    log.propose(RegisterRule, key=ONE, rule=PromotionRule.PREFER, ends_ms=5000)
    log.propose(SubmitPool, name="p", members=(ONE,), ends_ms=5000)
    ends: tuple[tuple[type[Command], dict[str, Any]], ...] = (
        (EndMaintenance, {"key": ONE}), (DropRule, {"key": ONE}), (DropPool, {"name": "p"}),
    )  # fmt: skip
    assert [log.propose(kind, **fields, expired=True).ok for kind, fields in ends] == [False] * 3
    log.now_ms = 5000
    assert [log.propose(kind, **fields, expired=True).ok for kind, fields in ends] == [True] * 3
    assert (log.state.maintenances, log.state.rules, log.state.pools) == ({}, {}, {})


def test_maintenance_is_held_by_one_at_a_time_until_it_ends(log: Log) -> None:
    assert log.propose(BeginMaintenance, key=ONE, owner="ann", reason="disk", ends_ms=5000).value == "1"
    refused = log.propose(BeginMaintenance, key=ONE, owner="bob", reason="ram", ends_ms=9000)
    assert not refused.ok and "by ann: disk" in refused.reason
    log.now_ms = 5000
    assert log.propose(BeginMaintenance, key=ONE, owner="bob", reason="ram", ends_ms=9000).value == "2"


def test_a_rule_said_again_is_renewed_without_filling_the_audit(log: Log) -> None:
    log.propose(RegisterRule, key=ONE, rule=PromotionRule.PREFER, ends_ms=5000)
    before = log.state.audit_number
    log.propose(RegisterRule, key=ONE, rule=PromotionRule.PREFER, ends_ms=9000)
    assert (log.state.rules[ONE].ends_ms, log.state.audit_number) == (9000, before)
    log.propose(RegisterRule, key=ONE, rule=PromotionRule.MUST_NOT, ends_ms=9000)
    assert log.state.audit_number == before + 1


def test_marks_are_set_on_known_servers_only(log: Log) -> None:
    unknown = InstanceKey("nobody", 1)
    marks: tuple[tuple[type[Command], dict[str, Any]], ...] = (
        (BeginMaintenance, {"owner": "ann", "reason": "x", "ends_ms": 5000}),
        (RegisterRule, {"rule": PromotionRule.PREFER, "ends_ms": 5000}), (TagServer, {"name": "x"}),
        (UntagServers, {"name": "x"}), (SetVirtualName, {"hostname": "x"}),
    )  # fmt: skip
    for kind, fields in marks:
        result = log.propose(kind, key=unknown, **fields)
        assert not result.ok and "is not known" in result.reason


def test_every_table_and_text_has_a_limit(log: Log) -> None:
    for number in range(policies.TAGS_MAX):
        assert log.propose(TagServer, key=ONE, name=f"t{number}").ok
    assert not log.propose(TagServer, key=ONE, name="one more").ok
    assert log.propose(TagServer, key=ONE, name="t1", value="another value").ok
    for number in range(policies.POOLS_MAX):
        assert log.propose(SubmitPool, name=f"p{number}", members=(), ends_ms=5000).ok
    assert not log.propose(SubmitPool, name="one more", members=(), ends_ms=5000).ok
    many = tuple(InstanceKey("db", number) for number in range(policies.POOL_MEMBERS_MAX + 1))
    assert not log.propose(SubmitPool, name="p1", members=many, ends_ms=5000).ok
    long = "x" * (policies.TEXT_MAX + 1)
    assert not log.propose(TagServer, key=TWO, name=long).ok
    assert not log.propose(SetClusterAlias, cluster_id="c1", alias=long).ok
    assert not log.propose(BeginMaintenance, key=TWO, owner=long, reason="", ends_ms=5000).ok


def test_tags_are_taken_off_one_server_or_all_by_name_or_value(log: Log) -> None:
    for key, value in ((ONE, "web"), (TWO, "backup")):
        log.propose(TagServer, key=key, name="role", value=value)
    assert log.propose(UntagServers, name="role", value="nonesuch").value == ""
    assert log.propose(UntagServers, name="role", value="web").value == "db1:3306"
    assert set(log.state.tags) == {TWO}
    log.propose(TagServer, key=ONE, name="role")
    assert log.propose(UntagServers, name="role").value == "db1:3306\ndb2:3306"
    assert log.state.tags == {}


def test_only_servers_whose_tags_have_changed_are_told_of_and_touched(log: Log) -> None:
    log.propose(TagServer, key=ONE, name="role", value="web")
    log.propose(TagServer, key=TWO, name="rack", value="7")
    kept, last = log.state.tags[TWO], log.state.event_number
    assert log.propose(UntagServers, name="role").ok
    told = [event.server for event in log.state.events if event.number > last and event.type == "tags-changed"]
    assert told == [ONE]
    assert log.state.tags[TWO] is kept


def test_equal_tags_in_another_object_are_no_news(log: Log) -> None:
    log.propose(TagServer, key=ONE, name="role", value="web")
    (tag,) = log.state.tags[ONE]
    again = replace(log.state, tags={ONE: (replace(tag),)})
    assert with_events(log.state, again, UntagServers(id="x", at_ms=1, name="nonesuch")).events == log.state.events


def test_marks_go_with_their_server_when_it_is_forgotten(log: Log) -> None:
    marked(log, ONE)
    log.propose(ForgetServers, keys=(ONE,))
    state = log.state
    assert (state.maintenances, state.rules, state.tags, state.virtual_names) == ({}, {}, {}, {})
    assert state.pools["p"].members == (ONE,), "a pool is somebody else's list"


def marked(log: Log, key: InstanceKey) -> None:
    log.propose(BeginMaintenance, key=key, owner="ann", reason="disk", ends_ms=5000)
    log.propose(RegisterRule, key=key, rule=PromotionRule.PREFER, ends_ms=5000)
    log.propose(TagServer, key=key, name="role", value="web")
    log.propose(SetVirtualName, key=key, hostname="virtual")
    log.propose(SubmitPool, name="p", members=(key,), ends_ms=5000)


def test_marks_follow_a_server_that_is_found_under_another_name(log: Log) -> None:
    facts = replace(log.state.servers[ONE].facts or Facts(key=ONE, flavor=Flavor.MYSQL, version=""), key=OTHER_NAME)
    marked(log, ONE)
    seen = ServerObservation(key=OTHER_NAME, facts=facts, addresses=(ONE,))
    log.propose(ObserveServers, servers=(seen,))
    state = log.state
    assert ONE not in state.servers
    assert {state.maintenances[OTHER_NAME].key, state.rules[OTHER_NAME].key} == {OTHER_NAME}
    assert state.virtual_names[OTHER_NAME].key == OTHER_NAME
    assert [str(tag) for tag in state.tags[OTHER_NAME]] == ["role=web"]
    assert state.pools["p"].members == (OTHER_NAME,)


def test_an_alias_by_hand_holds_against_what_the_primary_suggests(log: Log) -> None:
    assert log.propose(SetClusterAlias, cluster_id="c1", alias="shop").ok
    log.observe(ONE, cluster_alias="suggested")
    assert log.state.clusters["c1"].alias == "shop"
    taken = log.propose(SetClusterAlias, cluster_id="c2", alias="shop")
    assert not taken.ok and "names the cluster db1:3306 already" in taken.reason
    assert log.propose(SetClusterAlias, cluster_id="c1", alias="").ok
    assert log.state.clusters["c1"].alias == "suggested"


def test_a_virtual_name_is_not_the_address_of_another_server(log: Log) -> None:
    assert not log.propose(SetVirtualName, key=ONE, hostname="db2").ok
    assert log.propose(SetVirtualName, key=ONE, hostname="virtual").ok
    assert log.propose(SetVirtualName, key=ONE, hostname="").ok
    assert not log.propose(SetVirtualName, key=ONE, hostname="").ok
