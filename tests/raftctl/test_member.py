"""``raftctl member``: what it shows, and what it asks for."""

from __future__ import annotations

from orchestrator_raft.engine.service import Reply
from tests.raftctl.conftest import Raftctl
from tests.raftctl.fleet import Fleet

MEMBERS = [
    {"id": "n1:10008", "address": "n1:10008", "votes": True, "is_leader": True, "is_connected": True, "note": ""},
    {"id": "n2:10008", "address": "x:1", "votes": False, "is_connected": False, "note": "replaces n1:10008"},
]


def test_the_members_are_one_table(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.answers["raft-members"] = lambda call: Reply(value=MEMBERS)
    lines = raftctl("member", "list").out.splitlines()
    assert ["n1:10008", "n1:10008", "leader", "yes", "-"] == lines[1].split()
    assert ["n2:10008", "x:1", "learner", "no", "replaces", "n1:10008"] == lines[2].split()


def test_changes_send_what_they_are_told(raftctl: Raftctl, fleet: Fleet) -> None:
    for arguments in (("add", "n3:1"), ("remove", "n1:10008"), ("replace", "n1:10008", "n4:1")):
        assert 0 == raftctl("member", *arguments).code
    assert [
        ("raft-add-peer", {"addr": "n3:1"}),
        ("raft-remove-peer", {"addr": "n1:10008"}),
        ("raft-replace-peer", {"addr": "n1:10008", "by": "n4:1"}),
    ] == fleet.asked
