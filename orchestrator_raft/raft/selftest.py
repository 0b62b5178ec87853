"""Does the installed PySyncObj behave as this package relies on? Asked at every start, answered in milliseconds.

Throw-away libraries are driven through each seam, without network, disk or waiting. A version outside the pinned range
or any other behaviour raises StartupError with the version, before a port is opened or a file is touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.appends import Append, Entry
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.lease import NEVER
from orchestrator_raft.raft.membership import encode, founded
from orchestrator_raft.raft.seam import BELOW, INSTALLED_VERSION, OLDEST, PRIVATE, Library, Snapshots
from orchestrator_raft.raft.settings import Limits, Timing
from orchestrator_raft.raft.store import Image, Loaded


class _Bench:
    """One library with its surroundings, in memory."""

    def __init__(self, others: tuple[str, ...]) -> None:
        self.now_s = 100.0
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.applied: list[tuple[int, bytes]] = []
        self.taken: list[tuple[Entry, Entry]] = []
        self.journal = Journal(Image(), Loaded(None, b"", [], [], ()), Limits(), founded(("a", *others)))
        self.snapshots = Snapshots()
        self.snapshots.take = lambda previous, last: self.taken.append((previous, last))
        self.snapshots.is_saved = lambda: True
        self.library = Library(
            "a", others, timing=Timing(), journal=self.journal, snapshots=self.snapshots, clock=lambda: self.now_s,
            send=lambda peer, message: self.sent.append((peer, message)),
            apply=lambda index, data: self.applied.append((index, data)),
        )  # fmt: skip

    def kinds(self) -> list[str]:
        kinds = [message["type"] for _, message in self.sent]
        self.sent.clear()
        return kinds

    def elect(self) -> None:
        self.library.election_deadline_s = NEVER
        self.library.tick()


def _private_names() -> bool:
    machine = _Bench(())
    return all(hasattr(machine.library._machine, name) for name in PRIVATE)


def _deadline_holds_elections_back() -> bool:
    bench = _Bench(())
    bench.now_s += 1000
    bench.library.election_deadline_s = bench.now_s + 1
    bench.library.tick()
    held = not bench.library.is_leader
    bench.elect()
    return held and bench.library.is_leader and bench.journal.term == 1


def _commands_are_applied_once_and_in_order() -> bool:
    bench = _Bench(())
    bench.elect()
    for command in (b"one", b"two"):
        bench.library.submit(command)
    for _ in range(3):
        bench.library.tick()
    return bench.applied == [(3, b"one"), (4, b"two")]


def _votes_and_matches_of_a_majority_count() -> bool:
    bench = _Bench(("b", "c"))
    bench.library.connection("b", True)
    bench.elect()
    asked = bench.kinds() == ["request_vote", "request_vote"]
    bench.library.vote("b", 1)
    bench.library.tick()
    before = bench.library.commit_index
    bench.library.matched("b", 2)
    bench.library.tick()
    return asked and bench.library.is_leader and (before, bench.library.commit_index) == (1, 2)


def _stepping_down_needs_no_term() -> bool:
    bench = _Bench(("b", "c"))
    bench.library.connection("b", True)
    bench.elect()
    bench.library.vote("b", 1)
    led = bench.library.is_leader
    bench.library.step_down()
    return led and not bench.library.is_leader and bench.library.term == 1


def _a_term_is_adopted_without_a_vote() -> bool:
    bench = _Bench(("b", "c"))
    bench.library.adopt_term("b", 7)
    return bench.library.term == 7 and bench.journal.getVotedForNodeId() is None and not bench.sent


def _appends_are_answered_and_cut() -> bool:
    bench = _Bench(("b", "c"))
    library, journal = bench.library, bench.journal
    library.append("b", 1, Append(1, 0, ((b"\x01", 2, 1), (b"\x01", 3, 1)), 2))
    library.append("c", 2, Append(2, 1, ((b"\x01", 3, 2),), 2))
    library.tick()
    answered = bench.kinds() == ["next_node_idx", "next_node_idx"]
    return answered and journal[:] == [(b"\x01", 1, 0), (b"\x01", 2, 1), (b"\x01", 3, 2)] and library.leader == "c"


def _snapshots_are_taken_trimmed_and_loaded() -> bool:
    bench = _Bench(())
    bench.elect()
    bench.library.submit(b"one")
    bench.library.tick()
    bench.library.tick()
    bench.library.compact()
    for _ in range(2):
        bench.library.tick()
    previous, last = bench.taken[0]
    other = _Bench(("b",))
    other.snapshots.restore = lambda: (previous, last)
    other.library.install("b", 1, last[1])
    return bench.journal.first_index == previous[1] and other.journal[:] == [previous, last]


def _configurations_are_no_ops_that_are_counted_by_the_voters_given() -> bool:
    bench = _Bench(("b", "c"))
    library, journal = bench.library, bench.journal
    library.connection("b", True)
    bench.elect()
    library.vote("b", 1)
    library.set_voters(("b", "c", "d"))
    journal.add(encode(founded("abcd")), 3, 1)
    counted = []
    for voter in ("b", "d"):
        library.matched(voter, 3)
        library.tick()
        counted.append(library.commit_index)
    library.set_voters(("d",))
    library.submit(b"one")
    library.tick()
    library.matched("d", 4)
    library.tick()
    return counted == [1, 3] and (library.commit_index, bench.applied) == (4, [(4, b"one")])


def _one_that_does_not_vote_leads_by_a_majority_of_the_others() -> bool:
    found = []
    for voters, needed in (("b", 1), ("bc", 2), ("bcd", 2)):
        bench = _Bench(tuple(voters))
        library = bench.library
        library.set_voters(voters, votes=False)
        library.connection("b", True)
        bench.elect()
        asked = len(bench.sent)
        for number, voter in enumerate(voters[:needed]):
            found.append(not library.is_leader)
            library.vote(voter, 1)
            found.append(library.is_leader == (number + 1 == needed))
        for voter in voters[:needed]:
            library.tick()
            found.append(library.commit_index == 1)
            library.matched(voter, 2)
        library.tick()
        found += [library.commit_index == 2, asked == len(voters)]
    return all(found)


CHECKS: tuple[Callable[[], bool], ...] = (
    _private_names,
    _deadline_holds_elections_back,
    _commands_are_applied_once_and_in_order,
    _votes_and_matches_of_a_majority_count,
    _stepping_down_needs_no_term,
    _a_term_is_adopted_without_a_vote,
    _appends_are_answered_and_cut,
    _snapshots_are_taken_trimmed_and_loaded,
    _configurations_are_no_ops_that_are_counted_by_the_voters_given,
    _one_that_does_not_vote_leads_by_a_majority_of_the_others,
)


def self_test(version: str = INSTALLED_VERSION, checks: tuple[Callable[[], bool], ...] = CHECKS) -> None:
    """Raises StartupError when the library is not one this package was made for."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if not OLDEST <= numbers < BELOW:
        raise _refusal(version, "this version was not made for it")
    for check in checks:
        what = check.__name__.strip("_").replace("_", " ")
        try:
            kept = check()
        except Exception as error:
            raise _refusal(version, f"'{what}' ended in {type(error).__name__}: {error}") from error
        if not kept:
            raise _refusal(version, f"'{what}' does not hold")


def _refusal(version: str, cause: str) -> StartupError:
    return StartupError(f"PySyncObj {version} cannot be used, {cause}: install pysyncobj>=0.3.17,<0.4")
