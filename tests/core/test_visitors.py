"""Access tokens and kept answers in the replicated state: their times, their limits, what happens once only."""

from __future__ import annotations

from orchestrator_raft.core.replicated import Result, State, apply
from orchestrator_raft.core.replicated.commands import IssueAccessToken, KeepAnswer, RecordAudit, UseAccessToken
from orchestrator_raft.core.replicated.visitors import (
    ANSWER_BYTES_MAX,
    ANSWER_HOLD_MS,
    ANSWERS_BYTES_MAX,
    ANSWERS_MAX,
    TOKENS_MAX,
    kept_answer,
    valid_token,
)


def issued(state: State, digest: str = "d", *, at_ms: int = 1000) -> State:
    command = IssueAccessToken(
        id=f"i-{digest}", at_ms=at_ms, digest=digest, owner="ann", use_until_ms=at_ms + 60_000, ends_ms=at_ms + 10**7
    )
    return apply(state, command)[0]


def use(state: State, *, at_ms: int, number: int = 1) -> tuple[State, Result]:
    return apply(state, UseAccessToken(id=f"u{number}", at_ms=at_ms, digest="d", secret_digest=f"s{number}"))


def test_a_token_is_valid_from_its_use_to_its_end_and_is_used_once() -> None:
    state = issued(State())
    assert valid_token(state, "d", 2000) is None, "nobody has taken it into use"
    state, result = use(state, at_ms=2000)
    assert (result.ok, result.value) == (True, "ann")
    state, again = use(state, at_ms=3000, number=2)
    assert not again.ok
    found = valid_token(state, "d", 4000)
    assert found is not None and (found.owner, found.secret_digest) == ("ann", "s1")
    assert valid_token(state, "d", 1000 + 10**7) is None
    assert [entry.message for entry in state.audit] == ["made for ann", "taken into use by ann"]


def test_a_token_that_is_not_used_in_time_is_worth_nothing() -> None:
    state, result = use(issued(State()), at_ms=61_000)
    assert not result.ok and "not used in time" in result.reason
    assert valid_token(state, "d", 61_000) is None


def test_tokens_are_bounded_and_those_that_have_ended_go_first() -> None:
    state = issued(State(), "old", at_ms=0)
    state = issued(state, "new", at_ms=10**8)
    assert list(state.access_tokens) == ["new"]
    for number in range(TOKENS_MAX + 5):
        state = issued(state, f"t{number}", at_ms=10**8)
    assert len(state.access_tokens) == TOKENS_MAX


def keep(state: State, key: str, body: bytes = b"x", *, at_ms: int = 0) -> tuple[State, Result]:
    command = KeepAnswer(
        id=f"{key}-{at_ms}-{len(body)}", at_ms=at_ms, key=key, parameters="p", status=200, content_type="t", body=body
    )
    return apply(state, command)


def test_the_first_answer_stays_for_a_day() -> None:
    state, _ = keep(State(), "k", b"first")
    state, _ = keep(state, "k", b"second!", at_ms=ANSWER_HOLD_MS - 1)
    found = kept_answer(state, "k", ANSWER_HOLD_MS - 1)
    assert found is not None and found.body == b"first"
    assert kept_answer(state, "k", ANSWER_HOLD_MS) is None
    state, _ = keep(state, "k", b"third!!!", at_ms=ANSWER_HOLD_MS)
    assert state.answers["k"].body == b"third!!!"


def test_kept_answers_are_bounded_in_number_age_and_size() -> None:
    state = State()
    for number in range(ANSWERS_MAX + 5):
        state, _ = keep(state, f"k{number}")
    assert len(state.answers) == ANSWERS_MAX and "k0" not in state.answers
    for number in range(40):
        state, _ = keep(state, f"large{number}", b"x" * ANSWER_BYTES_MAX)
    assert sum(len(each.body) for each in state.answers.values()) <= ANSWERS_BYTES_MAX
    assert "large39" in state.answers
    after, refused = keep(state, "too large", b"x" * (ANSWER_BYTES_MAX + 1))
    assert not refused.ok and "too large" not in after.answers
    late, _ = apply(after, RecordAudit(id="late", at_ms=2 * ANSWER_HOLD_MS, type="x", message=""))
    late, _ = keep(late, "new", at_ms=2 * ANSWER_HOLD_MS)
    assert list(late.answers) == ["new"]
