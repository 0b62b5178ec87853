"""Three nodes as processes, one of which has another history with all checksums right: it is found, and stays out."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_raft import __version__
from sandbox.ports import reserved
from tests.faults.program import Program

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[list[Program]]:
    with reserved() as ports:
        made = [Program(tmp_path / host, host, HOSTS, ports) for host in HOSTS]
        yield made
        for each in made:
            each.close()


def rewrite_history(store: Path, other: str) -> None:
    """In the entry that registers node ``other``: another version of the program, with the checksum that fits."""
    true, false = __version__.encode(), b"9" + __version__.encode()[1:]
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT idx, term, data FROM journal").fetchall()
        index, term, data = next(row for row in rows if b"RegisterNode" in row[2] and other.encode() in row[2])
        changed = data.replace(true, false)
        assert changed != data
        checksum = zlib.crc32(changed, zlib.crc32(b"%d/%d" % (index, term)))
        connection.execute("UPDATE journal SET data = ?, checksum = ? WHERE idx = ?", (changed, checksum, index))
        connection.commit()


def all_equal(program: Program) -> bool:
    """Every node was compared with both others, and nobody has an alarm."""
    nodes = program.overview()["nodes"]
    compared = [member["equal_index"] for node in nodes for member in node.get("members", ()) if not member["is_self"]]
    return len(compared) == 6 and None not in compared and not any(node["alarm"] for node in nodes)


def test_a_node_with_another_history_is_found_ends_and_stays_out(programs: list[Program]) -> None:
    for each in programs:
        each.start()
    one, _, victim = programs
    one.until(lambda: one.get("raft-health") == 200, "there is a leader")
    one.until(lambda: all_equal(one), "all nodes were compared and are equal")
    assert victim.end() == 0
    rewrite_history(victim.store, HOSTS[0])
    victim.start()
    assert victim.ended() == 1
    log = victim.log.read_text()
    assert f"{HOSTS[2]}" in log and "differs from the majority: commands up to entry" in log
    assert "raftctl member remove" in log
    rest = programs[:2]
    one.until(lambda: sorted(each.get("leader-check") for each in rest) == [200, 404], "one of the others leads")
    one.until(lambda: {each.get("health") for each in rest} == {200}, "the others are healthy")
    refusal = victim.refusal()
    assert refusal.startswith(f"error: {victim.store} holds a state that was found to differ (commands up to entry")
