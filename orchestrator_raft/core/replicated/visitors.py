"""What the requests of people leave behind in the state: access tokens, and the answers that were given.

- Of a token only digests are kept. The public part is shown once and used once, within its time; whoever uses it gets
  the secret part, with which it is valid until it ends.
- An answer is kept under the request that it answered, for a day, so that a request that comes again is not carried out
  again. Answers are dropped by age, number and size together, the oldest first.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import IssueAccessToken, KeepAnswer, UseAccessToken
from orchestrator_raft.core.replicated.state import AccessToken, KeptAnswer, Result, State

TOKENS_MAX = 500
ANSWERS_MAX = 500
ANSWERS_BYTES_MAX = 1024 * 1024
ANSWER_BYTES_MAX = 32 * 1024
ANSWER_HOLD_MS = 24 * 3600 * 1000

Applied = tuple[State, Result]


def issue_token(state: State, command: IssueAccessToken) -> Applied:
    living = {digest: token for digest, token in state.access_tokens.items() if state.time_ms < _ends_ms(token)}
    token = AccessToken(
        owner=command.owner, issued_ms=state.time_ms, use_until_ms=command.use_until_ms, ends_ms=command.ends_ms
    )
    kept = dict(list(living.items())[-(TOKENS_MAX - 1) :])
    issued = replace(state, access_tokens={**kept, command.digest: token})
    return audited(issued, command, "access-token", f"made for {command.owner or 'nobody by name'}"), Result(True)


def _ends_ms(token: AccessToken) -> int:
    return token.ends_ms if token.secret_digest else token.use_until_ms


def use_token(state: State, command: UseAccessToken) -> Applied:
    token = state.access_tokens.get(command.digest)
    if token is None or token.secret_digest or state.time_ms >= token.use_until_ms:
        return state, Result(False, "this access token is not known, was used already, or was not used in time")
    used = replace(token, secret_digest=command.secret_digest)
    after = replace(state, access_tokens={**state.access_tokens, command.digest: used})
    text = f"taken into use by {token.owner or 'nobody by name'}"
    return audited(after, command, "access-token", text), Result(True, value=token.owner)


def valid_token(state: State, digest: str, now_ms: int) -> AccessToken | None:
    """The token in use under this digest of its public part, if its time has not run out."""
    token = state.access_tokens.get(digest)
    return token if token is not None and token.secret_digest and now_ms < token.ends_ms else None


def keep_answer(state: State, command: KeepAnswer) -> Applied:
    if len(command.body) > ANSWER_BYTES_MAX:
        return state, Result(False, f"an answer of {len(command.body)} bytes is not kept")
    if kept_answer(state, command.key, state.time_ms) is not None:
        return state, Result(True)
    answer = KeptAnswer(
        parameters=command.parameters,
        at_ms=state.time_ms,
        status=command.status,
        content_type=command.content_type,
        body=command.body,
        location=command.location,
    )
    others = {key: each for key, each in state.answers.items() if key != command.key}
    return replace(state, answers=_bounded({**others, command.key: answer}, state.time_ms)), Result(True)


def kept_answer(state: State, key: str, now_ms: int) -> KeptAnswer | None:
    """The answer that was given to this request within the last day."""
    answer = state.answers.get(key)
    return answer if answer is not None and now_ms - answer.at_ms < ANSWER_HOLD_MS else None


def _bounded(answers: dict[str, KeptAnswer], now_ms: int) -> dict[str, KeptAnswer]:
    kept: dict[str, KeptAnswer] = {}
    size_bytes = 0
    for key, answer in reversed(answers.items()):
        size_bytes += len(answer.body)
        is_old = now_ms - answer.at_ms >= ANSWER_HOLD_MS
        if is_old or len(kept) == ANSWERS_MAX or size_bytes > ANSWERS_BYTES_MAX:
            break
        kept[key] = answer
    return dict(reversed(kept.items()))
