"""The stock library breaks its promises where ours keeps them; and it is the library that does, not the simulator."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from dataclasses import replace

import pysyncobj.journal as journal_module
import pysyncobj.syncobj as library_module
import pytest
from pysyncobj import SyncObj, SyncObjConf, replicated
from pysyncobj.transport import Transport

from orchestrator_raft.raft.seam import Slot
from tests.sim.statistics import Statistics
from tests.sim.stock import TROUBLES, Findings, run
from tests.sim.stock_files import PAGE_BYTES, Files, stock_library


def runs(trouble: str, seeds: range) -> Iterator[Findings]:
    return (run(seed, trouble) for seed in seeds)


def test_without_faults_the_stock_library_keeps_every_promise_here() -> None:
    found = list(runs("none", range(10)))
    assert [] == [kind for findings in found for kind in findings.kinds]
    assert all(findings.acknowledged > 20 for findings in found)
    assert 0 == sum(findings.exceptions for findings in found)


@pytest.mark.parametrize("trouble", ["links-uncompacted", "kill-uncompacted"])
def test_while_the_journal_is_never_trimmed_it_loses_nothing_that_it_acknowledged(trouble: str) -> None:
    found = list(runs(trouble, range(12)))
    assert 0 == sum(findings.lost for findings in found)
    assert not any(findings.diverged or findings.cannot_start or findings.stuck for findings in found)


def test_a_power_cut_makes_it_lose_acknowledged_commands() -> None:
    found = list(runs("power", range(25)))
    assert any(findings.lost for findings in found)
    assert sum(findings.statistics.power_losses for findings in found) > 50


def test_a_leader_that_is_cut_off_believes_in_itself_beside_the_next_one() -> None:
    assert sum(findings.two_leaders for findings in runs("links", range(10))) >= 3


class Mute(Transport):  # type: ignore[misc]
    """Sends nothing, and gives the library what it is told to."""

    def __init__(self) -> None:
        super().__init__(None, None, [])

    def send(self, node: object, message: object) -> bool:
        return True


class Noted(SyncObj):  # type: ignore[misc]
    """Remembers what was applied."""

    def __init__(self, transport: Mute) -> None:
        conf = SyncObjConf(autoTick=False, pollerType="select")
        super().__init__(Slot("b"), [Slot("a"), Slot("c")], conf, transport=transport)
        self.applied: list[str] = []

    @replicated  # type: ignore[untyped-decorator]
    def note(self, text: str) -> None:
        self.applied.append(text)


def test_a_piece_of_a_snapshot_makes_it_apply_entries_that_no_leader_has_compared() -> None:
    """So it loses acknowledged commands without any crash: a cut-off leader does so, and tells its client."""
    with stock_library(Files(), lambda: 1000.0):
        wire = Mute()
        node = Noted(wire)
        entry = b"\0" + library_module.pickle.dumps((0, ("never agreed on",)))
        append = {"type": "append_entries", "term": 1, "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0}
        wire._onMessageReceived(Slot("a"), append | {"entries": [(entry, 2, 1)]})
        node.doTick(0)
        assert [] == node.applied
        piece = {"type": "append_entries", "term": 2, "commit_index": 2, "serialized": (b"a first piece", True, False)}
        wire._onMessageReceived(Slot("c"), piece)
        node.doTick(0)
        assert ["never agreed on"] == node.applied


def test_the_same_seed_is_the_same_run() -> None:
    for trouble in TROUBLES:
        one, other = run(7, trouble), run(7, trouble)
        assert replace(one, statistics=Statistics()) == replace(other, statistics=Statistics())
        assert one.statistics == other.statistics


def test_the_library_is_as_it_was_after_a_run() -> None:
    before = dict(vars(library_module)), dict(vars(journal_module))
    run(1, "none")
    assert before == (vars(library_module), vars(journal_module))


# its files


def journal_with(entries: int) -> Files:
    """Entries of a hundred bytes in the library's own journal, all written back but the last ones."""
    files = Files()
    with stock_library(files, lambda: 0.0):
        journal = library_module.createJournal("a/journal")
        journal.setCurrentTerm(1, "a")
        for number in range(1, entries + 1):
            journal.add(b"x" * 100, number, 1)
            if number == entries // 2:
                files.machine("a").write_back()
        journal.setCurrentTerm(2, "b")
    return files


def reopened(files: Files) -> tuple[int, int]:
    """(entries, term) that the library finds."""
    with stock_library(files, lambda: 0.0):
        journal = library_module.createJournal("a/journal")
        return len(journal), journal.getCurrentTerm()


def test_after_a_kill_its_files_hold_everything() -> None:
    assert (10, 2) == reopened(journal_with(10))


def test_after_a_power_cut_its_files_hold_old_or_new_pages_and_the_term_may_be_forgotten() -> None:
    found = set()
    for seed in range(40):
        files = journal_with(10)
        files.machine("a").lose_power(random.Random(seed))
        found.add(reopened(files))
    assert {(5, 1), (5, 2), (10, 1), (10, 2)} == found


def test_a_journal_of_many_pages_may_be_torn_so_that_the_library_cannot_read_it() -> None:
    def outcome(seed: int) -> str:
        files = journal_with(8 * PAGE_BYTES // 100)
        files.machine("a").lose_power(random.Random(seed))
        try:
            return f"{reopened(files)[0]} entries"
        except Exception as error:  # noqa: BLE001 - whatever the library makes of it
            return type(error).__name__

    assert "error" in {outcome(seed) for seed in range(20)}, "struct.error"


def test_what_is_written_back_survives_a_power_cut() -> None:
    files = journal_with(10)
    files.machine("a").write_back()
    files.machine("a").lose_power(random.Random(1))
    assert (10, 2) == reopened(files)


def test_a_renamed_file_is_the_old_or_the_new_one_as_a_whole() -> None:
    found = set()
    for seed in range(20):
        files = Files()
        for content in (b"old" * 4000, b"new" * 4000):
            with files.open("a/dump.tmp", "wb") as file:
                file.write(content)
            files.rename("a/dump.tmp", "a/dump")
            if content.startswith(b"old"):
                files.machine("a").write_back()
        files.machine("a").lose_power(random.Random(seed))
        found.add(files.open("a/dump", "rb").read())
    assert {b"old" * 4000, b"new" * 4000} == found


def test_the_library_pickles_here_as_it_does_outside() -> None:
    with stock_library(Files(), lambda: 0.0):
        assert pickle.loads(library_module.pickle.dumps(("x", 1))) == ("x", 1)
