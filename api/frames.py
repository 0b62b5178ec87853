"""How a request and its answer travel from node to node: a JSON header, then the body, inside the nodes' own channel.

    4 bytes length of the header (big endian) · header · body

The principal and the request's id are in the header, never in HTTP headers, so a client cannot claim either. Bodies of
answers are compressed when that pays.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.engine.service import Person

from .exchange import Answer, Ask

VERSION = 1
COMPRESS_FROM_BYTES = 4096
HEADER_MAX = 64 * 1024
NO_FRAME = "another node sent a request or an answer that is no frame: do all nodes run one version?"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request as the leader receives it."""

    ask: Ask
    person: Person


@dataclass(frozen=True, slots=True)
class NotLeading:
    """The node that was asked does not lead, so nothing was done there."""

    reason: str


def encode_ask(ask: Ask, person: Person) -> bytes:
    header = {
        "version": VERSION,
        "method": ask.method,
        "path": ask.path,
        "query": ask.query,
        "headers": {name: list(values) for name, values in ask.headers.items() if name in FORWARDED_HEADERS},
        "request_id": ask.request_id,
        "repeatable": ask.repeatable,
        "person": {"name": person.name, "may_write": person.may_write},
    }
    return _frame(header, ask.body)


FORWARDED_HEADERS = frozenset({"content-type", "host", "if-match", "if-none-match", "prefer"})
"""All that the dialects look at; credentials stay where they were checked."""


def decode_ask(payload: bytes) -> Forwarded:
    """Raises Unavailable for what is no frame of this version."""
    header, body = _unframe(payload)
    try:
        return _forwarded(header, body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(NO_FRAME) from error


def _forwarded(header: Mapping[str, Any], body: bytes) -> Forwarded:
    ask = Ask(
        method=str(header["method"]),
        path=str(header["path"]),
        query=tuple((str(name), str(value)) for name, value in header["query"]),
        headers={str(name): tuple(map(str, values)) for name, values in header["headers"].items()},
        body=body,
        request_id=str(header["request_id"]),
        repeatable=header["repeatable"] is True,
    )
    person = header["person"]
    return Forwarded(ask, Person(str(person["name"]), may_write=person["may_write"] is True))


def encode_answer(answer: Answer | NotLeading) -> bytes:
    if isinstance(answer, NotLeading):
        return _frame({"version": VERSION, "not_leading": answer.reason}, b"")
    compress = not answer.is_gzipped and len(answer.body) >= COMPRESS_FROM_BYTES
    header = {
        "version": VERSION,
        "status": answer.status,
        "content_type": answer.content_type,
        "headers": answer.headers,
        "gzip": compress or answer.is_gzipped,
    }
    return _frame(header, gzip.compress(answer.body, compresslevel=1, mtime=0) if compress else answer.body)


def decode_answer(payload: bytes) -> Answer | NotLeading:
    """Raises Unavailable for what is no frame of this version."""
    header, body = _unframe(payload)
    if "not_leading" in header:
        return NotLeading(str(header["not_leading"]))
    try:
        return _answered(header, body)
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(NO_FRAME) from error


def _answered(header: Mapping[str, Any], body: bytes) -> Answer:
    return Answer(
        status=int(header["status"]),
        body=body,
        content_type=str(header["content_type"]),
        headers=tuple((str(name), str(value)) for name, value in header["headers"]),
        is_gzipped=header["gzip"] is True,
    )


def _frame(header: Mapping[str, Any], body: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + body


def _unframe(payload: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(payload[:4], "big")
    if len(payload) < 4 + length or not 0 < length <= HEADER_MAX:
        raise Unavailable(NO_FRAME)
    try:
        header = json.loads(payload[4 : 4 + length])
    except ValueError as error:
        raise Unavailable(NO_FRAME) from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise Unavailable("another node forwards requests in a form that this version does not know: upgrade it")
    return header, payload[4 + length :]
