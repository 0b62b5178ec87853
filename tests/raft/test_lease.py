"""The rules of leases and votes, alone and against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.clock import JumpWatch
from orchestrator_raft.raft.lease import (
    NEVER,
    Authority,
    Ear,
    Office,
    PreVote,
    authority,
    may_support,
    must_step_down,
    pre_vote,
    yields_to,
)
from orchestrator_raft.raft.settings import Timing

TIMING = Timing()
VOTERS = frozenset("abc")


def office(**echoes: float) -> Office:
    return Office(term=3, since_s=0.0, echoes=echoes)


def test_a_lease_counts_from_the_newest_echo_that_completes_a_majority() -> None:
    assert 10.45 == pytest.approx(office(b=10.0, c=9.0).lease_until_s(VOTERS, "a", 10.2, TIMING))
    assert 9.45 == pytest.approx(office(c=9.0).lease_until_s(VOTERS, "a", 10.2, TIMING))
    assert NEVER == office().lease_until_s(VOTERS, "a", 10.2, TIMING)


def test_of_five_the_second_newest_echo_counts() -> None:
    voters = frozenset("abcde")
    assert 8.45 == pytest.approx(office(b=9.0, c=8.0, d=7.0).lease_until_s(voters, "a", 10.0, TIMING))


def test_a_node_alone_needs_no_echo() -> None:
    assert 10.45 == pytest.approx(office().lease_until_s(frozenset("a"), "a", 10.0, TIMING))


def test_echoes_of_another_term_from_the_future_or_older_ones_count_nothing() -> None:
    before = office(b=5.0)
    assert before is before.echoed("b", 2, 9.0, 10.0)
    assert before is before.echoed("b", 3, 11.0, 10.0)
    assert before is before.echoed("b", 3, 4.0, 10.0)
    assert {"b": 9.0} == before.echoed("b", 3, 9.0, 10.0).echoes


def test_an_echo_that_waited_through_a_jump_of_the_clock_counts_nothing() -> None:
    frozen = office(b=9.8).forgotten(10.0)
    assert frozen == frozen.echoed("b", 3, 9.9, 10.1)
    assert frozen == frozen.echoed("b", 3, 10.0, 10.1)
    assert 10.05 == frozen.echoed("b", 3, 10.05, 10.1).echoes["b"]


def test_authority_needs_everything_at_once() -> None:
    def asked(**changes: object) -> Authority | None:
        facts = {"first_entry_applied": True, "term_stored": True, "until_s": 10.4, "now_s": 10.0}
        return authority(office(), **(facts | changes))  # type: ignore[arg-type]

    assert Authority(3, 10.4) == asked()
    assert [None] * 3 == [asked(first_entry_applied=False), asked(term_stored=False), asked(now_s=10.4)]
    handing_over = office().handing_over(9.0)
    assert authority(handing_over, first_entry_applied=True, term_stored=True, until_s=99.0, now_s=10.0) is None
    assert authority(None, first_entry_applied=True, term_stored=True, until_s=99.0, now_s=10.0) is None


SUPPORT = [
    # started, heard, lease live, requested, now -> may support
    (0.0, 9.8, False, False, 10.0, False),
    (0.0, 9.5, False, False, 10.0, True),
    (9.8, NEVER, False, False, 10.0, False),
    (9.5, NEVER, False, False, 10.0, True),
    (0.0, 0.0, True, False, 10.0, False),
    (9.9, 9.9, True, True, 10.0, True),
]


@pytest.mark.parametrize("row", SUPPORT)
def test_a_promise_holds_unless_the_leader_itself_asks(row: tuple[float, float, bool, bool, float, bool]) -> None:
    started_s, heard_s, lease_live, requested, now_s, expected = row
    ear = Ear(started_s=started_s, heard_s=heard_s)
    assert expected is may_support(ear, lease_live=lease_live, requested=requested, now_s=now_s, timing=TIMING)


STEP_DOWN = [
    # since, lease until, given up at, now -> must step down
    (0.0, 9.6, NEVER, 10.0, False),
    (0.0, 9.4, NEVER, 10.0, True),
    (9.5, 9.0, NEVER, 10.0, False),
    (0.0, 99.0, 9.5, 10.0, False),
    (0.0, 99.0, 8.9, 10.0, True),
]


@pytest.mark.parametrize("row", STEP_DOWN)
def test_a_leader_without_quorum_or_without_taker_steps_down(row: tuple[float, float, float, float, bool]) -> None:
    since_s, until_s, given_up_s, now_s, expected = row
    held = Office(term=3, since_s=since_s, given_up=given_up_s > NEVER, given_up_s=given_up_s)
    assert expected is must_step_down(held, until_s=until_s, now_s=now_s, timing=TIMING)


PRE_VOTES = [
    # asked term, asked log, term, log, supports, hears a leader -> answer
    (4, (3, 10), 3, (3, 10), True, False, PreVote.GRANT),
    (4, (3, 11), 3, (3, 10), True, False, PreVote.GRANT),
    (4, (3, 9), 3, (3, 10), True, False, PreVote.SILENCE),
    (4, (2, 99), 3, (3, 10), True, False, PreVote.SILENCE),
    (4, (3, 10), 3, (3, 10), False, True, PreVote.SILENCE),
    (4, (3, 10), 4, (3, 10), True, False, PreVote.NEWER_TERM),
    (4, (3, 10), 9, (3, 10), False, True, PreVote.SILENCE),
]


@pytest.mark.parametrize("row", PRE_VOTES)
def test_a_pre_vote_is_granted_to_who_could_win(row: tuple[int, tuple[int, int], int, tuple[int, int], bool, bool, PreVote]) -> None:  # fmt: skip  # noqa: E501
    asked_term, asked_log, term, log, supports, hears_leader, expected = row
    answer = pre_vote(
        asked_term=asked_term, asked_log=asked_log, term=term, log=log, supports=supports, hears_leader=hears_leader
    )
    assert expected is answer


def test_of_two_that_ask_at_once_one_yields() -> None:
    assert yields_to("b", "a") and not yields_to("a", "b")


times = st.floats(0, 100)


@given(
    sent=st.dictionaries(st.sampled_from("bcde"), st.tuples(times, st.floats(0, 1)), min_size=1),
    rate=st.floats(0.99, 1.01),
    started_s=times,
)
def test_no_majority_supports_another_while_the_lease_runs(
    sent: dict[str, tuple[float, float]], rate: float, started_s: float
) -> None:
    """Followers' clocks run at another rate; each heard the append some time after it was sent."""
    voters = frozenset("abcde")
    echoes = {peer: at_s for peer, (at_s, _) in sent.items()}
    until_s = office(**echoes).lease_until_s(voters, "a", 100.0, TIMING)
    moment_s = until_s - 0.0001
    if moment_s < 0:
        return

    def supports(peer: str) -> bool:
        heard_s = sum(sent[peer]) * rate if peer in sent and sum(sent[peer]) <= moment_s else NEVER
        ear = Ear(started_s=started_s * rate if started_s <= moment_s else NEVER, heard_s=heard_s)
        late = peer in sent and sum(sent[peer]) > moment_s
        return not late and may_support(ear, lease_live=False, requested=False, now_s=moment_s * rate, timing=TIMING)

    free = [peer for peer in "bcde" if supports(peer)]
    fresh = [peer for peer in sent if sent[peer][0] >= until_s - 0.45]
    assert not set(free) & set(fresh)
    assert len(free) < 3 or len(fresh) < 2


def test_times_that_cannot_work_are_refused() -> None:
    with pytest.raises(StartupError, match="election"):
        Timing(election_min_s=0.2)
    with pytest.raises(StartupError, match="drift"):
        Timing(drift_margin_s=0.3)


def test_a_jump_of_the_wall_clock_against_the_boot_clock_is_noticed_once() -> None:
    times = {"boot": 5.0, "wall": 1000.0}
    watch = JumpWatch(lambda: times["boot"], lambda: times["wall"], 0.05, 0.5)
    times["boot"], times["wall"] = 6.0, 1001.04
    assert not watch.jumped()
    times["wall"] += 3.0
    assert [True, False] == [watch.jumped(), watch.jumped()]


@pytest.mark.parametrize(("every_s", "is_noticed"), [(0.02, True), (0.09, True), (0.3, False)])
def test_short_pauses_of_a_machine_add_up_in_the_length_of_a_lease(every_s: float, is_noticed: bool) -> None:
    """Each alone is within the tolerance; so many as to use up the margin of a lease are not."""
    times = {"boot": 5.0, "wall": 1000.0}
    watch = JumpWatch(lambda: times["boot"], lambda: times["wall"], 0.04, 0.45)
    noticed = []
    for _ in range(12):
        times["wall"] += 0.015
        for name in times:
            times[name] += every_s
        noticed.append(watch.jumped())
    assert is_noticed == any(noticed)


def test_a_process_that_was_put_aside_between_two_clocks_looks_again() -> None:
    times = iter([0.0, 0.0, 1.0, 4.0, 4.0, 4.0])
    walls = iter([100.0, 104.0, 104.0])
    watch = JumpWatch(lambda: next(times), lambda: next(walls), 0.05, 0.5)
    assert not watch.jumped()
