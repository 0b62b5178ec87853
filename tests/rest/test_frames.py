"""Frames between nodes: whatever goes in comes out, and any other bytes are refused without harm."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.exchange import Answer, Ask
from api.frames import (
    COMPRESS_FROM_BYTES,
    Forwarded,
    NotLeading,
    decode_answer,
    decode_ask,
    encode_answer,
    encode_ask,
)
from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.engine.service import Person

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=4).map(tuple)
ASKS = st.builds(
    Ask, method=st.sampled_from(["GET", "POST", "DELETE"]), path=TEXTS, query=PAIRS, body=st.binary(max_size=200),
    request_id=TEXTS, headers=st.dictionaries(st.sampled_from(["content-type", "host", "prefer"]), st.tuples(TEXTS)),
)  # fmt: skip
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(["method", "path", "query", "headers", "request_id", "person", "status", "content_type", "gzip"]),
    JSONS,
)


@given(ASKS, TEXTS, st.booleans())
def test_a_request_arrives_as_it_was_sent(ask: Ask, name: str, may_write: bool) -> None:
    person = Person(name, may_write=may_write)
    assert decode_ask(encode_ask(ask, person)) == Forwarded(ask, person)


def test_credentials_do_not_travel() -> None:
    headers = {"authorization": ("Basic c2VjcmV0",), "x-forwarded-user": ("mallory",), "prefer": ("http://x",)}
    payload = encode_ask(Ask(method="GET", path="/", headers=headers), Person("ann"))
    assert b"c2VjcmV0" not in payload
    assert decode_ask(payload).ask.headers == {"prefer": ("http://x",)}


@given(st.binary(max_size=100), st.integers(200, 599), PAIRS)
def test_an_answer_arrives_as_it_was_sent(body: bytes, status: int, headers: tuple[tuple[str, str], ...]) -> None:
    answer = Answer(status=status, body=body, headers=headers)
    assert decode_answer(encode_answer(answer)) == answer


def test_a_long_answer_travels_compressed_and_stays_so() -> None:
    body = b"x" * COMPRESS_FROM_BYTES
    payload = encode_answer(Answer(status=200, body=body))
    assert len(payload) < 400
    arrived = decode_answer(payload)
    assert isinstance(arrived, Answer)
    assert (arrived.is_gzipped, gzip.decompress(arrived.body)) == (True, body)


def test_that_a_node_does_not_lead_arrives_as_that() -> None:
    assert decode_answer(encode_answer(NotLeading("why"))) == NotLeading("why")


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(payload: bytes) -> None:
    for decode in (decode_ask, decode_answer):
        with pytest.raises(Unavailable, match="another node"):
            decode(payload)


@given(HEADERS, st.binary(max_size=8))
def test_any_header_is_a_frame_or_refused(header: dict[str, object], body: bytes) -> None:
    text = json.dumps({"version": 1, **header}).encode()
    payload = len(text).to_bytes(4, "big") + text + body
    for decode in (decode_ask, decode_answer):
        try:
            decode(payload)
        except Unavailable as error:
            assert "another node" in str(error)


def test_a_frame_of_another_version_is_refused_and_says_what_to_do() -> None:
    text = json.dumps({"version": 2}).encode()
    with pytest.raises(Unavailable, match="upgrade"):
        decode_ask(len(text).to_bytes(4, "big") + text)


@pytest.mark.parametrize("claim", [False, None, "yes", 1])
def test_only_true_lets_somebody_write(claim: object) -> None:
    payload = encode_ask(Ask(method="GET", path="/"), Person("ann", may_write=True))
    length = int.from_bytes(payload[:4], "big")
    header = json.loads(payload[4 : 4 + length])
    header["person"]["may_write"] = claim
    text = json.dumps(header).encode()
    assert decode_ask(len(text).to_bytes(4, "big") + text).person.may_write is False
